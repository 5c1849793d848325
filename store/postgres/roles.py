"""Who may do what on the server: one role for each thing that a process does, and a wall between partners.

The roles cannot log in; an operator's users become members of those that their process needs (docs/how-to/grow.md).
What is there is compared with what should be, so that rights are taken back too, and that nothing is changed, and
nothing locked, where all is as it should be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import psycopg

from store.database import NATURES
from store.errors import ConfigError
from store.postgres import citus
from store.postgres.connection import Connection
from store.postgres.database import PORTAL, READER, WRITERS
from store.postgres.wall import OF_ALL, OF_PARTNER, condition

COLLECTOR, EXPORTER, OPERATOR = WRITERS["log"], WRITERS["ledger"], WRITERS["registry"]
ALL = (COLLECTOR, EXPORTER, OPERATOR, READER, PORTAL)
BOOKS = "schema_migrations"
_EVERYTHING = ("select", "insert", "update", "delete")
# What a table's own writer may do, where that is not everything, or in the log not just to read. Nothing in the log
# changes, but for what is counted or last seen there; what was audited or signed stays as it is.
_LESS: dict[str, tuple[str, ...]] = {
    "events": ("select", "insert"),
    "message_ids": ("select", "insert"),
    "rejections": ("select", "insert"),
    "quarantine": ("select", "insert", "delete"),
    "visitors": ("select", "insert", "update"),
    "door_tallies": ("select", "insert", "update"),
    "rollups": ("select", "update"),
    "rollup_visitors": _EVERYTHING,
    "rollup_names": _EVERYTHING,
    "rollup_events": _EVERYTHING,
    "rollup_journeys": _EVERYTHING,
    "rollup_values": _EVERYTHING,
    "rollup_slots": _EVERYTHING,
    "rollup_days": _EVERYTHING,
    "rollup_apps": _EVERYTHING,
    "subject_links": _EVERYTHING,
    "subject_ids": _EVERYTHING,
    "audiences": _EVERYTHING,
    "audience_marks": _EVERYTHING,
    "audience_members": _EVERYTHING,
    "audience_slots": _EVERYTHING,
    "audience_traits": _EVERYTHING,
    "event_names": _EVERYTHING,
    "event_properties": _EVERYTHING,
    "event_names_deleted": ("select", "insert", "update"),
    "audit": ("select", "insert"),
    "receipts": ("select", "insert"),
}
# Tables of people's own secrets, which nobody needs to see a partner's data.
APART = frozenset({"people", "tokens"})
# Columns that are nobody's but ours, in tables of which a partner may read the rest.
SECRETS = {
    "destinations": {"segment_write_key", "write_key_fingerprint", "code_hash"},
    "key_pairs": {"secret"},
    "postback_targets": {"secret", "old_secret"},
}


class Right(NamedTuple):
    """One thing that one role may do; `what` is schema, table or sequence, `column` is '' for all of it."""

    role: str
    privilege: str
    what: str
    name: str
    column: str = ""

    def sql(self, verb: str) -> str:
        column = f" ({self.column})" if self.column else ""
        to = "to" if verb == "grant" else "from"
        return f"{verb} {self.privilege}{column} on {self.what} {self.name} {to} {self.role}"


class Table(NamedTuple):
    nature: str
    name: str
    columns: set[str]


def of_partner(table: Table) -> str | None:
    """What tells a partner's rows of a table from all others; None where no partner is shown any."""
    return None if table.name in APART else condition(table.columns)


def settle(connection: Connection) -> None:
    """Make what is missing and set every right; the same again changes nothing.

    Raises ConfigError when a role is missing and we may not make it.
    """
    raw = connection.raw
    _make(connection)
    tables = [table for nature in NATURES for table in tables_of(connection, nature)]
    wanted = {right for table in tables for right in _of_table(table)} | set(_of_schemas(connection))
    with raw.transaction():
        raw.execute(citus.SEQUENTIAL)
        for right in sorted(rights(connection) - wanted):
            raw.execute(right.sql("revoke"))
        for right in sorted(wanted - rights(connection)):
            raw.execute(right.sql("grant"))
        for table in tables:
            _wall(connection, table)


def _make(connection: Connection) -> None:
    """The roles. They belong to the whole server: another database's migration may make them at this moment."""
    raw = connection.raw
    known = {row[0] for row in raw.execute("select rolname from pg_roles").fetchall()}
    missing = [f"create role {role} nologin" for role in ALL if role not in known]
    for statement in missing:
        try:
            raw.execute(statement)
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            pass
        except psycopg.errors.InsufficientPrivilege:
            raise ConfigError(f"this user may not create roles; one who may is to run: {'; '.join(missing)}") from None
    for role in ALL:
        _become(connection, role)


def _become(connection: Connection, role: str) -> None:
    """Whoever migrates may do everything; the right to say so as a member is a convenience."""
    if not connection.execute("select pg_has_role(?, 'member')", (role,)).fetchone()[0]:
        with suppress(psycopg.errors.InsufficientPrivilege):
            connection.raw.execute(f"grant {role} to current_user")


def tables_of(connection: Connection, nature: str) -> list[Table]:
    """Every table of a schema with its columns, but for partitions: those are reached through their table alone."""
    rows = connection.raw.execute(_TABLES, (nature,)).fetchall()
    return [Table(nature, name, set(columns)) for name, columns in rows]


def _of_schemas(connection: Connection) -> Iterator[Right]:
    for nature in NATURES:
        yield from (Right(role, "usage", "schema", nature) for role in ALL)
    for (name,) in connection.raw.execute(_SEQUENCES).fetchall():
        yield Right(COLLECTOR, "usage", "sequence", f"log.{name}")
        yield Right(COLLECTOR, "select", "sequence", f"log.{name}")
        yield from (Right(role, "select", "sequence", f"log.{name}") for role in (READER, PORTAL))


def _of_table(table: Table) -> Iterator[Right]:
    name = f"{table.nature}.{table.name}"
    if table.name == BOOKS:
        yield from (Right(role, "select", "table", name) for role in ALL)
        return
    yield Right(READER, "select", "table", name)
    may = _LESS.get(table.name, ("select",) if table.nature == "log" else _EVERYTHING)
    yield from (Right(WRITERS[table.nature], privilege, "table", name) for privilege in may)
    if of_partner(table) is None:
        return
    if table.name not in SECRETS:
        yield Right(PORTAL, "select", "table", name)
    for column in table.columns - SECRETS.get(table.name, table.columns):
        yield Right(PORTAL, "select", "table", name, column)


def rights(connection: Connection) -> set[Right]:
    """What our roles were granted, by name, in our schemas, partitions included."""
    return {Right(*row) for row in connection.raw.execute(_RIGHTS, {"roles": list(ALL), "schemas": list(NATURES)})}


def _wall(connection: Connection, table: Table) -> None:
    """Let the portal see what belongs to the partner that its transaction is for; of the rest it sees nothing."""
    mine = of_partner(table)
    if mine is None:
        return
    raw, name = connection.raw, f"{table.nature}.{table.name}"
    rest = ", ".join(role for role in ALL if role != PORTAL)
    policies = {
        OF_PARTNER: f"for select to {PORTAL} using ({mine})",
        OF_ALL: f"for all to {rest} using (true)",
    }
    there = {row[0] for row in raw.execute("select polname from pg_policy where polrelid = %s::regclass", (name,))}
    for policy in sorted(there - policies.keys()):
        raw.execute(f"drop policy {policy} on {name}")
    for policy, text in policies.items():
        if policy not in there:
            raw.execute(f"create policy {policy} on {name} {text}")
    if raw.execute("select from pg_class where oid = %s::regclass and relrowsecurity", (name,)).rowcount == 0:
        raw.execute(f"alter table {name} enable row level security")


_TABLES = """
    select relname::text, array_agg(attname::text)
    from pg_class
    join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
    where relnamespace = %s::regnamespace and relkind in ('r', 'p') and not relispartition
    group by pg_class.oid, relname
    order by pg_class.oid"""

_SEQUENCES = "select relname::text from pg_class where relnamespace = 'log'::regnamespace and relkind = 'S'"

_RIGHTS = """
    with granted (privilege, what, name, column_name, grantee) as (
      select acl.privilege_type, 'schema', nspname::text, '', acl.grantee
      from pg_namespace, aclexplode(nspacl) as acl
      where nspname = any(%(schemas)s)
      union all
      select acl.privilege_type, case relkind when 'S' then 'sequence' else 'table' end,
        nspname || '.' || relname, '', acl.grantee
      from pg_class
      join pg_namespace on pg_namespace.oid = relnamespace
      cross join aclexplode(relacl) as acl
      where nspname = any(%(schemas)s) and relkind in ('r', 'p', 'S', 'v', 'm')
      union all
      select acl.privilege_type, 'table', nspname || '.' || relname, attname::text, acl.grantee
      from pg_attribute
      join pg_class on pg_class.oid = attrelid
      join pg_namespace on pg_namespace.oid = relnamespace
      cross join aclexplode(attacl) as acl
      where nspname = any(%(schemas)s)
    )
    select rolname::text, lower(privilege), what, name, column_name
    from granted
    join pg_roles on pg_roles.oid = grantee
    where rolname = any(%(roles)s)"""
