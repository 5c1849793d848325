"""What landed at the fake Segment, as the live page shows it.

The surprising thing: the page never gets a whole write key. It is masked here, on the server, in every place where the
landed message repeats it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from collector.demo import catalogue
from collector.demo.loopback import Refused, exchange

PAGE = 200
LATE_SECONDS = 3_600
_BEYOND = 2**40  # more than ever land: the answer is empty and says how many there are

KINDS = {
    "view": "Page view",
    "tab": "Tab",
    "cta": "Call to action",
    "install": "Install",
    "request": "App request",
    "uninstall": "Uninstall",
    "attributed": "Attributed",
    "other": "Event",
}
_LABELS = {"install": "Installed", "request": "Requested", "uninstall": "Uninstalled"}


class Landed(Struct, frozen=True):
    """One landed message, ready to show. `landed_at` is ISO text, `lag` is seconds from act to landing or None."""

    number: int
    kind: str
    event: str
    label: str
    app: str
    partner: str
    landed_at: str
    clock: str
    lag: float | None
    anonymous_id: str
    user_id: str
    partner_id: str
    key_end: str
    document: str


def after(segment: str, since: int) -> tuple[list[Landed], int]:
    """The messages that landed after the first `since`, oldest first and at most `PAGE`, and where to go on.

    Where to go on is less than `since` only when the fake Segment was reset in between.
    """
    answer = exchange("GET", f"{segment}/_/received?since={since}&limit={PAGE}", {})
    if not isinstance(answer.json, list) or not answer.headers.get("x-next", "").isdigit():
        raise Refused("the fake Segment did not answer with a list and X-Next")
    following = int(answer.headers["x-next"])
    first = following - len(answer.json) + 1
    return [_landed(first + place, message) for place, message in enumerate(answer.json)], following


def newest(segment: str) -> tuple[list[Landed], int]:
    """The last `PAGE` messages, oldest first, and where to go on."""
    _, total = after(segment, _BEYOND)
    return after(segment, max(0, total - PAGE))


def _landed(number: int, message: dict[str, Any]) -> Landed:
    properties = message.get("properties") or {}
    app = catalogue.BY_KEY.get(properties.get("pluginKey", ""))
    landed_at = str(message.get("receivedAt") or message.get("timestamp") or "")
    key = str(message.get("writeKey", ""))
    event = str(message.get("event") or message.get("type", ""))
    what = kind(event, properties)
    return Landed(
        number=number,
        kind=what,
        event=event,
        label=str(properties.get("label") or _LABELS.get(what, event)),
        app=app.name if app else str(properties.get("pluginKey", "unknown app")),
        partner=app.partner.key if app else "other",
        landed_at=landed_at,
        clock=landed_at[11:19],
        lag=seconds_between(str(properties.get("eventTime", "")), landed_at),
        anonymous_id=short(properties.get("anonymousId") or message.get("anonymousId")),
        user_id=short(properties.get("userId")),
        partner_id=short(properties.get("partnerAnonymousId"), 16),
        key_end=key[-4:],
        document=masked(message, key),
    )


def kind(event: str, properties: dict[str, Any]) -> str:
    """Which of `KINDS` a landed message is, from its event name and, for user events, its subject."""
    if event.endswith("User event"):
        if properties.get("action") == "viewed":
            return "view"
        return "tab" if str(properties.get("actionSubjectId", "")).startswith("tab/") else "cta"
    endings = {"Uninstall event": "uninstall", "Install event": "install", "App request event": "request"}
    for ending, name in endings.items():
        if event.endswith(ending):
            return name
    return "attributed" if event.endswith("Attributed") else "other"


def masked(message: dict[str, Any], key: str) -> str:
    """The whole message as indented JSON with its write key cut to the last four characters."""
    text = msgspec.json.format(msgspec.json.encode(message), indent=2).decode()
    return text.replace(key, f"••••{key[-4:]}") if key else text


def short(value: object, keep: int = 6) -> str:
    """The beginning of an id, enough to tell two apart on a page; empty for none."""
    text = str(value or "")
    return text if len(text) <= keep + 1 else f"{text[:keep]}…"


def seconds_between(start: str, end: str) -> float | None:
    """Seconds from one ISO instant to another, never negative; None when either is missing or unreadable, or they lie
    so far apart that it was not the way which took so long."""
    try:
        apart = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    except (ValueError, TypeError):
        return None
    seconds = max(0.0, round(apart.total_seconds(), 1))
    return seconds if seconds < LATE_SECONDS else None
