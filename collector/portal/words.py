"""How the pages say what is stored: names of events, fates and reasons, spans of time and sizes. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from store.event import PARTNER, Event

EVENTS = {
    "page_view": "Page view",
    "tab_click": "Tab",
    "cta_click": "Call to action",
    "app_request": "App request",
    "install": "Install",
    "uninstall": "Uninstall",
}
COUNTED = {
    "page_view": "Page views",
    "tab_click": "Tabs",
    "cta_click": "Calls to action",
    "app_request": "App requests",
    "install": "Installs",
    "uninstall": "Uninstalls",
}
KINDS = {
    "page_view": "view",
    "tab_click": "tab",
    "cta_click": "cta",
    "app_request": "request",
    "install": "install",
    "uninstall": "uninstall",
}
SOURCES = {
    "browser": "from the listing",
    "server": "from the marketplace's back end",
    "partner": "from the partner's own systems",
}
CALLS = {
    "track": "Track call",
    "identify": "Identify call",
    "page": "Page call",
    "screen": "Screen call",
    "group": "Group call",
    "alias": "Alias call",
}
DOORS = {  # of what a partner's own systems sent
    "segment": "through Segment's API",
    "webhook": "through Segment's webhook",
    "kochava": "through Kochava's calls",
}
FACETS = {
    "tab": "Tab",
    "cta": "Call to action",
    "referrer": "Came from",
    "utm_source": "Campaign source",
    "utm_medium": "Campaign medium",
    "utm_campaign": "Campaign",
    "utm_term": "Campaign term",
    "utm_content": "Campaign content",
    "hosting": "Hosting",
    "query": "Parameter",
    "linked": "Partner anonymous id",
    "audience": "Audience",
}
IDS = {
    "anonymous": "anonymous id",
    "account": "user id",
    "user": "your user id",
    "partner": "your own id",
    "idfa": "IDFA",
    "idfv": "IDFV",
    "adid": "Android advertising id",
    "android_id": "Android id",
    "device": "device id",
}
FATES = {
    "accepted": "Accepted by Segment",
    "pending": "Pending",
    "parked": "Parked",
    "suppressed": "Suppressed",
    "expired": "Expired",
    "not owed": "Not for this destination",
}
OUTCOMES = {
    "accepted": "accepted",
    "refused": "refused",
    "deferred": "put off",
    "ambiguous": "answer lost",
    "open": "under way",
}
REASONS = {
    "consent": "the visitor did not agree to share it with partners",
    "gpc": "the visitor's browser sends Global Privacy Control",
    "bot": "it comes from a program that says so",
    "erased": "the visitor's data was erased",
    "dropped": "somebody dropped it",
    "not_asked_for": "uninstalls are not asked for",
    "inbound": "it came from the partner's own systems",
    "partner_changed": "it was collected for another partner",
    "retention": "it grew older than events are kept",
    "too_large": "it is larger than Segment takes",
    "unmappable": "it cannot be made into a message",
    "unknown_event": "no partner knows an event of this name",
    "no_visitor": "nobody is named who did it",
    "refused": "Segment refused it",
    "oversize": "its body would be too large",
    "attempts_spent": "every attempt failed",
    "person": "somebody gave it up",
    "removed": "the webhook was removed",
    "switched_off": "it is switched off",
    "organic": "no campaign won it",
    "other_campaign": "a campaign that is not asked for won it",
    "reinstall": "the app had been installed before",
    "told_again": "the same install was told of twice",
    "gone": "its event is no longer kept",
}


def reason(code: str) -> str:
    """Why an event is not sent; one that has no words here stands for itself."""
    known, _, status = code.partition("_")
    if known == "refused" and status.isdigit():
        return f"{REASONS[known]} ({status})"
    return REASONS.get(code, code)


def sentence(text: str) -> str:
    """With a capital at its beginning."""
    return text[:1].upper() + text[1:]


def clock(at: int | None) -> str:
    """Epoch milliseconds to the second, with the zone."""
    return "never" if at is None else time.strftime("%-d %b %Y, %H:%M:%S UTC", time.gmtime(at / 1_000))


def local(at: int, zone: str) -> str:
    """Epoch milliseconds to the minute by a zone's clock, with the zone."""
    return f"{datetime.fromtimestamp(at / 1_000, ZoneInfo(zone)):%-d %b %Y, %H:%M} {zone}"


def span(milliseconds: int) -> str:
    """A length of time as people say it: its two largest units at most."""
    seconds = max(0, milliseconds) // 1_000
    if seconds < 60:
        return f"{seconds} s"
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if n]
    return " ".join(parts[:2])


def size(n: int) -> str:
    """Bytes in decimal units."""
    if n < 1_000:
        return f"{n} B"
    return f"{n / 1_000:.1f} kB" if n < 1_000_000 else f"{n / 1_000_000:.1f} MB"


def short(text: str | None, keep: int = 8) -> str:
    """The beginning of an id, enough to tell two apart."""
    return "" if not text else text if len(text) <= keep + 1 else f"{text[:keep]}…"


def called(name: str) -> str:
    """What an event of this name is called; one that has no words here stands for itself."""
    return EVENTS.get(name, name)


def kind(name: str) -> str:
    """The colour of an event of this name: see static/css/tokens.css."""
    return KINDS.get(name, "other")


def title(event: Event) -> str:
    """What an event is called. Of what a partner's own systems sent, as they call it."""
    if event.source == PARTNER:
        return event.name or CALLS.get(event.type, event.type)
    return EVENTS.get(event.name, event.name)


def mark(event: Event) -> str:
    """By which colour its kind is told."""
    return "other" if event.source == PARTNER else KINDS.get(event.name, "other")


def what(event: Event) -> str:
    """What was seen or pressed, in one line."""
    details = event.details
    if event.source == PARTNER and details is not None:
        through = DOORS.get(details.door or "", "from the partner")
        return f"{CALLS.get(event.type, event.type)} {through}" if event.name else sentence(through)
    if details is None:
        return "its details cannot be read"
    return details.label or details.title or details.target or details.url or ""


def id_kind(kind: str) -> str:
    """What kind of id it is; of a link, its own name."""
    return IDS.get(kind, kind.removeprefix("link "))


def share(part: int, whole: int) -> str:
    """As a percentage; never 0 % for something nor 100 % for less than all."""
    if not whole:
        return "none"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "under 1\u202f%"
    if 99 < percent < 100:
        return "over 99\u202f%"
    return f"{percent:.0f}\u202f%"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "clock": clock,
    "local": local,
    "span": span,
    "size": size,
    "short": short,
    "called": called,
    "kind": kind,
    "id_kind": id_kind,
    "reason": reason,
    "share": share,
    "sentence": sentence,
    "what": what,
    "title_of": title,
    "mark": mark,
}
