"""Moving an installation from SQLite to a PostgreSQL server, most of it while collector and exporter work.

The event log goes first, block by block: what is in it never changes, so what was copied stays good whoever writes.
Everything else changes under way, and goes at the end in one transaction, while we hold the writers' locks and nobody
writes. That transaction ends only when every table was read again on both sides and the sums hold, so the server has
all of an installation or none of its cursors, and nothing is sent from half a copy.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict

from store import balance, log
from store.database import NATURES, Database, Row, Server
from store.engines import exists, missing, open_reader
from store.errors import Busy, ConfigError, StoreUnavailable
from store.event import COLUMNS
from store.log import NO_END
from store.postgres import copying
from store.postgres.connection import Connection
from store.postgres.copying import EVENTS, SEQ, Block, CopyFailed, Sum, summed
from store.postgres.partitions import LEAST
from store.removal import DAY_MS, undisturbed
from store.settings import database_url
from store.sqlite.database import FILES, GIVEN_UP, WAL, WriterLock, give_up, given_up

BLOCK_ROWS = 10_000
BLOCK_BYTES = 16_000_000  # of details
MOST_PARTITIONS = 400  # of what is copied: with many more the server takes long to plan
# What is said in place of a column, or of one that SQLite's table does not have.
_NOBODYS = {"lease_owner": "''", "lease_until": "0"}
_SAID = {
    "door_tallies": {"slot": "0"},
    "cursors": _NOBODYS,
    "attribution_cursors": _NOBODYS,
    "postback_health": _NOBODYS,
}
_SEQUENCES = {"events": SEQ, "rejections": "log.rejections_id"}


class Verified(msgspec.Struct, frozen=True):
    """A table that is the same on both sides: how many rows, and the sum of their hashes in hexadecimal digits."""

    table: str
    rows: int
    hash: str


class Copied(msgspec.Struct, frozen=True):
    """What one run left: everything, or every event up to one, with `left` newer ones, because of who is `busy`.

    `mended` counts the texts of this run in which a character was replaced that PostgreSQL cannot hold.
    """

    complete: bool
    up_to: int
    left: int
    busy: str
    mended: int
    tables: list[Verified]

    def lines(self) -> list[str]:
        """For a person."""
        mended = [f"{self.mended} texts had a character that PostgreSQL cannot hold, and have U+FFFD in its place"]
        if self.complete:
            end = "the copy is complete and the same, and its sums hold: from now on, start with FOOTFALL_DATABASE_URL"
        else:
            end = (
                f"every event up to {self.up_to} is there, {self.left} newer ones and all but events are left: "
                f"stop the collector and the exporter, and run this again to finish ({self.busy})"
            )
        return [*(mended if self.mended else []), end]


class Table(NamedTuple):
    """A table as the server calls it, its columns, and the statement that reads them from SQLite."""

    name: str
    columns: str
    select: str


class Mender:
    """Reads SQLite's texts: NUL and what is no UTF-8, which PostgreSQL cannot hold, become U+FFFD."""

    def __init__(self) -> None:
        self.mended = 0

    def count(self, raw: bytes) -> str:
        text = mend(raw)
        if "\ufffd" in text and text.encode() != raw:
            self.mended += 1
        return text


def mend(raw: bytes) -> str:
    text = raw.decode(errors="replace")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def destination(source: str, to: str | None, setting: str | None) -> Server:
    """Where to copy to: what was asked for, or what is set.

    Raises ConfigError for all but from SQLite to a server, and for a password where others can read it.
    """
    if source != "sqlite" or not _is_server(to or setting):
        raise ConfigError("a copy goes from sqlite to postgresql://user@host/database, and no other way")
    if to and conninfo_to_dict(to).get("password"):
        raise ConfigError(
            "arguments are no place for a password: have the URL in FOOTFALL_DATABASE_URL_FILE and leave --to out"
        )
    return Server(str(to or setting))


def _is_server(url: str | None) -> bool:
    try:
        return bool(database_url(url or "")) and bool(conninfo_to_dict(url or ""))
    except (ValueError, psycopg.ProgrammingError):
        return False


async def copy(data_dir: Path, server: Server, now: int, tell: Callable[[int, int], None]) -> Copied:
    """Copy what there is, and all of it if nobody writes; `tell` is called with a seq that is reached, and the newest.

    Raises ConfigError when the server's database is not for this copy, Busy when another copy goes there,
    StoreUnavailable when a database is not there or not of this version, CopyFailed when the copy is not good.
    """
    await _check_version(data_dir, server)
    async with AsyncExitStack() as stack:
        registry_db = await stack.enter_async_context(await open_reader(data_dir, "registry"))
        log_db = await stack.enter_async_context(await open_reader(data_dir, "log"))
        _check_not_elsewhere(data_dir, server)
        await stack.enter_async_context(undisturbed(data_dir))
        source = await _source(registry_db)
        to = stack.enter_context(copying.reach(server))
        work = _Copying(log_db, to, await asyncio.to_thread(copying.claim, to, source, now), tell)
        await log_db.run(work.check)
        await work.events()
        try:
            for nature in sorted(WAL):
                stack.callback(WriterLock(data_dir / FILES[nature]).release)
        except Busy as busy:
            left = await log_db.value("select count(*) from events where seq > ?", (work.last,))
            return Copied(False, work.last, left, str(busy), work.mender.mended, [])
        await work.events()
        await registry_db.hold_still()
        readers = {"registry": registry_db, "log": log_db}
        if exists(data_dir, "ledger"):
            readers["ledger"] = await stack.enter_async_context(await open_reader(data_dir, "ledger"))
        with to.raw.transaction():
            tables = await work.rest(server, readers, now)
            give_up(data_dir, str(server))  # at the last moment: it stays also when nobody can say what a commit did
        return Copied(True, work.last, 0, "", work.mender.mended, tables)


async def _check_version(data_dir: Path, server: Server) -> None:
    for nature in NATURES:
        if exists(data_dir, nature):
            async with await open_reader(data_dir, nature):
                pass
    if any((await missing(server)).values()):
        raise StoreUnavailable(
            f"{server} is not of this version yet: run `footfall migrate` with FOOTFALL_DATABASE_URL set to it"
        )


def _check_not_elsewhere(data_dir: Path, server: Server) -> None:
    other = given_up(data_dir)
    if other not in (None, str(server)):
        raise ConfigError(f"this installation went on as {other}: if nothing works there, remove {data_dir / GIVEN_UP}")


async def _source(registry_db: Database) -> str:
    """What tells one installation from all others: the random id of the first change that was made in it."""
    source = await registry_db.value("/* copying.first */ select min(audit_id) from audit")
    if source is None:
        raise ConfigError("there is nothing to copy: nobody was ever added to this installation")
    return str(source)


class _Copying:
    """One run over an event log, of which `blocks` are there."""

    def __init__(self, log_db: Database, to: Connection, blocks: list[Block], tell: Callable[[int, int], None]) -> None:
        self._log_db = log_db
        self._to = to
        self._blocks = blocks
        self._tell = tell
        self.mender = Mender()

    @property
    def last(self) -> int:
        return self._blocks[-1].last if self._blocks else 0

    def check(self, log: sqlite3.Connection) -> None:
        """That the half copy is one of this log, and not of one that it was before or beside. Raises ConfigError."""
        if not self._blocks:
            return
        block = self._blocks[-1]
        log.text_factory = mend
        here = summed(log.execute(_EVENTS, (block.after, block.last)))
        if _taken(log, "events") < block.last or (here.rows == block.sum.rows and here != block.sum):
            raise ConfigError("the half copy there is of another event log than this one, perhaps of before a restore")

    async def events(self) -> None:
        """Copy all events that are there, and again blocks of which some were removed since."""
        width = await self._log_db.run(_width)
        for place in await self._log_db.run(_places_of_thinned, self._blocks):
            self._blocks[place] = await self._log_db.run(self._block_again, self._blocks[place], width)
        ahead, before = await self._ahead(), NO_END
        while 0 < ahead < before:  # what came meanwhile is less every time, or it comes faster than we copy
            newest = self.last + ahead
            while self.last < newest:
                self._blocks.append(await self._log_db.run(self._block, newest, width))
                self._tell(self.last, newest)
            ahead, before = await self._ahead(), ahead

    async def _ahead(self) -> int:
        return await log.head(self._log_db) - self.last

    def _block(self, log: sqlite3.Connection, up_to: int, width: int) -> Block:
        """The next block, of a bounded size."""
        log.text_factory = self.mender.count
        rows: list[Row] = []
        size = 0
        cursor = log.execute(_EVENTS, (self.last, up_to))
        for row in cursor:
            rows.append(row)
            size += len(row[-1])
            if len(rows) == BLOCK_ROWS or size >= BLOCK_BYTES:
                up_to = row[0]
                break
        cursor.close()  # the read is over before the server is spoken to
        return self._put(log, self.last, up_to, rows, width)

    def _block_again(self, log: sqlite3.Connection, block: Block, width: int) -> Block:
        log.text_factory = self.mender.count
        rows = log.execute(_EVENTS, (block.after, block.last)).fetchall()
        return self._put(log, block.after, block.last, rows, width)

    def _put(self, log: sqlite3.Connection, after: int, last: int, rows: list[Row], width: int) -> Block:
        log.text_factory = mend
        block = Block(after, last, summed(log.execute(_EVENTS, (after, last))))
        copying.put_block(self._to, block, rows, width)
        return block

    async def rest(self, server: Server, readers: dict[str, Database], now: int) -> list[Verified]:
        """Copy every other table, compare all, and count the sums, in the caller's transaction. Raises CopyFailed."""
        found = [await self._log_db.run(self._whole_log)]
        for nature, db in readers.items():
            for table in await db.run(_tables, nature):
                found.append(await db.run(self._table, table))
        newest = await self._log_db.run(_newest)
        width = await self._log_db.run(_width)
        await asyncio.to_thread(copying.finish, self._to, newest, [each.table for each in found], width, now)
        async with copying.Within(server, self._to) as there:
            findings = await balance.count(there, there, there)
        if not findings.balanced:
            raise CopyFailed("the copy is whole, and its sums are off: see `footfall doctor`; nothing of it is kept")
        return found

    def _table(self, source: sqlite3.Connection, table: Table) -> Verified:
        source.text_factory = self.mender.count
        copying.put_table(self._to, table.name, table.columns, source.execute(table.select))
        source.text_factory = mend
        here = summed(source.execute(table.select))
        copying.compare(table.name, here, copying.read_table(self._to, table.name, table.columns))
        return Verified(table.name, here.rows, here.hex)

    def _whole_log(self, log: sqlite3.Connection) -> Verified:
        """The event log, of which every block was compared when it came."""
        total = Sum()
        for block in self._blocks:
            total |= block.sum
        (here,) = log.execute("/* copying.count */ select count(*) from events").fetchone()
        if {here, *copying.counts(self._to)} != {total.rows}:
            raise CopyFailed(f"{EVENTS}: {here} rows were to be copied, and {total.rows} were")
        return Verified(EVENTS, total.rows, total.hex)


_EVENTS = f"""/* copying.events */
    select {COLUMNS}
    from events
    where seq > ? and seq <= ?
    order by seq"""  # noqa: S608 - our own column names


def _tables(source: sqlite3.Connection, nature: str) -> list[Table]:
    """All but the event log, as they were made: what refers to another table comes after it."""
    names = source.execute(
        """/* copying.tables */
        select name
        from sqlite_schema
        where type = 'table' and name not like 'sqlite_%' and name not in ('schema_migrations', 'events')
        order by rowid"""
    ).fetchall()
    return [_table(source, nature, name) for (name,) in names]


def _table(source: sqlite3.Connection, nature: str, name: str) -> Table:
    columns = {row[1]: row[1] for row in source.execute(f"pragma table_info ({name})")} | _SAID.get(name, {})
    select = f"/* copying.table */ select {', '.join(columns.values())} from {name}"  # noqa: S608 - from our own schema
    return Table(f"{nature}.{name}", ", ".join(columns), select)


def _places_of_thinned(log: sqlite3.Connection, blocks: list[Block]) -> list[int]:
    """Which blocks have fewer events than they had: purged ones are gone for good, and no other ever changes."""
    last = blocks[-1].last if blocks else 0
    whole = "/* copying.whole */ select (select count(*) from events) - (select count(*) from events where seq > ?)"
    if log.execute(whole, (last,)).fetchone()[0] == sum(block.sum.rows for block in blocks):
        return []
    part = "/* copying.part */ select count(*) from events where seq > ? and seq <= ?"
    return [
        place
        for place, block in enumerate(blocks)
        if log.execute(part, (block.after, block.last)).fetchone()[0] != block.sum.rows
    ]


def _width(log: sqlite3.Connection) -> int:
    """Of a partition for what is copied: the events of a day on average."""
    ends = log.execute(
        """/* copying.ends */
        select seq, received_at
        from events
        where seq = (select min(seq) from events) or seq = (select max(seq) from events)
        order by seq"""
    ).fetchall()
    if len(ends) < 2:
        return LEAST
    (first, began), (last, ended) = ends
    days = max(1, (ended - began) // DAY_MS)
    width: int = max(LEAST, (last - first) // days, (last - first) // MOST_PARTITIONS)
    return width


def _taken(log: sqlite3.Connection, table: str) -> int:
    """The newest number that a table ever gave, also when its row is gone."""
    row = log.execute("/* copying.taken */ select seq from sqlite_sequence where name = ?", (table,)).fetchone()
    return int(row[0]) if row else 0


def _newest(log: sqlite3.Connection) -> dict[str, int]:
    return {sequence: _taken(log, table) for table, sequence in _SEQUENCES.items()}
