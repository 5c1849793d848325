"""Citus, which spreads the tables of one PostgreSQL database over several machines: all that is different there.

Tables with an app's key are distributed by it, so that what is of one app lies on one machine; all others lie on every
one. What a statement must look like to run there is tests/sql_lint.py's to say. Processes connect to the coordinator,
which numbers the events and holds the locks of those that write.

The surprising thing is a transaction whose coordinator has committed and has forgotten it, and which is only prepared
on another node, because that one died in between. Nobody holds a lock for it any more, and its events appear when Citus
has found out. So a look for what is settled asks every node, too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg

from store.errors import StoreUnavailable

if TYPE_CHECKING:
    from store.postgres.connection import Connection

# A step that changes tables on all nodes may write to others afterwards. PostgreSQL alone takes it for a name of ours.
SEQUENTIAL = "set local citus.multi_shard_modify_mode to 'sequential'"
# One connection to each node, and so one moment of it, whatever is read of it in this transaction.
ONE_MOMENT = "set local citus.max_adaptive_executor_pool_size to 1"
PATIENCE_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.02


def prepare(raw: psycopg.Connection[Any]) -> bool:
    """Whether the database has the extension. If so, the nodes learn of what a transaction sets for itself."""
    installed = raw.execute("select from pg_extension where extname = 'citus'").rowcount == 1
    if installed:
        raw.execute("set citus.propagate_set_commands to 'local'")
    return installed


def is_by_membership(raw: psycopg.Connection[Any], role: str) -> bool:
    """Whether our user is to stay who it is, a member of the role: nodes are asked as whoever asks the coordinator, and
    they let nobody in who may not log in."""
    sql = "select not rolcanlogin and pg_has_role(oid, 'usage') from pg_roles where rolname = %s"
    row = raw.execute(sql, (role,)).fetchone()
    return bool(row and row[0])


def is_distributed(connection: Connection) -> bool:
    """Whether `distribute` was there before."""
    return connection.citus and bool(connection.execute(_DISTRIBUTED).fetchone()[0])


def distribute(connection: Connection) -> None:
    """Spread every table that is not yet, with what is in it: all of them, or none. Whoever uses them waits.

    In the order in which they were made, so that what a foreign key names comes first.
    """
    raw = connection.raw
    with raw.transaction():
        raw.execute(SEQUENTIAL)
        spread = raw.execute(_TO_SPREAD).fetchall()
        for name, by_app in spread:
            if by_app:
                beside = "none" if name == FIRST else FIRST
                raw.execute("select create_distributed_table(%s, 'app_key', colocate_with => %s)", (name, beside))
            else:
                raw.execute("select create_reference_table(%s)", (name,))
        for name, _ in spread:
            raw.execute("select truncate_local_data_after_distributing_table(%s)", (name,))


FIRST = "log.events"  # every other distributed table lies beside it

_DISTRIBUTED = """/* citus.distributed */
    select exists (select from pg_dist_partition where logicalrelid = 'log.events'::regclass)"""

# A table that names a reference table is known to Citus already, and lies on the coordinator alone.
_TO_SPREAD = """/* citus.to_spread */
    select nspname || '.' || relname, nspname <> 'registry' and exists (
      select from pg_attribute where attrelid = pg_class.oid and attname = 'app_key' and not attisdropped
    )
    from pg_class
    join pg_namespace on pg_namespace.oid = relnamespace
    where nspname in ('registry', 'log', 'ledger') and relkind in ('r', 'p') and not relispartition
      and relname <> 'schema_migrations'
      and not exists (
        select from pg_dist_partition where logicalrelid = pg_class.oid and (partmethod = 'h' or repmodel = 't')
      )
    order by pg_class.oid"""


def wait_for_the_prepared(connection: Connection) -> None:
    """Wait until every transaction that is prepared on a node now has ended there.

    Raises StoreUnavailable when one does not end, or a node does not answer: Citus ends those of a node that comes back
    by itself, within a minute.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = _prepared(connection)
    while waiting:
        if time.monotonic() > deadline:
            raise StoreUnavailable(f"transactions that are prepared on a node of Citus do not end: {sorted(waiting)}")
        time.sleep(LOOK_AGAIN_SECONDS)
        waiting &= _prepared(connection)


def _prepared(connection: Connection) -> set[str]:
    """What is prepared where."""
    found = set()
    for node, success, result in connection.execute(_PREPARED).fetchall():
        if not success:
            raise StoreUnavailable(f"a node of Citus does not answer: {node}: {result}")
        found |= {f"{gid} on {node}" for gid in result.split()}
    return found


_PREPARED = r"""/* citus.prepared */
    select nodename || ':' || nodeport, success, coalesce(result, '')
    from run_command_on_all_nodes($$
      select coalesce(string_agg(gid, ' '), '')
      from pg_prepared_xacts
      where gid like 'citus\_%' and database = current_database()
    $$) as told
    join pg_dist_node on pg_dist_node.nodeid = told.nodeid"""
