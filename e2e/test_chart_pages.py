"""Charts in a real browser, under the portal's own policy: read off with the pointer, and whole without a script."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import brotli
import jinja2
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from processes import wait_until

from collector.assets import TEMPLATES, load_static
from collector.portal import frame
from collector.portal.charts import sankey, series
from collector.portal.charts.flows import Flow, Stop

PAGE = """
{% extends "portal/_layout.html" %}
{% import "portal/_charts.html" as charts %}
{% block head %}{{ super() }}{{ charts.head(live=true) }}{% endblock %}
{% block content %}{{ charts.time_series(days, level=2) }}{{ charts.sankey(ways, level=2) }}{% endblock %}
"""
BUDGET = 60_000  # bytes of a page with all that it loads, by brotli


def rendered() -> bytes:
    """A month that is not over, beside the one before, and ways through four steps."""
    points = [series.Point(f"{day} Nov", f"2026-11-{day:02}", 1000 + 37 * day, 900 + 41 * day) for day in range(1, 31)]
    days = series.time_series(
        "Visitors per day", [series.Series("Visitors", "visitors", points, 40_000, 30_000)], "October", partial=True
    )
    stops = [Stop(f"Stop {nth}", "tab", f"?stop={nth}") for nth in range(6)]
    flows = [Flow(nth, a, b, 7) for nth in range(3) for a in stops for b in stops]
    files = {"page.html": PAGE}
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.DictLoader(files), jinja2.FileSystemLoader(TEMPLATES)]), autoescape=True
    )
    environment.filters |= frame.FILTERS
    values = {"days": days, "ways": sankey.sankey("Ways", flows), "who": None, "here": "/"}
    return environment.get_template("page.html").render(values).encode()


class Answer(BaseHTTPRequestHandler):
    """The page with the headers of every page of the portal, and the static files."""

    def do_GET(self) -> None:
        asset = load_static().get(self.path)
        headers = dict(frame.HEADERS) | {"Content-Type": "text/html; charset=utf-8"}
        if asset is not None:
            headers = {name.decode(): value.decode() for name, value in asset.headers}
        body = rendered() if asset is None else asset.body
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def complaints_of(page: Page) -> list[str]:
    """What the console will complain about: refusals of the policy, too."""
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_line_is_read_off_with_the_pointer(
    url: str, new_context: Callable[..., BrowserContext], width: int, scheme: str
) -> None:
    page = new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
    complaints = complaints_of(page)
    page.goto(url)
    expect(page.locator(".uplot canvas")).to_have_count(1)
    over = page.locator(".u-over").bounding_box()
    assert over is not None
    for share, day in ((0.0, 1), (15 / 29, 16), (1.0, 30)):
        page.mouse.move(over["x"] + share * (over["width"] - 1) + 0.5, over["y"] + over["height"] / 2)
        reading = page.locator(".chart-reading")
        expect(reading).to_be_visible()
        expect(reading).to_contain_text(f"{day} Nov")
        told = page.locator(".chart-data tbody tr").nth(day - 1).locator("td").first.text_content()
        expect(reading).to_contain_text(str(told))
        box = reading.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert complaints == []


def test_a_line_follows_its_window_and_the_light(url: str, page: Page) -> None:
    complaints = complaints_of(page)
    page.emulate_media(color_scheme="light")
    page.goto(url)
    expect(page.locator(".uplot canvas")).to_have_count(1)
    light = page.evaluate(COLOURS)
    page.emulate_media(color_scheme="dark")
    wait_until(lambda: page.evaluate(COLOURS) != light, "the line in another colour")
    page.set_viewport_size({"width": 700, "height": 800})
    fits = f"Math.abs(({WIDTH})('.uplot') - ({WIDTH})('.chart-live')) <= 1"  # which the policy lets no page ask itself
    wait_until(lambda: page.evaluate(fits), "a line as wide as its window")
    expect(page.locator(".uplot canvas")).to_have_count(1)
    assert [said for said in complaints if "getImageData" not in said] == []  # that is how we look


WIDTH = "selector => document.querySelector(selector).clientWidth"
# The colour of the first opaque pixel of the line.
COLOURS = """(() => {
  const canvas = document.querySelector('.uplot canvas');
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  for (let at = 3; at < data.length; at += 4) if (data[at] === 255) return data.slice(at - 3, at).join();
  return '';
})()"""


def test_without_a_script_the_picture_is_the_servers(url: str, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(java_script_enabled=False).new_page()
    complaints = complaints_of(page)
    page.goto(url)
    expect(page.locator("canvas")).to_have_count(0)
    expect(page.get_by_role("img", name="Visitors per day")).to_be_visible()
    expect(page.locator(".chart-lines .chart-line")).to_be_visible()
    page.get_by_text("Show data").first.click()
    expect(page.get_by_role("cell", name="1\u202f037")).to_be_visible()
    assert complaints == []


def test_a_page_with_charts_is_light_to_load() -> None:
    names = (
        "css/tokens.css",
        "css/house.css",
        "css/portal.css",
        "css/portal-app.css",
        "css/charts.css",
        "css/mark.svg",
    )
    names += ("js/portal.js", "js/charts.js", "vendor/uplot/uPlot.min.css", "vendor/uplot/uPlot.iife.min.js")
    bodies = [rendered(), *(load_static()[f"/static/{name}"].body for name in names)]
    assert sum(len(brotli.compress(body)) for body in bodies) <= BUDGET
