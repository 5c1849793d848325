"""The one way into the event log, whichever door a message came through.

A door judges each message into an arrival or a rejection; `ingest` hands all of them to the writer and tells the door
what became of each. A rejection is kept as it came, capped, beside what was stored: nothing is dropped silently.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from collector.writer import Stored, Writer
from store.entry import HOUR_MS, Entry, Held, Rejection, Visitor
from store.errors import Refused, Unavailable
from store.event import NewRow

MAX_KEPT_BODY = 4_096
MAX_KEPT_AN_HOUR = 1_000
QUARANTINED = "quarantined"  # the reason under which a parked request counts


class Arrival(msgspec.Struct, frozen=True):
    """A message that may be stored, and what it says of its visitor."""

    row: NewRow
    visitor: Visitor | None = None


class Parked(msgspec.Struct, frozen=True):
    """What goes into the quarantine; it counts as rejected, until a release has it come once more."""

    held: Held


class Turned(msgspec.Struct, frozen=True):
    """A message that is refused, with the bytes to keep (ids of accounts already taken out)."""

    refused: Refused
    app_key: str
    body: bytes


class Receipt(msgspec.Struct, frozen=True):
    """What became of the messages of one request; `rejected` holds (index, reason, detail), `parked` is how many are
    in the quarantine."""

    stored: int
    duplicate: int
    rejected: list[tuple[int, str, str]]
    parked: int = 0


class Intake:
    """The writer, and how many rejections of each kind were kept this hour: garbage must not fill the disk."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._kept: Counter[tuple[str, str]] = Counter()
        self._hour = 0

    def take(self, door: str, received_at: int, arrivals: Sequence[Arrival], size: int) -> asyncio.Future[Stored]:
        """Store arrivals alone; the future is done after the commit."""
        rows = [item.row for item in arrivals]
        visitors = [item.visitor for item in arrivals if item.visitor is not None]
        return self.writer.append(Entry(door, received_at, rows, visitors, []), size)

    async def ingest(
        self,
        door: str,
        received_at: int,
        judged: Sequence[Arrival | Turned | Parked],
        size: int,
        leaving: Sequence[tuple[str, str]] = (),
    ) -> Receipt:
        """Store what arrived, keep what was refused, park what is to be parked, and answer after the commit. `leaving`
        leaves the quarantine with it: (app, id).

        Raises Unavailable when nothing was stored and the sender should come back.
        """
        rows = [item.row for item in judged if isinstance(item, Arrival)]
        visitors = [item.visitor for item in judged if isinstance(item, Arrival) and item.visitor is not None]
        turned = [(index, item) for index, item in enumerate(judged) if isinstance(item, Turned)]
        rejections = [self._rejection(door, received_at, item) for _, item in turned]
        held = [item.held for item in judged if isinstance(item, Parked)]
        rejections += [Rejection(item.app_key, door, received_at, QUARANTINED, item.reason, None) for item in held]
        entry = Entry(door, received_at, rows, visitors, rejections, held, list(leaving))
        stored = await self.writer.append(entry, size)
        places = [index for index, item in enumerate(judged) if isinstance(item, Arrival)]
        rejected = [(index, item.refused.reason, item.refused.detail) for index, item in turned]
        return receipt_of(stored, places, rejected, len(held))

    async def keep_refused(self, door: str, received_at: int, item: Turned) -> None:
        """Keep a request that was refused as a whole; its answer does not depend on a store that is unwell."""
        try:
            await self.ingest(door, received_at, [item], len(item.body))
        except Unavailable:
            self.writer.shed(door, received_at)

    def _rejection(self, door: str, received_at: int, item: Turned) -> Rejection:
        hour = received_at // HOUR_MS
        if hour != self._hour:
            self._hour, self._kept = hour, Counter()
        self._kept[item.app_key, item.refused.reason] += 1
        kept = self._kept[item.app_key, item.refused.reason] <= MAX_KEPT_AN_HOUR
        body = item.body[:MAX_KEPT_BODY] if kept else None
        detail = _SENT.sub("", item.refused.detail)[:500]
        return Rejection(item.app_key, door, received_at, item.refused.reason, detail, body)


def receipt_of(
    stored: Stored, places: Sequence[int], rejected: Sequence[tuple[int, str, str]] = (), parked: int = 0
) -> Receipt:
    """What became of a request whose arrivals stood at these places."""
    unstorable = [(places[at], "unstorable", "the event log cannot hold it") for at in stored.unstorable]
    fresh = len(places) - len(stored.duplicates) - len(stored.unstorable)
    return Receipt(fresh, len(stored.duplicates), sorted([*rejected, *unstorable]), parked)


# A detail may repeat to its sender the value that was wrong; what of a message is kept is for its door alone to say.
_SENT = re.compile(r" '.*'(?= - at|\Z)", re.DOTALL)
