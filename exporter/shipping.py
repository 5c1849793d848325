"""One course's turns within a run: read, map, record the attempt, send, record the answer with the cursor's move.

Courses take turns in order of asking, a batch at a turn, so none waits for another's backlog; one that failed or was
slow in this run waits in a narrower lane, so that it cannot hold the places of the others. What fails is left for a
later run soon after the others are done.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Protocol

import msgspec

from exporter import breaker, crash
from exporter.batching import MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, cut, passage
from exporter.lanes import Lanes
from exporter.report import Report, Shipped, Voice
from store import ids, ledger, log
from store.database import Database
from store.destinations import Course
from store.entry import HOUR_MS
from store.errors import StoreUnavailable
from store.event import Event
from store.ledger import Answer, Batch, Cursor, LeaseLost, Passage
from store.parked import Parked, hold
from store.receipt import digest
from store.registry import App
from wire import segment
from wire.mapping import Mapped, Mapper
from wire.verdict import Reply, Verdict, judge, wait

_TESTED = os.environ.get("FOOTFALL_TEST_LEASE_SECONDS") if os.environ.get("FOOTFALL_TEST") == "1" else None
LANES = 16
SUSPECT_LANES = 4
SLOW_SECONDS = 2.0
PROBE_SECONDS = 1.5  # for the answer of a destination whose breaker is open
LEASE_SECONDS = float(_TESTED or 60)  # more than any one attempt takes
STINT = 8  # turns of one course while others wait
RUN_SECONDS = 50 * 60
GRACE_SECONDS = 15.0  # what is left to those that fail when all but suspects are done …
GRACE_SHARE = 0.25  # … and of the run's time so far
DOUBTS_IN_A_RUN = 2  # answers that were waited for in vain
REFUSED_IN_A_ROW = 3  # single events refused with nothing accepted between: the destination is at fault, not they


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


class Shipping:
    """What the courses of one run share: the databases, the lanes, the report."""

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
        self._lanes = Lanes(LANES)
        self._suspects = Lanes(SUSPECT_LANES)
        self._threads = ThreadPoolExecutor(LANES + SUSPECT_LANES, "send")
        self.settled = log.NO_END  # the newest seq that may be read: see store.log.settled
        self._began = time.monotonic()
        self._ends = self._began + RUN_SECONDS
        self._sound: set[str] = set()  # courses that are not suspect and not done
        self._only_suspects = asyncio.Event()
        self._hurry = asyncio.Event()  # only suspects are left, and the time of those that fail is up

    def close(self) -> None:
        self._threads.shutdown()

    async def ship_all(self, work: Sequence[Work]) -> None:
        """Every course's turns. What goes wrong with one is raised after the others are done."""
        self._sound = {item.course.course_id for item in work if not item.suspect}
        if not self._sound:
            self._only_suspects.set()
        hurry = asyncio.create_task(self._hurry_suspects())
        ended = await asyncio.gather(*map(self.ship, sorted(work, key=_may_be_quick)), return_exceptions=True)
        left = [item for item in work if item.shipped.taken]  # by other runs, of which one may have died
        ended += await asyncio.gather(*map(self.ship, left), return_exceptions=True)
        hurry.cancel()
        for error in filter(None, ended):
            raise error

    def _not_sound(self, work: Work) -> None:
        self._sound.discard(work.course.course_id)
        if not self._sound:
            self._only_suspects.set()

    async def _hurry_suspects(self) -> None:
        await self._only_suspects.wait()
        await asyncio.sleep(GRACE_SECONDS + GRACE_SHARE * (time.monotonic() - self._began))
        self._hurry.set()

    async def ship(self, work: Work) -> None:
        """One course's turns, until its backlog is gone or it is left for a later run."""
        more = True
        try:
            while more:
                more = await self._take_turn(work)
                self._voice.progress(self._report)
                if more and work.waits_until > time.monotonic():
                    await self._pause(work.waits_until - time.monotonic())
        finally:
            self._not_sound(work)

    async def _take_turn(self, work: Work) -> bool:
        async with self._suspects if work.suspect else self._lanes:
            fails = work.attempt > 0 or bool(work.cursor.health.tripped)
            if self._stop.is_set() or time.monotonic() > self._ends or (fails and self._hurry.is_set()):
                self.defer(work.shipped, "the run ended before its backlog did")
                return False
            more = False
            try:
                more = await self._stint(work)
            except LeaseLost:
                work.leased_until = 0.0
                self._leave(work)
            except StoreUnavailable:
                await self._end_without_store()
                raise
            finally:
                if work.suspect:
                    self._not_sound(work)
                if not more or work.suspect or self._lanes.locked():  # what all who wait would keep has no bound
                    await _forget(work)
            await self._give_back(work, more)
            return more

    async def _end_without_store(self) -> None:
        """Let the others begin nothing more, unless the ledger is there again: each would wait for it in turn."""
        if time.monotonic() <= self._ends:
            try:
                await self._ledger.now()
            except StoreUnavailable:
                self._ends = 0.0

    async def _stint(self, work: Work) -> bool:
        """A few turns, so that a lease that others wait for is not asked for anew with each."""
        for _ in range(STINT if self._ledger.shared else 1):
            if not await self._turn(work):
                return False
            if work.suspect or self._stop.is_set() or not self._lanes.locked():
                break
        return True

    async def _give_back(self, work: Work, more: bool) -> None:
        """Let another exporter have the course while it waits here for a lane. One that fails is kept, so that not each
        of them tries it."""
        if work.leased_until and self._ledger.shared and not (more and (work.suspect or not self._lanes.locked())):
            work.leased_until = 0.0
            await ledger.release(self._ledger, self._run, (work.app.app_key, work.course.course_id))

    def _leave(self, work: Work) -> None:
        """Another run works on it, and has what is left of it."""
        work.shipped.taken = True
        self._voice.note("destination taken", run=self._run, app=work.app.app_key)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not past the end of the run."""
        stops = [asyncio.ensure_future(event.wait()) for event in (self._stop, self._hurry)]
        await asyncio.wait(stops, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in stops:
            task.cancel()

    async def _turn(self, work: Work) -> bool:
        """One request, or one move over events of which none is sent. False when the course is done with."""
        if work.released and not self._report.dry_run:
            return await self._lease(work) and await self._send_released(work)
        if not self._report.dry_run and not await self._lease(work):
            return False
        await self._read_on(work, 0)
        if not work.ready:
            return False
        piece = cut(work.ready, work.splits[-1] if work.splits else MAX_BATCH_MESSAGES)
        sends = any(item.wire for item in piece)
        if self._report.dry_run:
            work.shipped.batches += sends
            _pass(work, piece, passage(piece))
            return True
        if sends:
            return await self._attempt(work, piece)
        passed = passage(piece)
        await ledger.move(self._ledger, work.cursor, self._run, passed, _now())
        _pass(work, piece, passed)
        return True

    async def _read_on(self, work: Work, past: int) -> None:
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

    async def _lease(self, work: Work) -> bool:
        """Hold the cursor for longer than any one attempt takes. It may have moved since it was read."""
        began = time.monotonic()
        if work.leased_until - began > LEASE_SECONDS / 2:
            return True
        now = await self._ledger.now()
        until = now + round(LEASE_SECONDS * 1_000)
        held = await ledger.lease(self._ledger, work.app.app_key, work.course.course_id, self._run, now, until)
        if held is None:
            self._leave(work)
            return False
        work.shipped.taken = False
        if not work.leased_until and held != work.cursor:
            await _forget(work)
            if held.health.tripped != work.cursor.health.tripped or held.health.not_before > now:
                self.defer(
                    work.shipped, f"paused: {held.health.tripped}" if held.health.tripped else "asked to be left alone"
                )
                return False
            work.cursor = held
        work.leased_until = began + LEASE_SECONDS
        return True

    async def _send_released(self, work: Work) -> bool:
        """One small request with parked events that somebody released; the cursor has passed them already."""
        size = work.splits[-1] if work.splits else MAX_BATCH_MESSAGES
        events = await log.some(self._log, work.app.app_key, work.released[:size])
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
            work.cursor = _with_health(work.cursor, breaker.succeeded(work.cursor.health, 0))
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
            await self._read_on(work, len(piece))
        reply = await sending
        crash.point("after_send")
        seconds = time.monotonic() - began
        kind = judge(reply).kind
        if not work.suspect:
            self._lanes.went(kind not in ("transient", "ambiguous") and seconds <= SLOW_SECONDS)
        work.suspect = kind != "accepted" or seconds > SLOW_SECONDS
        work.shipped.batches += 1
        return batch, reply, round(seconds * 1_000)

    async def _attempt(self, work: Work, piece: Sequence[Mapped]) -> bool:
        batch, reply, latency = await self._request(work, piece)
        verdict = judge(reply)
        if verdict.kind == "accepted":
            return await self._accepted(work, batch, reply, piece, latency)
        if verdict.kind == "content":
            return await self._refused(work, batch, reply, verdict, piece, latency)
        return await self._failed(work, batch, reply, verdict, latency)

    async def _accepted(self, work: Work, batch: Batch, reply: Reply, piece: Sequence[Mapped], latency: int) -> bool:
        health = work.cursor.health
        again = breaker.possible_duplicate(health, batch.first_seq, _now())
        work.cursor = _with_health(work.cursor, breaker.succeeded(health, batch.last_seq))
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
            work.cursor = _with_health(work.cursor, breaker.ended(breaker.trip(work.cursor.health, why), _now()))
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
        work.cursor = _with_health(work.cursor, health)
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
            _pass(work, piece, passed)

    def defer(self, shipped: Shipped, reason: str) -> None:
        shipped.deferred = reason
        self._voice.note("destination deferred", run=self._run, app=shipped.app, reason=reason)


def _accepted(reply: Reply, latency: int, message_ids: Sequence[str], again: bool = False) -> Answer:
    first, last = message_ids[0], message_ids[-1]
    return Answer("accepted", reply.status, "", latency, again, first, last, digest(message_ids))


def _may_be_quick(work: Work) -> int:
    """What may make a run longer begins first: those that did not answer last time, then the other suspects."""
    return 2 if not work.suspect else 0 if work.cursor.health.ambiguous_since else 1


def _with_health(cursor: Cursor, health: ledger.Health) -> Cursor:
    return cursor if health is cursor.health else msgspec.structs.replace(cursor, health=health)


def _pass(work: Work, piece: Sequence[Mapped], passed: Passage) -> None:
    """Count what the cursor has passed, and let go of it."""
    work.cursor = msgspec.structs.replace(work.cursor, seq=passed.seq)
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
