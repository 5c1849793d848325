"""Sources: where visitors come from, by referrer, campaign, hosting and what else the address of the page says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from collector.portal.numbers.breakdowns import FEW, MANY, Section, Total, section, table, thinned, total
from collector.portal.numbers.page import Numbers, pages
from collector.portal.numbers.table import Table
from collector.portal.view import View
from store.database import Database
from store.rollups.facets import HOSTING, LINKED, QUERY, REFERRER, UTM
from store.rollups.stored import Scope

FACETS = (REFERRER, *UTM, HOSTING, QUERY)
USUAL_CAMPAIGN = "utm_campaign"
READ_OF_QUERY, FEW_OF_QUERY = 50, 4  # rows in all, and of each parameter


class Values(msgspec.Struct, frozen=True):
    """`facet` is the one that is alone on the page, or ''; `campaign` which of UTM is shown among others."""

    total: Total
    facet: str
    campaign: str
    sections: Sequence[Section]
    linked: Section


async def read(db: Database, scope: Scope, view: View, more: Mapping[str, str]) -> Values:
    """See Values."""
    facet = more.get("facet", "") if more.get("facet", "") in FACETS else ""
    campaign = more.get("campaign", "") if more.get("campaign", "") in UTM else USUAL_CAMPAIGN
    whole = await total(db, scope, view)
    sections = [await section(db, scope, view, each, whole.visitors, most) for each, most in _shown(facet, campaign)]
    if not facet:
        sections[-1] = thinned(sections[-1], FEW_OF_QUERY)
    linked = await section(db, scope, view, LINKED, whole.visitors, 1)
    return Values(whole, facet, campaign, sections, linked)


def _shown(facet: str, campaign: str) -> list[tuple[str, int]]:
    """The facets of the page, with how many rows of each."""
    if facet:
        return [(facet, MANY)]
    return [(REFERRER, FEW), (campaign, FEW), (HOSTING, FEW), (QUERY, READ_OF_QUERY)]


def tables(values: Values) -> list[Table]:
    """One for each facet that is shown, and one of the visitors whom links of the partner's brought."""
    return [table(each) for each in (*values.sections, values.linked)]


PAGES = pages(Numbers("sources", read, tables, ("facet", "campaign"), choices={"facet": FACETS, "campaign": UTM}))
