"""The rollups say of the log what a full count of it says, whatever comes in which order and portions."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import Cast
from engines import look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pyroaring import BitMap
from rollup_cast import APPS, NOW, Counts, count, counted_plainly, happened, store

from store import purging
from store.database import Server, Where
from store.engines import open_reader
from store.errors import ConfigError
from store.event import Details, NewRow
from store.rollups import counting, facets, following, reading
from store.rollups.checking import Checked, check
from store.rollups.counting import SLOT_MS
from store.rollups.journeys import Link, step_of, value_of
from store.rollups.reading import Breakdown, Overview, Row, Step
from store.rollups.rebuilding import rebuild
from store.rollups.sets import NOBODY
from store.rollups.stored import Scope, Span

DAY_MS = 86_400_000
SLOT = NOW // SLOT_MS
OWNER = Scope("owner", ("com.owner.charts",))
TABLES = [f"rollup_{name}" for name in "slots days values apps journeys events names visitors".split()]


def rolled(where: Where, table: str = "rollup_slots", time: str = "slot") -> Counts:
    """What the rollups say, with the visitors' anonymous ids."""
    numbers = {(partner, n): anonymous for partner, n, anonymous in look(where, "log", _NUMBERS)}
    sql = f"select app_key, partner_key, facet, {time}, value, events, visitors from {table}"
    return {
        (app, partner, facet, slot, value): (n, frozenset(numbers[partner, v] for v in BitMap.deserialize(data)))
        for app, partner, facet, slot, value, n, data in look(where, "log", sql)
    }


_NUMBERS = "select partner_key, visitor, anonymous_id from rollup_visitors"

labels = some.sampled_from([None, "Reviews", "Pricing"])
queries = some.dictionaries(
    some.sampled_from(["utm_source", "utm_campaign", "hosting", "ref", "gclid"]), some.sampled_from(["", "x", "y"])
)


@some.composite
def happenings(draw: some.DrawFn) -> tuple[NewRow, Details]:
    told: dict[str, Any] = {
        "label": draw(labels),
        "query": draw(some.none() | queries),
        "referrer": draw(some.sampled_from([None, "https://www.google.com/", "https://blog.example/x"])),
    }
    row = happened(
        draw(some.sampled_from(["page_view"] * 3 + ["tab_click", "cta_click", "install", "app_request"])),
        draw(some.sampled_from("abc")),
        NOW - draw(some.integers(0, 4) | some.integers(0, 40 * 24)) * 3_600_000 - draw(some.integers(0, 3_600_000)),
        app=draw(some.sampled_from(sorted(APPS))),
        partner_anonymous_id=draw(some.none() | some.just("p")),
        suppressed=draw(some.sampled_from([None] * 5 + ["consent"])),
        source=draw(some.sampled_from(["browser"] * 4 + ["partner"])),
        type=draw(some.sampled_from(["track"] * 4 + ["identify"])),
        received_at=NOW,
        **told,
    )
    return row, Details(**told)


@pytest.fixture
def fresh(cast: Cast) -> Where:
    return cast.where


def emptied(where: Where) -> None:
    """As before the first event."""
    for table in [*TABLES, "events", "door_tallies", "message_ids"]:
        if table != "message_ids" or not isinstance(where, Path):
            look(where, "log", f"delete from {table}")
    look(where, "log", "update rollups set seq = 0, received_at = 0, taken_until = 0")


@given(rows=some.lists(happenings(), max_size=40), portion=some.integers(1, 15))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_rollups_are_a_full_count_of_the_log(
    fresh: Where, rows: list[tuple[NewRow, Details]], portion: int
) -> None:
    emptied(fresh)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "RUN", portion)
        for at in range(0, len(rows), 11):
            count(fresh, [row for row, _ in rows[at : at + 11]])
    plain = counted_plainly([row for row, _ in rows], [told for _, told in rows])
    assert rolled(fresh) == plain
    assert rolled(fresh, "rollup_days", "day") == by_the_day(fresh, plain)


def by_the_day(where: Where, plain: Counts) -> Counts:
    """The same of the days that are over."""
    open_days = {(app, partner): day for app, partner, day in look(where, "log", "select * from rollup_apps")}
    events: dict[Any, int] = defaultdict(int)
    visitors: dict[Any, frozenset[str]] = defaultdict(frozenset)
    for (app, partner, facet, slot, value), (n, who) in plain.items():
        if slot // 48 < open_days[app, partner]:
            events[app, partner, facet, slot // 48, value] += n
            visitors[app, partner, facet, slot // 48, value] |= who
    return {place: (n, visitors[place]) for place, n in events.items()}


@given(
    rows=some.lists(happenings(), max_size=40),
    first=some.integers(0, 42 * 48),
    length=some.integers(1, 42 * 48),
    filters=some.lists(some.sampled_from([("utm_source", "x"), ("linked", "yes"), ("referrer", "")]), max_size=2),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_read_of_any_time_is_what_the_sets_of_it_say(
    fresh: Where, rows: list[tuple[NewRow, Details]], first: int, length: int, filters: list[tuple[str, str]]
) -> None:
    emptied(fresh)
    count(fresh, [row for row, _ in rows])
    plain = counted_plainly([row for row, _ in rows], [told for _, told in rows])
    span = Span(SLOT - first, SLOT - first + length)
    scope = Scope("owner", ("com.owner.boards", "com.owner.charts"), tuple(filters))

    def who(facet: str, value: str) -> set[str]:
        found: set[str] = set()
        for (_, partner, told, slot, said), (_, visitors) in plain.items():
            if (partner, told, said) == ("owner", facet, value) and span.first <= slot < span.end:
                found |= visitors
        return found

    viewers = who("event", "page_view")
    for facet, value in filters:
        viewers &= who(facet, value)
    seen = asked(fresh, scope, [Span(span.first, span.first + 1), Span(span.first + 1, span.end + 1)])
    assert seen.total.visitors >= max(each.visitors for each in seen.bins)
    seen = asked(fresh, scope, [span])
    assert [step.visitors for step in seen.funnel] == [len(viewers & who("event", name)) for name in reading.FUNNEL]
    assert seen.total.visitors == len(viewers)


def asked(where: Where, scope: Scope, bins: list[Span]) -> Overview:
    async def answered() -> Overview:
        async with await open_reader(where, "log") as db:
            return await reading.overview(db, scope, bins)

    return asyncio.run(answered())


def broken_down(where: Where, facet: str, scope: Scope = OWNER, days: int = 2) -> Breakdown:
    async def answered() -> Breakdown:
        async with await open_reader(where, "log") as db:
            return await reading.breakdown(db, scope, facet, Span(SLOT - days * 48, SLOT + 1))

    return asyncio.run(answered())


def test_a_visitor_of_two_listings_is_one_visitor_of_the_partner(cast: Cast) -> None:
    count(cast.where, [happened(), happened(app="com.owner.boards"), happened(app="com.stranger.notes", visitor="b")])
    both = Scope("owner", ("com.owner.charts", "com.owner.boards"))
    assert asked(cast.where, both, [Span(SLOT, SLOT + 1)]).total.visitors == 1
    assert asked(cast.where, both, [Span(SLOT, SLOT + 1)]).total.events == {"page_view": 2}


def test_the_funnel_compares_with_the_nearest_step_that_anybody_did(cast: Cast) -> None:
    count(
        cast.where,
        [
            *(happened(visitor=visitor) for visitor in "abcd"),
            happened("tab_click", "a"),
            happened("cta_click", "a"),
            happened("cta_click", "b"),
            happened("install", "b"),
            happened("install", "e"),
        ],
    )
    seen = asked(cast.where, OWNER, [Span(SLOT, SLOT + 1)])
    assert seen.funnel == [
        Step("page_view", 4, "page_view", 4),
        Step("tab_click", 1, "page_view", 1),
        Step("cta_click", 2, "tab_click", 1),
        Step("app_request", 0, "cta_click", 0),
        Step("install", 1, "cta_click", 1),
    ]
    assert seen.unseen == 1


def test_a_partner_does_not_see_what_came_while_the_app_was_anothers(cast: Cast) -> None:
    count(cast.where, [happened(partner_key="stranger"), happened(visitor="b")])
    assert asked(cast.where, OWNER, [Span(SLOT, SLOT + 1)]).total.visitors == 1
    theirs = Scope("stranger", ("com.owner.charts",))
    assert asked(cast.where, theirs, [Span(SLOT, SLOT + 1)]).total.visitors == 1


def test_what_no_partner_may_get_is_counted_without_a_visitor(cast: Cast) -> None:
    count(cast.where, [happened(suppressed="gpc", user_id="u"), happened(suppressed="bot", visitor="b")])
    seen = asked(cast.where, OWNER, [Span(SLOT, SLOT + 1)])
    assert (seen.total.visitors, seen.suppressed) == (0, {"bot": 1, "gpc": 1})
    for table in ("rollup_visitors", "rollup_names", "rollup_events", "rollup_journeys"):
        assert cast.rows(f"select * from {table}") == []


def test_values_beyond_the_most_that_are_kept_apart_count_as_the_rest(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facets, "MOST_VALUES", 2)
    campaigns = ["one", "two", "three", "one", "four", "…"]
    count(cast.where, [happened(visitor=str(n), query={"utm_campaign": name}) for n, name in enumerate(campaigns)])
    none = {"cta_click": 0, "install": 0}
    assert broken_down(cast.where, "utm_campaign").rows == [
        Row("…", 3, 3, none),
        Row("one", 2, 2, none),
        Row("two", 1, 1, none),
    ]


def test_an_address_of_parameters_without_end_counts_under_few_of_them(cast: Cast) -> None:
    query = {f"p{n}": "x" for n in range(2_000)} | {"utm_source": "news"}
    count(cast.where, [happened(query=query)])
    assert cast.rows("select count(*) from rollup_slots where facet = 'query'") == [(facets.MOST_PARAMETERS,)]
    assert broken_down(cast.where, "utm_source").rows == [Row("news", 1, 1, {"cta_click": 0, "install": 0})]


def test_an_event_counts_once_under_the_rest(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facets, "MOST_VALUES", 1)
    count(cast.where, [happened(query={"a": "1", "b": "2", "c": "3"})])
    none = {"cta_click": 0, "install": 0}
    assert broken_down(cast.where, "query").rows == [Row("a=1", 1, 1, none), Row("…", 1, 1, none)]


def test_a_facet_that_never_had_another_value_than_the_rests_is_summed_by_the_day(cast: Cast) -> None:
    count(cast.where, [happened("tab_click", at=NOW - DAY_MS, label="…"), happened()])
    assert cast.rows("select value, events from rollup_days where facet = 'tab'") == [("…", 1)]
    assert checked(cast).differences == []


anything = some.text(max_size=300)


@given(
    told=some.builds(
        facets.Told,
        query=some.none() | some.dictionaries(anything | some.sampled_from(facets.UTM), anything, max_size=30),
        referrer=some.none() | anything | anything.map("https://{}".format),
        label=some.none() | anything,
        target=some.none() | anything,
    ),
    name=some.sampled_from(facets.NAMES),
)
def test_whatever_an_event_says_can_be_counted(told: facets.Told, name: str) -> None:
    event = facets.Counted(
        1, "com.owner.charts", "owner", "track", name, "browser", NOW, NOW, "a" * 40, None, None, None, told
    )
    found = facets.facets(event)
    said = [value for _, value in found] + [value_of(Link(1, step_of(name, value), "…")) for _, value in found]
    assert not [value for value in said if "\0" in value or len(value.encode()) > 1_000]


def test_a_breakdown_says_how_many_went_on(cast: Cast) -> None:
    count(
        cast.where,
        [
            happened(visitor="a", referrer="https://www.google.com/search?q=x"),
            happened(visitor="b", referrer="https://google.com/"),
            happened(visitor="c"),
            happened("cta_click", "a"),
            happened("install", "c"),
        ],
    )
    assert broken_down(cast.where, "referrer") == Breakdown(
        [Row("google.com", 2, 2, {"cta_click": 1, "install": 0}), Row("", 1, 1, {"cta_click": 0, "install": 1})], 0, 3
    )
    only = Scope("owner", ("com.owner.charts",), (("referrer", "google.com"),))
    assert broken_down(cast.where, "referrer", only).rows == [
        Row("google.com", 2, None, {"cta_click": 1, "install": 0})
    ]


def test_a_journey_is_followed_on_and_back(cast: Cast) -> None:
    minute = 60_000
    count(
        cast.where,
        [
            happened(at=NOW),
            happened("tab_click", at=NOW + minute, label="Reviews"),
            happened("tab_click", at=NOW + 2 * minute, label="Reviews"),
            happened("install", at=NOW + 20 * minute),
            happened(at=NOW + 30 * minute),
        ],
    )

    async def read() -> Any:
        async with await open_reader(cast.where, "log") as db:
            span = Span(SLOT, SLOT + 4)
            on = await reading.flows(db, OWNER, span)
            back = await reading.flows(db, OWNER, span, back=True)
            return on, back, await reading.times(db, OWNER, "install", span)

    on, back, times = asyncio.run(read())
    assert [(flow.link, flow.n) for flow in on.links] == [
        (Link(0, "", "page_view"), 2),
        (Link(1, "page_view", "tab_click:Reviews"), 1),
        (Link(2, "tab_click:Reviews", "install"), 1),
    ]
    assert [flow.link for flow in back.links] == [
        Link(0, "tab_click:Reviews", "install"),
        Link(1, "page_view", "tab_click:Reviews"),
        Link(2, "", "page_view"),
    ]
    assert times == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]


def test_with_filters_the_visitors_of_links_are_counted_and_not_their_journeys(cast: Cast) -> None:
    count(
        cast.where, [happened(), happened("install"), happened(), happened(visitor="b", referrer="https://b.example/")]
    )

    async def read(*filters: tuple[str, str]) -> list[tuple[Link, int]]:
        async with await open_reader(cast.where, "log") as db:
            scope = Scope("owner", ("com.owner.charts",), filters)
            return [(flow.link, flow.n) for flow in (await reading.flows(db, scope, Span(SLOT, SLOT + 1))).links]

    first = Link(0, "", "page_view")
    assert asyncio.run(read())[0] == (first, 3)
    assert asyncio.run(read(("referrer", "")))[0] == (first, 1)
    assert asyncio.run(read(("referrer", "b.example"))) == [(first, 1)]


def test_a_visitor_is_found_by_each_id_and_never_by_another_partners(cast: Cast) -> None:
    count(
        cast.where,
        [
            happened(user_id="u", partner_anonymous_id="p"),
            happened("install", at=NOW + 1),
            happened(app="com.stranger.notes", partner_anonymous_id="p", visitor="b"),
        ],
    )

    async def read() -> Any:
        async with await open_reader(cast.where, "log") as db:
            found = [await reading.called(db, "owner", text) for text in ("a" * 40, "u", "p", "b" * 40)]
            return found, await reading.seqs_of(db, OWNER, found[0][0].number)

    found, seqs = asyncio.run(read())
    assert [[(who.anonymous_id, who.kind) for who in each] for each in found] == [
        [("a" * 40, "anonymous")],
        [("a" * 40, "user")],
        [("a" * 40, "partner")],
        [],
    ]
    assert seqs == [("com.owner.charts", 2), ("com.owner.charts", 1)]


# --- who counts


def test_of_two_processes_one_counts_and_where_one_writes_alone_it_waits_for_nobody(cast: Cast) -> None:
    store(cast.where, [happened()])
    look(cast.where, "log", f"update rollups set taken_by = 'another', taken_until = {NOW + 1}")
    assert count(cast.where) == (0 if isinstance(cast.where, Server) else 1)
    look(cast.where, "log", "update rollups set taken_until = 0")
    assert count(cast.where, [happened(at=NOW + 1)]) == (2 if isinstance(cast.where, Server) else 1)


def test_a_count_that_fails_leaves_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(counting, "_close_days", broken)
        with pytest.raises(ZeroDivisionError):
            count(cast.where, [happened()])
    assert rolled(cast.where) == {}
    assert count(cast.where) == 1
    assert len(rolled(cast.where)) == 3


@pytest.mark.only("postgresql", "of SQLite's transactions none is given up for another")
def test_a_count_that_the_server_has_run_again_knows_no_value_that_was_undone(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up, write = [psycopg.errors.DeadlockDetected()], counting._write

    def given_up_once(*told: Any) -> None:
        if given_up:
            raise given_up.pop()
        write(*told)

    monkeypatch.setattr(counting, "_write", given_up_once)
    assert count(cast.where, [happened("tab_click", label="Reviews")]) == 1
    assert cast.rows("select value from rollup_values where facet = 'tab'") == [("Reviews",)]


# --- again, and checked


def checked(cast: Cast) -> Checked:
    scratch = cast.data_dir.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    for file in scratch.iterdir():
        file.unlink()
    return asyncio.run(check(cast.where, scratch, NOW, lambda *_: None))


def test_rollups_that_say_something_else_than_the_events_are_found(cast: Cast) -> None:
    count(cast.where, [happened(at=NOW - DAY_MS), happened(visitor="b"), happened("install")])
    for visitor in "cdefghijkl":  # whose set is stored in another form than that of all of them at once
        count(cast.where, [happened(visitor=visitor)])
    assert checked(cast) == Checked(13, 13, [])
    look(cast.where, "log", "update rollup_slots set events = 7 where facet = 'event' and value = 'install'")
    look(cast.where, "log", "update rollup_days set events = 8 where facet = 'referrer'")
    assert [(d.app_key, d.what, d.rollups, d.events) for d in checked(cast).differences] == [
        ("com.owner.charts", "event install", "7 events, 1 visitors", "1 events, 1 visitors"),
        ("com.owner.charts", "referrer by the day", "8 events, 1 visitors", "1 events, 1 visitors"),
    ]


def test_a_rebuild_makes_them_true_again(cast: Cast) -> None:
    count(cast.where, [happened(at=NOW - DAY_MS), happened(visitor="b"), happened("install")])
    before = rolled(cast.where)
    look(cast.where, "log", "update rollup_slots set events = 7")
    look(cast.where, "log", "delete from rollup_days")
    assert asyncio.run(rebuild(cast.where, "test", 30, False, lambda *_: None)) == 3
    assert rolled(cast.where) == before
    assert checked(cast).differences == []


def test_a_rebuild_takes_little_away_at_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is not waited for for longer than seconds, and senders wait while a file is written."""
    monkeypatch.setattr(following, "EMPTIED", 3)
    monkeypatch.setattr(following, "RUN", 1)
    count(cast.where, [happened(visitor=visitor, at=NOW - DAY_MS) for visitor in "abc"] + [happened()])
    true, left = rolled(cast.where), []

    def rows(*_: int) -> None:
        left.append(sum(cast.rows(f"select count(*) from {table}")[0][0] for table in TABLES))

    rows()
    assert asyncio.run(rebuild(cast.where, "test", 30, False, rows)) == 4
    assert all(before - after <= 3 * len(TABLES) for before, after in pairwise(left))
    assert rolled(cast.where) == true
    assert checked(cast).differences == []


@pytest.mark.only("sqlite", "a server's purge goes by partitions")
def test_what_was_removed_of_one_app_is_no_difference_in_another_of_the_partner(cast: Cast) -> None:
    """Who comes next has a greater number than in a count without those who are gone."""
    count(cast.where, [happened(visitor="a", at=NOW - 100 * DAY_MS), happened(visitor="b", app="com.owner.boards")])
    asyncio.run(purging.purge(cast.settings(retention_days=90), NOW, 5))
    assert checked(cast) == Checked(1, 2, [])
    look(cast.where, "log", f"update rollup_slots set visitors = x'{NOBODY.hex()}' where facet = 'referrer'")
    assert [(d.app_key, d.what, d.rollups, d.events) for d in checked(cast).differences] == [
        ("com.owner.boards", "referrer", "1 events, 0 visitors", "1 events, 1 visitors"),
    ]


@pytest.mark.only("sqlite", "a server's purge goes by partitions")
def test_removed_events_stay_counted_and_their_visitors_are_forgotten(cast: Cast) -> None:
    old = NOW - 100 * DAY_MS
    count(
        cast.where, [happened(visitor="a", at=old, user_id="u"), happened(visitor="b", at=old), happened(visitor="b")]
    )
    count(cast.where, [happened(visitor="c")])
    asyncio.run(purging.purge(cast.settings(retention_days=90), NOW, 5))
    assert cast.rows("select count(*) from events") == [(2,)]
    assert cast.rows("select anonymous_id, visitor from rollup_visitors order by visitor") == [
        ("b" * 40, 2),
        ("c" * 40, 3),
    ]
    assert cast.rows("select seq from rollup_events order by seq") == [(3,), (4,)]
    assert cast.rows("select * from rollup_names") == []
    long_ago = Span(old // SLOT_MS, old // SLOT_MS + 1)
    assert asked(cast.where, OWNER, [long_ago]).total.visitors == 2
    assert checked(cast).differences == []
    count(cast.where, [happened(visitor="a")])
    assert cast.rows("select max(visitor) from rollup_visitors") == [(4,)]
    with pytest.raises(ConfigError, match="--lose-removed"):
        asyncio.run(rebuild(cast.where, "test", 30, False, lambda *_: None))
    asyncio.run(rebuild(cast.where, "test", 30, True, lambda *_: None))
    assert asked(cast.where, OWNER, [long_ago]).total.visitors == 0
