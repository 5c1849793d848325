"""Up to when events are counted: the numbers follow the log, a moment behind it."""

from __future__ import annotations

from typing import NamedTuple

from collector.portal.frame import Portal
from collector.portal.reading import everybodys
from store import log
from store.rollups import following

LATE_MS = 60_000


class Counted(NamedTuple):
    """`up_to` and `now` in epoch milliseconds; `anew`: everything is about to be counted again."""

    up_to: int
    now: int
    anew: bool

    @property
    def is_late(self) -> bool:
        return self.now - self.up_to > LATE_MS


async def counted(portal: Portal) -> Counted:
    """Raises Unavailable."""
    now = portal.now()
    async with everybodys(portal) as db:
        at = await following.standing(db)
        waiting = await following.oldest_waiting(db, at.seq, await log.settled(db))
    anew = await following.last_rebuild(portal.registry) > at.rebuild_id
    return Counted(now if waiting is None else min(waiting, now), now, anew)
