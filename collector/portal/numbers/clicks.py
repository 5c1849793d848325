"""Clicks: which tabs were opened, and which calls to action were pressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from collector.portal.numbers.breakdowns import MANY, Section, Total, section, table, total
from collector.portal.numbers.page import Numbers, pages
from collector.portal.numbers.table import Table
from collector.portal.view import View
from store.database import Database
from store.rollups.facets import CTA, TAB
from store.rollups.stored import Scope

FEW = 20  # rows, where both are on the page


class Values(msgspec.Struct, frozen=True):
    """`facet` is the one that is alone on the page, or ''."""

    total: Total
    facet: str
    sections: Sequence[Section]


async def read(db: Database, scope: Scope, view: View, more: Mapping[str, str]) -> Values:
    """See Values."""
    facet = more.get("facet", "") if more.get("facet", "") in (TAB, CTA) else ""
    whole = await total(db, scope, view)
    most = MANY if facet else FEW
    shown = [facet] if facet else [TAB, CTA]
    return Values(whole, facet, [await section(db, scope, view, each, whole.visitors, most) for each in shown])


def tables(values: Values) -> list[Table]:
    """One for each facet that is shown."""
    return [table(each) for each in values.sections]


PAGES = pages(Numbers("clicks", read, tables, ("facet",), choices={"facet": (TAB, CTA)}))
