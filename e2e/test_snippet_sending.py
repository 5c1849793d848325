"""Sending: at once, once for good, and again by the next page for as long as it takes."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import launch_options
from playwright.sync_api import Browser, Error, Page, Playwright
from recorder import Recorder

CTA = '<button data-footfall-cta="Start Free Trial" id="trial">Try</button>'
# Keeps for how long somebody waits, in milliseconds; a wait of none is no wait.
WAITS = """
    window.waits = [];
    const later = setTimeout;
    setTimeout = (act, wait, ...more) => { if (wait) waits.push(wait); return later(act, wait, ...more); };
"""
# The same, but nobody goes on before the test says so; `due` is when the last of them wanted to.
HELD = """
    window.waits = [];
    window.held = [];
    window.due = 0;
    const later = setTimeout;
    setTimeout = (act, wait, ...more) => {
      if (!wait) return later(act, 0, ...more);
      waits.push(wait);
      held.push(() => act(...more));
      due = Date.now() + wait;
    };
"""
NOBODY_WAITS = "const later = setTimeout; setTimeout = (act, wait, ...more) => wait ? 0 : later(act, 0, ...more);"
LINK = '<a data-footfall-cta="Buy" href="/elsewhere" id="buy">Buy</a>'
WRITTEN_DOWN = """
    () => new Promise((resolve) => {
      const request = indexedDB.open('footfall');
      request.onsuccess = () => {
        const texts = request.result.transaction('footfall').objectStore('footfall').getAll();
        texts.onsuccess = () => { request.result.close(); resolve(texts.result.length); };
      };
    })
"""


@pytest.fixture
def browser(whole_browser: Browser) -> Browser:
    """For contexts of these tests."""
    return whole_browser


def stored(page: Page) -> list[str]:
    """Message ids in localStorage."""
    keys: list[str] = page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('footfall.'))")
    return [key.removeprefix("footfall.") for key in keys]


def logged(page: Page) -> int:
    """Events in the IndexedDB log."""
    return int(page.evaluate(WRITTEN_DOWN))


def open_listing(page: Page, recorder: Recorder, body: str = CTA, **data: Any) -> None:
    page.goto(recorder.listing(body, **data))
    recorder.wait_for("page_view")
    page.wait_for_function("!Object.keys(localStorage).length")


# the request


def test_a_request_is_plain_text_and_causes_no_preflight(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing(src=recorder.url("/js/footfall.js", "collect.test")))
    recorder.wait_for("page_view")

    [post] = recorder.posts
    assert post.method == "POST"
    assert post.headers["content-type"] == "text/plain;charset=UTF-8"
    assert post.headers["host"].startswith("collect.test")
    assert re.fullmatch(r'\{"sentAt":\d{13},"events":\[\{.*\}\]\}', post.body)


def test_what_a_fetch_has_delivered_no_beacon_sends_again(page: Page, recorder: Recorder) -> None:
    page.add_init_script("window.beacons = 0; navigator.sendBeacon = () => { window.beacons++; return true; }")
    page.goto(recorder.listing(CTA))
    recorder.wait_for("page_view")
    page.click("#trial")
    recorder.wait_for("cta_click")
    page.wait_for_timeout(300)

    assert page.evaluate("beacons") == 0
    assert {post.headers["sec-fetch-mode"] for post in recorder.posts} == {"cors"}


def test_cookies_go_with_a_request_to_another_host_of_the_site(page: Page, recorder: Recorder) -> None:
    page.context.add_cookies([{"name": "known", "value": "1", "domain": ".market.test", "path": "/"}])
    recorder.listing(src=recorder.url("/js/footfall.js", "collect.market.test"))
    page.goto(recorder.url("/apps/1/example", "www.market.test"))
    recorder.wait_for("page_view")

    assert "known=1" in recorder.posts[0].headers["cookie"]


@pytest.mark.parametrize(
    ("data", "door"),
    [
        ({"src": "/shop/js/footfall.js"}, "/shop/e"),
        ({"endpoint": "/other/e"}, "/other/e"),
        ({"endpoint": "e"}, "/js/e"),
    ],
)
def test_the_door_is_found_from_the_script(page: Page, recorder: Recorder, data: dict[str, str], door: str) -> None:
    with page.expect_request(lambda request: request.method == "POST") as request:
        page.goto(recorder.listing(**data))

    assert request.value.url == recorder.url(door)


def test_a_click_is_on_its_way_before_its_handler_ends(page: Page, recorder: Recorder) -> None:
    page.add_init_script(
        "window.calls = []; const real = fetch; fetch = (...a) => { calls.push(a); return real(...a); }"
    )
    open_listing(page, recorder)
    page.evaluate("""
        trial.addEventListener('click', () => {
          window.then = [calls.length, Object.keys(localStorage).length];
        })
    """)
    page.click("#trial")

    assert page.evaluate("window.then") == [2, 1]


def test_what_was_taken_in_is_stored_nowhere_any_more(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    page.click("#trial")
    recorder.wait_for("cta_click")

    page.wait_for_function("!Object.keys(localStorage).length")
    recorder.wait_until(lambda: logged(page) == 0)


def test_a_slow_collector_does_not_delay_a_navigation(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, LINK)
    recorder.fault(hang=True, times=9)
    page.click("a")
    page.wait_for_url("**/elsewhere")

    recorder.wait_for("cta_click")


def test_a_slow_answer_holds_up_no_other_event(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    recorder.fault(hang=True)
    page.click("#trial")
    page.click("#trial")

    recorder.wait_for("cta_click", 2)
    assert [len(post.events) for post in recorder.posts] == [1, 1, 1]


def test_a_tab_closed_at_once_loses_nothing(page: Page, recorder: Recorder) -> None:
    """All six connections to the collector are busy until the page is gone: only keepalive can carry the click."""
    door = recorder.url("/e", "foreign.test")
    open_listing(page, recorder, endpoint=door)
    recorder.fault(hang=True, times=6)
    page.evaluate(
        "(door) => { for (let n = 0; n < 6; n++) fetch(door, {method: 'POST', credentials: 'include'}) }", door
    )
    recorder.wait_until(lambda: len(recorder.posts) == 7)
    page.click("#trial")
    page.close()

    recorder.wait_for("cta_click")


# failing, and trying again


def test_a_refusal_for_now_is_tried_again_under_the_same_id(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    recorder.fault(status=503)
    page.click("#trial")

    recorder.wait_for("cta_click")
    _, refused, taken = [json.loads(post.body) for post in recorder.posts]
    assert refused["events"] == taken["events"]
    assert refused["sentAt"] < taken["sentAt"]


def test_waits_grow_from_try_to_try(page: Page, recorder: Recorder) -> None:
    page.add_init_script(WAITS)
    open_listing(page, recorder)
    recorder.fault(status=500, times=2)
    page.click("#trial")
    recorder.wait_for("cta_click")

    assert len(recorder.posts) == 4
    first, second = page.evaluate("waits")
    assert 600 <= first < 1_010
    assert 1.4 * first < second < 2.6 * first


def test_retry_after_is_honoured_by_clicks_too(page: Page, recorder: Recorder) -> None:
    page.add_init_script(HELD)
    open_listing(page, recorder, src=recorder.url("/js/footfall.js", "collect.test"))
    recorder.fault(status=503, retry_after=2)
    page.click("#trial")
    page.wait_for_function("waits.length")
    page.click("#trial")
    page.wait_for_function("Date.now() > due")
    page.evaluate("held.forEach((go_on) => go_on())")

    recorder.wait_for("cta_click", 2)
    assert len(recorder.posts) == 3
    assert recorder.posts[2].received - recorder.posts[1].received > 1.9
    assert page.evaluate("waits") == [2_009]


@pytest.mark.parametrize("status", [408, 429])
def test_too_slow_and_too_much_are_tried_again(page: Page, recorder: Recorder, status: int) -> None:
    open_listing(page, recorder)
    recorder.fault(status=status)
    page.click("#trial")

    recorder.wait_for("cta_click")


def test_a_refusal_for_good_is_not_tried_again(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    recorder.fault(status=400)
    page.click("#trial")
    recorder.wait_until(lambda: len(recorder.posts) == 2)
    page.wait_for_function("!Object.keys(localStorage).length")
    page.click("body")

    assert len(recorder.posts) == 2
    assert recorder.named("cta_click") == []


def test_a_collector_that_is_started_again_gets_what_happened_meanwhile(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    recorder.stop_listening()
    for _ in range(5):
        page.click("#trial")
    recorder.start_listening()

    recorder.wait_for("cta_click", 5)


def test_a_connection_that_breaks_is_tried_again(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    recorder.fault(reset=True, times=3)  # the browser itself tries a reset connection once more
    page.click("#trial")

    recorder.wait_for("cta_click")


def test_what_happens_offline_is_sent_when_the_network_is_back(page: Page, recorder: Recorder) -> None:
    """At once: whoever waited would wait for ever."""
    page.add_init_script(NOBODY_WAITS)
    open_listing(page, recorder)
    page.context.set_offline(True)
    for _ in range(5):
        page.click("#trial")
    assert len(stored(page)) == 5

    page.context.set_offline(False)

    recorder.wait_for("cta_click", 5)


def test_the_next_page_sends_what_this_one_could_not(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    recorder.stop_listening()
    page.click("#trial")
    [message_id] = stored(page)
    recorder.start_listening()
    page.reload()

    assert recorder.wait_for("cta_click")[0]["messageId"] == message_id
    page.wait_for_function("!Object.keys(localStorage).length")


def test_an_answer_that_reached_nobody_makes_the_next_page_send_again(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, LINK)
    recorder.fault(hang=True)
    page.click("a")
    page.wait_for_url("**/elsewhere")
    page.goto(recorder.listing())
    recorder.wait_for("page_view", 2)

    recorder.wait_for("cta_click")
    recorder.wait_until(lambda: sum("cta_click" in post.body for post in recorder.posts) == 2)


def test_a_page_from_the_back_forward_cache_waits_for_no_old_answers(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    page.evaluate("window.isTheSamePage = true")
    recorder.fault(hang=True)
    page.click("#trial")
    recorder.wait_for("cta_click")
    page.goto(recorder.url("/elsewhere"))
    page.evaluate("history.back()")

    recorder.wait_until(lambda: sum("cta_click" in post.body for post in recorder.posts) == 2)
    assert page.evaluate("window.isTheSamePage")


def test_what_waits_goes_together_in_small_bodies(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    page.context.set_offline(True)
    for _ in range(30):
        page.evaluate("footfall('user', 'x'.repeat(400))")
        page.click("#trial")
    page.context.set_offline(False)

    recorder.wait_for("cta_click", 30)
    later = recorder.posts[1:]
    assert 3 <= len(later) <= 8
    assert all(len(post.body) <= 8_100 for post in later)
    for post in later:
        ids = [event["messageId"] for event in json.loads(post.body)["events"]]
        assert ids == sorted(ids)


def test_the_outbox_keeps_the_newest_two_hundred(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, app="x", path="/a")
    page.context.set_offline(True)
    page.evaluate("for (let n = 100; n < 310; n++) history.pushState({}, '', '?n=' + n)")
    page.wait_for_function("Object.values(localStorage).some((text) => text.includes('?n=309'))")
    page.click("#trial")

    kept = page.evaluate("Object.values(localStorage).map((text) => JSON.parse(text).url.slice(-3)).sort()")
    assert len(kept) == 200
    assert set(kept) > {str(number) for number in range(150, 310)}  # order within a millisecond is not promised


def middle_of(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_two_tabs_do_not_overwrite_each_other(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder)
    other = page.context.new_page()
    other.goto(recorder.listing(CTA))
    recorder.wait_for("page_view", 2)
    page.wait_for_function("!Object.keys(localStorage).length")
    page.context.set_offline(True)
    for _ in range(3):
        page.click("#trial")
        other.click("#trial")
    # tabs of two processes see each other's writes a moment later
    page.wait_for_function("Object.keys(localStorage).length === 6")
    other.wait_for_function("Object.keys(localStorage).length === 6")

    page.context.set_offline(False)

    recorder.wait_for("cta_click", 6)


def test_a_policy_that_only_reports_forbids_nothing(page: Page, recorder: Recorder) -> None:
    recorder.listing(CTA)
    policy = {"Content-Security-Policy-Report-Only": "default-src 'none'; script-src 'self'"}
    recorder.pages["/watched"] = (recorder.pages["/apps/1/example"][0], policy)
    page.goto(recorder.url("/watched"))
    recorder.wait_for("page_view")
    page.click("#trial")

    recorder.wait_for("cta_click")


# a killed browser


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "profile"
    kill_browser(tmp_path / "profile")


def kill_browser(profile: Path) -> None:
    """SIGKILL to each process that was started with this profile, which nobody else has, and to their children."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"--user-data-dir={profile}".encode() in (entry / "cmdline").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue


def test_a_click_that_is_written_down_survives_a_killed_browser(
    playwright: Playwright, recorder: Recorder, profile: Path
) -> None:
    url = recorder.listing(CTA)
    context = playwright.chromium.launch_persistent_context(str(profile), **launch_options())
    page = context.new_page()
    page.goto(url)
    recorder.wait_for("page_view")
    recorder.wait_until(lambda: logged(page) == 0)
    x, y = middle_of(page, "#trial")
    recorder.stop_listening()
    page.mouse.click(x, y)
    recorder.wait_until(lambda: logged(page) == 1)
    kill_browser(profile)
    with pytest.raises(Error):
        page.evaluate("1")
    recorder.start_listening()

    context = playwright.chromium.launch_persistent_context(str(profile), **launch_options())
    context.new_page().goto(url)

    [click] = recorder.wait_for("cta_click")
    assert click["label"] == "Start Free Trial"
    context.close()
