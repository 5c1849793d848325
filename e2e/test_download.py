"""Numbers that somebody takes along: what a link of a page of numbers downloads is what the page shows."""

from __future__ import annotations

import csv
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect
from processes import PATIENCE_SECONDS, Cast, Footfall, Process, free_port

PASSWORD = "several words with nothing in common"  # noqa: S105 - of tests only
SITE = "https://marketplace.example"
DAY = 86_400


class Week:
    """An app that was looked at during the last week: what a page has to say of it is known."""

    visitors_by_day = (3, 0, 2, 1)  # on its last day, the day before, …
    visitors = 3  # who came on several days are the same
    page_views = 6

    def __init__(self, footfall: Footfall, cast: Cast, collector: Process) -> None:
        self.footfall, self.cast, self.collector = footfall, cast, collector
        self.app = f"{collector.url}/apps/{cast.owner_app}"
        self.began = time.time()
        self.first, self.last = self.day(6), self.day(0)
        self.overview = f"{self.app}/overview?period=custom&from={self.first}&to={self.last}"

    def day(self, ago: int) -> str:
        return time.strftime("%Y-%m-%d", time.gmtime(self.began - ago * DAY))

    def pass_by(self) -> None:
        views = [
            self.event("page_view", day, visitor)
            for day, visitors in enumerate(self.visitors_by_day)
            for visitor in range(visitors)
        ]
        clicks = [self.event("cta_click", 0, visitor, label="Start free trial") for visitor in range(2)]
        answer = self.collector.post("/e", json={"events": [*views, *clicks]}, headers={"Origin": SITE})
        assert answer.status_code == 204, answer.text
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.began))  # though a day has ended meanwhile
        install = {"app": self.cast.owner_app, "accountId": "account-1", "anonymousId": visitor_id(0)}
        install["occurredAt"] = now
        bearer = {"Authorization": f"Bearer {self.cast.token}"}
        assert self.collector.post("/api/v1/installs", json=install, headers=bearer).json()["stored"] == 1

    def event(self, name: str, days_ago: int, visitor: int, **more: str) -> dict[str, Any]:
        moment = time.gmtime(self.began - days_ago * DAY)
        return {
            "messageId": str(uuid.uuid4()),
            "name": name,
            "app": self.cast.owner_app,
            "occurredAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", moment),
            "anonymousId": visitor_id(visitor),
            "url": f"{SITE}/apps/1219125/charts",
            **more,
        }

    def sign_in(self, page: Page) -> None:
        page.goto(self.collector.url + "/sign-in")
        page.get_by_label("E-mail").fill("owner@acme.example")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(self.collector.url + "/")


def visitor_id(number: int) -> str:
    return f"{number:040x}"


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Week]:
    port = free_port()
    settings = {"FOOTFALL_PUBLIC_URL": f"http://127.0.0.1:{port}", "FOOTFALL_ALLOWED_ORIGINS": SITE}
    with Footfall(tmp_path_factory.mktemp("week") / "data", **settings) as footfall:
        cast = footfall.seed()
        who = ("user", "add", "owner@acme.example", "--partner", "owner", "--role", "owner", "--password-file", "-")
        footfall.cli(*who, stdin=PASSWORD, check=True)
        week = Week(footfall, cast, footfall.collector(port))
        week.pass_by()
        yield week


@pytest.fixture
def overview(week: Week, new_context: Any, tmp_path: Path) -> Page:
    """The overview of the week, as soon as everything is counted."""
    context: BrowserContext = new_context(accept_downloads=True)
    page = context.new_page()
    week.sign_in(page)
    page.goto(week.overview)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not page.get_by_role("row", name="Installs 1").count():
        assert time.monotonic() < deadline, page.locator("main").inner_text()
        page.reload()
    return page


def downloaded(page: Page, link: str) -> tuple[str, str]:
    """The name and the text of the file behind a link."""
    with page.expect_download() as begun:
        page.get_by_role("link", name=link, exact=True).click()
    assert begun.value.failure() is None
    return begun.value.suggested_filename, Path(begun.value.path()).read_bytes().decode("utf-8-sig")


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines(), strict=True))


def texts(cells: Locator) -> list[str]:
    return [text.strip() for text in cells.all_inner_texts()]


def test_the_csv_of_a_table_has_the_pages_numbers(overview: Page, week: Week) -> None:
    shown = overview.get_by_role("region").filter(has=overview.get_by_role("heading", name="What visitors did"))
    visitors, events = (texts(shown.locator(f"tbody td:nth-of-type({column})")) for column in (1, 2))
    name, text = downloaded(overview, "What visitors did as CSV")
    told = {row["event"]: row for row in rows(text)}
    assert [row["visitors"] or "\u2013" for row in told.values()] == visitors
    assert [row["events"] for row in told.values()] == events
    assert (told["page_view"]["visitors"], told["page_view"]["events"]) == (str(week.visitors), str(week.page_views))
    assert (told["cta_click"]["visitors"], told["install"]["visitors"]) == ("2", "1")
    assert name == f"{week.cast.owner_app}-overview-actions-{week.first}-{week.last}.csv"
    expect(overview).to_have_url(week.overview)


def test_the_csv_of_a_time_has_what_its_chart_shows(overview: Page, week: Week) -> None:
    chart = overview.locator("figure.chart").first
    begins = chart.locator("tbody time").evaluate_all("times => times.map(time => time.dateTime)")
    drawn = chart.locator("tbody td:nth-of-type(1) data").evaluate_all("cells => cells.map(cell => cell.value)")
    name, text = downloaded(overview, "Over time as CSV")
    told = rows(text)
    assert [row["visitors"] for row in told] == drawn
    assert [row["begins"][:10] for row in told] == [begin[:10] for begin in begins]
    assert tuple(int(row["visitors"]) for row in told[: -len(week.visitors_by_day) - 1 : -1]) == week.visitors_by_day
    assert (told[0]["begins"][:10], told[-1]["begins"][:10]) == (week.first, week.last)
    assert name == f"{week.cast.owner_app}-overview-{week.first}-{week.last}.csv"


def test_the_json_of_a_page_has_all_of_its_tables(overview: Page, week: Week) -> None:
    name, text = downloaded(overview, "all as JSON")
    told = json.loads(text)
    assert name == f"{week.cast.owner_app}-overview-{week.first}-{week.last}.json"
    assert (told["apps"], told["view"]["from"], told["view"]["to"]) == ([week.cast.owner_app], week.first, week.last)
    days = told["tables"]["over-time"]
    assert tuple(day["visitors"] for day in days[: -len(week.visitors_by_day) - 1 : -1]) == week.visitors_by_day
    assert sum(day["page_view"] for day in days) == week.page_views
