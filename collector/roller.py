"""The task that keeps the rollups up with the event log: the collector alone may write there.

It counts between the commits of what comes in, and rests after each step, so that what comes in goes first. Of several
collectors on one server one counts, until it ends.
"""

from __future__ import annotations

import asyncio
import time

import journal
from store.database import Database
from store.rollups.following import RUN, Follower

LOOK_SECONDS = 1.0
REST_SHARE = 1.0  # of a step's time


class Roller:
    """`start` and `stop` belong to the process's life. `reader` and `writer` are of the log."""

    def __init__(self, registry: Database, reader: Database, writer: Database) -> None:
        self._follower = Follower(registry, reader, writer)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="roller")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        failing = False
        while True:
            began = time.monotonic()
            try:
                counted = await self._follower.step(time.time_ns() // 1_000_000)
                failing = False
            except Exception as error:  # whatever it is, this task must live: the next look tries again
                counted = 0
                if not failing:
                    journal.note("the rollups cannot be kept up", "error", **journal.failure(error))
                failing = True
            took = time.monotonic() - began
            await asyncio.sleep(took * REST_SHARE if counted == RUN else LOOK_SECONDS)
