"""The task that removes what is old, when `footfall purge` asks for it: the collector alone may write the event log.

It works in steps between the commits of what comes in, and rests after each for longer than it took.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

import msgspec

import journal
from collector.task import Task
from store import log, purging
from store.database import Database
from store.errors import Unavailable
from store.purging import Asked
from store.rollups import following
from store.settings import Settings

LOOK_SECONDS = 0.5
REST_SECONDS = 0.02
COUNTED_SECONDS = 10.0  # that what is asked for waits until the rollups have counted what was there


class Seen(NamedTuple):
    """What is asked, the newest seq then, and until when the rollups may take to come that far."""

    asked: Asked
    newest: int
    deadline: float


class Sweeper(Task):
    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._seen: Seen | None = None

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except (OSError, Unavailable) as error:  # the next look tries again
                journal.note("removing what is old failed", level="error", reason=str(error))

    async def _look(self) -> None:
        asked = purging.wanted(self._settings.data_dir)
        if asked is None or not await self._is_counted(asked):
            return
        now = time.time_ns() // 1_000_000
        answered = await purging.carry_out(self._settings, self._db, asked, now, _rest)
        if answered.failed:
            journal.note("removing what is old failed", level="error", reason=answered.failed)
        else:
            journal.note("what is old was removed", **msgspec.structs.asdict(answered.removed))

    async def _is_counted(self, asked: Asked) -> bool:
        """Whether the rollups have counted what was there when we first saw that this is asked, or had the time."""
        if self._seen is None or self._seen.asked != asked:
            self._seen = Seen(asked, await log.settled(self._db), time.monotonic() + COUNTED_SECONDS)
        return (await following.standing(self._db)).seq >= self._seen.newest or time.monotonic() > self._seen.deadline


async def _rest() -> None:
    await asyncio.sleep(REST_SECONDS)
