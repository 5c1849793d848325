"""The partitions of the event log: each takes the events of about a day, and is dropped as a whole.

They are bounded by seq and not by time, because that is what every reader asks for, and what the server can then leave
the others out by. A partition is made before its first seq is taken; where nobody did, the rest takes the events.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import NamedTuple

import psycopg

from store.entry import HOUR_MS
from store.postgres.connection import Connection

AHEAD = 7  # a purge that fails for some days is not noticed in what is stored
LEAST = 100_000
LOCK = 0x466F_6F74_7061_7274  # an advisory lock: "Footpart"
LOCK_MS = 200  # how long others may have to wait behind one who waits for a strong lock
TRIES, PAUSE_SECONDS = 60, 0.5
_BAR = "events_rest_bar"
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
    """Make what is missing ahead of the newest seq, while others write; the new ones. Several may ask at once.

    Raises psycopg's LockNotAvailable when the rest is read for too long.
    """
    connection.execute(f"select pg_advisory_lock({LOCK})")
    try:
        _drop_bar(connection)
        new = _missing(connection)
        if new:
            _add(connection, new)
        return new
    finally:
        connection.rollback()
        if not connection.lost:
            connection.execute(f"select pg_advisory_unlock({LOCK})")


def cover(connection: Connection, first: int, last: int, width: int) -> None:
    """Make what is missing for events that come from elsewhere, with seqs from `first` to `last`."""
    at = first
    for there in [*partitions(connection), Partition("", last + 1, last + 1)]:
        while at < there.first and at <= last:
            at = _make(connection, at, min(width, there.first - at) if there.name else width).end
        at = max(at, there.end)


def _make(connection: Connection, first: int, width: int) -> Partition:
    made = Partition(f"events_{first}", first, first + width)
    connection.execute(_made(made))
    return made


def _made(partition: Partition) -> str:
    name, first, end = partition
    return f"create table log.{name} partition of log.events for values from ({first}) to ({end})"


def ahead(connection: Connection) -> tuple[int, int]:
    """How many partitions lie wholly ahead of the newest seq, and how many seqs are left before the rest takes what
    comes (0: it does already)."""
    newest, there = _newest(connection), partitions(connection)
    end = max([partition.end for partition in there], default=0)
    return sum(1 for partition in there if partition.first > newest), max(0, end - 1 - newest)


def _newest(connection: Connection) -> int:
    sql = "/* partitions.newest */ select case when is_called then last_value else 0 end from log.events_seq"
    return int(connection.execute(sql).fetchone()[0])


def _missing(connection: Connection) -> list[Partition]:
    """Where the last partition is full, or nearly, the next begins some way ahead, and the rest takes what comes until
    then: there must be nothing in the rest yet of what lies in a new partition."""
    newest, there = _newest(connection), partitions(connection)
    width = max(LEAST, _events_of_a_day(connection))
    end = max([partition.end for partition in there], default=1)
    if newest and end <= newest + width // 10:
        end = newest + width
    count = AHEAD - sum(1 for partition in there if partition.first > newest)
    if not there:
        count += 1  # the one for now
    firsts = [end + number * width for number in range(count)]
    return [Partition(f"events_{first}", first, first + width) for first in firsts]


def _add(connection: Connection, new: Sequence[Partition]) -> None:
    """Add partitions to the log. The server has to know that the rest has no row of theirs: it looks at every row of
    it, with all who use the rest waiting, unless a constraint that was checked before, with nobody waiting, says so."""
    barred = connection.execute("select exists (select 1 from log.events_rest)").fetchone()[0]
    if barred:
        outside = f"seq < {new[0].first} or seq >= {new[-1].end}"
        _locked(connection, f"alter table log.events_rest add constraint {_BAR} check ({outside}) not valid")
        connection.execute(f"alter table log.events_rest validate constraint {_BAR}")
    for partition in new:
        _locked(connection, _made(partition))
    if barred:
        _drop_bar(connection)


def _drop_bar(connection: Connection) -> None:
    """Also one that was left by a process that died: what comes later has to get into the rest."""
    sql = (
        "/* partitions.bar */ select 1 from pg_constraint where conrelid = 'log.events_rest'::regclass and conname = ?"
    )
    if connection.execute(sql, (_BAR,)).fetchone():
        _locked(connection, f"alter table log.events_rest drop constraint {_BAR}")


def _locked(connection: Connection, statement: str) -> None:
    """Run what needs a strong lock; who waits behind it never waits for long."""
    for left in reversed(range(TRIES)):
        try:
            for each in ("begin", f"set local lock_timeout = {LOCK_MS}", statement, "commit"):
                connection.execute(each)
            return
        except psycopg.errors.LockNotAvailable:
            connection.rollback()
            if not left:
                raise
            time.sleep(PAUSE_SECONDS)


def _events_of_a_day(connection: Connection) -> int:
    hour = time.time_ns() // 1_000_000 // HOUR_MS
    sql = """/* partitions.a_day */
        select coalesce(sum(n), 0)::bigint
        from log.door_tallies
        where outcome = 'stored' and hour > ?"""
    return int(connection.execute(sql, (hour - 24,)).fetchone()[0])
