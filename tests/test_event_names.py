"""What is kept of events' names is what a plain recount of the log says, however the events came."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from conftest import Cast
from engines import look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from rollup_cast import APPS, NOW, count, happened, store
from test_rollups import checked, emptied

from store import event_rules, purging
from store.database import Where
from store.engines import open_reader, open_writer
from store.event import NewRow
from store.rollups import event_names, following
from store.rollups.event_names import kind
from store.rollups.rebuilding import rebuild

Kept = dict[tuple[str, str], tuple[int, int, int, int, dict[str, dict[str, int]]]]


def sent(name: str = "Purchase", at: int = NOW, **changed: Any) -> NewRow:
    """A track call of a partner's own systems."""
    return happened(name, at=at, **{"source": "partner"} | changed)


def kept(where: Where) -> Kept:
    """By app and name: how many, the earliest and the latest, the sample, and the properties by kind."""
    names = look(where, "log", "select app_key, name, events, first_at, last_at, sample_seq from event_names")
    found: Kept = {(app, name): (*told, {}) for app, name, *told in names}  # type: ignore[misc]
    sql = "select app_key, name, property, kind, events from event_properties"
    for app, name, prop, kind_, n in look(where, "log", sql):
        found[app, name][4].setdefault(prop, {})[kind_] = n
    return found


def plainly(rows: Iterable[tuple[int, NewRow]], told: Iterable[dict[str, Any]]) -> Kept:
    """The same, counted in the plainest way from rows with their seqs, whose properties are `told`."""
    found: Kept = {}
    for (seq, row), properties in zip(rows, told, strict=True):
        app, _, type_, name, source, at, *_ = row
        if (source, type_) != ("partner", "track") or row[11] is not None:
            continue
        n, first, last, _, kinds = found.get((app, name), (0, at, at, 0, {}))
        for prop, value in properties.items():
            of_prop = kinds.setdefault(prop, {})
            of_prop[KINDS[repr(value)]] = of_prop.get(KINDS[repr(value)], 0) + 1
        found[app, name] = n + 1, min(first, at), max(last, at), seq, kinds
    return found


VALUES: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "boolean"),
    (12, "integer"),
    (1.5, "number"),
    ("gold", "string"),
    ("2026-05-28T20:26:40.5Z", "string:date-time"),
    ("2026-05-28", "string:date"),
    ("e6f2a1f0-8a3b-4c8e-9d59-0a1b2c3d4e5f", "string:uuid"),
    ("ada@example.com", "string:email"),
    ("https://example.com/a?b=c", "string:uri"),
    ("", "string"),
    ("2026-02-30", "string"),
    ([1], "array"),
    ({"a": 1}, "object"),
]
KINDS = {repr(value): kind_ for value, kind_ in VALUES}

properties_of = some.dictionaries(
    some.sampled_from(["sum", "plan", "at", "ref"]), some.sampled_from([value for value, _ in VALUES])
)


@some.composite
def happenings(draw: some.DrawFn) -> tuple[NewRow, dict[str, Any]]:
    properties = draw(properties_of)
    row = sent(
        draw(some.sampled_from(["Purchase", "Sign Up", "…"])),
        NOW - draw(some.integers(0, 40 * 86_400_000)),
        app=draw(some.sampled_from(sorted(APPS))),
        visitor=draw(some.sampled_from("ab")),
        type=draw(some.sampled_from(["track"] * 4 + ["identify"])),
        source=draw(some.sampled_from(["partner"] * 4 + ["browser"])),
        suppressed=draw(some.sampled_from([None] * 5 + ["bot"])),
        received_at=NOW,
        properties=properties,
    )
    return row, properties


def test_every_kind_of_value_is_told() -> None:
    assert [(value, kind(value)) for value, _ in VALUES] == VALUES


def forgotten(where: Where) -> None:
    emptied(where)
    for table in ("event_names", "event_properties", "event_names_deleted"):
        look(where, "log", f"delete from {table}")
    look(where, "log", "update rollups set deletion_id = 0")
    look(where, "registry", "delete from event_deletions")


@given(rows=some.lists(happenings(), max_size=40), portion=some.integers(1, 15), again=some.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_names_are_a_plain_recount_of_the_log_in_any_portions_and_after_a_rebuild(
    cast: Cast, rows: list[tuple[NewRow, dict[str, Any]]], portion: int, again: bool
) -> None:
    forgotten(cast.where)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "RUN", portion)
        for at in range(0, len(rows), 7):
            count(cast.where, [row for row, _ in rows[at : at + 7]])
        if again and rows:
            asyncio.run(rebuild(cast.where, "test", 30, False, lambda *_: None))
    seqs = [seq for (seq,) in look(cast.where, "log", "select seq from events order by seq")]
    plain = plainly(zip(seqs, [row for row, _ in rows], strict=True), [told for _, told in rows])
    found = kept(cast.where)
    for place in [place for place in plain if place[1] == "…"]:  # of what has no name of its own, no properties
        plain[place] = (*plain[place][:4], {})
    assert found == plain


def test_a_property_beyond_the_most_is_counted_and_no_more(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_names, "MOST_PROPERTIES", 2)
    count(cast.where, [sent(properties={"a": 1, "b": 1, "c": 1, "d": 1}), sent(properties={"c": 1, "a": "x"})])
    assert cast.rows("select events, more from event_names") == [(2, 3)]
    assert kept(cast.where)["com.owner.charts", "Purchase"][4] == {
        "a": {"integer": 1, "string": 1},
        "b": {"integer": 1},
    }
    assert checked(cast).differences == []


def test_names_beyond_the_most_are_one(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_names, "MOST_NAMES", 2)
    count(cast.where, [sent(name, properties={"a": 1}) for name in ("one", "two", "three")])
    count(cast.where, [sent(name) for name in ("four", "one", "x" * 200)])
    assert cast.rows("select name, events from event_names order by name") == [("one", 2), ("two", 1), ("…", 3)]
    assert checked(cast).differences == []


def test_a_long_name_is_cut(cast: Cast) -> None:
    count(cast.where, [sent("x" * 200, properties={"y" * 150: 1, "y" * 160: "z"})])
    assert kept(cast.where).popitem()[1][4] == {"y" * 99 + "…": {"integer": 1}}
    assert cast.rows("select name from event_names") == [("x" * 99 + "…",)]


# --- deleting


def delete(where: Where, *names: str) -> None:
    async def deleted() -> None:
        async with await open_writer(where, "registry") as db:
            for name in names:
                await event_rules.delete(db, NOW, "com.owner.charts", name, "a test")

    asyncio.run(deleted())


def of_charts(cast: Cast) -> dict[str, int]:
    return {name: told[0] for (_, name), told in kept(cast.where).items()}


def test_a_deleted_name_is_gone_until_it_comes_again_and_begins_from_zero(cast: Cast) -> None:
    count(cast.where, [sent(properties={"sum": 1}), sent(), sent("Sign Up")])
    delete(cast.where, "Purchase")
    count(cast.where)
    assert of_charts(cast) == {"Sign Up": 1}
    assert cast.rows("select name from event_properties") == []
    count(cast.where, [sent(properties={"plan": "x"})])
    assert of_charts(cast) == {"Sign Up": 1, "Purchase": 1}
    before = kept(cast.where)
    assert checked(cast).differences == []
    asyncio.run(rebuild(cast.where, "test", 30, False, lambda *_: None))
    assert kept(cast.where) == before


def test_what_was_not_counted_yet_when_a_name_was_deleted_never_is(cast: Cast) -> None:
    store(cast.where, [sent(), sent("Sign Up")])
    delete(cast.where, "Purchase")
    count(cast.where)
    assert of_charts(cast) == {"Sign Up": 1}
    count(cast.where, [sent()])
    assert of_charts(cast) == {"Sign Up": 1, "Purchase": 1}
    assert checked(cast).differences == []


def test_a_name_of_another_app_is_not_deleted_with_it(cast: Cast) -> None:
    count(cast.where, [sent(), sent(app="com.stranger.notes")])
    delete(cast.where, "Purchase")
    count(cast.where)
    assert list(kept(cast.where)) == [("com.stranger.notes", "Purchase")]


# --- checked


def test_names_that_say_something_else_than_the_events_are_found(cast: Cast) -> None:
    count(cast.where, [sent(properties={"sum": 1}), sent("Sign Up")])
    look(cast.where, "log", "update event_names set events = 7 where name = 'Sign Up'")
    look(cast.where, "log", "delete from event_properties")
    assert [(found.what, found.events) for found in checked(cast).differences] == [
        ("event name Purchase", f"1 events, {NOW} to {NOW}, sample 1, sum integer 1"),
        ("event name Sign Up", f"1 events, {NOW} to {NOW}, sample 2"),
    ]


@pytest.mark.only("sqlite", "a server's purge goes by partitions")
def test_names_stay_when_their_events_are_removed(cast: Cast) -> None:
    old = NOW - 100 * 86_400_000
    count(cast.where, [sent(at=old, properties={"sum": 1}), sent(at=old), sent("Sign Up", at=old), sent(), sent()])
    asyncio.run(purging.purge(cast.settings(retention_days=90), NOW, 5))
    assert cast.rows("select count(*) from events") == [(2,)]
    assert of_charts(cast) == {"Purchase": 4, "Sign Up": 1}
    assert checked(cast).differences == []
    look(cast.where, "log", "update event_names set events = 1 where name = 'Purchase'")
    assert [found.what for found in checked(cast).differences] == ["event name Purchase"]
    asyncio.run(rebuild(cast.where, "test", 30, True, lambda *_: None))
    assert of_charts(cast) == {"Purchase": 2}


def test_reading_gives_names_with_what_each_event_has(cast: Cast) -> None:
    count(cast.where, [sent(properties={"sum": 1, "plan": "x"}), sent(properties={"sum": 2.5})])

    async def read() -> Any:
        async with await open_reader(cast.where, "log") as db:
            return await event_names.names(db, "com.owner.charts", "owner"), await event_names.known(db, 0)

    (name,), known = asyncio.run(read())
    assert name.properties == {"sum": Counter(integer=1, number=1), "plan": Counter(string=1)}
    assert [name.is_always_there(prop) for prop in ("sum", "plan")] == [True, False]
    assert known == [("com.owner.charts", "Purchase", 1)]
