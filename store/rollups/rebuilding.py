"""Having the rollups made anew from the events, by whoever may write the log, and waiting for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from store import log, removal
from store.database import Where
from store.engines import open_reader, open_writer
from store.errors import Busy, ConfigError
from store.rollups.following import Follower, ask_for_rebuild, standing

LOOK_SECONDS = 0.2


async def rebuild(where: Where, who: str, patience: float, lose_removed: bool, tell: Callable[[int, int], None]) -> int:
    """Count every event anew: done by us while nobody else may, else by the collector. Returns the seq up to which
    all are counted; `tell` is called with how far that is, and how far it will be.

    Raises ConfigError when events were removed whose counts would be lost, Busy when it is not done after `patience`
    seconds, StoreUnavailable.
    """
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(await open_writer(where, "registry"))
        reader = await stack.enter_async_context(await open_reader(where, "log"))
        if not lose_removed and (removed := await removal.removed_up_to(reader)):
            raise ConfigError(
                f"older events of {', '.join(sorted(removed))} were removed: what they counted for would be lost, "
                "so this needs --lose-removed"
            )
        number = await ask_for_rebuild(registry, _now(), who)
        newest = await log.settled(reader)
        follower = None
        try:
            writer = await stack.enter_async_context(await open_writer(where, "log"))
            follower = Follower(registry, reader, writer)
        except Busy:
            pass  # a collector has the log, and sees what was asked for
        deadline = time.monotonic() + patience
        while True:
            counted = await follower.step(_now()) if follower else 0
            at = await standing(reader)
            if at.rebuild_id >= number and at.seq >= newest:
                return at.seq
            if time.monotonic() > deadline:
                raise Busy(f"counted up to {at.seq} of {newest}: the collector goes on with it")
            tell(at.seq if at.rebuild_id >= number else 0, newest)
            if not counted:
                await asyncio.sleep(LOOK_SECONDS)


def _now() -> int:
    return time.time_ns() // 1_000_000
