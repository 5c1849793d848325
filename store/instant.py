"""What the three databases hold at one instant, so that a sum over them holds also while everything works.

SQLite's files are seen at three instants in an order in which nothing seems to be missing: the ledger first, the log
later. On a server one snapshot holds them all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from store import log
from store.database import Database, Server, Where, exists, open_reader, still


class Instant(NamedTuple):
    """Readers of the three; there is no ledger before the first run. Up to `settled` nothing will come any more."""

    registry: Database
    ledger: Database | None
    log: Database
    settled: int


@asynccontextmanager
async def instant(where: Where) -> AsyncIterator[Instant]:
    """Read the registry, then the ledger, then the log. Raises StoreUnavailable when one is missing."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        if isinstance(where, Server):
            from store.postgres.database import open_together

            db = await enter(await open_together(where))
            settled = await log.settled(db)  # before the snapshot, which then shows everything up to it
            await db.hold_still()
            yield Instant(db, db, db, settled)
        else:
            registry_db = await enter(await open_reader(where, "registry"))
            ledger_db = await enter(still(where, "ledger")) if exists(where, "ledger") else None
            log_db = await enter(await open_reader(where, "log"))
            settled = await log.settled(log_db)
            await log_db.hold_still()
            yield Instant(registry_db, ledger_db, log_db, settled)
