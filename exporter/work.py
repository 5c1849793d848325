"""One course within one run: what it has to do, what is ready for its next request, and how it fares."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from exporter.batching import MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, cut
from exporter.lanes import Lanes
from exporter.report import Shipped
from store import ledger, log
from store.database import Database
from store.destinations import Course
from store.event import Event
from store.ledger import Cursor, Passage
from store.registry import App
from wire.mapping import Mapped, Mapper
from wire.verdict import Reply


class Send(Protocol):
    """One request; see wire/segment.py."""

    def __call__(
        self, host: str, write_key: str, messages: Sequence[bytes], attempt: int, seconds: float = ..., /
    ) -> Reply: ...


class Work(msgspec.Struct):
    """One course within one run."""

    app: App
    course: Course
    mapper: Mapper
    host: str
    write_key: str
    cursor: Cursor
    shipped: Shipped
    ready: list[Mapped]  # what follows the cursor
    splits: list[int]  # how many messages the next requests may hold, the last first; empty: as many as fit
    up_to: int = log.NO_END  # the newest of its events that this run has to do with
    released: list[int] = []  # seqs of parked events that are to go first
    coming: asyncio.Task[list[Event]] | None = None  # what follows what is ready
    suspect: bool = False
    refused_in_a_row: int = 0
    attempt: int = 0
    doubts: int = 0
    leased_until: float = 0.0  # by the monotonic clock; 0: not leased
    waits_until: float = 0.0
    send: Send | None = None  # for a destination that is not Segment

    def mend(self, health: ledger.Health) -> None:
        """Fare so from now on."""
        if health is not self.cursor.health:
            self.cursor = msgspec.structs.replace(self.cursor, health=health)

    def move(self, piece: Sequence[Mapped], passed: Passage) -> None:
        """Count what the cursor has passed, and let go of it."""
        self.cursor = msgspec.structs.replace(self.cursor, seq=passed.seq)
        del self.ready[: len(piece)]
        for (_, fate, _), count in passed.fates.items():
            setattr(self.shipped, fate, getattr(self.shipped, fate) + count)

    async def forget(self) -> None:
        """Keep nothing that can be read again."""
        self.ready.clear()
        if self.coming is not None:
            self.coming.cancel()
            await asyncio.gather(self.coming, return_exceptions=True)
            self.coming = None


class Reading:
    """What the courses of one run read of the log, none of it past `settled`: see store.log.settled."""

    def __init__(self, log_db: Database, lanes: Lanes) -> None:
        self._log = log_db
        self._lanes = lanes
        self.settled = log.NO_END

    async def read_on(self, work: Work, past: int) -> None:
        """Have enough ready for a request after the first `past` events; while there is a lane to spare, what follows
        is read meanwhile."""
        rest = work.ready[past:]
        if len(rest) < MAX_BATCH_MESSAGES and len(cut(rest)) == len(rest):
            coming, work.coming = work.coming, None
            after = work.ready[-1].event.seq if work.ready else work.cursor.seq
            events = await (coming or self._events(work, after))
            if events and not self._lanes.locked():
                work.coming = asyncio.create_task(self._events(work, events[-1].seq))
                await asyncio.sleep(0)  # it is with the reading thread now
            work.ready += map(work.mapper.map, events)

    async def _events(self, work: Work, after: int) -> list[Event]:
        last = work.course.last_seq
        up_to = min(work.up_to, self.settled, log.NO_END if last is None else last)
        if after >= up_to:
            return []
        return await log.run(self._log, work.app.app_key, after, MAX_BATCH_MESSAGES, MAX_BATCH_BYTES, up_to)

    async def some(self, work: Work, seqs: Sequence[int]) -> list[Event]:
        """Certain events."""
        return await log.some(self._log, work.app.app_key, seqs)
