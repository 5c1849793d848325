"""Pages that break things: the snippet goes on as well as it can, and the page never notices it."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page
from recorder import Recorder

CTA = '<button data-footfall-cta="Start Free Trial" id="trial">Try</button>'
THROWS = "get() { throw new DOMException('no', 'SecurityError'); }"


@pytest.fixture(autouse=True)
def errors(page: Page) -> Iterator[list[str]]:
    """No error of the page, and no rejection that nobody handled, in any test here."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield errors
    assert errors == []


def see_and_click(page: Page, recorder: Recorder, **listing: Any) -> dict[str, Any]:
    page.goto(recorder.listing(CTA, **listing))
    recorder.wait_for("page_view")
    page.click("#trial")
    return recorder.wait_for("cta_click")[0]


@pytest.mark.parametrize(
    "hostile",
    [
        f"Object.defineProperty(window, 'localStorage', {{{THROWS}}})",
        "Object.defineProperty(window, 'localStorage', {value: null})",
        "Storage.prototype.setItem = () => { throw new Error('full') }",
        f"Object.defineProperty(window, 'indexedDB', {{{THROWS}}})",
        "Object.defineProperty(window, 'indexedDB', {value: undefined})",
        "IDBDatabase.prototype.transaction = () => { throw new Error('no') }",
        "Array.prototype.toJSON = function () { return 'broken' }",
        "Date.prototype.toJSON = () => 'broken'",
        "String.prototype.toJSON = () => 'broken'",
        "window.MutationObserver = undefined",
        "navigator.sendBeacon = undefined",
        "window.footfall = 5",
        "Object.defineProperty(window, 'footfall', {value: 'theirs', writable: false})",
        "window.requestIdleCallback = window.structuredClone = undefined",
    ],
)
def test_a_page_that_breaks_something_is_counted_all_the_same(page: Page, recorder: Recorder, hostile: str) -> None:
    page.add_init_script(hostile)

    click = see_and_click(page, recorder)

    assert click["anonymousId"] == recorder.named("page_view")[0]["anonymousId"]


def test_a_visitor_without_cookies_is_one_visitor_for_a_page(page: Page, recorder: Recorder) -> None:
    page.add_init_script(
        f"Object.defineProperty(Document.prototype, 'cookie', {{{THROWS}, set() {{ throw new Error }}}})"
    )

    click = see_and_click(page, recorder)

    assert click["anonymousId"] == recorder.named("page_view")[0]["anonymousId"]


def test_a_full_storage_loses_nothing_of_this_page(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing(CTA, head="<script>try { localStorage.x = 'x'.repeat(5242878) } catch {}</script>"))
    recorder.wait_for("page_view")
    recorder.fault(status=503, times=1)
    page.click("#trial")
    page.click("#trial")

    recorder.wait_for("cta_click", 2)


@pytest.mark.parametrize(
    "replaced",
    [
        "window.fetch = () => { throw new Error('theirs') }",
        "window.fetch = () => undefined",
        "JSON.stringify = () => 'theirs'",
        "navigator.sendBeacon = () => { throw new Error('theirs') }",
        "for (const name of ['push', 'sort', 'map', 'join']) Object.freeze(Array.prototype[name])",
    ],
)
def test_what_the_page_replaces_later_does_not_matter(page: Page, recorder: Recorder, replaced: str) -> None:
    page.goto(recorder.listing(CTA))
    recorder.wait_for("page_view")
    page.evaluate(f"() => {{ {replaced} }}")
    page.click("#trial")

    recorder.wait_for("cta_click")


@pytest.mark.parametrize("fetch", ["undefined", "() => { throw new Error('no') }", "() => undefined"])
def test_without_a_fetch_that_works_beacons_go(page: Page, recorder: Recorder, fetch: str) -> None:
    page.add_init_script(f"window.fetch = {fetch}")
    page.goto(recorder.listing(CTA))

    recorder.wait_for("page_view")
    assert recorder.posts[0].headers["content-type"] == "text/plain;charset=UTF-8"


@pytest.mark.parametrize(
    "element",
    [
        '<div id="footfall"></div>',
        '<form id="footfall"><input name="q"></form>',
        '<iframe name="footfall"></iframe>',
        '<a id="navigation"></a><a id="origin"></a>',
    ],
)
def test_elements_with_our_names_do_not_matter(page: Page, recorder: Recorder, element: str) -> None:
    page.goto(recorder.listing(element + CTA, src="/js/footfall.js?late"))
    recorder.wait_for("page_view")
    page.click("#trial")

    recorder.wait_for("cta_click")


@pytest.mark.parametrize(
    "tag",
    [
        '<script async src="/js/footfall.js"></script>',
        '<script async src="/js/footfall.js" data-app=""></script>',
        '<script type="module" src="/js/footfall.js" data-app="x"></script>',
    ],
)
def test_a_tag_that_names_no_app_does_nothing(page: Page, recorder: Recorder, tag: str) -> None:
    page.goto(recorder.page("/", tag), wait_until="load")
    page.wait_for_timeout(50)

    assert recorder.posts == []
    assert page.evaluate("[document.cookie, localStorage.length, typeof footfall]") == ["", 0, "undefined"]


def test_nonsense_calls_do_nothing(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing(CTA))
    recorder.wait_for("page_view")
    page.evaluate("footfall(); footfall('consent'); footfall('nonsense', 1); footfall('click'); footfall({}, [])")
    page.click("#trial")

    recorder.wait_for("cta_click")


def test_a_strict_policy_and_trusted_types_need_no_exception(page: Page, recorder: Recorder) -> None:
    policy = (
        "default-src 'none'; script-src http://collect.test:*; connect-src http://collect.test:*;"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    )
    recorder.listing(CTA, src=recorder.url("/js/footfall.js", "collect.test"))
    html, _ = recorder.pages["/apps/1/example"]
    page.goto(recorder.page("/strict", html, {"Content-Security-Policy": policy}))
    page.click("#trial")

    recorder.wait_for("cta_click")


def test_only_the_collector_is_contacted(page: Page, recorder: Recorder) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    see_and_click(page, recorder)

    assert set(asked) == {recorder.url("/apps/1/example"), recorder.url("/js/footfall.js"), recorder.url("/e")}


def test_the_page_keeps_its_globals(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.page("/bare", ""))
    before = set(page.evaluate("Object.getOwnPropertyNames(window)"))
    see_and_click(page, recorder)

    assert set(page.evaluate("Object.getOwnPropertyNames(window)")) - before - {"trial"} == {"footfall"}


def test_nothing_on_the_page_moves(page: Page, recorder: Recorder) -> None:
    page.add_init_script("""
        window.moved = [];
        const note = (list) => moved.push(...list.getEntries().map((entry) => entry.value));
        new PerformanceObserver(note).observe({type: 'layout-shift', buffered: true});
    """)
    see_and_click(page, recorder)
    page.evaluate("history.pushState({}, '', '?tab=reviews')")
    recorder.wait_for("page_view", 2)
    assert page.evaluate("moved") == []

    page.evaluate("document.body.prepend(Object.assign(document.createElement('p'), {style: 'height: 300px'}))")
    page.wait_for_function("moved.length")


@pytest.mark.parametrize("older", ["", "Object.defineProperty(window, 'navigation', {value: undefined})"])
def test_the_pages_history_is_its_own(page: Page, recorder: Recorder, older: str) -> None:
    page.add_init_script(older)
    page.add_init_script("window.own = [history.pushState, history.replaceState]")
    page.goto(recorder.listing(CTA))
    recorder.wait_for("page_view")

    assert page.evaluate("[history.pushState, history.replaceState].every((method, at) => method === own[at])")


def test_no_listener_keeps_the_page_out_of_the_back_forward_cache(page: Page, recorder: Recorder) -> None:
    page.add_init_script("""
        window.types = [];
        const add = EventTarget.prototype.addEventListener;
        EventTarget.prototype.addEventListener = function (type, ...rest) {
          types.push(type);
          return add.call(this, type, ...rest);
        };
    """)
    see_and_click(page, recorder)

    assert not {"unload", "beforeunload"} & set(page.evaluate("types"))


def test_what_others_keep_under_our_name_is_left_alone(page: Page, recorder: Recorder) -> None:
    theirs = {"footfall.consent": "yes", "footfall": "1", "footfall.": "2"}
    page.goto(recorder.page("/bare", ""))
    page.evaluate("(theirs) => Object.assign(localStorage, theirs)", theirs)
    see_and_click(page, recorder)
    page.evaluate("footfall('optout')")

    assert page.evaluate("({...localStorage})") == theirs
