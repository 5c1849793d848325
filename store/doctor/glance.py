"""What the doctor would say, without what takes long: no file is read through and no sum is counted."""

from __future__ import annotations

import shutil
from pathlib import Path

from store import destinations, ledger, log, runs
from store.database import Database
from store.destinations import Destination
from store.doctor import checks
from store.doctor.checks import Check
from store.doctor.diagnosing import uncounted_since
from store.readers import Readers
from store.runs import Run
from store.settings import Settings

MAX_AGE_HOURS = 3.0  # as the doctor's own


async def glance(settings: Settings, readers: Readers, secret_from: str | None, now: int) -> list[Check]:
    """`now` in epoch milliseconds, `secret_from` as told by settings.secret_origin.

    Raises Unavailable when a database cannot be read.
    """
    where = settings.where
    async with readers.lend("registry", "log", "ledger") as lent:
        registry_db, log_db, ledger_db = lent["registry"], lent["log"], lent.get("ledger")
        live = await destinations.active(registry_db)
        newest = await log_db.value("/* glance.newest */ select received_at from events order by seq desc limit 1")
        last: Run | None = await runs.latest(ledger_db) if ledger_db else None
        return [
            Check("ok", "settings", f"settings: readable, data in {where}"),
            *(checks.modes(where) if isinstance(where, Path) else ()),
            checks.secret(settings, secret_from, live),
            *((_room(where),) if isinstance(where, Path) else ()),
            checks.clock(newest, now),
            checks.rollups(await uncounted_since(log_db), now),
            checks.exporter(last, bool(live), now),
            await _oldest(ledger_db, log_db, live, now),
            checks.verified(live),
        ]


def _room(data_dir: Path) -> Check:
    free = shutil.disk_usage(data_dir).free
    return Check("FAIL" if free < checks.FREE_BYTES else "ok", "disk", f"disk: {free // 1_000_000} MB free")


async def _oldest(ledger_db: Database | None, log_db: Database, live: list[Destination], now: int) -> Check:
    """One look at the log's index for each destination."""
    cursors = await ledger.cursors(ledger_db) if ledger_db else {}
    waiting: list[tuple[int, str]] = []
    for d in live:
        cursor = cursors.get((d.app_key, d.destination_id))
        since = await log.received_after(log_db, d.app_key, cursor.seq if cursor else d.start_seq)
        if since is not None:
            waiting.append((since, d.app_key))
    return checks.waited(waiting, now, MAX_AGE_HOURS)
