"""The portal by keyboard alone: everything is reached, in its order, and one sees where one is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from portal_tour import STOPS, Stop, Tour, Visitors

STOPS_OF_OWNERS = [stop for stop in STOPS if stop.is_page and "full" in stop.states]

# What Tab has to reach: of the buttons of one choice, the chosen one or the first, as browsers do it.
REACHED = """() => {
  const seen = new Set();
  const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')];
  const can = all.filter((one) => !one.disabled && one.checkVisibility({ visibilityProperty: true }));
  return can.filter((one) => {
    if (one.type !== 'radio') return true;
    const group = can.filter((other) => other.type === 'radio' && other.name === one.name);
    return one === (group.find((other) => other.checked) ?? group[0]);
  }).map((one, number) => { one.dataset.reached = number; return number; });
}"""
# Where the focus is, and whether one sees it: an outline in its place, not hidden behind anything.
FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  return {
    number: Number(one.dataset.reached ?? -1),
    scrolls: one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight,
    seen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && box.width > 0
      && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    html: one.outerHTML.slice(0, 120),
  };
}"""


@pytest.mark.parametrize("stop", STOPS_OF_OWNERS, ids=lambda stop: stop.name)
def test_tab_reaches_everything_in_its_order_and_one_sees_where(
    tours: dict[str, Tour], visitors: Visitors, stop: Stop
) -> None:
    page = opened(tours["full"], visitors, stop)
    page.evaluate("document.activeElement.blur()")
    expected: list[int] = page.evaluate(REACHED)
    reached: list[int] = []
    for _ in range(8 * len(expected)):  # a date has a field for each of its parts
        page.keyboard.press("Tab")
        focused: dict[str, Any] = page.evaluate(FOCUSED)
        if focused["number"] == -1:
            if not focused["scrolls"] or focused["html"].startswith("<body"):
                break
            continue  # the browser's own stop at what scrolls
        assert focused["seen"], focused["html"]
        if focused["number"] not in reached[-1:]:
            reached.append(focused["number"])
        if len(reached) == len(expected):
            break
    assert reached == expected


def opened(tour: Tour, visitors: Visitors, stop: Stop) -> Page:
    page = visitors.enter(tour, stop.who[-1], viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page.bring_to_front()
    page.goto(tour.address(stop))
    return page


def at(name: str) -> Stop:
    return next(stop for stop in STOPS if stop.name == name)


@pytest.mark.parametrize("name", ["apps", "live", "operator", "sign-in"])
def test_the_first_tab_skips_to_the_content(tours: dict[str, Tour], visitors: Visitors, name: str) -> None:
    page = opened(tours["full"], visitors, at(name))
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


@pytest.mark.parametrize(("name", "menu"), [("apps", "Ada Winter"), ("details", "Remove"), ("parked", "Drop all")])
def test_escape_closes_what_is_open_and_gives_the_focus_back(
    tours: dict[str, Tour], visitors: Visitors, name: str, menu: str
) -> None:
    page = opened(tours["full"], visitors, at(name))
    opener = page.locator("summary", has_text=menu).first
    opener.focus()
    page.keyboard.press("Enter")
    within = page.locator("details[open] :is(button, a)").last
    expect(within).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator("details:is(.menu, .sure)[open]")).to_have_count(0)
    expect(opener).to_be_focused()


@pytest.mark.parametrize("script", [True, False])
def test_what_is_wrong_with_a_form_has_the_focus(
    tours: dict[str, Tour], new_context: Callable[..., BrowserContext], script: bool
) -> None:
    tour = tours["full"]
    page = tour.enter(new_context, "owner", java_script_enabled=script)
    page.goto(tour.address(at("destination")))
    page.get_by_role("textbox", name="Name").fill("main")
    page.get_by_label("Segment write key").fill("two words")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page.get_by_role("alert")).to_be_in_viewport()
