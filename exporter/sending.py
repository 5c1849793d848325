"""One request of a course, and what comes of it: the attempt is on record before it leaves, and its answer is written
together with the cursor's move.

A batch that is refused for what it holds is halved until the one event that is at fault is parked alone.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from exporter import breaker, crash
from exporter.batching import MAX_BATCH_MESSAGES, cut, passage
from exporter.lanes import Lanes
from exporter.report import Shipped, Voice
from exporter.work import Reading, Send, Work
from store import ids, ledger
from store.database import Database
from store.entry import HOUR_MS
from store.ledger import Answer, Batch
from store.parked import Parked, hold
from store.receipt import digest
from wire.mapping import Mapped
from wire.verdict import Reply, Verdict, judge, wait

SLOW_SECONDS = 2.0
PROBE_SECONDS = 1.5  # for the answer of a destination whose breaker is open
DOUBTS_IN_A_RUN = 2  # answers that were waited for in vain
REFUSED_IN_A_ROW = 3  # single events refused with nothing accepted between: the destination is at fault, not they


class Sending:
    """What the requests of one run share. `send` makes one, on a thread of its own."""

    def __init__(
        self, ledger_db: Database, run: str, voice: Voice, reading: Reading, lanes: Lanes, send: Send, threads: int
    ) -> None:
        self._ledger = ledger_db
        self._run = run
        self._voice = voice
        self._reading = reading
        self._lanes = lanes
        self._send = send
        self._threads = ThreadPoolExecutor(threads, "send")

    def close(self) -> None:
        self._threads.shutdown()

    async def attempt(self, work: Work, piece: Sequence[Mapped]) -> bool:
        """Send a piece. False when the course is done with, for now."""
        batch, reply, latency = await self._request(work, piece)
        verdict = judge(reply)
        if verdict.kind == "accepted":
            return await self._accepted(work, batch, reply, piece, latency)
        if verdict.kind == "content":
            return await self._refused(work, batch, reply, verdict, piece, latency)
        return await self._failed(work, batch, reply, verdict, latency)

    async def send_released(self, work: Work) -> bool:
        """One small request with parked events that somebody released; the cursor has passed them already."""
        size = work.splits[-1] if work.splits else MAX_BATCH_MESSAGES
        events = await self._reading.some(work, work.released[:size])
        gone = set(work.released[:size]) - {event.seq for event in events}
        mapped = list(map(work.mapper.map, events))
        piece = cut([item for item in mapped if item.wire])
        unfit = sorted(gone | {item.event.seq for item in mapped if not item.wire})
        if unfit:
            keys = work.app.app_key, work.course.course_id
            await hold(self._ledger, keys, unfit, "it cannot be sent: it is gone or unfit")
            work.released = [seq for seq in work.released if seq not in unfit]
            return True
        seqs = [item.event.seq for item in piece]
        batch, reply, latency = await self._request(work, piece, parked=True)
        verdict = judge(reply)
        if verdict.kind == "accepted":
            work.mend(breaker.succeeded(work.cursor.health, 0))
            answer = _accepted(reply, latency, [item.message_id for item in piece])
            work.released = work.released[len(seqs) :]
            work.shipped.accepted += len(seqs)
            work.shipped.parked -= len(seqs)
        elif verdict.kind == "content" and len(seqs) > 1:
            answer = Answer("deferred", reply.status, verdict.detail, latency)
            work.splits = [1] * len(seqs)
        elif verdict.kind == "content":
            answer = Answer("refused", reply.status, verdict.detail, latency)
            work.released = work.released[1:]
        else:
            return await self._failed(work, batch, reply, verdict, latency)
        if verdict.kind != "content" and work.splits:
            work.splits.pop()
        work.attempt = 0
        await ledger.close_released(self._ledger, work.cursor, self._run, batch.batch_id, answer, _now(), seqs)
        return True

    async def _request(self, work: Work, piece: Sequence[Mapped], parked: bool = False) -> tuple[Batch, Reply, int]:
        """Record an attempt and make it: the record, what came back, and after how many milliseconds."""
        messages = [item.wire for item in piece if item.wire]
        work.attempt += 1
        batch = Batch(
            str(ids.uuid7()),
            self._run,
            work.attempt,
            piece[0].event.seq,
            piece[-1].event.seq,
            len(messages),
            sum(map(len, messages)),
            parked,
        )
        await ledger.open_batch(self._ledger, work.app.app_key, work.course.course_id, batch, _now())
        crash.point("after_open")
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        request = work.host, work.write_key, messages, work.attempt
        patience = (PROBE_SECONDS,) if breaker.hurries(work.cursor.health) else ()
        sending = loop.run_in_executor(self._threads, work.send or self._send, *request, *patience)
        if not self._lanes.locked() and not parked:
            await self._reading.read_on(work, len(piece))
        reply = await sending
        crash.point("after_send")
        seconds = time.monotonic() - began
        kind = judge(reply).kind
        if not work.suspect:
            self._lanes.went(kind not in ("transient", "ambiguous") and seconds <= SLOW_SECONDS)
        work.suspect = kind != "accepted" or seconds > SLOW_SECONDS
        work.shipped.batches += 1
        return batch, reply, round(seconds * 1_000)

    async def _accepted(self, work: Work, batch: Batch, reply: Reply, piece: Sequence[Mapped], latency: int) -> bool:
        health = work.cursor.health
        again = breaker.possible_duplicate(health, batch.first_seq, _now())
        work.mend(breaker.succeeded(health, batch.last_seq))
        answer = _accepted(reply, latency, [item.message_id for item in piece if item.wire], again)
        await self._close(work, batch, answer, piece)
        work.attempt = work.refused_in_a_row = 0
        if work.splits:
            work.splits.pop()
        return True

    async def _refused(
        self, work: Work, batch: Batch, reply: Reply, verdict: Verdict, piece: Sequence[Mapped], latency: int
    ) -> bool:
        """Halve a batch that is refused for what it holds; park the one event that remains."""
        answer = Answer("refused", reply.status, verdict.detail, latency)
        work.attempt = 0
        if work.splits:
            work.splits.pop()
        if batch.events > 1:
            await self._close(work, batch, answer)
            work.splits += [batch.events - batch.events // 2, batch.events // 2]
            return True
        culprit = next(item for item in piece if item.wire)
        reason = f"refused_{reply.status}"
        hour = culprit.event.received_at // HOUR_MS
        parked = Parked(culprit.event.seq, culprit.message_id, reason, verdict.detail, hour)
        work.refused_in_a_row += 1
        at_fault = work.refused_in_a_row >= REFUSED_IN_A_ROW
        if at_fault:
            why = f"it refused {REFUSED_IN_A_ROW} events in a row with {reply.status}"
            work.mend(breaker.ended(breaker.trip(work.cursor.health, why), _now()))
        await self._close(work, batch, answer, piece, parked)
        self._voice.note("event parked", run=self._run, app=work.app.app_key, seq=culprit.event.seq, reason=reason)
        if at_fault:
            self.defer(work.shipped, f"paused: {work.cursor.health.tripped}")
        return not at_fault

    async def _failed(self, work: Work, batch: Batch, reply: Reply, verdict: Verdict, latency: int) -> bool:
        """Nothing moves: try again in this run, in a later one, or when somebody has mended the destination."""
        now = _now()
        outcome: Literal["ambiguous", "deferred"] = "ambiguous" if verdict.kind == "ambiguous" else "deferred"
        said = f"{reply.status or reply.error}"
        health = breaker.failed(work.cursor.health, f"{said} again and again")
        if outcome == "ambiguous":
            work.doubts += latency > SLOW_SECONDS * 1_000
            if not batch.parked:
                health = breaker.doubted(health, now - latency, batch.last_seq)
        if verdict.kind == "destination":
            health = breaker.trip(health, verdict.detail)
        seconds = wait(work.attempt, reply.retry_after, random.random())  # noqa: S311 - jitter
        goes_on = seconds is not None and not health.tripped and work.doubts < DOUBTS_IN_A_RUN
        if not goes_on:
            health = breaker.ended(health, now)
            if reply.retry_after:
                asked = now + int(reply.retry_after * 1_000)
                health = breaker.asked_to_wait(health, max(asked, health.not_before))
        work.mend(health)
        await self._close(work, batch, Answer(outcome, reply.status, verdict.detail, latency))
        if goes_on:
            work.waits_until = time.monotonic() + (seconds or 0.0)
            return True
        self.defer(
            work.shipped, f"paused: {health.tripped}" if health.tripped else f"{said} after {work.attempt} attempts"
        )
        return False

    async def _close(
        self, work: Work, batch: Batch, answer: Answer, piece: Sequence[Mapped] = (), parked: Parked | None = None
    ) -> None:
        """Record an attempt's end and, for a piece that is done with, the cursor's move."""
        passed = passage(piece, parked) if piece else None
        await ledger.close_batch(self._ledger, work.cursor, self._run, batch.batch_id, answer, _now(), passed)
        crash.point("after_close")
        if passed is not None:
            work.move(piece, passed)

    def defer(self, shipped: Shipped, reason: str) -> None:
        shipped.deferred = reason
        self._voice.note("destination deferred", run=self._run, app=shipped.app, reason=reason)


def _accepted(reply: Reply, latency: int, message_ids: Sequence[str], again: bool = False) -> Answer:
    first, last = message_ids[0], message_ids[-1]
    return Answer("accepted", reply.status, "", latency, again, first, last, digest(message_ids))


def _now() -> int:
    return time.time_ns() // 1_000_000
