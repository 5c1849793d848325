"""What holds for every page of the portal, in every state that portal_tour.py lists: it can be used by everybody, keeps
to its own policy, is no wider than a phone, needs no script, and is small.

axe-core, which looks for what shuts people out, is vendored: the newest release is in no package of the index.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
from playwright.sync_api import ConsoleMessage, Page, Response, ViewportSize, expect
from portal_tour import STOPS, VISITS, Stop, Tour, Visitors, page_of, unvisited

from collector.portal.pages import PAGES

AXE = Path(__file__).parent / "vendor" / "axe-core-4.14.1.min.js"
AXE_HASH = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
MOST_BYTES = 60_000  # of a page with its style sheets and scripts, as they are sent
PAPER: ViewportSize = {"width": 718, "height": 1050}  # A4 within margins of a centimetre
OF_LAYOUT = ("color-contrast", "scrollable-region-focusable", "target-size")  # which answer otherwise on a phone
WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}

every_stop = pytest.mark.parametrize("stop", [stop for stop in STOPS if stop.is_page], ids=lambda stop: stop.name)
every_visit = pytest.mark.parametrize(
    ("stop", "state"), [pytest.param(*visit, id=f"{visit[0].name}-{visit[1]}") for visit in VISITS]
)


def test_every_page_has_a_way_to_it_and_a_picture_of_its_own_name() -> None:
    assert unvisited() == set()
    assert {stop.page for stop in STOPS} <= {page.path for page in PAGES if page.method == "GET"}
    names = [stop.name for stop in STOPS]
    assert len(names) == len(set(names))


def test_who_may_open_a_page_looks_at_it() -> None:
    roles = {"operator": "operator", "owner": "owner", "secured": "owner", "newcomer": "owner", "nobody": None}
    for stop in STOPS:
        access = page_of(stop).access
        for who in stop.who:
            assert (access is None) == (who == "nobody"), stop.name
            assert access is None or roles[who] in access, stop.name


def test_every_stop_is_there_in_its_states(tours: dict[str, Tour]) -> None:
    for stop in STOPS:
        for state in stop.states:
            assert tours[state].address(stop).startswith(tours[state].collector.url)


def test_what_looks_for_barriers_is_the_release_that_its_makers_published() -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_HASH


class Complaints:
    """What a browser says against a page: in its console, of its own policy, or of what could not be loaded."""

    def __init__(self, page: Page) -> None:
        self.said: list[str] = []
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective}`))"
        )
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(message.text)

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.said.append(f"{response.status} {response.url}")


def barriers(page: Page, *rules: str) -> list[str]:
    """What axe-core finds on the page as it stands: by all its rules, or by those that are named."""
    options: dict[str, Any] = {"resultTypes": ["violations"], "elementRef": False}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found: list[dict[str, Any]] = page.evaluate(
        "async (options) => (await axe.run(document, options)).violations", options
    )
    return [f"{each['id']}: {node['html'][:200]} {node['failureSummary']}" for each in found for node in each["nodes"]]


@every_visit
def test_a_page_shuts_nobody_out_is_no_wider_than_a_phone_and_prints_whole(
    tours: dict[str, Tour], watched: Callable[..., tuple[Page, Complaints]], stop: Stop, state: str
) -> None:
    for who in looking(stop, state):
        page, complaints = watched(tours[state], who)
        address = tours[state].address(stop)
        page.set_viewport_size(WIDE)
        page.emulate_media(media="screen", color_scheme="light")
        answer = page.goto(address)
        assert answer is not None
        assert (answer.status, page.url) == (200, address)
        assert page.evaluate(OUT_OF_SIGHT) == [], who
        found = barriers(page)
        page.evaluate(MARK_SHOWN)
        page.set_viewport_size(NARROW)
        page.emulate_media(color_scheme="dark")
        found += barriers(page, *OF_LAYOUT)
        assert page.evaluate(NEWLY_SHOWN) == [], "all rules have to be asked of it"
        assert found == [], who
        if (who, state) == (stop.who[0], stop.states[0]):
            assert_prints(page)
        assert max(page.evaluate(WIDTHS)) <= NARROW["width"], who
        assert complaints.said == [], who


def assert_prints(page: Page) -> None:
    """Whole, in light though the screen is dark, and without its navigation. Leaves the page as it was on a phone."""
    page.set_viewport_size(PAPER)
    page.emulate_media(media="print")
    assert page.evaluate(CUT_OFF) == []
    expect(page.locator("nav:visible, button:visible, summary.button:visible, a.button:visible")).to_have_count(0)
    assert barriers(page, "color-contrast") == []
    page.set_viewport_size(NARROW)
    page.emulate_media(media="screen")


@pytest.fixture(scope="module")
def watched(visitors: Visitors) -> Callable[..., tuple[Page, Complaints]]:
    """Somebody's page, and what their browser says against it from now on."""
    found: dict[Page, Complaints] = {}

    def watch(tour: Tour, who: str) -> tuple[Page, Complaints]:
        page = visitors.enter(tour, who, viewport=WIDE, reduced_motion="reduce")  # colours change at once
        if page not in found:
            page.add_init_script(path=AXE)
            found[page] = Complaints(page)
        found[page].said.clear()
        return page, found[page]

    return watch


def looking(stop: Stop, state: str) -> tuple[str, ...]:
    """Everybody who looks at a stop; of one that is empty, the first of them."""
    return stop.who if state == "full" or "full" not in stop.states else stop.who[:1]


# What a page shows only when it is narrow would have been passed over by most rules.
# Known by itself or by what it says, because a page that follows along puts the same in again.
MARK_SHOWN = """() => {
  const shown = [...document.body.querySelectorAll('*')].filter((one) => one.checkVisibility());
  window.wereShown = new Set(shown.flatMap((one) => [one, one.outerHTML]));
}"""
NEWLY_SHOWN = """() => [...document.body.querySelectorAll('*')]
  .filter((one) => one.checkVisibility() && !one.closest('[aria-hidden=true]'))
  .filter((one) => !window.wereShown.has(one) && !window.wereShown.has(one.outerHTML))
  .map((one) => one.outerHTML.slice(0, 200))"""
CUT_OFF = """() => [document.documentElement, ...document.querySelectorAll('.table-box, pre')]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => `${one.className} ${one.scrollWidth}`)"""
OUT_OF_SIGHT = """() => [...document.querySelectorAll('nav')]
  .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => `${one.ariaLabel} ${one.scrollWidth}`)"""
WIDTHS = """() => [null, ...document.querySelectorAll('details')].map((one) => {
  for (const other of document.querySelectorAll('details')) other.open = other === one || other.contains(one);
  return document.documentElement.scrollWidth;
})"""
FORMS = """() => [...document.forms].map((form) => ({
  action: new URL(form.getAttribute('action') ?? '', location).pathname,
  method: (form.getAttribute('method') ?? 'get').toUpperCase(),
  sends: [...form.elements].some((one) => one.type === 'submit' && !one.disabled && one.checkVisibility()),
}))"""
NEEDING = """() => [...document.querySelectorAll('button, [role=button], [role=tab], a:not([href]), [onclick]')]
  .filter((one) => one.checkVisibility() && !(one.type === 'submit' && one.form) && !one.closest('summary'))
  .map((one) => one.outerHTML)"""


@every_visit
def test_a_page_needs_no_script(tours: dict[str, Tour], visitors: Visitors, stop: Stop, state: str) -> None:
    """Every form has a button that sends it to a page that there is, and nothing is shown that only a script could
    answer to."""
    for who in looking(stop, state):
        page = visitors.enter(tours[state], who, viewport=WIDE, java_script_enabled=False)
        page.goto(tours[state].address(stop))
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate(NEEDING) == []
        for form in page.evaluate(FORMS):
            assert form["sends"], form
            assert is_there(form["method"], form["action"]), form


def is_there(method: str, path: str) -> bool:
    return any(page.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", page.path), path) for page in PAGES)


@every_stop
def test_a_page_is_small(tours: dict[str, Tour], stop: Stop) -> None:
    """With its style sheets and scripts, as a browser gets them."""
    tour = tours["full" if "full" in stop.states else "empty"]
    address = tour.address(stop)
    for who in stop.who:
        cookies = {} if who == "nobody" else {"footfall": tour.cookie(who)}
        with httpx2.Client(trust_env=False, cookies=cookies, headers=AS_A_BROWSER) as client:
            sizes = {address: sent(client, address)}
            html = client.get(address).text
            for path in re.findall(r'<(?:link rel="stylesheet"|script)[^>]*? (?:href|src)="([^"]+)"', html):
                sizes[path] = sent(client, urljoin(address, path))
        assert len(sizes) > 3
        assert sum(sizes.values()) < MOST_BYTES, sizes


AS_A_BROWSER = {"Accept-Encoding": "gzip, deflate, br, zstd", "Sec-Fetch-Site": "same-origin"}


def sent(client: httpx2.Client, address: str) -> int:
    """How many bytes of an answer came over the wire, which has to be packed."""
    with client.stream("GET", address) as answer:
        size = sum(len(part) for part in answer.iter_raw())
        assert answer.status_code == 200
        assert answer.headers["content-encoding"] == "br", urlsplit(address).path
        assert "Accept-Encoding" in answer.headers["vary"]
    return size
