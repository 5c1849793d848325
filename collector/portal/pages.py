"""Every page of the portal, in reading order; and of those the pages of numbers, by name."""

from __future__ import annotations

from collector.portal import (
    account,
    audit,
    authentication,
    deliveries,
    destination,
    details,
    event,
    event_name,
    event_names,
    live,
    openid,
    operator,
    parked,
    people,
    postback,
    postbacks,
    receipts,
    replays,
    sign_in,
    start,
    tokens,
)
from collector.portal.frame import Page
from collector.portal.numbers import audiences, clicks, funnel, journeys, overview, sources, visitors
from collector.portal.numbers.page import Numbers, NumbersPage

PAGES: list[Page] = [
    *sign_in.PAGES,
    *openid.PAGES,
    *start.PAGES,
    *overview.PAGES,
    *funnel.PAGES,
    *sources.PAGES,
    *clicks.PAGES,
    *journeys.PAGES,
    *visitors.PAGES,
    *audiences.PAGES,
    *details.PAGES,
    *destination.PAGES,
    *authentication.PAGES,
    *live.PAGES,
    *event.PAGES,
    *event_names.PAGES,
    *event_name.PAGES,
    *deliveries.PAGES,
    *parked.PAGES,
    *replays.PAGES,
    *receipts.PAGES,
    *postbacks.PAGES,
    *postback.PAGES,
    *account.PAGES,
    *people.PAGES,
    *tokens.PAGES,
    *operator.PAGES,
    *audit.PAGES,
]

NUMBERS: dict[str, Numbers] = {page.numbers.name: page.numbers for page in PAGES if isinstance(page, NumbersPage)}
