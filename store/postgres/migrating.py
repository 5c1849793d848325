"""Making and upgrading the schemas, one process at a time, while collectors and exporters of older versions work.

Every step only adds, so that an older program does not notice. Roles, rights and the policies by partner are set anew
each time; they are few, and that leaves no table without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg

from store.database import NATURES, Server
from store.errors import ConfigError
from store.migrations import statements, steps
from store.postgres import citus, partitions, roles
from store.postgres.connection import Connection, connect, told
from store.postgres.database import PostgresDatabase, lacking

LOCK = 0x466F_6F74_6661_6C6C  # an advisory lock: "Footfall"


async def migrate(server: Server, distribute: bool = False) -> dict[str, list[str]]:
    """Apply what is missing; the names of it, by nature. Waits while another process does the same.

    With `distribute`, spread the tables over the nodes of Citus; what is made later is then spread, too. Raises
    StoreUnavailable when the server is not there, ConfigError when we may not change it, or it has no Citus.
    """
    return await asyncio.to_thread(_migrate, server, distribute)


async def missing(server: Server) -> dict[str, list[str]]:
    """The names of what `migrate` would apply, by nature."""
    found = {}
    for nature in NATURES:
        db = PostgresDatabase(server, nature, None)
        try:
            found[nature] = await lacking(db, nature)
        finally:
            await db.close()
    return found


def _migrate(server: Server, distribute: bool) -> dict[str, list[str]]:
    connection = connect(server, "public", None, read_only=False)
    try:
        if distribute and not connection.citus:
            raise ConfigError(f"{server}: the extension citus is not in this database; see docs/how-to/grow.md")
        connection.raw.execute("set statement_timeout = 0")
        connection.raw.execute(f"select pg_advisory_lock({LOCK})")
        applied = {nature: _upgrade(connection, nature) for nature in NATURES}
        if distribute or citus.is_distributed(connection):
            citus.distribute(connection)
        partitions.prepare(connection)
        roles.settle(connection)
        return applied
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            f"{server}: {error}; `footfall migrate` needs a user that owns the database and may create roles"
        ) from None
    except psycopg.Error as error:
        raise told(error, server) from None
    finally:
        connection.close()


def _upgrade(connection: Connection, nature: str) -> list[str]:
    raw = connection.raw
    raw.execute(f"create schema if not exists {nature}")
    raw.execute(f"set search_path = {nature}")
    raw.execute("create table if not exists schema_migrations (number bigint primary key, name text not null)")
    seen: Sequence[int] = [row[0] for row in raw.execute("select number from schema_migrations").fetchall()]
    applied = []
    for step in steps(nature, "postgresql"):
        if step.number in seen:
            continue
        with raw.transaction():
            raw.execute(citus.SEQUENTIAL)
            for statement in statements(step.sql):
                raw.execute(statement)
            raw.execute("insert into schema_migrations values (%s, %s)", (step.number, step.name))
        applied.append(step.name)
    return applied
