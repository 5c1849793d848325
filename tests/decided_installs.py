"""Installs with what led to them, decided by a run of the exporter, for the pages that show it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rollup_cast import NOW, count
from shipping_cast import Silence

from exporter.attributing import Attributing
from store import log
from store.database import Where
from store.engines import open_reader, open_writer
from store.event import NewRow


def decided(where: Where, rows: Sequence[NewRow], now: int = NOW) -> None:
    """Store these, have them counted, and follow them."""
    count(where, rows)

    async def follow() -> None:
        async with (
            await open_reader(where, "registry") as registry,
            await open_reader(where, "log") as events,
            await open_writer(where, "ledger") as ledger,
        ):
            following = Attributing(registry, events, ledger, "a run", Silence(), asyncio.Event())
            done = await following.follow(await log.settled(events), now)
            assert not done.failed

    asyncio.run(follow())
