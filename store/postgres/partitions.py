"""The partitions of the event log: each takes the events of about a day, and is dropped as a whole.

They are bounded by seq and not by time, because that is what every reader asks for, and what the server can then leave
the others out by. A partition is made before its first seq is taken; where nobody did, the rest takes the events.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from store.entry import HOUR_MS
from store.postgres.connection import Connection

AHEAD = 2
LEAST = 100_000
_BOUNDS = re.compile(r"FOR VALUES FROM \('(\d+)'\) TO \('(\d+)'\)")


class Partition(NamedTuple):
    """Events from `first` to before `end`."""

    name: str
    first: int
    end: int


def partitions(connection: Connection) -> list[Partition]:
    """All but the rest, in order."""
    rows = connection.execute(
        """/* partitions.all */
        select relname::text, pg_get_expr(relpartbound, pg_class.oid)
        from pg_inherits
        join pg_class on pg_class.oid = inhrelid
        where inhparent = 'log.events'::regclass"""
    ).fetchall()
    found = []
    for name, bounds in rows:
        said = _BOUNDS.fullmatch(bounds)
        if said:
            found.append(Partition(name, int(said[1]), int(said[2])))
    return sorted(found, key=lambda partition: partition.first)


def prepare(connection: Connection) -> list[Partition]:
    """Make what is missing ahead of the newest seq; the new ones."""
    sql = "/* partitions.newest */ select case when is_called then last_value else 0 end from log.events_seq"
    newest = connection.execute(sql).fetchone()[0]
    there = partitions(connection)
    ahead = sum(1 for partition in there if partition.first > newest)
    end = max([partition.end for partition in there], default=1)
    if end <= newest:
        end = newest + LEAST  # what is on its way now goes to the rest
    width = max(LEAST, _events_of_a_day(connection))
    made = []
    for _ in range(AHEAD - ahead + (not there)):
        made.append(_make(connection, end, width))
        end += width
    return made


def cover(connection: Connection, first: int, last: int, width: int) -> None:
    """Make what is missing for events that come from elsewhere, with seqs from `first` to `last`."""
    at = first
    for there in [*partitions(connection), Partition("", last + 1, last + 1)]:
        while at < there.first and at <= last:
            at = _make(connection, at, min(width, there.first - at) if there.name else width).end
        at = max(at, there.end)


def _make(connection: Connection, first: int, width: int) -> Partition:
    made = Partition(f"events_{first}", first, first + width)
    connection.execute(
        f"create table log.{made.name} partition of log.events for values from ({made.first}) to ({made.end})"
    )
    return made


def _events_of_a_day(connection: Connection) -> int:
    hour = time.time_ns() // 1_000_000 // HOUR_MS
    sql = """/* partitions.a_day */
        select coalesce(sum(n), 0)::bigint
        from log.door_tallies
        where outcome = 'stored' and hour > ?"""
    return int(connection.execute(sql, (hour - 24,)).fetchone()[0])
