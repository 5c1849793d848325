"""Overview: who came and what they did, over time, and what the numbers leave out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import msgspec

from collector.portal.charts.series import Point, Series, TimeSeries, time_series
from collector.portal.numbers.page import Asked, Numbers, pages
from collector.portal.numbers.table import Cell, Column, Table
from collector.portal.numbers.wording import Figure, begins, bin_label, earlier_words, figure
from collector.portal.view import View
from collector.portal.words import COUNTED, KINDS, reason, share
from store.database import Database
from store.rollups import reading
from store.rollups.facets import LINKED, NAMES
from store.rollups.reading import Bin, Overview
from store.rollups.stored import Scope, Span


class Values(msgspec.Struct, frozen=True):
    """`before` is the time to compare with, where there is one; `linked` is how many visitors came with an id of the
    partner's, and on how many page views (None with filters); `first` is the half-hour with which counting begins."""

    view: View
    now: Overview
    before: Overview | None
    linked: tuple[int, int | None]
    first: int | None

    @property
    def bins(self) -> list[Span]:
        return self.view.bins()


async def read(db: Database, scope: Scope, view: View, more: Mapping[str, str]) -> Values:
    """See Values."""
    earlier = view.earlier()
    before = await reading.overview(db, scope, earlier.bins()) if earlier else None
    linked = await reading.breakdown(db, scope, LINKED, view.span)
    views = None if view.filters else sum(row.events or 0 for row in linked.rows)
    now = await reading.overview(db, scope, view.bins())
    return Values(view, now, before, (linked.visitors, views), await reading.first_slot(db, scope))


# --- tables


def tables(values: Values) -> list[Table]:
    """Over time, what visitors did, who came with an id, and what is left out."""
    return [_over_time(values), _actions(values), _linked(values), _left_out(values)]


def _over_time(values: Values) -> Table:
    columns = [
        Column("begins", "Begins", "text"),
        Column("visitors", "Unique visitors", "number"),
        Column("visitors_before", "Unique visitors, the time before", "number"),
    ]
    columns += [Column(name, COUNTED[name], "number") for name in NAMES]
    rows: list[list[Cell]] = [
        [begins(span, values.view), now.visitors, _visitors(before), *(_events(now, name) for name in NAMES)]
        for span, now, before in _paired(values)
    ]
    return Table("over-time", "Over time", columns, rows)


def _paired(values: Values) -> Iterator[tuple[Span, Bin, Bin | None]]:
    """Each bin with the bin of the time before that is as far from its beginning."""
    before = values.before.bins if values.before else []
    yield from zip_longest(values.bins, values.now.bins, before[: len(values.now.bins)])


def _visitors(of: Bin | None) -> int | None:
    return None if of is None else of.visitors


def _events(of: Bin | None, name: str) -> int | None:
    """How many events of a name; None where that is not known."""
    return None if of is None or of.events is None else of.events.get(name, 0)


def _actions(values: Values) -> Table:
    columns = [
        Column("event", "Event", "text"),
        Column("visitors", "Visitors who did it", "number"),
        Column("events", "Events", "number"),
        Column("events_before", "Events, the time before", "number"),
    ]
    did = {step.name: step.visitors for step in values.now.funnel}
    before = values.before.total if values.before else None
    rows = [[name, did.get(name), _events(values.now.total, name), _events(before, name)] for name in NAMES]
    return Table("actions", "What visitors did", columns, rows)


def _linked(values: Values) -> Table:
    columns = [
        Column("what", "What", "text"),
        Column("with_id", "With the id", "number"),
        Column("all", "All", "number"),
    ]
    visitors, views = values.linked
    total = values.now.total
    rows: list[list[Cell]] = [
        ["visitors", visitors, total.visitors],
        ["page_views", views, _events(total, "page_view")],
    ]
    return Table("linked", "Partner anonymous id", columns, rows)


def _left_out(values: Values) -> Table:
    columns = [Column("reason", "Reason", "text"), Column("events", "Events", "number")]
    return Table("not-counted", "Not counted", columns, _reasons(values))


def _reasons(values: Values) -> list[tuple[str, int]]:
    return sorted(values.now.suppressed.items(), key=lambda each: (-each[1], each[0]))


# --- what the page says of them


def told(values: Values, asked: Asked | None = None) -> Mapping[str, Any]:
    """Big numbers, pictures and sentences."""
    visitors, views = values.linked
    total = values.now.total
    seen = _events(total, "page_view")
    return {
        "figures": figures(values),
        "visitors_chart": _visitors_chart(values),
        "charts_of_events": list(_charts_of_events(values)),
        "earlier": earlier_words(values.view),
        "linked_share": share(visitors, total.visitors),
        "linked_views_share": None if views is None else share(views, seen or 0),
        "left_out": [(reason(code), n) for code, n in _reasons(values)],
        "anything": bool(total.visitors or (total.events and sum(total.events.values()))),
    }


def figures(values: Values) -> list[Figure]:
    """Unique visitors and, of the events that matter most, how many; with filters, how many visitors did them."""
    now, before, view = values.now, values.before, values.view
    found = [figure("Unique visitors", now.total.visitors, before.total.visitors if before else None, view)]
    for name in ("page_view", "cta_click", "install"):
        events = _events(now.total, name)
        if events is not None:
            found.append(figure(COUNTED[name], events, _events(before.total if before else None, name), view))
        elif name != "page_view":
            said = {"cta_click": "Visitors with a call to action", "install": "Visitors who installed"}[name]
            found.append(figure(said, _did(now, name), _did(before, name) if before else None, view))
    return found


def _did(overview: Overview, name: str) -> int:
    return next(step.visitors for step in overview.funnel if step.name == name)


def _visitors_chart(values: Values) -> TimeSeries:
    points = [
        Point(bin_label(span, values.view), begins(span, values.view), now.visitors, _visitors(then))
        for span, now, then in _paired(values)
    ]
    before = values.before.total.visitors if values.before else None
    return _chart("Unique visitors", "visitors", points, values.now.total.visitors, before, values.view)


def _charts_of_events(values: Values) -> Iterator[TimeSeries]:
    """One for each kind of events that there were."""
    for name in NAMES:
        total = _events(values.now.total, name)
        if not total:
            continue
        points = [
            Point(bin_label(span, values.view), begins(span, values.view), _events(now, name) or 0, _events(then, name))
            for span, now, then in _paired(values)
        ]
        before = _events(values.before.total, name) if values.before else None
        yield _chart(COUNTED[name], KINDS[name], points, total, before, values.view)


def _chart(name: str, kind: str, points: Sequence[Point], total: int, before: int | None, view: View) -> TimeSeries:
    return time_series(name, [Series(name, kind, points, total, before)], earlier_words(view), view.is_running)


PAGES = pages(Numbers("overview", read, tables, told=told))
