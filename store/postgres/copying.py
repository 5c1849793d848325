"""The server's side of a copy: whose copy it is, the event log block by block, and rows as they are read again.

A block is a transaction: its events, their message ids, and a row that says how many they are and what their hash is,
once both engines gave the same when they were read again. So what is there is whole and compared, and a copy that was
killed goes on behind it. What is kept of a copy lies in a schema of its own and stays there: it is what keeps a server
that has taken over from being copied over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import psycopg

from store.database import NATURES, Row, Server
from store.errors import Busy, ConfigError, FootfallError
from store.event import COLUMNS
from store.postgres import citus, partitions
from store.postgres.connection import Connection, connect, told
from store.postgres.database import PostgresDatabase

LOCK = 0x466F_6F74_436F_7079  # an advisory lock: "FootCopy"
WAIT_SECONDS = 30  # until the server has noticed that an earlier copy died
READ_ROWS = 2_000  # at a time
EVENTS, MESSAGE_IDS, REVISION = "log.events", "log.message_ids", "registry.revision"
ROLLUPS = "log.rollups"
SEQ = "log.events_seq"
_SCHEMAS = ",".join(NATURES)
_HASHES = 1 << 256
_ANEW = "drop it, make it anew, and run `footfall migrate` with FOOTFALL_DATABASE_URL set to it"
_encode = msgspec.msgpack.Encoder().encode


class CopyFailed(FootfallError):
    """What is there is not what was copied; the text says what differs."""


class Sum(NamedTuple):
    """How many rows, and the sum of their SHA-256 hashes modulo 2^256: in whichever order they come, it is the same."""

    rows: int = 0
    hash: int = 0

    def __or__(self, other: Sum) -> Sum:
        """Both together."""
        return Sum(self.rows + other.rows, (self.hash + other.hash) % _HASHES)

    @property
    def hex(self) -> str:
        return f"{self.hash:064x}"


def summed(rows: Iterable[Row]) -> Sum:
    """Of rows as an engine gives them."""
    count = total = 0
    for row in rows:
        count += 1
        total += int.from_bytes(hashlib.sha256(_encode(row)).digest())
    return Sum(count, total % _HASHES)


class Block(NamedTuple):
    """The events past `after`, up to `last`."""

    after: int
    last: int
    sum: Sum


class Within(PostgresDatabase):
    """All schemas at once, over a connection whose transaction somebody else began: to examine what it has not
    committed."""

    def __init__(self, server: Server, connection: Connection) -> None:
        super().__init__(server, _SCHEMAS, None)
        self._connection = connection
        self._within = True

    async def close(self) -> None:
        self._thread.shutdown()


@contextmanager
def reach(server: Server) -> Iterator[Connection]:
    """A connection of the database's owner, without limits of time, for one copy at a time.

    Raises StoreUnavailable when the server is not there, ConfigError when it does not let us, Busy when another copy
    goes there.
    """
    connection = connect(server, _SCHEMAS, None, read_only=False)
    try:
        raw = connection.raw
        raw.execute(f"set lock_timeout = {WAIT_SECONDS * 1_000}")
        raw.execute("set statement_timeout = 0; set idle_in_transaction_session_timeout = 0")
        raw.execute(f"select pg_advisory_lock({LOCK})")
        yield connection
    except psycopg.errors.LockNotAvailable:
        raise Busy(f"another copy goes to {server} now") from None
    except psycopg.Error as error:
        raise told(error, server) from None
    finally:
        connection.close()


def claim(to: Connection, source: str, now: int) -> list[Block]:
    """Begin a copy of this source, or go on with one; the blocks that are there, in order.

    Raises ConfigError when anything else is there than a half copy of this source.
    """
    if citus.is_distributed(to):
        raise ConfigError(
            "the tables are spread over several nodes already: copy first, then `footfall migrate --citus`"
        )
    if not to.execute("select exists (select from pg_namespace where nspname = 'copying')").fetchone()[0]:
        filled = _filled(to)
        if filled:
            raise ConfigError(f"there is an installation already: {filled[0]} is not empty; copy to an empty database")
        with to.raw.transaction():
            to.raw.execute(_BEGIN)
            to.execute("/* copying.begin */ insert into copying.source values (?, ?, null)", (source, now))
        return []
    copied, completed_at = to.execute("/* copying.source */ select source, completed_at from copying.source").fetchone()
    if completed_at is not None:
        day = f"{datetime.fromtimestamp(completed_at / 1_000, UTC):%Y-%m-%d}"
        raise ConfigError(f"the database is a complete copy since {day}, and is not copied over")
    if copied != source:
        raise ConfigError(f"there is half a copy of another installation; {_ANEW}")
    blocks = _blocks(to)
    rows = sum(block.sum.rows for block in blocks)
    written = [table for table in _filled(to) if table not in (EVENTS, MESSAGE_IDS)]
    if written or counts(to) != (rows, rows):
        raise ConfigError(f"somebody else wrote to the half copy, in {(written or [EVENTS])[0]}; {_ANEW}")
    return blocks


_BEGIN = """/* copying.schema */
    create schema copying;

    -- One row: the installation that is copied here, and since when the copy is complete.
    create table copying.source (
      source        text primary key,
      began_at      bigint not null,
      completed_at  bigint
    );

    -- Events that are here and were compared. A block begins where the one before it ends.
    create table copying.blocks (
      last_seq   bigint primary key,
      after_seq  bigint not null,
      rows       bigint not null,
      hash       bytea not null
    )"""


def _filled(to: Connection) -> list[str]:
    """The tables that hold more than `footfall migrate` puts there."""
    rows = to.execute(
        """/* copying.tables */
        select nspname || '.' || relname
        from pg_class
        join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = any (?::text[]) and relkind in ('r', 'p') and not relispartition
          and relname <> 'schema_migrations'
        order by 1""",
        ("{" + _SCHEMAS + "}",),
    ).fetchall()
    return [
        table for (table,) in rows if to.execute(f"select exists (select from {table}{_beyond(table)})").fetchone()[0]
    ]


def _beyond(table: str) -> str:
    return {REVISION: " where n > 0", ROLLUPS: " where seq > 0"}.get(table, "")


def counts(to: Connection) -> tuple[int, int]:
    """How many events there are, and how many message ids."""
    sql = f"/* copying.counts */ select (select count(*) from {EVENTS}), (select count(*) from {MESSAGE_IDS})"
    events, message_ids = to.execute(sql).fetchone()
    return events, message_ids


def _blocks(to: Connection) -> list[Block]:
    rows = to.execute(
        "/* copying.blocks */ select after_seq, last_seq, rows, hash from copying.blocks order by last_seq"
    )
    return [Block(after, last, Sum(count, int.from_bytes(digest))) for after, last, count, digest in rows]


def put_block(to: Connection, block: Block, rows: Sequence[Row], width: int) -> None:
    """Store a block's events, in place of those of the same block if they are there, if they then are what `block`
    says. `width` is for new partitions. Raises CopyFailed."""
    span = block.after, block.last
    with to.raw.transaction():
        to.raw.execute(_BY_INDEX)
        for sql in (_CLEAR_IDS, _CLEAR_EVENTS):
            to.execute(sql, span)
        if rows:
            partitions.cover(to, rows[0][0], rows[-1][0], width)
        put(to, EVENTS, COLUMNS, rows)
        to.execute(_NOTE, span)
        compare(EVENTS, block.sum, summed(read(to, _READ, span)))
        to.execute(_KEEP, (*span, block.sum.rows, block.sum.hash.to_bytes(32)))


def compare(table: str, here: Sum, there: Sum) -> None:
    """Raises CopyFailed when two sums differ."""
    if here != there:
        what = "other rows" if here.rows == there.rows else f"{here.rows} rows are to be copied, {there.rows}"
        raise CopyFailed(f"{table}: {what} are there; nothing of them is kept")


# The tables grow faster than what the server knows of them.
_BY_INDEX = "set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off"

_CLEAR_IDS = f"""/* copying.clear_ids */
    delete from {MESSAGE_IDS} as noted
    using {EVENTS} as event
    where event.seq > ? and event.seq <= ? and noted.app_key = event.app_key and noted.message_id = event.message_id"""

_CLEAR_EVENTS = f"/* copying.clear_events */ delete from {EVENTS} where seq > ? and seq <= ?"

_NOTE = f"""/* copying.note */
    insert into {MESSAGE_IDS} (app_key, message_id, seq)
    select app_key, message_id, seq
    from {EVENTS}
    where seq > ? and seq <= ?"""

# An event without its message id is none.
_READ = f"""/* copying.read */
    select {", ".join(f"event.{name}" for name in COLUMNS.split(", "))}
    from {EVENTS} as event
    join {MESSAGE_IDS} as noted on noted.app_key = event.app_key and noted.message_id = event.message_id
      and noted.seq = event.seq
    where event.seq > %s and event.seq <= %s"""

_KEEP = """/* copying.keep */
    insert into copying.blocks (after_seq, last_seq, rows, hash)
    values (?, ?, ?, ?)
    on conflict (last_seq) do update
    set rows = excluded.rows, hash = excluded.hash"""


def put(to: Connection, table: str, columns: str, rows: Iterable[Row]) -> None:
    """Add many rows."""
    with to.raw.cursor() as cursor, cursor.copy(f"copy {table} ({columns}) from stdin") as stream:
        for row in rows:
            stream.write_row(row)


def read(to: Connection, sql: str, values: Sequence[int] = ()) -> Iterator[Row]:
    """Rows of a statement in psycopg's words, a few at a time, within a transaction."""
    with to.raw.cursor("copying", binary=True) as cursor:
        cursor.itersize = READ_ROWS
        yield from cursor.execute(sql, values or None, binary=True)


def put_table(to: Connection, table: str, columns: str, rows: Iterable[Row]) -> None:
    """Add every row of a table but the event log's, in place of what `footfall migrate` put there."""
    to.execute(f"/* copying.clear */ delete from {table}")
    put(to, table, columns, rows)


def read_table(to: Connection, table: str, columns: str) -> Sum:
    """What a table holds now."""
    return summed(read(to, f"select {columns} from {table}"))


def finish(to: Connection, newest: dict[str, int], tables: Iterable[str], width: int, now: int) -> None:
    """Let sequences go on past what was ever taken, make partitions for what comes, tell the server what its tables
    hold, and mark the copy complete; all in the caller's transaction, but for the sequences, which never go back."""
    for sequence, taken in newest.items():
        if taken:
            to.execute("/* copying.sequence */ select setval(?::text::regclass, ?)", (sequence, taken))
    taken = newest[SEQ]
    partitions.cover(to, taken + 1, taken + partitions.AHEAD * width, width)
    for table in tables:
        to.execute(f"/* copying.analyze */ analyze {table}")
    to.execute("/* copying.complete */ update copying.source set completed_at = ?", (now,))
