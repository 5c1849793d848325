"""What the three databases hold at one instant, so that a sum over them holds also while everything works.

SQLite's files are seen at three instants in an order in which nothing seems to be missing: the ledger first, the log
later. On a server one snapshot holds them all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from store import log
from store.database import Database, Where
from store.readers import Readers


class Instant(NamedTuple):
    """Readers of the three; there is no ledger before the first run. Up to `settled` nothing will come any more."""

    registry: Database
    ledger: Database | None
    log: Database
    settled: int


@asynccontextmanager
async def instant(where: Where, readers: Readers | None = None) -> AsyncIterator[Instant]:
    """Read the registry, then the ledger, then the log; by readers that are kept, or by new ones.

    Raises StoreUnavailable when one is missing.
    """
    async with AsyncExitStack() as stack:
        kept = readers if readers is not None else await stack.enter_async_context(Readers(where))
        lent = await stack.enter_async_context(kept.lend("registry", "ledger", "log"))
        ledger_db, log_db = lent.get("ledger"), lent["log"]
        if ledger_db is not None and ledger_db is not log_db:
            await ledger_db.hold_still()
        settled = await log.settled(log_db)  # before the snapshot, which then shows everything up to it
        await log_db.hold_still()
        yield Instant(lent["registry"], ledger_db, log_db, settled)
