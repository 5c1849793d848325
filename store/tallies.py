"""The tallies: how many events a cursor has passed, by the hour in which they were received, by fate and reason.

They are counted in the transaction in which the cursor moves, or in which a parked event is so no longer.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from store.database import Connection, Database


class Fate(NamedTuple):
    """What is counted when a cursor passes an event; `hour` is the epoch hour in which it was received."""

    hour: int
    fate: Literal["accepted", "suppressed", "parked", "expired"]
    reason: str = ""


def count(connection: Connection, keys: tuple[str, str], fates: Counter[Fate]) -> None:
    """Within the caller's transaction; `keys` are app and course. A negative number takes back what was counted."""
    connection.executemany(_COUNT, [(*keys, *fate, n) for fate, n in fates.items()])


_COUNT = """/* tallies.count */
    insert into tallies (app_key, destination_id, hour, fate, reason, n)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, destination_id, hour, fate, reason) do update
    set n = tallies.n + excluded.n"""


async def reasons(db: Database, app_key: str, destination_id: str) -> dict[tuple[str, str], int]:
    """The sums of what a cursor has passed, by fate and reason."""
    rows = await db.all(
        """/* tallies.reasons */
        select fate, reason, cast(sum(n) as bigint)
        from tallies
        where app_key = ? and destination_id = ?
        group by fate, reason
        having sum(n) <> 0""",
        (app_key, destination_id),
    )
    return {(fate, reason): n for fate, reason, n in rows}


async def fates_by_hour(db: Database, app_key: str, destination_id: str) -> dict[int, dict[str, int]]:
    """The same by the hour in which the events were received, and by fate."""
    rows = await db.all(
        """/* tallies.fates_by_hour */
        select hour, fate, cast(sum(n) as bigint)
        from tallies
        where app_key = ? and destination_id = ?
        group by hour, fate""",
        (app_key, destination_id),
    )
    found: dict[int, dict[str, int]] = {}
    for hour, fate, n in rows:
        found.setdefault(hour, {})[fate] = n
    return found


async def fates(db: Database, app_key: str, destination_id: str) -> dict[str, int]:
    """The sums of what a cursor has passed, by fate."""
    rows = await db.all(
        """/* tallies.fates */
        select fate, cast(sum(n) as bigint)
        from tallies
        where app_key = ? and destination_id = ?
        group by fate""",
        (app_key, destination_id),
    )
    return {"accepted": 0, "suppressed": 0, "parked": 0, "expired": 0} | dict(rows)
