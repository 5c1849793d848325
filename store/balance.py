"""The sums that must hold: at the doors, and for every destination from where its cursor began.

Each term is counted on its own from what is stored; none is a difference of others, or the check would prove nothing.
"""

from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from store import destinations, ledger, log
from store.database import FILES, Database, open_reader


class Doors(msgspec.Struct, frozen=True):
    """received = stored + duplicate + rejected + shed."""

    received: int
    stored: int
    duplicate: int
    rejected: int
    shed: int

    @property
    def difference(self) -> int:
        return self.received - self.stored - self.duplicate - self.rejected - self.shed


class Owed(msgspec.Struct, frozen=True):
    """collected = accepted + pending + parked + suppressed + expired, for one destination from its start."""

    app: str
    destination: str
    collected: int
    accepted: int
    pending: int
    parked: int
    suppressed: int
    expired: int
    paused: str

    @property
    def difference(self) -> int:
        return self.collected - self.accepted - self.pending - self.parked - self.suppressed - self.expired


class Findings(msgspec.Struct, frozen=True):
    sqlite: str
    doors: Doors
    destinations: list[Owed]
    balanced: bool

    def lines(self) -> list[str]:
        """For a person."""
        d = self.doors
        told = [
            f"SQLite {self.sqlite}",
            f"doors: received {d.received} = stored {d.stored} + duplicate {d.duplicate} + rejected {d.rejected}"
            f" + shed {d.shed}{_verdict(d.difference)}",
        ]
        for o in self.destinations:
            told.append(
                f"{o.app}: collected {o.collected} = accepted {o.accepted} + pending {o.pending} + parked {o.parked}"
                f" + suppressed {o.suppressed} + expired {o.expired}{_verdict(o.difference)}"
                f"{f'; paused: {o.paused}' if o.paused else ''}"
            )
        return told


def _verdict(difference: int) -> str:
    return "" if difference == 0 else f"; OFF BY {difference}"


async def examine(data_dir: Path) -> Findings:
    """Count every term, also while both processes work: the ledger as it is at one instant, the log at a later one.

    Raises StoreUnavailable when a database is missing; a ledger that nobody began yet is empty.
    """
    async with AsyncExitStack() as stack:

        async def still(nature: str) -> Database:
            """What was committed at the first read from it, and nothing newer."""
            db = await stack.enter_async_context(await open_reader(data_dir, nature))
            await db.execute("begin")
            return db

        registry_db = await stack.enter_async_context(await open_reader(data_dir, "registry"))
        live = await destinations.active(registry_db)
        ledger_db = await still("ledger") if (data_dir / FILES["ledger"]).exists() else None
        cursors = await ledger.cursors(ledger_db) if ledger_db else {}
        log_db = await still("log")
        owed = []
        for d in live:
            cursor = cursors.get((d.app_key, d.destination_id))
            fates = await ledger.fates(ledger_db, d.app_key, d.destination_id) if ledger_db else {}
            start, at = (cursor.start_seq, cursor.seq) if cursor else (d.start_seq, d.start_seq)
            owed.append(
                Owed(
                    d.app_key,
                    d.destination_id,
                    collected=await log.count_after(log_db, d.app_key, start),
                    accepted=fates.get("accepted", 0),
                    pending=await log.count_after(log_db, d.app_key, at),
                    parked=fates.get("parked", 0),
                    suppressed=fates.get("suppressed", 0),
                    expired=fates.get("expired", 0),
                    paused=cursor.health.tripped if cursor else "",
                )
            )
        doors = Doors(**await log.door_totals(log_db))
    balanced = doors.difference == 0 and all(item.difference == 0 for item in owed)
    return Findings(sqlite3.sqlite_version, doors, owed, balanced)
