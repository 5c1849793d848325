"""Who may do what on the server: one role for each thing that a process does, and a wall between partners.

The roles cannot log in; an operator's users become members of those that their process needs (docs/how-to/grow.md).
"""

from __future__ import annotations

from store.database import NATURES
from store.postgres.connection import Connection
from store.postgres.database import PORTAL, READER, WRITERS

COLLECTOR, EXPORTER, OPERATOR = WRITERS["log"], WRITERS["ledger"], WRITERS["registry"]
ALL = (COLLECTOR, EXPORTER, OPERATOR, READER, PORTAL)
_EVERYTHING = "select, insert, update, delete"
# What may be done to a table by whom; the log is never changed, but for what is counted or last seen there.
_LOG = {
    "events": "select, insert",
    "message_ids": "select, insert",
    "rejections": "select, insert",
    "visitors": "select, insert, update",
    "door_tallies": "select, insert, update",
}
_MINE = "current_setting('footfall.partner', true)"
_OF_PARTNER = f"partner_key = {_MINE}"
_OF_APP = f"app_key in (select app_key from registry.apps where partner_key = {_MINE})"


def settle(connection: Connection) -> None:
    """Make what is missing and set every right; the same again changes nothing."""
    raw = connection.raw
    with raw.transaction():
        known = {row[0] for row in raw.execute("select rolname from pg_roles").fetchall()}
        for role in ALL:
            if role not in known:
                raw.execute(f"create role {role} nologin")
            raw.execute(f"grant {role} to current_user")
        for nature in NATURES:
            for role in ALL:
                raw.execute(f"grant usage on schema {nature} to {role}")
            for table, columns in _tables(connection, nature).items():
                _grant(connection, nature, table)
                _wall(connection, nature, table, columns)
        raw.execute(f"grant usage, select on all sequences in schema log to {COLLECTOR}")
        raw.execute(f"grant select on all sequences in schema log to {READER}, {PORTAL}")


def _tables(connection: Connection, nature: str) -> dict[str, set[str]]:
    """The columns of every table of a schema, but for partitions: those are reached through their table alone."""
    rows = connection.raw.execute(
        """
        select relname, array_agg(attname::text)
        from pg_class
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        where relnamespace = %s::regnamespace and relkind in ('r', 'p') and not relispartition
        group by relname""",
        (nature,),
    ).fetchall()
    return {name: set(columns) for name, columns in rows}


def _grant(connection: Connection, nature: str, table: str) -> None:
    raw, name = connection.raw, f"{nature}.{table}"
    raw.execute(f"grant select on {name} to {READER}")
    if table == "schema_migrations":
        raw.execute(f"grant select on {name} to {', '.join(ALL)}")
    elif nature == "log":
        raw.execute(f"grant {_LOG.get(table, 'select')} on {name} to {COLLECTOR}")
    else:
        raw.execute(f"grant {_EVERYTHING} on {name} to {WRITERS[nature]}")


def _wall(connection: Connection, nature: str, table: str, columns: set[str]) -> None:
    """Let the portal see what belongs to the partner that its connection is for; of the rest it sees nothing."""
    mine = _OF_PARTNER if "partner_key" in columns else _OF_APP if "app_key" in columns else None
    if mine is None:
        return
    raw, name = connection.raw, f"{nature}.{table}"
    raw.execute(f"grant select on {name} to {PORTAL}")
    raw.execute(f"alter table {name} enable row level security")
    policies = (
        ("own", PORTAL, mine, "select"),
        ("every", ", ".join(role for role in ALL if role != PORTAL), "true", "all"),
    )
    there = {row[0] for row in raw.execute("select polname from pg_policy where polrelid = %s::regclass", (name,))}
    for policy, to, condition, command in policies:
        if policy not in there:
            raw.execute(f"create policy {policy} on {name} for {command} to {to} using ({condition})")
