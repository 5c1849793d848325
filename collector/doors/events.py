"""One app's events in the order in which they came in, for a partner's program that follows them.

Of an event that its visitor did not agree to share there is what the portal shows of it: that there was one, when, and
why it goes nowhere.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from collector.doors.read import Callers, Question
from store import looking
from store.errors import Refused
from store.event import Details, Event
from store.moment import iso
from store.readers import Readers

USUAL, MOST = 100, 1_000


class Told(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An event as it is told: what is unknown is left out."""

    seq: int
    name: str
    occurred_at: str
    received_at: str
    suppressed: str | None = None
    type: str | None = None
    source: str | None = None
    message_id: str | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    partner_anonymous_id: str | None = None
    details: dict[str, Any] | None = None


class Events:
    """GET /api/v1/apps/{app_key}/events"""

    def __init__(self, callers: Callers, readers: Readers) -> None:
        self._callers = callers
        self._readers = readers

    async def __call__(self, question: Question) -> Any:
        app = await self._callers.own_app(question)
        after, limit = _window(question)
        async with self._readers.lend("log", partner_key=app.partner_key) as lent:
            run = await looking.onwards(lent["log"], app, after, limit)
        return {"events": [told(event) for event in run.events], "next": run.up_to, "more": run.more}


def _window(question: Question) -> tuple[int, int]:
    """After which seq, and how many. Raises Refused."""
    question.refuse_others("after", "limit")
    asked = dict(question.query)
    after, limit = _whole(asked.get("after", "0"), "after"), _whole(asked.get("limit", str(USUAL)), "limit")
    if not 1 <= limit <= MOST:
        raise Refused("invalid", f"limit is from 1 to {MOST}")
    return after, limit


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused("invalid", f"{name} is a whole number of at most 18 digits")
    return int(text)


def told(event: Event) -> Told:
    """An event as a partner may know it."""
    times = iso(event.occurred_at), iso(event.received_at)
    if event.suppressed is not None:
        return Told(event.seq, event.name, *times, event.suppressed)
    details = event.details or Details()
    return Told(
        event.seq,
        event.name,
        *times,
        type=event.type,
        source=event.source,
        message_id=details.message_id or str(UUID(event.message_id)),
        anonymous_id=event.anonymous_id,
        user_id=event.user_id,
        partner_anonymous_id=event.partner_anonymous_id,
        details=_details(details),
    )


def _details(details: Details) -> dict[str, Any]:
    known = msgspec.to_builtins(msgspec.structs.replace(details, message_id=None, network=None))
    return {_camel(name): value for name, value in known.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
