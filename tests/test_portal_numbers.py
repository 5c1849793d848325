"""Pages of numbers: what they say of a few events, compared, filtered, over all apps; and who sees which."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from portal_cast import Browser, House, opened
from portal_visit import words
from rollup_cast import NOW, count, happened, store

from collector.portal.frame import Portal
from collector.portal.numbers import audiences, clicks, funnel, journeys, overview, sources, visitors
from collector.portal.numbers.counted import Counted, counted
from collector.portal.numbers.funnel import TOOK, middle
from collector.portal.numbers.page import Asked, Numbers
from collector.portal.numbers.place import Place
from collector.portal.numbers.table import Table
from collector.portal.numbers.titles import TITLES
from collector.portal.numbers.wording import bin_label, earlier_words, time_words
from collector.portal.view import MOST_DAYS, MOST_FILTERS, PERIODS, View, asked
from store.engines import open_reader, open_writer
from store.event import NewRow
from store.readers import Readers
from store.rollups.facets import FILTERS, MOST_CHARACTERS, MOST_LINKS, MOST_VALUES
from store.rollups.following import ask_for_rebuild
from store.rollups.journeys import BUCKETS, MOST_STEPS, SILENT_MS, TRAIL
from store.rollups.stored import Scope, Span

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
CHARTS, BOARDS = "com.owner.charts", "com.owner.boards"
PAGE = f"/apps/{CHARTS}/overview"
EVENTS = "select count(*) from events"
SNIPPET = '<script async src="http://127.0.0.1:8000/js/footfall.js" data-app="com.owner.charts"></script>'


def events() -> list[NewRow]:
    """Ann views, looks, calls and installs; Bob views twice and calls a day before; Cleo views both apps; Dan installs
    without a view; Eve viewed and installed a month ago; and one does not share."""
    ann, bob = NOW - 2 * HOUR, NOW - DAY
    source = {"utm_source": "google"}
    return [
        happened(visitor="e", at=NOW - 30 * DAY),
        happened("install", "e", NOW - 30 * DAY + 2 * HOUR),
        happened(visitor="c", at=NOW - 3 * DAY),
        happened(visitor="b", at=bob),
        happened(visitor="b", at=bob + MINUTE),
        happened("cta_click", "b", bob + 10 * MINUTE, label="Try it free"),
        happened("install", "d", NOW - 5 * HOUR),
        happened(visitor="c", at=NOW - 3 * HOUR, app=BOARDS),
        happened(visitor="a", at=ann, partner_anonymous_id="crm-1", query=source),
        happened("tab_click", "a", ann + MINUTE, label="Reviews"),
        happened("cta_click", "a", ann + 2 * MINUTE, label="Try it free"),
        happened("install", "a", ann + HOUR),
        happened(visitor="z", at=ann, suppressed="gpc"),
        happened(visitor="y", at=ann, app="com.stranger.notes"),
        happened(visitor="x", at=ann, partner_key="former"),
    ]


@pytest.fixture
def filled(house: House) -> House:
    """The house after these events."""
    count(house.cast.where, events())
    return house


@pytest.fixture
def owner(filled: House) -> Iterator[Browser]:
    with opened(filled) as browser:
        yield browser.enter("owner")


@dataclass(frozen=True)
class Shown:
    """A page's values, and its tables by name."""

    values: Any
    tables: dict[str, Table]


def shown(house: House, page: Any, query: str = "", apps: tuple[str, ...] = (CHARTS,)) -> Shown:
    """What a page reads for the owner, asked for as its address would."""
    pairs = [tuple(each.split("=", 1)) for each in query.split("&") if each]
    view = asked(dict(pairs), [value for name, value in pairs if name == "f"], NOW)

    async def read() -> Any:
        async with await open_reader(house.cast.where, "log", "owner") as db:
            return await page.read(db, Scope("owner", apps, view.filters), view, {})

    values = asyncio.run(read())
    return Shown(values, {table.name: table for table in page.tables(values)})


def big_numbers(browser: Browser, path: str) -> dict[str, str]:
    text = browser.get(path).text
    found = re.findall(
        r'figure-name">([^<]+)</span>\s*<strong class="figure-value">([^<]+)<(.*?)</li>', text, re.DOTALL
    )
    return {name: " ".join(re.sub(r"<[^>]+>", " ", value + "<" + rest).split()) for name, value, rest in found}


def test_all_that_a_page_reads_is_of_one_moment(filled: House) -> None:
    async def twice(db: Any, scope: Scope, view: View, more: Any) -> list[int]:
        before = await db.value(EVENTS)
        await asyncio.to_thread(count, filled.cast.where, [happened(visitor="f")])
        return [before, await db.value(EVENTS)]

    async def read() -> list[int]:
        page, view = Numbers("overview", twice, lambda values: []), asked({}, (), NOW)
        async with Readers(filled.cast.where) as readers, readers.lend("log", partner_key="owner") as lent:
            values: list[int] = await page.values(lent["log"], Scope("owner", (CHARTS,)), view, {})
            return values

    before, after = asyncio.run(read())
    assert before == after > 0


# --- overview


def test_big_numbers_say_how_they_compare_in_words(owner: Browser) -> None:
    assert big_numbers(owner, PAGE) == {
        "Unique visitors": "3 ▲ 200\u202f% more than in the 28 days before (1)".replace("\u202f", " "),
        "Page views": "4 ▲ 300 % more than in the 28 days before (1)",
        "Calls to action": "2 ▲ up from none in the 28 days before",
        "Installs": "2 ▲ 100 % more than in the 28 days before (1)",
    }


def test_somebody_who_views_two_apps_is_one_visitor_of_the_partner(owner: Browser) -> None:
    whole = big_numbers(owner, "/partners/owner/overview?compare=none")
    assert whole == {"Unique visitors": "3", "Page views": "5", "Calls to action": "2", "Installs": "2"}
    assert big_numbers(owner, f"/apps/{BOARDS}/overview?compare=none")["Unique visitors"] == "1"


def test_with_filters_visitors_are_counted_and_events_are_not(owner: Browser) -> None:
    path = f"{PAGE}?compare=none&f=utm_source:google"
    assert big_numbers(owner, path) == {
        "Unique visitors": "1",
        "Visitors with a call to action": "1",
        "Visitors who installed": "1",
    }
    assert "With filters only visitors are counted" in words(owner.get(path))


def test_the_tables_of_the_overview(filled: House) -> None:
    tables = shown(filled, overview).tables
    over_time = {row[0]: row[1:] for row in tables["over-time"].rows}
    assert len(over_time) == 28
    # visitors, visitors before, page views, tabs, calls, requests, installs, uninstalls
    assert over_time["2026-05-27T00:00:00+00:00"] == [1, 0, 2, 0, 1, 0, 0, 0]
    assert over_time["2026-05-26T00:00:00+00:00"] == [0, 1, 0, 0, 0, 0, 0, 0]
    assert over_time["2026-05-28T00:00:00+00:00"] == [1, 0, 1, 1, 1, 0, 2, 0]
    assert tables["actions"].rows == [
        ["page_view", 3, 4, 1],
        ["tab_click", 1, 1, 0],
        ["cta_click", 2, 2, 0],
        ["app_request", 0, 0, 0],
        ["install", 1, 2, 1],
        ["uninstall", None, 0, 0],
    ]
    assert tables["linked"].rows == [["visitors", 1, 3], ["page_views", 1, 4]]
    assert tables["not-counted"].rows == [("gpc", 1)]


def test_tables_with_filters_have_no_events(filled: House) -> None:
    tables = shown(filled, overview, "f=utm_source:google&compare=none").tables
    assert tables["actions"].rows[0] == ["page_view", 1, None, None]
    assert tables["over-time"].rows[-1] == ["2026-05-28T00:00:00+00:00", 1, None, *[None] * 6]
    assert tables["linked"].rows == [["visitors", 1, 1], ["page_views", None, None]]


def test_a_day_by_the_hour_is_of_the_chosen_zone_and_ends_with_the_running_half_hour(filled: House) -> None:
    rows = shown(filled, overview, "period=today&tz=Asia/Kolkata").tables["over-time"].rows
    # It is 01:56 on the 29th there: of Ann, who viewed at 23:56 on the 28th, the install alone is of today.
    assert [row[0] for row in rows] == ["2026-05-29T00:00:00+05:30", "2026-05-29T01:00:00+05:30"]
    assert [row[1] for row in rows] == [0, 0]
    assert [row[-2] for row in rows] == [1, 0]


def test_a_time_that_is_not_over_is_compared_with_as_much_of_the_other(filled: House) -> None:
    count(filled.cast.where, [happened(visitor="f", at=NOW - DAY + HOUR), happened(visitor="g", at=NOW - 25 * HOUR)])
    values = shown(filled, overview, "period=today").values
    assert (values.now.total.visitors, values.before.total.visitors) == (1, 2)  # Bob and g, an hour too early for f
    whole = shown(filled, overview, "period=yesterday").values
    assert whole.now.total.visitors == 3


def test_what_is_not_counted_is_said_with_its_reason(owner: Browser) -> None:
    page = words(owner.get(PAGE))
    assert "The visitor's browser sends Global Privacy Control 1" in page
    assert "33 % of the visitors came with a partner anonymous id, and 25 % of the page views carry one" in page


def test_what_was_collected_for_another_partner_counts_for_nobody_else(filled: House) -> None:
    assert shown(filled, overview).values.now.total.visitors == 3
    assert sum(row[3] for row in shown(filled, overview).tables["over-time"].rows) == 4


# --- funnel


def test_the_funnel_names_both_rates(filled: House) -> None:
    tables = shown(filled, funnel).tables
    assert tables["steps"].rows == [
        ["page_view", 3, 1.0, None, None, 1, 1.0],
        ["tab_click", 1, 0.3333, "page_view", 0.3333, 0, 0.0],
        ["cta_click", 2, 0.6667, "tab_click", 1.0, 0, 0.0],
        ["app_request", 0, 0.0, "cta_click", 0.0, 0, 0.0],
        ["install", 1, 0.3333, "cta_click", 0.5, 1, 1.0],
    ]
    assert [row for row in tables["time-taken"].rows if any(row[1:])] == [
        ["1 to 5 min", 1, 0, 0],
        ["5 to 15 min", 1, 0, 0],
        ["1 to 6 hours", 0, 0, 1],
    ]


def test_the_funnels_page_says_it_in_words(owner: Browser) -> None:
    page = words(owner.get(f"/apps/{CHARTS}/funnel"))
    assert "33 % of 3 visitors installed; it was 100 % in the 28 days before." in page
    assert "1 visitor installed without a page view in this time, and is not among these." in page
    assert "50 % of Call to action" in page
    assert "From the first page view to call to action Half of 2 visitors took 5 minutes or less." in page
    assert "to app request" not in page


def test_every_span_of_time_has_its_words() -> None:
    assert len(TOOK) == len(BUCKETS) + 1


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([1] + [0] * 10, "Half of 1 visitors took a minute or less."),
        ([1, 0, 0, 1] + [0] * 7, "Half of 2 visitors took a minute or less."),
        ([1, 0, 0, 2] + [0] * 7, "Half of 3 visitors took an hour or less."),
        ([1] + [0] * 9 + [2], "More than half of 3 visitors took over 30 days."),
    ],
)
def test_the_middle_is_said_as_a_time(counts: list[int], said: str) -> None:
    assert middle(counts) == said


# --- what every page has


@pytest.mark.parametrize("base", [f"/apps/{CHARTS}", "/partners/owner"])
def test_a_page_keeps_its_view_in_every_link(owner: Browser, base: str) -> None:
    for name in TITLES:
        assert_keeps_its_view(owner, name, base)


def assert_keeps_its_view(owner: Browser, name: str, base: str) -> None:
    query = "period=7d&tz=Europe/Berlin&compare=year&f=utm_source:google"
    text = html.unescape(owner.get(f"{base}/{name}?{query}").text)
    kept = "period=7d&tz=Europe%2FBerlin&compare=year"
    for other in TITLES:
        assert f'href="{base}/{other}?{kept}&f=utm_source%3Agoogle"' in text
    assert f'href="{base}/{name}.json?{kept}&f=utm_source%3Agoogle"' in text
    of_rollups = name != "attribution"  # which has days of UTC and no filters, and takes them along all the same
    assert (f'href="{base}/{name}?{kept}"' in text) == of_rollups  # without the filter
    assert ('<option value="Europe/Berlin" selected>' in text) == of_rollups
    at = "22:26 Europe/Berlin" if of_rollups else "20:26 UTC"
    assert f"Counted up to 28 May 2026, {at}" in " ".join(text.replace(">", "> ").split()).replace(
        '<time datetime="2026-05-28T20:26:40Z"> ', ""
    )


def test_what_an_address_says_wrongly_is_as_if_it_were_not_there(owner: Browser) -> None:
    strange = "?period=eternity&tz=Mars/Base&compare=me&f=event:install&f=nothing&from=x&table=none"
    assert big_numbers(owner, PAGE + strange) == big_numbers(owner, PAGE)


def test_another_partners_numbers_are_not_there(owner: Browser) -> None:
    pages = [name + kind for name in TITLES for kind in ("", ".csv", ".json")]
    for page in pages:
        for base in ("/apps/com.stranger.notes", "/partners/stranger", "/partners/nobody", "/partners/former"):
            assert owner.get(f"{base}/{page}").status_code == 404, page
    owner.enter("operator")
    for page in pages:
        assert owner.get(f"/partners/stranger/{page}").status_code == 200, page
        assert owner.get(f"/partners/former/{page}").status_code == 404, page


def test_a_table_that_a_page_does_not_have_is_not_found(owner: Browser) -> None:
    assert owner.get(f"{PAGE}.csv?table=actions").status_code == 200
    assert owner.get(f"{PAGE}.csv?table=other").status_code == 404


def test_no_events_yet_shows_the_line_that_is_missing(house: House) -> None:
    with opened(house) as browser:
        for path in (PAGE, "/partners/owner/overview"):
            page = html.unescape(browser.enter("owner").get(path).text)
            assert "Nothing has come in yet" in page
            assert SNIPPET in page
            assert "Segment write key" in page


def test_nothing_in_a_time_says_when_there_was_something(owner: Browser) -> None:
    page = words(owner.get(f"{PAGE}?period=custom&from=2026-01-01&to=2026-01-31"))
    assert "Nothing in this time The first event is of 28 Apr 2026, 20:00 UTC." in page
    assert "Nobody came under all these filters" in words(owner.get(f"{PAGE}?f=utm_source:bing"))


# --- up to when


def counted_now(house: House) -> Counted:
    async def look() -> Counted:
        async with await open_writer(house.cast.where, "registry") as db:
            portal = Portal(house.cast.settings(), db, db)
            async with portal.readers:
                return await counted(portal)

    return asyncio.run(look())


def test_numbers_are_counted_up_to_now_when_no_event_waits(filled: House) -> None:
    assert counted_now(filled) == Counted(NOW, NOW, anew=False)
    filled.now = NOW + DAY
    assert counted_now(filled) == Counted(NOW + DAY, NOW + DAY, anew=False)


def test_an_event_that_waits_for_over_a_minute_makes_the_numbers_late(filled: House) -> None:
    store(filled.cast.where, [happened(at=NOW - DAY, received_at=NOW)])
    assert counted_now(filled).up_to == NOW
    filled.now = NOW + MINUTE
    assert not counted_now(filled).is_late
    filled.now = NOW + MINUTE + 1
    assert counted_now(filled).is_late


def test_a_rebuild_that_was_asked_for_is_told(filled: House) -> None:
    filled.store(lambda db: ask_for_rebuild(db, NOW, "a test"))
    assert counted_now(filled).anew
    count(filled.cast.where)
    assert not counted_now(filled).anew


# --- the first page


def test_a_partners_first_page_has_all_apps_together_and_each(owner: Browser) -> None:
    assert big_numbers(owner, "/?compare=none") == {
        "Unique visitors": "3",
        "Page views": "5",
        "Calls to action": "2",
        "Installs": "2",
    }
    page = words(owner.get("/"))
    assert "Boards com.owner.boards Unique visitors 1 Installs 0 No write key yet: sent nowhere" in page
    assert "Charts com.owner.charts Unique visitors 3 Installs 2 No write key yet: sent nowhere" in page


def test_the_marketplaces_first_page_sums_up_events_and_no_visitors(owner: Browser) -> None:
    owner.enter("operator")
    assert big_numbers(owner, "/") == {"Page views": "7", "Calls to action": "2", "App requests": "0", "Installs": "2"}
    page = words(owner.get("/?period=90d"))
    assert "Charts com.owner.charts 6 2 0 3" in page
    assert "Notes com.stranger.notes 1 0 0 0" in page
    assert "those of different partners do not add up" in page


# --- words and addresses


def a_view(**changed: Any) -> View:
    told = {"period": "custom", "first": date(2026, 5, 1), "last": date(2026, 5, 28), "zone": "UTC"}
    return View(**{**told, "compared": "before", "filters": (), **changed})


@pytest.mark.parametrize(
    ("view", "earlier", "time"),
    [
        (a_view(), "the 28 days before", "1 May to 28 May 2026"),
        (a_view(compared="year"), "the same 28 days a year earlier", "1 May to 28 May 2026"),
        (a_view(compared="none"), "", "1 May to 28 May 2026"),
        (a_view(first=date(2025, 12, 30)), "the 150 days before", "30 Dec 2025 to 28 May 2026"),
        (a_view(first=date(2026, 5, 28)), "the day before", "28 May 2026"),
        (
            a_view(first=date(2026, 5, 28), until=NOW // 1_800_000 + 1),
            "the day before, up to the same time",
            "28 May 2026",
        ),
    ],
)
def test_a_time_and_what_it_is_compared_with_in_words(view: View, earlier: str, time: str) -> None:
    assert (earlier_words(view), time_words(view)) == (earlier, time)


@pytest.mark.parametrize(
    ("first", "label"),
    [
        (date(2026, 5, 28), "00:00"),
        (date(2026, 5, 27), "27 May, 00:00"),
        (date(2026, 5, 1), "1 May"),
        (date(2026, 1, 1), "1 Jan to 4 Jan"),
        (date(2024, 1, 1), "Jan 2024"),
    ],
)
def test_bins_are_called_by_their_beginning(first: date, label: str) -> None:
    view = a_view(first=first)
    assert bin_label(view.bins()[0], view) == label


def test_no_page_has_a_parameter_of_its_own_that_every_page_has() -> None:
    with pytest.raises(ValueError, match="from: every page"):
        Numbers("journeys", overview.read, overview.tables, ("step", "from"))


def test_addresses_keep_what_is_a_pages_own() -> None:
    of = Asked("journeys", Place("/apps/x", "X", "owner", None, ()), a_view(period="7d"), {"back": "1", "step": ""})
    assert of.to(period="today") == "/apps/x/journeys?period=today&back=1"
    assert of.filtered("cta", "Try & buy") == "/apps/x/journeys?period=7d&back=1&f=cta%3ATry+%26+buy"
    assert of.page("funnel") == "/apps/x/funnel?period=7d"
    assert of.download("csv", table="links") == "/apps/x/journeys.csv?period=7d&back=1&table=links"
    assert of.of("/partners/owner") == "/partners/owner/journeys?period=7d&back=1"
    assert of.fields() == [("period", "7d"), ("back", "1")]


def test_what_is_compared_is_cut_where_a_longer_day_would_make_it_overlap() -> None:
    """The clocks of Berlin went back on 26 October 2025: the 28 days before begin an hour of elapsed time apart."""
    now = 1_763_424_900_000  # 2025-11-18T00:15Z, 01:15 there
    view = asked({"tz": "Europe/Berlin"}, [], now)
    earlier = view.earlier()
    assert earlier is not None
    assert view.span.end - view.span.first == earlier.span.end - earlier.span.first
    for bins in (view.bins(), earlier.bins()):
        assert all(span.first < span.end for span in bins)
        assert [span.end for span in bins[:-1]] == [span.first for span in bins[1:]]


def test_a_time_that_is_over_ends_with_its_last_day() -> None:
    view = asked({"period": "yesterday"}, [], NOW)
    assert view.span == Span(988_800, 988_848)
    assert not view.is_running
    assert asked({"period": "today"}, [], NOW).is_running


# --- the reference is true

TEXT = " ".join((Path(__file__).parents[1] / "docs" / "reference" / "numbers.md").read_text().split())


def test_the_reference_lists_every_page_with_its_tables(filled: House) -> None:
    section = TEXT.partition("## Pages")[2].partition("##")[0]
    told = dict(re.findall(r"\| `([a-z]+)` \| ((?:`[a-z_-]+`(?:, )?)+) \|", section))
    assert told.keys() == TITLES.keys()
    for page in (overview, funnel, sources, clicks, journeys, visitors, audiences):
        named = ", ".join(f"`{name}`" for name in shown(filled, page).tables)
        assert told[page.__name__.rpartition(".")[2]] == named


def test_the_references_numbers_are_the_codes() -> None:
    assert ", ".join(f"`{name}`" for name in PERIODS) in TEXT
    assert f"at most {MOST_DAYS:,} days" in TEXT
    assert f"at most {MOST_FILTERS}, of which" in TEXT
    assert f"at most {MOST_CHARACTERS} characters" in TEXT
    assert f"Of one facet {MOST_VALUES} values are kept apart for each app" in TEXT
    assert f"Links of journeys have {MOST_LINKS:,}." in TEXT
    assert f"until nothing came for {SILENT_MS // DAY} days" in TEXT
    assert f"followed for {MOST_STEPS} steps from the beginning" in TEXT
    assert f"for its last {TRAIL} steps" in TEXT
    filters = "of the facets " + ", ".join(f"`{name}`" for name in FILTERS[:-1]) + f" and `{FILTERS[-1]}`"
    assert filters in TEXT
