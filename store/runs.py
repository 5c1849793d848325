"""The runs of the exporter, in the ledger: when each began and ended; and what a run clears away at its end."""

from __future__ import annotations

import msgspec

from store import ledger
from store.database import Database


class Run(msgspec.Struct, frozen=True):
    """One run; times in epoch milliseconds. `ended_at` is None while it runs, and for good when it died."""

    run_id: str
    began_at: int
    ended_at: int | None
    deferred: int


async def begin(db: Database, run_id: str, now: int) -> None:
    async with db.transaction():
        await db.execute("/* runs.begin */ insert into runs (run_id, began_at) values (?, ?)", (run_id, now))


async def end(db: Database, run_id: str, now: int, deferred: int) -> None:
    async with db.transaction():
        await db.execute(
            "/* runs.end */ update runs set ended_at = ?, deferred = ? where run_id = ?", (now, deferred, run_id)
        )


async def forget(db: Database, before: int) -> int:
    """Remove attempts and runs that ended before that moment, epoch milliseconds; how many attempts."""
    async with db.transaction():
        await db.execute("/* runs.forget */ delete from runs where began_at < ?", (before,))
    return await ledger.forget_attempts(db, before)


async def latest(db: Database, ended: bool = False) -> Run | None:
    """The newest run; the newest that came to its end."""
    row = await db.one(
        """/* runs.latest */
        select run_id, began_at, ended_at, deferred
        from runs
        where ? = 0 or ended_at is not null
        order by run_id desc
        limit 1""",
        (int(ended),),
    )
    return Run(*row) if row else None
