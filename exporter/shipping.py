"""The courses of a run, and their turns: read, map, send.

Courses take turns in order of asking, a batch at a turn, so none waits for another's backlog; one that failed or was
slow in this run waits in a narrower lane, so that it cannot hold the places of the others. What fails is left for a
later run soon after the others are done.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

from exporter.batching import MAX_BATCH_MESSAGES, cut, passage
from exporter.lanes import Lanes
from exporter.report import Report, Voice
from exporter.sending import Sending
from exporter.work import Reading, Send, Work
from store import ledger
from store.database import Database
from store.errors import StoreUnavailable
from store.ledger import LeaseLost
from wire import segment

_TESTED = os.environ.get("FOOTFALL_TEST_LEASE_SECONDS") if os.environ.get("FOOTFALL_TEST") == "1" else None
LANES = 16
SUSPECT_LANES = 4
LEASE_SECONDS = float(_TESTED or 60)  # more than any one attempt takes
STINT = 8  # turns of one course while others wait
RUN_SECONDS = 50 * 60
GRACE_SECONDS = 15.0  # what is left to those that fail when all but suspects are done …
GRACE_SHARE = 0.25  # … and of the run's time so far


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
        self._ledger = ledger_db
        self._report = report
        self._run = report.run
        self._voice = voice
        self._stop = stop
        self._lanes = Lanes(LANES)
        self._suspects = Lanes(SUSPECT_LANES)
        self.reading = Reading(log_db, self._lanes)
        threads = LANES + SUSPECT_LANES
        self.sending = Sending(ledger_db, report.run, voice, self.reading, self._lanes, send, threads)
        self._began = time.monotonic()
        self._ends = self._began + RUN_SECONDS
        self._sound: set[str] = set()  # courses that are not suspect and not done
        self._only_suspects = asyncio.Event()
        self._hurry = asyncio.Event()  # only suspects are left, and the time of those that fail is up

    def close(self) -> None:
        self.sending.close()

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
                self.sending.defer(work.shipped, "the run ended before its backlog did")
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
                    await work.forget()
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
            return await self._lease(work) and await self.sending.send_released(work)
        if not self._report.dry_run and not await self._lease(work):
            return False
        await self.reading.read_on(work, 0)
        if not work.ready:
            return False
        piece = cut(work.ready, work.splits[-1] if work.splits else MAX_BATCH_MESSAGES)
        sends = any(item.wire for item in piece)
        if self._report.dry_run:
            work.shipped.batches += sends
            work.move(piece, passage(piece))
            return True
        if sends:
            return await self.sending.attempt(work, piece)
        passed = passage(piece)
        await ledger.move(self._ledger, work.cursor, self._run, passed, _now())
        work.move(piece, passed)
        return True

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
            await work.forget()
            if held.health.tripped != work.cursor.health.tripped or held.health.not_before > now:
                self.sending.defer(
                    work.shipped, f"paused: {held.health.tripped}" if held.health.tripped else "asked to be left alone"
                )
                return False
            work.cursor = held
        work.leased_until = began + LEASE_SECONDS
        return True


def _may_be_quick(work: Work) -> int:
    """What may make a run longer begins first: those that did not answer last time, then the other suspects."""
    return 2 if not work.suspect else 0 if work.cursor.health.ambiguous_since else 1


def _now() -> int:
    return time.time_ns() // 1_000_000
