"""Overview: who came and what they did, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from collector.portal.numbers.page import Numbers, pages
from collector.portal.numbers.table import Column, Table
from collector.portal.view import View, started_at
from store.database import Database
from store.rollups import reading
from store.rollups.facets import NAMES
from store.rollups.reading import Overview, Scope, Span


class Values(msgspec.Struct, frozen=True):
    """`before` is the time to compare with, where there is one."""

    bins: Sequence[Span]
    zone: str
    now: Overview
    before: Overview | None


async def read(db: Database, scope: Scope, view: View, more: Mapping[str, str]) -> Values:
    """See Values."""
    bins, earlier = view.bins(), view.earlier()
    before = await reading.overview(db, scope, earlier.bins()) if earlier else None
    return Values(bins, view.zone, await reading.overview(db, scope, bins), before)


def tables(values: Values) -> list[Table]:
    """Over time: a row a bin."""
    columns = [Column("begins", "Begins", "text"), Column("visitors", "Unique visitors", "number")]
    columns += [Column(name, name, "number") for name in NAMES]
    rows = [
        [started_at(span.first, values.zone).isoformat(), each.visitors, *(_events(each.events, n) for n in NAMES)]
        for span, each in zip(values.bins, values.now.bins, strict=True)
    ]
    return [Table("over-time", "Over time", columns, rows)]


def _events(events: Mapping[str, int] | None, name: str) -> int | None:
    return None if events is None else events.get(name, 0)


PAGES = pages(Numbers("overview", read, tables))
