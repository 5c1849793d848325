"""The task that removes what is old, when `footfall purge` asks for it: the collector alone may write the event log.

It works in steps between the commits of what comes in, and rests after each for longer than it took.
"""

from __future__ import annotations

import asyncio
import time

import msgspec

import journal
from store import purging
from store.database import Database
from store.errors import Unavailable
from store.settings import Settings

LOOK_SECONDS = 0.5
REST_SECONDS = 0.02


class Sweeper:
    """`start` and `stop` belong to the process's life."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="sweeper")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except (OSError, Unavailable) as error:  # the next look tries again
                journal.note("removing what is old failed", level="error", reason=str(error))

    async def _look(self) -> None:
        asked = purging.wanted(self._settings.data_dir)
        if asked is None:
            return
        now = time.time_ns() // 1_000_000
        answered = await purging.carry_out(self._settings, self._db, asked, now, _rest)
        if answered.failed:
            journal.note("removing what is old failed", level="error", reason=answered.failed)
        else:
            journal.note("what is old was removed", **msgspec.structs.asdict(answered.removed))


async def _rest() -> None:
    await asyncio.sleep(REST_SECONDS)
