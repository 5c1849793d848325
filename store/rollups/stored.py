"""What is stored of a span, put together: sets of visitors, and how often something was. Whole days that are summed up
are read as such, and half-hours before and after them.

Times are spans of half-hours since the epoch (`SLOT_MS` each).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from store.audiences.reading import visitors_in
from store.database import Connection
from store.lookup import MARKS, look_up
from store.rollups.counting import SLOTS_A_DAY, Listing, open_day
from store.rollups.facets import AUDIENCE
from store.rollups.sets import Visitors, union


class Span(NamedTuple):
    """From the half-hour `first` up to, and not including, `end`."""

    first: int
    end: int


class Scope(msgspec.Struct, frozen=True):
    """Whose numbers: listings of one partner, and of their visitors those who came under every one of `filters`, pairs
    of a facet and a value, in the time that is asked about; an audience is who is in it now."""

    partner_key: str
    app_keys: tuple[str, ...]
    filters: tuple[tuple[str, str], ...] = ()

    @property
    def listings(self) -> list[Listing]:
        return [(app_key, self.partner_key) for app_key in self.app_keys]


class Piece(NamedTuple):
    """What is read at once: "days" or "slots", from `first` up to `end`."""

    kind: str
    first: int
    end: int


class Sets(msgspec.Struct):
    """What is there of one value: how often, and the stored sets of its visitors."""

    events: int
    stored: list[bytes]


def filtered(connection: Connection, scope: Scope, span: Span) -> Visitors | None:
    """Whom the filters leave; None: there are none."""
    among: Visitors | None = None
    for facet, value in scope.filters:
        if facet == AUDIENCE:
            came = Visitors.union(*(visitors_in(connection, listing, value) for listing in scope.listings), Visitors())
        else:
            came = union(data for _, found in some(connection, scope, facet, span, [value]) for data in found.stored)
        among = came if among is None else among & came
    return among


def every(connection: Connection, scope: Scope, facet: str, span: Span) -> dict[str, Sets]:
    """Every value of a facet that has few."""
    return by_bin(connection, scope, facet, [span])[0]


def by_bin(
    connection: Connection, scope: Scope, facet: str, bins: Sequence[Span], of: str = ""
) -> list[dict[str, Sets]]:
    """The same of each bin; what follows each other is read at once. The sets are of all values, or of one."""
    found: list[dict[str, Sets]] = [{} for _ in bins]
    starts = [span.first for span in bins]
    for listing in scope.listings:
        first_open = open_day(connection, listing)
        for piece in _joined(sorted(piece for span in bins for piece in _pieces(span, first_open))):
            values = (of, of, *listing, facet, piece.first, piece.end)
            for at, *row in connection.execute(_ALL[piece.kind], values).fetchall():
                slot = at * SLOTS_A_DAY if piece.kind == "days" else at
                _gather(found[bisect_right(starts, slot) - 1], *row)
    return found


def some(
    connection: Connection, scope: Scope, facet: str, span: Span, wanted: Sequence[str]
) -> Iterator[tuple[str, Sets]]:
    """Some values of a facet, as far as they were there, in order."""
    found: dict[str, Sets] = {}
    windows = _windows(connection, scope, facet, span) if wanted else []
    for kind, window in windows:
        for row in look_up(connection, _SOME[kind], window, wanted):
            _gather(found, *row)
    yield from sorted(found.items())


def how_often(connection: Connection, scope: Scope, facet: str, span: Span) -> Counter[str]:
    """How often each value was; no set is read."""
    counts: Counter[str] = Counter()
    for kind, window in _windows(connection, scope, facet, span):
        counts.update(dict(connection.execute(_COUNTS[kind], window).fetchall()))
    return counts


def _gather(found: dict[str, Sets], value: str, events: int, data: bytes | None) -> None:
    there = found.get(value)
    if there is None:
        there = found[value] = Sets(0, [])
    there.events += events
    if data is not None:
        there.stored.append(data)


def _windows(
    connection: Connection, scope: Scope, facet: str, span: Span
) -> list[tuple[str, tuple[str, str, str, int, int]]]:
    """The reads that make up a span: which table, and what of it."""
    return [
        (piece.kind, (*listing, facet, piece.first, piece.end))
        for listing in scope.listings
        for piece in _pieces(span, open_day(connection, listing))
    ]


def _pieces(span: Span, first_open: int) -> Iterator[Piece]:
    """A span's whole days that are summed up, and the half-hours before and after them."""
    first, end = -(-span.first // SLOTS_A_DAY), min(span.end // SLOTS_A_DAY, first_open)
    if first >= end:
        yield Piece("slots", *span)
        return
    yield Piece("days", first, end)
    for edge in (Span(span.first, first * SLOTS_A_DAY), Span(end * SLOTS_A_DAY, span.end)):
        if edge.first < edge.end:
            yield Piece("slots", *edge)


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces in order, those that follow each other made one."""
    found: list[Piece] = []
    for piece in pieces:
        if found and found[-1].kind == piece.kind and found[-1].end == piece.first:
            piece = piece._replace(first=found.pop().first)
        found.append(piece)
    return found


_ALL = {
    "days": """/* rollups.all_days */
        select day, value, events, case when ? = '' or value = ? then visitors end
        from rollup_days
        where app_key = ? and partner_key = ? and facet = ? and day >= ? and day < ?""",
    "slots": """/* rollups.all_slots */
        select slot, value, events, case when ? = '' or value = ? then visitors end
        from rollup_slots
        where app_key = ? and partner_key = ? and facet = ? and slot >= ? and slot < ?""",
}

_SOME = {
    "days": f"""/* rollups.some_days */
        select value, events, visitors
        from rollup_days
        where app_key = ? and partner_key = ? and facet = ? and day >= ? and day < ?
          and value in ({MARKS})""",  # noqa: S608 - a number of question marks
    "slots": f"""/* rollups.some_slots */
        select value, events, visitors
        from rollup_slots
        where app_key = ? and partner_key = ? and facet = ? and slot >= ? and slot < ?
          and value in ({MARKS})""",  # noqa: S608 - a number of question marks
}

_COUNTS = {
    "days": """/* rollups.count_days */
        select value, cast(sum(events) as bigint)
        from rollup_days
        where app_key = ? and partner_key = ? and facet = ? and day >= ? and day < ?
        group by value""",
    "slots": """/* rollups.count_slots */
        select value, cast(sum(events) as bigint)
        from rollup_slots
        where app_key = ? and partner_key = ? and facet = ? and slot >= ? and slot < ?
        group by value""",
}
