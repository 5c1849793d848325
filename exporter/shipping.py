"""One destination's turns within a run: read, map, record the attempt, send, record the answer with the cursor's move.

Destinations take turns in order of asking, a batch at a turn, so none waits for another's backlog; one that failed or
was slow in this run waits in a narrower lane, so that it cannot hold the places of the others.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from exporter import crash, segment
from exporter.batching import MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, cut, passage
from exporter.mapping import Mapped, Mapper
from exporter.report import Report, Shipped, Voice
from exporter.verdict import Reply, Verdict, judge, wait
from store import ids, ledger, log
from store.database import Database
from store.event import Event
from store.ledger import Answer, Batch, Cursor, LeaseLost, Parked, Passage
from store.registry import App, Destination

LANES = 16
SUSPECT_LANES = 4
SLOW_SECONDS = 2.0
LEASE_MS = 300_000
RUN_SECONDS = 50 * 60
REFUSED_IN_A_ROW = 3  # single events refused with nothing accepted between: the destination is at fault, not they

Send = Callable[[str, str, Sequence[bytes], int], Reply]


class Work(msgspec.Struct):
    """One destination within one run."""

    app: App
    destination: Destination
    mapper: Mapper
    host: str
    write_key: str
    cursor: Cursor
    shipped: Shipped
    seq: int
    ready: list[Mapped]  # what follows seq
    splits: list[int]  # how many messages the next requests may hold, the last first; empty: as many as fit
    coming: asyncio.Task[list[Event]] | None = None  # what follows what is ready
    suspect: bool = False
    refused_in_a_row: int = 0
    attempt: int = 0
    leased_until: int = 0
    waits_until: float = 0.0


class Shipping:
    """What the destinations of one run share: the databases, the lanes, the report."""

    def __init__(
        self,
        log_db: Database,
        ledger_db: Database,
        report: Report,
        voice: Voice,
        stop: asyncio.Event,
        send: Send = segment.send,
    ) -> None:
        self._log = log_db
        self._ledger = ledger_db
        self._report = report
        self._run = report.run
        self._voice = voice
        self._stop = stop
        self._send = send
        self._lanes = asyncio.Semaphore(LANES)
        self._suspects = asyncio.Semaphore(SUSPECT_LANES)
        self._threads = ThreadPoolExecutor(LANES + SUSPECT_LANES, "send")
        self._ends = time.monotonic() + RUN_SECONDS

    def close(self) -> None:
        self._threads.shutdown()

    async def ship(self, work: Work) -> None:
        """One destination's turns, until its backlog is gone or it is left for a later run."""
        more = True
        while more:
            lane = self._suspects if work.suspect else self._lanes
            async with lane:
                if self._stop.is_set() or time.monotonic() > self._ends:
                    self.defer(work.shipped, "the run ended before its backlog did")
                    return
                try:
                    more = await self._turn(work)
                finally:
                    if not more or work.suspect or self._lanes.locked():  # what all who wait would keep has no bound
                        await _forget(work)
            self._voice.progress(self._report)
            if more and work.waits_until > time.monotonic():
                await self._pause(work.waits_until - time.monotonic())

    async def _pause(self, seconds: float) -> None:
        """Wait, but not past the end of the run."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    async def _turn(self, work: Work) -> bool:
        """One request, or one move over events of which none is sent. False when the destination is done with."""
        await self._read_on(work, 0)
        if not work.ready:
            return False
        piece = cut(work.ready, work.splits[-1] if work.splits else MAX_BATCH_MESSAGES)
        sends = any(item.wire for item in piece)
        if self._report.dry_run:
            work.shipped.batches += sends
            _pass(work, piece, passage(piece))
            return True
        if not await self._lease(work):
            self.defer(work.shipped, "another run works on it")
            return False
        try:
            if sends:
                return await self._attempt(work, piece)
            passed = passage(piece)
            await ledger.move(self._ledger, work.cursor, self._run, passed, _now())
        except LeaseLost:
            self.defer(work.shipped, "another run took it over")
            return False
        _pass(work, piece, passed)
        return True

    async def _read_on(self, work: Work, past: int) -> None:
        """Have enough ready for a request after the first `past` events; while there is a lane to spare, what follows
        is read meanwhile."""
        rest = work.ready[past:]
        if len(rest) < MAX_BATCH_MESSAGES and len(cut(rest)) == len(rest):
            coming, work.coming = work.coming, None
            after = work.ready[-1].event.seq if work.ready else work.seq
            events = await (coming or self._events(work, after))
            if events and not self._lanes.locked():
                work.coming = asyncio.create_task(self._events(work, events[-1].seq))
                await asyncio.sleep(0)  # it is with the reading thread now
            work.ready += map(work.mapper.map, events)

    async def _events(self, work: Work, after: int) -> list[Event]:
        return await log.run(self._log, work.app.app_key, after, MAX_BATCH_MESSAGES, MAX_BATCH_BYTES)

    async def _lease(self, work: Work) -> bool:
        """Hold the cursor for longer than any one attempt takes."""
        now = _now()
        if work.leased_until - now > LEASE_MS // 2:
            return True
        work.leased_until = now + LEASE_MS
        keys = work.app.app_key, work.destination.destination_id
        return await ledger.lease(self._ledger, *keys, self._run, now, work.leased_until)

    async def _attempt(self, work: Work, piece: Sequence[Mapped]) -> bool:
        messages = [item.wire for item in piece if item.wire]
        size = sum(map(len, messages))
        work.attempt += 1
        batch = Batch(
            str(ids.uuid7()),
            self._run,
            work.attempt,
            piece[0].event.seq,
            piece[-1].event.seq,
            len(messages),
            size,
        )
        await ledger.open_batch(self._ledger, work.app.app_key, work.destination.destination_id, batch, _now())
        crash.point("after_open")
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        sending = loop.run_in_executor(self._threads, self._send, work.host, work.write_key, messages, work.attempt)
        if not self._lanes.locked():
            await self._read_on(work, len(piece))
        reply = await sending
        crash.point("after_send")
        verdict = judge(reply)
        work.suspect = verdict.kind != "accepted" or time.monotonic() - began > SLOW_SECONDS
        work.shipped.batches += 1
        if verdict.kind == "accepted":
            return await self._accepted(work, batch, reply, piece)
        if verdict.kind == "content":
            return await self._refused(work, batch, reply, verdict, piece, len(messages))
        return await self._failed(work, batch, reply, verdict)

    async def _accepted(self, work: Work, batch: Batch, reply: Reply, piece: Sequence[Mapped]) -> bool:
        await self._close(work, batch, Answer("accepted", reply.status), piece)
        if work.cursor.paused_reason or work.cursor.not_before:
            await ledger.set_waiting(self._ledger, work.cursor, 0, "")
            work.cursor = msgspec.structs.replace(work.cursor, paused_reason="", not_before=0)
        work.attempt = work.refused_in_a_row = 0
        if work.splits:
            work.splits.pop()
        return True

    async def _refused(
        self, work: Work, batch: Batch, reply: Reply, verdict: Verdict, piece: Sequence[Mapped], count: int
    ) -> bool:
        """Halve a batch that is refused for what it holds; park the one event that remains."""
        answer = Answer("refused", reply.status, verdict.detail)
        work.attempt = 0
        if work.splits:
            work.splits.pop()
        if count > 1:
            await self._close(work, batch, answer)
            work.splits += [count - count // 2, count // 2]
            return True
        culprit = next(item for item in piece if item.wire)
        reason = f"refused_{reply.status}"
        parked = Parked(culprit.event.seq, culprit.message_id, reason, verdict.detail)
        await self._close(work, batch, answer, piece, parked)
        self._voice.note("event parked", run=self._run, app=work.app.app_key, seq=culprit.event.seq, reason=reason)
        work.refused_in_a_row += 1
        if work.refused_in_a_row < REFUSED_IN_A_ROW:
            return True
        await self._halt(work, f"it refused {REFUSED_IN_A_ROW} events in a row with {reply.status}")
        return False

    async def _failed(self, work: Work, batch: Batch, reply: Reply, verdict: Verdict) -> bool:
        """Nothing moves: try again in this run, in a later one, or when somebody has mended the destination."""
        outcome: Literal["ambiguous", "deferred"] = "ambiguous" if verdict.kind == "ambiguous" else "deferred"
        await self._close(work, batch, Answer(outcome, reply.status, verdict.detail))
        if verdict.kind == "destination":
            await self._halt(work, verdict.detail)
            return False
        seconds = wait(work.attempt, reply.retry_after, random.random())  # noqa: S311 - jitter
        if seconds is not None:
            work.waits_until = time.monotonic() + seconds
            return True
        if reply.retry_after:
            await ledger.set_waiting(
                self._ledger, work.cursor, _now() + int(reply.retry_after * 1_000), work.cursor.paused_reason
            )
        self.defer(work.shipped, f"{reply.status or reply.error} after {work.attempt} attempts")
        return False

    async def _close(
        self, work: Work, batch: Batch, answer: Answer, piece: Sequence[Mapped] = (), parked: Parked | None = None
    ) -> None:
        """Record an attempt's end and, for a piece that is done with, the cursor's move."""
        passed = passage(piece, parked) if piece else None
        await ledger.close_batch(self._ledger, work.cursor, self._run, batch.batch_id, answer, _now(), passed)
        crash.point("after_close")
        if passed is not None:
            _pass(work, piece, passed)

    async def _halt(self, work: Work, reason: str) -> None:
        """Pause a destination that is at fault: later runs send it one event first."""
        await ledger.set_waiting(self._ledger, work.cursor, 0, reason)
        self.defer(work.shipped, f"paused: {reason}")

    def defer(self, shipped: Shipped, reason: str) -> None:
        shipped.deferred = reason
        self._voice.note("destination deferred", run=self._run, app=shipped.app, reason=reason)


def _pass(work: Work, piece: Sequence[Mapped], passed: Passage) -> None:
    """Count what the cursor has passed, and let go of it."""
    work.seq = passed.seq
    del work.ready[: len(piece)]
    shipped = work.shipped
    for (_, fate, _), count in passed.fates.items():
        setattr(shipped, fate, getattr(shipped, fate) + count)


async def _forget(work: Work) -> None:
    """Keep nothing that can be read again."""
    work.ready.clear()
    if work.coming is not None:
        work.coming.cancel()
        await asyncio.gather(work.coming, return_exceptions=True)
        work.coming = None


def _now() -> int:
    return time.time_ns() // 1_000_000
