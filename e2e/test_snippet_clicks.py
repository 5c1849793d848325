"""Clicks on tabs and calls to action: every way a person has, once each, and nothing that no person did."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page
from recorder import Recorder

TABLIST = """
<div role="tablist">
  <{0} role="tab" id="overview" tabindex="0" aria-selected="true">Overview</{0}>
  <{0} role="tab" id="reviews" tabindex="0" aria-selected="false">Reviews</{0}>
  <{0} role="tab" id="support" tabindex="0" aria-selected="false">Support</{0}>
</div>
<script>
  const tabs = [...document.querySelectorAll('[role=tab]')];
  const select = (tab) => tabs.forEach((other) => other.setAttribute('aria-selected', other === tab));
</script>
"""
SELECT_ON_CLICK = "<script>tabs.forEach((tab) => tab.onclick = () => select(tab))</script>"
SELECT_ON_ENTER_AND_SPACE = """
<script>
  tabs.forEach((tab) => tab.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' || event.key === ' ') select(tab);
  }));
</script>
"""
SELECT_ON_ARROWS = """
<script>
  document.querySelector('[role=tablist]').addEventListener('keydown', (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    const tab = tabs[tabs.indexOf(document.activeElement) + step];
    if (tab) { tab.focus(); select(tab); }
  });
</script>
"""
CTA = '<button data-footfall-cta="Start Free Trial" id="trial">Try</button>'


def labels(recorder: Recorder, name: str) -> list[str]:
    return [event["label"] for event in recorder.named(name)]


def open_listing(page: Page, recorder: Recorder, body: str) -> None:
    page.goto(recorder.listing(body + '<button data-footfall-cta="the end" id="end">End</button>'))
    recorder.wait_for("page_view")


def assert_tabs(page: Page, recorder: Recorder, expected: list[str]) -> None:
    """Nothing more can come: one last click is waited for, behind everything before it."""
    page.click("#end")
    recorder.wait_until(lambda: "the end" in labels(recorder, "cta_click"))
    assert labels(recorder, "tab_click") == expected


def assert_ctas(page: Page, recorder: Recorder, expected: list[str]) -> None:
    page.click("#end")
    recorder.wait_until(lambda: "the end" in labels(recorder, "cta_click"))
    assert labels(recorder, "cta_click") == [*expected, "the end"]


# tabs


def test_a_tab_is_named_by_its_text_and_known_by_its_attribute(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, '<a data-footfall-tab="reviews" id="t1">  Reviews \n <b>(12)</b></a>')
    page.click("a")

    [click] = recorder.wait_for("tab_click")

    assert (click["label"], click["target"]) == ("Reviews (12)", "reviews")
    assert click["url"] == recorder.url("/apps/1/example")


def test_a_tab_has_a_label_and_an_id(page: Page, recorder: Recorder) -> None:
    tabs = [
        ('<button role="tab" id="reviews-tab">Reviews</button>', "Reviews", "reviews-tab"),
        ('<button role="tab">Privacy &amp; Security</button>', "Privacy & Security", ""),
        ('<button role="tab">Über uns</button>', "Über uns", ""),
        ('<button role="tab" aria-label="Reviews">★★★</button>', "Reviews", ""),
        (f'<button role="tab" id="long">{"😀" * 300}</button>', "😀" * 200, "long"),
    ]
    open_listing(page, recorder, "".join(f"<p>{tab}</p>" for tab, _, _ in tabs))
    for tab in page.locator("[role=tab]").all():
        tab.click()

    clicks = recorder.wait_for("tab_click", len(tabs))

    assert [(click["label"], click["target"]) for click in clicks] == [(label, target) for _, label, target in tabs]


def test_a_tab_that_changes_the_address_is_one_click_and_one_view(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, """<a role="tab" onclick="history.pushState({}, '', '?tab=reviews')">Reviews</a>""")
    page.click("a")

    [click] = recorder.wait_for("tab_click")
    views = recorder.wait_for("page_view", 2)

    assert click["url"] == views[0]["url"]
    assert views[1]["url"].endswith("?tab=reviews")


@pytest.mark.parametrize("element", ["button", "div", "a"])
def test_a_tab_clicked_with_the_mouse_counts_once(page: Page, recorder: Recorder, element: str) -> None:
    open_listing(page, recorder, TABLIST.format(element) + SELECT_ON_CLICK)
    page.click("#reviews")
    page.click("#support")

    assert_tabs(page, recorder, ["Reviews", "Support"])


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_button_as_tab_counts_once_by_key(page: Page, recorder: Recorder, key: str) -> None:
    open_listing(page, recorder, TABLIST.format("button") + SELECT_ON_CLICK)
    page.focus("#reviews")
    page.keyboard.press(key)

    assert_tabs(page, recorder, ["Reviews"])


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_button_that_is_selected_by_the_key_and_then_clicked_by_the_browser_counts_once(
    page: Page, recorder: Recorder, key: str
) -> None:
    open_listing(page, recorder, TABLIST.format("button") + SELECT_ON_CLICK + SELECT_ON_ENTER_AND_SPACE)
    page.focus("#reviews")
    page.keyboard.press(key, delay=50)

    assert_tabs(page, recorder, ["Reviews"])


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_a_div_as_tab_counts_once_by_key(page: Page, recorder: Recorder, key: str) -> None:
    open_listing(page, recorder, TABLIST.format("div") + SELECT_ON_CLICK + SELECT_ON_ENTER_AND_SPACE)
    page.focus("#reviews")
    page.keyboard.press(key)

    assert_tabs(page, recorder, ["Reviews"])


def test_a_div_as_tab_that_the_page_clicks_on_enter_counts_once(page: Page, recorder: Recorder) -> None:
    handler = "<script>tabs.forEach((tab) => tab.onkeydown = (e) => e.key === 'Enter' && tab.click())</script>"
    open_listing(page, recorder, TABLIST.format("div") + SELECT_ON_CLICK + handler)
    page.focus("#reviews")
    page.keyboard.press("Enter")

    assert_tabs(page, recorder, ["Reviews"])


def test_tabs_that_follow_the_arrow_keys_count_without_any_click(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, TABLIST.format("button") + SELECT_ON_ARROWS)
    page.focus("#overview")
    for key in ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"]:
        page.keyboard.press(key, delay=50)  # nobody is faster

    assert_tabs(page, recorder, ["Reviews", "Support", "Reviews"])


def test_a_tap_counts_once(new_context: Callable[..., BrowserContext], recorder: Recorder) -> None:
    page = new_context(has_touch=True).new_page()
    open_listing(page, recorder, TABLIST.format("button") + SELECT_ON_CLICK)
    page.tap("#reviews")

    assert_tabs(page, recorder, ["Reviews"])


def test_a_tab_that_the_page_selects_or_clicks_for_itself_does_not_count(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, TABLIST.format("button") + SELECT_ON_CLICK + "<input>")
    page.evaluate("select(tabs[1]); tabs[2].click()")
    page.focus("input")
    page.keyboard.press("a")
    page.evaluate("select(tabs[1]); tabs[2].click()")

    assert_tabs(page, recorder, [])


def test_a_key_held_down_is_one_activation(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, TABLIST.format("button") + SELECT_ON_CLICK)
    page.focus("#reviews")
    for _ in range(5):
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")

    assert_tabs(page, recorder, ["Reviews"])


# calls to action


def test_a_call_to_action_has_a_label_and_a_target(page: Page, recorder: Recorder) -> None:
    ctas = [
        (CTA, "Start Free Trial", "trial"),
        ('<a data-footfall-cta="" href="/buy?plan=a#x"><b>Buy</b> now</a>', "Buy now", "/buy?plan=a#x"),
        ('<a href="/buy"><span data-footfall-cta="Buy">Buy now</span></a>', "Buy", "/buy"),
        ('<form action="/order"><button data-footfall-cta="">Order</button></form>', "Order", ""),
        ('<a id="bad" data-footfall-cta="Bad" href="http://[">Bad</a>', "Bad", "http://["),
        ('<button data-footfall-cta="" aria-label="Buy it">€</button>', "Buy it", ""),
    ]
    stay = "<script>for (const type of ['click', 'submit']) addEventListener(type, (e) => e.preventDefault())</script>"
    open_listing(page, recorder, stay + "".join(f"<div>{cta}</div>" for cta, _, _ in ctas))
    for cta in page.locator("[data-footfall-cta]:not(#end)").all():
        cta.click()

    clicks = recorder.wait_for("cta_click", len(ctas))

    assert [click["label"] for click in clicks] == [label for _, label, _ in ctas]
    assert [click["target"] for click in clicks] == [target for _, _, target in ctas]


def test_a_call_to_action_without_any_words_still_counts(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, '<button data-footfall-cta="" style="width: 9px; height: 9px"></button>')
    page.click("[data-footfall-cta]:not(#end)")

    assert "label" not in recorder.wait_for("cta_click")[0]


def test_a_click_that_leaves_the_page_arrives(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, '<a data-footfall-cta="Buy" href="/buy">Buy</a>')
    page.click("a")
    page.wait_for_url("**/buy")

    assert recorder.wait_for("cta_click")[0]["target"] == "/buy"


def test_a_submitted_form_counts_once_by_its_button(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, '<form action="/order"><input><button data-footfall-cta="Order">Order</button></form>')
    page.focus("input")
    page.keyboard.press("Enter")
    page.wait_for_url("**/order?")

    recorder.wait_for("cta_click")


def test_a_link_in_a_new_tab_counts(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, '<a data-footfall-cta="Buy" href="/buy" target="_blank">Buy</a>')
    page.click("a")

    assert_ctas(page, recorder, ["Buy"])


def test_the_middle_button_counts_and_the_right_one_does_not(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, '<a data-footfall-cta="Buy" href="/buy">Buy</a>')
    page.click("a", button="right")
    page.click("a", button="middle")

    assert_ctas(page, recorder, ["Buy"])


def test_a_click_with_a_modifier_counts(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, '<a data-footfall-cta="Buy" href="/buy" onclick="event.preventDefault()">Buy</a>')
    page.click("a", modifiers=["Control"])
    page.click("a", modifiers=["Shift"])
    page.click("a", modifiers=["Alt"])
    page.click("a", modifiers=["Meta"])

    assert_ctas(page, recorder, ["Buy"] * 4)


def test_a_double_click_is_two(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, CTA)
    page.dblclick("#trial")

    assert_ctas(page, recorder, ["Start Free Trial", "Start Free Trial"])


def test_a_click_on_a_picture_deep_inside_counts(page: Page, recorder: Recorder) -> None:
    svg = '<svg width="20" height="20"><g><g><g><rect width="20" height="20"/></g></g></g></svg>'
    open_listing(page, recorder, f'<a data-footfall-cta="Buy" href="/buy">{svg}</a>')
    page.click("rect")

    assert recorder.wait_for("cta_click")[0]["target"] == "/buy"


def test_a_link_inside_a_picture_counts(page: Page, recorder: Recorder) -> None:
    link = '<a href="/buy" data-footfall-cta="Buy"><rect width="20" height="20"/></a>'
    open_listing(page, recorder, f'<svg width="20" height="20">{link}</svg>')
    page.click("rect")

    assert recorder.wait_for("cta_click")[0]["target"] == "/buy"


def test_a_click_inside_an_open_shadow_tree_counts(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, '<div id="host"></div>')
    page.evaluate(
        "document.querySelector('#host').attachShadow({mode: 'open'}).innerHTML = `"
        '<button data-footfall-cta="Shadow"><i>Buy</i></button>`'
    )
    page.click("#host i")

    assert_ctas(page, recorder, ["Shadow"])


def test_a_page_that_stops_the_click_cannot_hide_it(page: Page, recorder: Recorder) -> None:
    stop = "for (const early of [true, false]) document.addEventListener('click', (e) => e.stopPropagation(), early)"
    open_listing(page, recorder, CTA + f"<script>{stop}</script>")
    page.click("#trial")

    assert_ctas(page, recorder, ["Start Free Trial"])


def test_only_the_innermost_marked_element_counts(page: Page, recorder: Recorder) -> None:
    open_listing(
        page, recorder, '<div role="tab"><p data-footfall-cta="outer"><b data-footfall-cta="inner">x</b></p></div>'
    )
    page.click("b")

    assert_ctas(page, recorder, ["inner"])
    assert recorder.named("tab_click") == []


def test_an_element_that_was_added_later_counts(page: Page, recorder: Recorder) -> None:
    open_listing(page, recorder, "<main></main>")
    page.evaluate("document.querySelector('main').innerHTML = '<button data-footfall-cta=Later>Later</button>'")
    page.click("main button")

    assert_ctas(page, recorder, ["Later"])


def test_a_link_of_a_single_page_application_stays_one(page: Page, recorder: Recorder) -> None:
    soft = "event.preventDefault(); history.pushState({}, '', '/soft')"
    open_listing(page, recorder, f'<a data-footfall-cta="Soft" href="/soft" onclick="{soft}">Soft</a>')
    page.evaluate("window.isTheSamePage = true")
    page.click("a")
    recorder.wait_for("cta_click")

    assert page.evaluate("window.isTheSamePage")
    assert page.url == recorder.url("/soft")


def test_a_call_to_action_in_a_form_of_clobbered_names_counts(page: Page, recorder: Recorder) -> None:
    inputs = "".join(f'<input name="{name}">' for name in ["matches", "closest", "dataset", "action"])
    open_listing(page, recorder, f"<form>{inputs}{CTA}</form>")
    page.click("#trial", no_wait_after=True)

    recorder.wait_until(lambda: labels(recorder, "cta_click") == ["Start Free Trial"])
