"""The stub: what a person does, and what a page says, before the script has arrived."""

from pathlib import Path

from playwright.sync_api import Page
from recorder import DIST, Recorder

ELEMENTS = """
<button data-footfall-cta="Start Free Trial" id="trial"><b>Try</b></button>
<button role="tab" id="reviews">Reviews</button>
<a data-footfall-cta="Buy" id="buy" href="/buy">Buy</a>
"""


def stub() -> str:
    return f"<script>{Path(DIST / 'stub.js').read_text()}</script>"


def open_before_the_script(page: Page, recorder: Recorder, head: str = "", delay: float = 0.4, **data: str) -> None:
    recorder.snippet_delay = delay
    page.goto(recorder.listing(ELEMENTS, head=stub() + head, **data), wait_until="commit")
    page.wait_for_selector("#buy")


def test_early_clicks_are_counted_with_the_time_at_which_they_happened(page: Page, recorder: Recorder) -> None:
    open_before_the_script(page, recorder)
    page.click("#trial b")
    page.click("#reviews")
    page.click("#trial", button="right")
    clicked = page.evaluate("Date.now()")

    [cta] = recorder.wait_for("cta_click")
    [tab] = recorder.wait_for("tab_click")
    [view] = recorder.wait_for("page_view")
    assert (cta["label"], tab["target"]) == ("Start Free Trial", "reviews")
    assert cta["occurredAt"] <= tab["occurredAt"] <= clicked
    assert cta["anonymousId"] == tab["anonymousId"] == view["anonymousId"]


def test_clicks_after_the_script_came_count_once(page: Page, recorder: Recorder) -> None:
    open_before_the_script(page, recorder)
    recorder.wait_for("page_view")
    page.click("#trial")
    recorder.wait_for("cta_click")
    page.goto(recorder.listing())
    recorder.wait_for("page_view", 2)

    recorder.wait_for("cta_click")


def test_an_early_click_that_leaves_the_page_is_sent_by_the_next_one(page: Page, recorder: Recorder) -> None:
    open_before_the_script(page, recorder, delay=60)
    page.click("#buy")
    page.wait_for_url("**/buy")
    assert recorder.posts == []

    recorder.snippet_delay = 0
    page.goto(recorder.listing(path="/apps/2/other", app="com.example.other", head=stub()))

    [click] = recorder.wait_for("cta_click")
    assert (click["app"], click["label"], click["target"]) == ("com.example.app", "Buy", recorder.url("/buy"))
    assert click["url"] == recorder.url("/apps/1/example")
    page.wait_for_function("!Object.keys(localStorage).length")


def test_calls_before_the_script_are_carried_out_in_their_order(page: Page, recorder: Recorder) -> None:
    calls = "<script>footfall('user', 'token'); footfall('consent', {measurement: true, sharing: true})</script>"
    open_before_the_script(page, recorder, head=calls, consent="required")

    [view] = recorder.wait_for("page_view")
    assert (view["user"], view["consent"]) == ("token", {"measurement": True, "sharing": True})


def test_a_hand_written_queue_will_do(page: Page, recorder: Recorder) -> None:
    queue = "<script>window.footfall = function () { (footfall.q = footfall.q || []).push(arguments) }</script>"
    call = "<script>footfall('user', 'token')</script>"
    page.goto(recorder.listing(ELEMENTS, head=queue + call))

    assert recorder.wait_for("page_view")[0]["user"] == "token"


def assert_nothing_is_written_down(page: Page, recorder: Recorder) -> None:
    page.click("#buy")
    page.wait_for_url("**/buy")
    assert page.evaluate("Object.keys(localStorage)") == []
    assert recorder.posts == []


def test_with_consent_required_early_clicks_stay_in_memory(page: Page, recorder: Recorder) -> None:
    open_before_the_script(page, recorder, consent="required")

    assert_nothing_is_written_down(page, recorder)


def test_a_page_that_speaks_of_consent_is_not_answered_for(page: Page, recorder: Recorder) -> None:
    open_before_the_script(page, recorder, head="<script>footfall('consent', {measurement: false})</script>")

    assert_nothing_is_written_down(page, recorder)


def test_a_visitor_who_opted_out_leaves_nothing_behind(page: Page, recorder: Recorder) -> None:
    page.context.add_cookies([{"name": "footfall_optout", "value": "1", "domain": "localhost", "path": "/"}])
    open_before_the_script(page, recorder)

    assert_nothing_is_written_down(page, recorder)


def test_a_script_that_never_comes_breaks_nothing(page: Page, recorder: Recorder) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(recorder.page("/", stub() + ELEMENTS))
    page.evaluate("footfall('optout')")
    page.click("#trial")
    page.click("#buy")
    page.wait_for_url("**/buy")

    assert errors == []


def test_the_stub_runs_under_a_policy_that_names_its_hash(
    page: Page, recorder: Recorder, snippet: dict[str, str]
) -> None:
    policy = {"Content-Security-Policy": f"script-src '{snippet['stubIntegrity']}'"}
    page.goto(recorder.page("/", stub() + ELEMENTS, policy))

    assert page.evaluate("typeof footfall") == "function"
