"""Every page of the portal, in reading order."""

from __future__ import annotations

from collector.portal import (
    apps,
    deliveries,
    destination,
    details,
    event,
    live,
    parked,
    receipts,
    replays,
    sign_in,
)
from collector.portal.frame import Page

PAGES: list[Page] = [
    *sign_in.PAGES,
    *apps.PAGES,
    *details.PAGES,
    *destination.PAGES,
    *live.PAGES,
    *event.PAGES,
    *deliveries.PAGES,
    *parked.PAGES,
    *replays.PAGES,
    *receipts.PAGES,
]
