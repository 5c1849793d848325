"""Page views: once each, when somebody sees the page."""

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from recorder import Recorder

UNSEEN = """
    window.seen = false;
    Object.defineProperty(document, 'hidden', {get: () => !window.seen});
    window.show = (seen = true) => { window.seen = seen; document.dispatchEvent(new Event('visibilitychange')); };
"""
WITHOUT_NAVIGATION_API = "Object.defineProperty(window, 'navigation', {value: undefined});"


@pytest.fixture
def browser(whole_browser: Browser) -> Browser:
    """For contexts of these tests."""
    return whole_browser


def test_a_view_says_what_was_seen_and_by_whom(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing() + "?hosting=cloud#pricing")

    [view] = recorder.wait_for("page_view")

    assert re.fullmatch(r"0[0-9a-f]{11}7[0-9a-f]{3}[89ab][0-9a-f]{15}", view.pop("messageId"))
    assert re.fullmatch(r"[0-9a-f]{40}", view.pop("anonymousId"))
    assert abs(view.pop("occurredAt") / 1000 - time.time()) < 30
    assert view == {
        "name": "page_view",
        "app": "com.example.app",
        "url": recorder.url("/apps/1/example?hosting=cloud#pricing"),
        "referrer": "",
        "title": "Example",
        "version": "0.1.0",
    }


def test_the_id_begins_with_the_time_of_the_event(page: Page, recorder: Recorder) -> None:
    before = time.time()
    page.goto(recorder.listing())

    [view] = recorder.wait_for("page_view")

    milliseconds = int(view["messageId"].replace("-", "")[:12], 16)
    assert before * 1000 - 1 <= milliseconds <= time.time() * 1000


def test_the_page_before_is_the_referrer(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.page("/search", f'<a href="{recorder.listing()}">Example</a>'))
    page.click("a")

    [view] = recorder.wait_for("page_view")

    assert view["referrer"] == recorder.url("/search")


def test_a_query_that_changes_inside_the_page_is_another_view(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing())
    recorder.wait_for("page_view")
    page.evaluate("history.pushState({}, '', '?tab=reviews')")

    first, second = recorder.wait_for("page_view", 2)

    assert second["url"] == recorder.url("/apps/1/example?tab=reviews")
    assert second["referrer"] == first["url"]


def test_the_title_may_change_after_the_url(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing())
    recorder.wait_for("page_view")
    page.evaluate("history.pushState({}, '', '?tab=reviews'); document.title = 'Reviews'")

    assert recorder.wait_for("page_view", 2)[1]["title"] == "Reviews"


def test_two_changes_at_once_are_two_views(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing())
    recorder.wait_for("page_view")
    page.evaluate("history.pushState({}, '', '?tab=reviews'); history.replaceState({}, '', '?tab=support')")

    _, *views = recorder.wait_for("page_view", 3)
    assert {view["url"].rpartition("=")[2] for view in views} == {"reviews", "support"}


def test_neither_a_fragment_nor_a_replaced_state_is_a_view(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing())
    recorder.wait_for("page_view")
    page.evaluate("history.replaceState({}, ''); location.hash = 'pricing'; history.pushState({}, '', '#reviews')")
    page.evaluate("history.pushState({}, '', '?tab=reviews')")

    assert recorder.wait_for("page_view", 2)[1]["url"].endswith("?tab=reviews")


def test_going_back_inside_the_page_is_a_view(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing())
    page.evaluate("history.pushState({}, '', '?tab=reviews')")
    recorder.wait_for("page_view", 2)
    page.evaluate("history.back()")

    assert recorder.wait_for("page_view", 3)[2]["url"] == recorder.url("/apps/1/example")


def test_views_inside_the_page_are_seen_without_the_navigation_api(page: Page, recorder: Recorder) -> None:
    page.add_init_script(WITHOUT_NAVIGATION_API)
    page.goto(recorder.listing())
    recorder.wait_for("page_view")
    page.evaluate("history.pushState({}, '', '?tab=reviews')")
    recorder.wait_for("page_view", 2)
    page.evaluate("history.replaceState({}, '', '?tab=support')")
    recorder.wait_for("page_view", 3)
    page.evaluate("history.back()")

    assert recorder.wait_for("page_view", 4)[3]["url"] == recorder.url("/apps/1/example")


def test_an_element_named_navigation_is_not_the_navigation_api(page: Page, recorder: Recorder) -> None:
    page.add_init_script("delete window.navigation")
    page.goto(recorder.listing('<nav id="navigation"></nav>'))
    recorder.wait_for("page_view")
    page.evaluate("history.pushState({}, '', '?tab=reviews')")

    recorder.wait_for("page_view", 2)


def test_a_page_with_a_frozen_history_is_counted_and_not_disturbed(page: Page, recorder: Recorder) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(WITHOUT_NAVIGATION_API + "Object.freeze(History.prototype); Object.freeze(history);")
    page.goto(recorder.listing())
    recorder.wait_for("page_view")
    page.evaluate("history.pushState({}, '', '?tab=reviews')")

    assert errors == []


def test_a_page_in_the_background_is_counted_when_it_is_seen(page: Page, recorder: Recorder) -> None:
    page.add_init_script(UNSEEN)
    page.goto(recorder.listing(), wait_until="load")
    page.wait_for_function("window.footfall?.version")
    page.evaluate("history.pushState({}, '', '?tab=support'); history.pushState({}, '', '?tab=reviews')")
    assert recorder.events == []

    page.evaluate("show(); show(false); show()")

    assert recorder.wait_for("page_view")[0]["url"].endswith("?tab=reviews")


def test_a_page_that_was_never_seen_keeps_and_sends_nothing(page: Page, recorder: Recorder) -> None:
    page.add_init_script(UNSEEN)
    page.goto(recorder.listing() + "?partner_anonymous_id=abc")
    page.wait_for_function("window.footfall?.version")

    assert page.evaluate("[document.cookie, localStorage.length]") == ["", 0]
    assert recorder.posts == []


def test_a_page_back_from_the_back_forward_cache_is_another_view(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing())
    recorder.wait_for("page_view")
    page.wait_for_function("!Object.keys(localStorage).length")  # a page that waits for an answer may not be kept
    page.evaluate("window.isTheSamePage = true")
    page.goto(recorder.page("/elsewhere", "<title>Elsewhere</title>"))
    page.evaluate("history.back()")

    first, second = recorder.wait_for("page_view", 2)

    page.wait_for_function("window.isTheSamePage")  # otherwise the page was loaded anew and this shows nothing
    assert second["url"] == first["url"]


def test_a_script_that_is_there_twice_counts_once(page: Page, recorder: Recorder) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    twice = '<script async src="/js/footfall.js?again" data-app="com.example.app"></script>'
    page.goto(recorder.listing('<button role="tab">Reviews</button>', head=twice))
    page.click("button")
    recorder.wait_for("tab_click")

    recorder.wait_for("page_view")
    assert errors == []


def test_a_view_whose_title_is_awaited_is_kept_when_the_page_is_left(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing())
    recorder.wait_for("page_view")
    page.evaluate("history.pushState({}, '', '?tab=reviews'); location.href = '/elsewhere'")

    recorder.wait_for("page_view", 2)


def test_a_long_title_is_cut(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing(head="<script>document.title = '😀'.repeat(5000)</script>"))

    [view] = recorder.wait_for("page_view")

    assert view["title"] == "😀" * 200


def test_two_visitors_are_two(new_context: Callable[..., BrowserContext], recorder: Recorder) -> None:
    url = recorder.listing()
    for _ in range(2):
        new_context().new_page().goto(url)

    ids = {view["anonymousId"] for view in recorder.wait_for("page_view", 2)}
    assert len(ids) == 2
