"""The quarantine: requests without proof, parked in the log until somebody releases or drops them.

They enter and leave it in the log's own commits (store/entry.py), so that a release stores its events in the very
transaction in which the request leaves.
"""

from __future__ import annotations

from typing import NamedTuple

from store.database import Connection, Database
from store.entry import Held

_COLUMNS = ", ".join(Held._fields)
_BEGINNING = _COLUMNS.replace("body", "substr(body, 1, ?)")


class Amount(NamedTuple):
    """How many requests, and how many bytes."""

    requests: int
    bytes: int


async def held(db: Database, app_key: str, limit: int, most_bytes: int) -> list[Held]:
    """The newest of an app, newest first; of each body so many bytes at most, since it can be large."""
    rows = await db.all(
        f"""/* quarantine.held */
        select {_BEGINNING}
        from quarantine
        where app_key = ?
        order by received_at desc, quarantine_id
        limit ?""",  # noqa: S608 - our own column names
        (most_bytes, app_key, limit),
    )
    return [Held(*row) for row in rows]


async def find(db: Database, app_key: str, quarantine_id: str) -> Held | None:
    """One of an app's; None when it has left."""
    row = await db.one(
        f"""/* quarantine.find */
        select {_COLUMNS}
        from quarantine
        where app_key = ? and quarantine_id = ?""",  # noqa: S608 - our own column names
        (app_key, quarantine_id),
    )
    return Held(*row) if row else None


async def ids(db: Database, app_key: str, limit: int) -> list[str]:
    """The oldest of an app, oldest first."""
    rows = await db.all(
        """/* quarantine.ids */
        select quarantine_id
        from quarantine
        where app_key = ?
        order by received_at, quarantine_id
        limit ?""",
        (app_key, limit),
    )
    return [quarantine_id for (quarantine_id,) in rows]


async def amount(db: Database, app_key: str) -> Amount:
    """All that an app has there."""
    row = await db.one(
        """/* quarantine.amount */
        select count(*), cast(coalesce(sum(size), 0) as bigint)
        from quarantine
        where app_key = ?""",
        (app_key,),
    )
    return Amount(*(row or (0, 0)))


async def rejected(db: Database, app_key: str, since_hour: int) -> dict[str, int]:
    """How much of an app was rejected from one epoch hour on, by reason; what was parked counts as `quarantined`."""
    rows = await db.all(
        """/* quarantine.rejected */
        select reason, cast(sum(n) as bigint)
        from door_tallies
        where app_key = ? and hour >= ? and outcome = 'rejected'
        group by reason""",
        (app_key, since_hour),
    )
    return dict(rows)


def remove_old(connection: Connection, before: int, limit: int) -> int:
    """What came before a moment, epoch milliseconds; how many went."""
    return connection.execute(_REMOVE_OLD, (before, limit)).rowcount


_REMOVE_OLD = """/* quarantine.remove_old */
    delete from quarantine
    where rowid in (select rowid from quarantine where received_at < ? limit ?)"""
