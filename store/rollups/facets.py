"""What one event counts under: pairs of a facet and a value, told from the event alone.

A value is a stranger's text and there is no end of them, so that it is cut, so many are taken of one event, and so many
of one facet are kept apart and no more (store/rollups/counting.py); what only tells one click from another is left out.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from store import campaign
from store.event import PARTNER

NAMES = ("page_view", "tab_click", "cta_click", "app_request", "install", "uninstall")  # of events; see Journey.done
UTM = ("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content")
EVENT, TAB, CTA, REFERRER, HOSTING, QUERY = "event", "tab", "cta", "referrer", "hosting", "query"
LINKED = "linked"  # page views that carry a partner anonymous id
SUPPRESSED = "suppressed"  # what no partner may get, by reason; without visitors
CALL, SENT = "call", "sent"  # what a partner's own systems sent, by type; and of track calls, by event name
NEXT, BEFORE, TIME = "next", "before", "time"  # see store/rollups/journeys.py
AUDIENCE = "audience"  # who is in one now: no facet of events, see store/audiences/
BROKEN_DOWN = (TAB, CTA, REFERRER, *UTM, HOSTING, QUERY)  # facets whose values are compared with each other
FILTERS = (*BROKEN_DOWN, LINKED, AUDIENCE)
FACETS = (EVENT, *BROKEN_DOWN, LINKED, SUPPRESSED, CALL, SENT, NEXT, BEFORE, TIME)

REST = "…"  # the value of all that is not kept apart
MOST_CHARACTERS = 100
MOST_REMEMBERED = 512  # characters of a referrer
MOST_VALUES = 300
MOST_PARAMETERS = 20  # of a page's address, beside the campaign's
MOST_LINKS = 3_000  # of journeys; of events' names, those that were deleted among them
# Set anew with every click by those who sell it.
CLICK_IDS = campaign.CLICK_IDS | {"_ga", "_gl", "gclsrc", "mc_eid", "partner_anonymous_id"}


class Told(msgspec.Struct, frozen=True, gc=False):
    """What of an event's details counts. `properties` are of what a partner's own systems sent: see
    store/rollups/event_names.py."""

    query: dict[str, str] | None = None
    referrer: str | None = None
    label: str | None = None
    target: str | None = None
    ids: dict[str, str] | None = None
    properties: dict[str, Any] | None = None
    context: msgspec.Raw = msgspec.Raw()  # JSON, read where it matters: see store/audiences/


class Counted(msgspec.Struct, frozen=True, gc=False):
    """An event as it is counted; `occurred_at` in epoch milliseconds."""

    seq: int
    app_key: str
    partner_key: str
    type: str
    name: str
    source: str
    occurred_at: int
    received_at: int
    anonymous_id: str
    user_id: str | None
    partner_anonymous_id: str | None
    suppressed: str | None
    told: Told


def most_values(facet: str) -> int:
    """How many values of a facet are kept apart."""
    return MOST_LINKS if facet in (NEXT, BEFORE, SENT) else MOST_VALUES


def facets(event: Counted) -> list[tuple[str, str]]:
    """What an event counts under, but for its place in a journey."""
    if event.suppressed is not None:
        return [(SUPPRESSED, event.suppressed)]
    if event.source == PARTNER:
        sent = [(SENT, cut(event.name))] if event.type == "track" else []
        return [(CALL, event.type), *sent]
    found = [(EVENT, event.name)]
    if event.name == "page_view":
        found.append((REFERRER, host(event.told.referrer)))
        if event.partner_anonymous_id is not None:
            found.append((LINKED, "yes"))
        pairs = [pair for name, value in (event.told.query or {}).items() for pair in parameter(name, value)]
        found += [pair for pair in pairs if pair[0] != QUERY]
        found += [pair for pair in pairs if pair[0] == QUERY][:MOST_PARAMETERS]
    elif event.name in ("tab_click", "cta_click"):
        found.append((TAB if event.name == "tab_click" else CTA, label(event.told)))
    return found


def parameter(name: str, value: str) -> list[tuple[str, str]]:
    """What a parameter of the page's address counts under."""
    if name in UTM or name == HOSTING:
        return [(name, cut(value))] if value else []
    if name.lower() in CLICK_IDS:
        return []
    return [(QUERY, cut(f"{name}={value}"))]


def label(told: Told) -> str:
    """What a tab or a call to action says, or where it leads if it says nothing."""
    return cut(" ".join((told.label or told.target or "").split()))


def host(referrer: str | None) -> str:
    """Where a visitor came from; '' when nobody says."""
    if not referrer:
        return ""
    return _remembered(referrer) if len(referrer) <= MOST_REMEMBERED else _host(referrer)


def _host(referrer: str) -> str:
    try:
        found = urlsplit(referrer).hostname or ""
    except ValueError:
        return ""
    return cut(found.removeprefix("www."))


_remembered = lru_cache(maxsize=4096)(_host)


def is_cut(text: str) -> bool:
    """Whether a value may stand for a longer one."""
    return len(text) == MOST_CHARACTERS and text.endswith("…")


def cut(text: str) -> str:
    """A value as it is kept: not too long, and without what PostgreSQL cannot hold."""
    text = text.replace("\0", "\ufffd")
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
