"""Every page of the portal, in reading order."""

from __future__ import annotations

from collector.portal import (
    account,
    apps,
    audit,
    deliveries,
    destination,
    details,
    event,
    live,
    openid,
    operator,
    parked,
    people,
    receipts,
    replays,
    sign_in,
    tokens,
)
from collector.portal.frame import Page

PAGES: list[Page] = [
    *sign_in.PAGES,
    *openid.PAGES,
    *apps.PAGES,
    *details.PAGES,
    *destination.PAGES,
    *live.PAGES,
    *event.PAGES,
    *deliveries.PAGES,
    *parked.PAGES,
    *replays.PAGES,
    *receipts.PAGES,
    *account.PAGES,
    *people.PAGES,
    *tokens.PAGES,
    *operator.PAGES,
    *audit.PAGES,
]
