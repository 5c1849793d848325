"""What the doctor asks of a server. Answers are pure, looks gather for them.

All of it is what the user of the URL may see; for the sums it takes the reader's role.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from store.database import NATURES, Database, Server
from store.doctor.checks import DAY_MS, Check, some, span
from store.entry import HOUR_MS
from store.postgres import partitions
from store.postgres.connection import Connection
from store.postgres.database import READER, TOGETHER, WRITERS, PostgresDatabase, lacking, open_together
from store.postgres.settled import KIND, settled

OLDEST_VERSION = 15
CLOCK_MS = 2_000
OPEN_MS = 60_000  # longer than a transaction of ours can take
ROLES = (*WRITERS.values(), READER)
PROMISES = ("fsync", "full_page_writes", "synchronous_commit")


class Open(NamedTuple):
    """What readers wait for: the newest seq, how far they may go, and for how long the oldest writing transaction has
    been open, milliseconds; None when it is not to be seen."""

    newest: int
    settled: int
    age: int | None


async def ground(server: Server) -> tuple[str, list[Check]]:
    """The server's version; whether it keeps its promises, lets us in, and has the schemas.

    Raises StoreUnavailable when it is not there.
    """
    async with PostgresDatabase(server, TOGETHER, None) as db:
        number = int(await db.value("/* doctor.server */ select current_setting('server_version_num')::int"))
        version = f"{number // 10_000}.{number % 10_000}"
        settings = {name: await db.value(f"select current_setting('{name}')") for name in PROMISES}
        rows = await db.all(_ROLES)
        checks = [
            Check("ok", "settings", f"settings: readable, data in {server}"),
            supported(number // 10_000, version),
            durable(settings),
            roles(dict(rows)),
            clocks(await _difference(db)),
        ]
        checks += [schema(nature, await lacking(db, nature)) for nature in NATURES]
    return version, checks


async def state(server: Server, now: int) -> list[Check]:
    """What grows and what moves."""
    async with await open_together(server, role=None) as db:  # the reader does not see whose transaction is open
        size = int(await db.value("/* doctor.size */ select pg_database_size(current_database())"))
        return [
            growth(size, *await _volume(db, now)),
            rest(*await db.run(partitions.ahead)),
            open_transactions(await db.run(_open)),
        ]


# --- answers


def supported(major: int, version: str) -> Check:
    """Whether this version of PostgreSQL is one that we know."""
    said = f"server: PostgreSQL {version}"
    if major < OLDEST_VERSION:
        return Check("FAIL", "server", f"{said}, and {OLDEST_VERSION} is needed at least")
    return Check("ok", "server", said)


def durable(settings: Mapping[str, str]) -> Check:
    """Whether what is acknowledged is on a disk, whatever happens to the machine."""
    off = [f"{name} is {value}" for name, value in settings.items() if value == "off"]
    if off:
        return Check("FAIL", "durability", f"durability: {', '.join(off)}: what was acknowledged may be lost")
    return Check("ok", "durability", f"durability: {', '.join(settings)} are on")


def roles(may_take: Mapping[str, bool]) -> Check:
    """Whether the user of the URL may look, and what else it may."""
    if not may_take.get(READER):
        return Check("FAIL", "roles", f"roles: this user may not take {READER}: see docs/how-to/grow.md")
    return Check("ok", "roles", f"roles: this user may take {', '.join(r for r, may in may_take.items() if may)}")


def clocks(difference: int) -> Check:
    """How far this machine's clock is from the server's, milliseconds."""
    said = f"clocks: this machine's and the server's differ by {abs(difference) / 1_000:.1f} s"
    return Check("warn" if abs(difference) > CLOCK_MS else "ok", "clocks", said)


def schema(nature: str, missing: Iterable[str]) -> Check:
    """Whether a schema is of this version, or a newer one."""
    names = list(missing)
    if names:
        return Check("FAIL", "databases", f"{nature}: without {some(names)}: run `footfall migrate`")
    return Check("ok", "databases", f"{nature}: of this version")


def growth(size: int, events: int, event_bytes: int) -> Check:
    """How large the database is, and how much more each day; the disk is the server's."""
    said = f"database: {size // 1_000_000} MB"
    if events:
        said += f", {events * event_bytes / 1_000_000:.1f} MB more a day at {events} events"
    return Check("ok", "disk", said)


def rest(ahead: int, left: int) -> Check:
    """Whether there is a partition for what comes."""
    if not left:
        return Check(
            "warn", "partitions", "partitions: none for what comes, which goes to the rest: run `footfall purge`"
        )
    said = f"partitions: {ahead} ahead, for {left} events"
    return Check("ok" if ahead else "warn", "partitions", said if ahead else f"{said}: run `footfall purge`")


def open_transactions(seen: Open) -> Check:
    """Whether a transaction that writes holds the exporter back."""
    behind = seen.newest - seen.settled
    if behind <= 0:
        return Check("ok", "settled", "settled: up to the newest event")
    since = "" if seen.age is None else f", open for {span(seen.age)}"
    said = f"settled: all but the newest {behind} numbers, for a transaction that writes{since}"
    return Check("warn" if seen.age is not None and seen.age > OPEN_MS else "ok", "settled", said)


# --- looks


async def _difference(db: Database) -> int:
    """The server's clock less ours, at the middle of asking."""
    asked = time.time_ns()
    there = await db.now()
    return there - (asked + time.time_ns()) // 2_000_000


async def _volume(db: Database, now: int) -> tuple[int, int]:
    """Events of the last 24 hours, and the bytes of one with all that is stored for it."""
    ((stored, recent),) = await db.all(_STORED, ((now - DAY_MS) // HOUR_MS,))
    kept = stored - await db.value(_REMOVED)
    size = int(await db.value(_LOG_SIZE))
    return recent, size // kept if kept > 0 else 0


def _open(connection: Connection) -> Open:
    up_to = settled(connection)
    newest, age = connection.execute(_OLDEST_OPEN).fetchone()
    return Open(newest, up_to, age)


_ROLES = f"""/* doctor.roles */
    select rolname::text, pg_has_role(rolname, 'member')
    from pg_roles
    where rolname in ({", ".join(f"'{role}'" for role in ROLES)})
    order by 1"""

_STORED = """/* doctor.stored */
    select coalesce(sum(n), 0)::bigint, coalesce(sum(n) filter (where hour > ?), 0)::bigint
    from door_tallies
    where outcome = 'stored'"""

_REMOVED = "/* doctor.removed */ select coalesce(sum(n), 0)::bigint from removed"

_LOG_SIZE = """/* doctor.log_size */
    select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint
    from pg_class
    where relnamespace = 'log'::regnamespace and relkind = 'r'
      and (relname like 'events%' or relname = 'message_ids')"""

_OLDEST_OPEN = f"""/* doctor.oldest_open */
    select (select case when is_called then last_value else 0 end from log.events_seq),
      floor(extract(epoch from clock_timestamp() - min(xact_start)) * 1000)::bigint
    from pg_locks
    join pg_stat_activity using (pid)
    where locktype = 'advisory' and objsubid = 1 and classid::bigint >> 16 = {KIND}
      and database = (select oid from pg_database where datname = current_database())"""
