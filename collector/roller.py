"""The task that keeps the rollups up with the event log: the collector alone may write there.

It counts between the commits of what comes in, and rests after each step that one of them could have waited for. A step
that fails may have been too long for a server's patience: the next is shorter. Of several collectors on one server one
counts, until it ends.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import journal
from collector.task import Task
from collector.writer import Writer
from store.database import Database
from store.errors import Unavailable
from store.rollups.following import RUN, Follower

LOOK_SECONDS = 0.25
LEAVE_SECONDS = 1.0
RUN_BESIDE = 200  # events of a step that what comes in may have to wait for …
REST_SHARE = 6.0  # … and how long it rests then, as a multiple of the step's time
SHORTER = 8  # as a part of what failed; what succeeds is doubled


class Roller(Task):
    """`reader` and `db` are of the log, which `writer` writes to."""

    def __init__(self, registry: Database, reader: Database, db: Database, writer: Writer) -> None:
        self._follower = Follower(registry, reader, db)
        self._writer = writer

    async def _end(self) -> None:
        with suppress(Unavailable, TimeoutError):  # else the right to count runs out by itself
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._follower.leave()

    async def _pass_over(self, error: Exception) -> None:
        """An event that fails alone, and not because of the store, would fail for ever."""
        with suppress(Exception):  # then the next look comes here again
            seq = await self._follower.pass_over(time.time_ns() // 1_000_000)
            journal.note("an event is not counted", "error", seq=seq, **journal.failure(error))

    async def _work(self) -> None:
        failing, fits, beside = False, RUN, False
        while True:
            began, committed = time.monotonic(), self._writer.committed
            most = min(fits, RUN_BESIDE if beside else RUN)
            try:
                counted = await self._follower.step(time.time_ns() // 1_000_000, most)
                failing, fits = failing and counted == most, min(fits * 2, RUN)
            except Exception as error:  # whatever it is, this task must live: the next look tries again
                counted, fits = 0, max(most // SHORTER, 1)
                if not failing:
                    journal.note("the rollups cannot be kept up", "error", **journal.failure(error))
                failing = True
                if most == 1 and not isinstance(error, Unavailable):
                    await self._pass_over(error)
            took = time.monotonic() - began
            waited = self._writer.committed > committed
            await asyncio.sleep(LOOK_SECONDS if counted < most else took * REST_SHARE if waited else 0)
            beside = self._writer.committed > committed
