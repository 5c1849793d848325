"""Audiences: what the partner's Segment Engage says of its users, how large each audience is, and who came and went.

Sizes are of users as Engage names them, and have nothing to do with the filters of the page: a filter is of visitors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from collector.portal.charts.series import Point, Series, TimeSeries, time_series
from collector.portal.frame import NotFound, number
from collector.portal.numbers.page import Asked, Numbers, pages
from collector.portal.numbers.table import Cell, Column, Table
from collector.portal.numbers.wording import begins, bin_label
from collector.portal.view import View
from store.audiences import reading
from store.audiences.reading import Audience, Change, Trait
from store.database import Database
from store.rollups.counting import SLOT_MS
from store.rollups.stored import Scope, Span
from store.subjects.naming import Listing

DRAWN = ("visitors", "tab", "cta", "install")  # the colours of as many of the largest audiences
LINKED = ("anonymous", "partner")  # kinds of ids that are a visitor's


class Grown(msgspec.Struct, frozen=True):
    """An audience over the bins of a view: how large at the end of each, how many entered and left in each."""

    name: str
    sizes: Sequence[int]
    entered: Sequence[int]
    left: Sequence[int]


class Values(msgspec.Struct, frozen=True):
    """Every audience and trait with its app; `chosen` is the one that the page is of, else '', and `grown` it alone or
    the largest; `changes` are the chosen one's newest, each with its app."""

    view: View
    listed: Sequence[tuple[str, Audience]]
    traits: Sequence[tuple[str, Trait]]
    chosen: str
    grown: Sequence[Grown]
    changes: Sequence[tuple[str, Change]]


async def read(db: Database, scope: Scope, view: View, more: Mapping[str, str]) -> Values:
    """See Values. Raises NotFound when there is no audience of that name."""
    chosen, span = more.get("audience", ""), view.span
    listed = [
        (listing[0], each)
        for listing in scope.listings
        for each in await reading.audiences(db, listing, span.first, span.end)
        if chosen in ("", each.name)
    ]
    listed.sort(key=lambda each: (-each[1].size, each[1].name, each[0]))
    if chosen and not listed:
        raise NotFound
    names = list(dict.fromkeys(each.name for _, each in listed))[: 1 if chosen else len(DRAWN)]
    grown = [await _grown(db, scope.listings, name, view.bins()) for name in names]
    if chosen:
        return Values(view, listed, [], chosen, grown, await _changes(db, scope.listings, chosen, span))
    traits = [(listing[0], each) for listing in scope.listings for each in await reading.traits(db, listing)]
    return Values(view, listed, traits, "", grown, [])


async def _grown(db: Database, listings: Sequence[Listing], name: str, bins: Sequence[Span]) -> Grown:
    """Of all listings together."""
    sizes, entered, left = Counter[int](), Counter[int](), Counter[int]()
    for listing in listings:
        sizes.update(dict(enumerate(await reading.sizes(db, listing, name, [span.end for span in bins]))))
        for slot, came, went in await reading.moves(db, listing, name, bins[0].first, bins[-1].end):
            at = next(nth for nth, span in enumerate(bins) if slot < span.end)
            entered[at] += came
            left[at] += went
    each = range(len(bins))
    return Grown(name, [sizes[at] for at in each], [entered[at] for at in each], [left[at] for at in each])


async def _changes(db: Database, listings: Sequence[Listing], name: str, span: Span) -> list[tuple[str, Change]]:
    window = span.first * SLOT_MS, span.end * SLOT_MS
    found = [(listing[0], each) for listing in listings for each in await reading.changes(db, listing, name, *window)]
    return sorted(found, key=lambda each: -each[1].at)[: reading.MOST_CHANGES]


# --- tables


def tables(values: Values) -> list[Table]:
    """The audiences; then the one's history, or the computed traits; and sizes over time."""
    return [_listed(values), _over_time(values), _history(values) if values.chosen else _traits(values)]


def _listed(values: Values) -> Table:
    columns = [
        Column("app", "App", "text"),
        Column("audience", "Audience", "text"),
        Column("members", "Members now", "number"),
        Column("entered", "Entered", "number"),
        Column("left", "Left", "number"),
        Column("first_at", "First told of", "moment"),
        Column("last_at", "Last told of", "moment"),
    ]
    rows: list[list[Cell]] = [
        [app, each.name, each.size, each.entered, each.left, each.first_at, each.last_at] for app, each in values.listed
    ]
    return Table("audiences", "Audiences", columns, rows)


def _over_time(values: Values) -> Table:
    columns = [
        Column("begins", "Begins", "text"),
        Column("audience", "Audience", "text"),
        Column("members", "Members at its end", "number"),
        Column("entered", "Entered", "number"),
        Column("left", "Left", "number"),
    ]
    rows: list[list[Cell]] = [
        [begins(span, values.view), grown.name, grown.sizes[at], grown.entered[at], grown.left[at]]
        for grown in values.grown
        for at, span in enumerate(values.view.bins())
    ]
    return Table("over-time", "Over time", columns, rows)


def _history(values: Values) -> Table:
    columns = [
        Column("app", "App", "text"),
        Column("at", "When", "moment"),
        Column("what", "What", "text"),
        Column("kind", "Kind of id", "text"),
        Column("id", "Id", "text"),
    ]
    rows: list[list[Cell]] = [
        [app, each.at, "entered" if each.entered else "left", each.kind, each.id] for app, each in values.changes
    ]
    return Table("history", "History", columns, rows)


def _traits(values: Values) -> Table:
    columns = [
        Column("app", "App", "text"),
        Column("trait", "Trait", "text"),
        Column("value", "Value", "text"),
        Column("users", "Users", "number"),
    ]
    rows: list[list[Cell]] = [[app, trait.name, value, n] for app, trait in values.traits for value, n in trait.values]
    return Table("traits", "Computed traits", columns, rows)


# --- what the page says of them


def told(values: Values, asked: Asked | None = None) -> Mapping[str, Any]:
    """Pictures, and the other audience pages."""
    return {
        "sizes_chart": _sizes_chart(values) if values.grown else None,
        "moves_chart": _moves_chart(values.grown[0], values.view) if values.chosen else None,
        "of_visitors": LINKED,
        "own": values.listed[0][1] if values.chosen else None,
        "members": sum(audience.size for _, audience in values.listed),
        "most_changes": reading.MOST_CHANGES,
    }


def _sizes_chart(values: Values) -> TimeSeries:
    series = [
        Series(grown.name if not values.chosen else "Members", kind, _points(values.view, grown.sizes))
        for grown, kind in zip(values.grown, DRAWN, strict=False)
    ]
    return time_series("Members over time", series, "", values.view.is_running, _grew(values.grown))


def _grew(grown: Sequence[Grown]) -> str:
    """How the largest audience grew."""
    one = grown[0]
    entered, left = sum(one.entered), sum(one.left)
    members = "1 member" if one.sizes[-1] == 1 else f"{number(one.sizes[-1])} members"
    return f"“{one.name}” has {members}; in this time {number(entered)} entered and {number(left)} left."


def _moves_chart(grown: Grown, view: View) -> TimeSeries:
    series = [
        Series("Entered", "install", _points(view, grown.entered), sum(grown.entered)),
        Series("Left", "uninstall", _points(view, grown.left), sum(grown.left)),
    ]
    said = f"{number(sum(grown.entered))} entered and {number(sum(grown.left))} left in this time."
    return time_series("Entered and left", series, "", view.is_running, said)


def _points(view: View, counts: Sequence[int]) -> list[Point]:
    return [Point(bin_label(span, view), begins(span, view), n) for span, n in zip(view.bins(), counts, strict=True)]


PAGES = pages(Numbers("audiences", read, tables, ("audience",), told))
