"""Up to which seq nothing can come any more.

A seq is taken within a transaction, so that a later one may be committed first; whoever moved a cursor past it would
never see the earlier. So every writing transaction holds, until it has ended, a shared advisory lock that says which
seq was newest when it began. Nobody ever waits for these locks: a reader only looks which are held. Timeouts on the
server bound how long one transaction holds the readers back (store/postgres/connection.py).
"""

from __future__ import annotations

from store.postgres import citus
from store.postgres.connection import Connection

# The upper 16 bits of these locks' keys, "Ff"; the lower 48 are a seq.
KIND = 0x4666
_SEQ_BITS = 48

BEGIN = f"""begin;
    select pg_advisory_xact_lock_shared({KIND << _SEQ_BITS} + case when is_called then last_value else 0 end)
    from log.events_seq"""

_NEWEST = "/* settled.newest */ select case when is_called then last_value else 0 end from log.events_seq"

# A bigint key lies in two halves in pg_locks.
_OPEN = f"""/* settled.open */
    select min(((classid::bigint & 65535) << 32) + objid::bigint)
    from pg_locks
    where locktype = 'advisory' and objsubid = 1 and classid::bigint >> 16 = {KIND}
      and database = (select oid from pg_database where datname = current_database())"""


def settled(connection: Connection) -> int:
    """The newest seq at or below which every event is there, or never will be.

    The order of the two looks matters: whoever takes its lock after the second takes its seqs after the first.
    """
    newest: int = connection.execute(_NEWEST).fetchone()[0]
    oldest_open: int | None = connection.execute(_OPEN).fetchone()[0]
    if connection.citus:
        citus.wait_for_the_prepared(connection)
    return newest if oldest_open is None else min(newest, oldest_open)
