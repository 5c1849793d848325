"""One SQLite file behind aiosqlite: opening it rightly, transactions, migrations, and the lock of its one writer.

A WAL file has exactly one writing process, held by an OS lock for that process's life, and within it one connection;
all others open it read-only. That keeps writers from starving each other and keeps clear of the WAL-reset fault of
SQLite before 3.51.3. Every setting that durability rests on is read back after it was made.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import aiosqlite

from store.database import Database, Engine, Row
from store.errors import Busy, ConfigError, Conflict, StoreUnavailable
from store.migrations import steps

FILES = {"registry": "registry.db", "log": "events.db", "ledger": "ledger.db"}
WAL = frozenset({"log", "ledger"})
GIVEN_UP = "copied-to"  # beside the files once a server goes on from them
BUSY_TIMEOUT_MS = 5_000
# Busy, locked, read-only, I/O, corrupt, full, cannot open, not a database: the store's fault, not its input's.
UNWELL = frozenset({5, 6, 8, 10, 11, 13, 14, 26})
JOURNAL_SIZE_LIMIT = 64 * 1024 * 1024
READER_CACHE_KIB = 2_000  # of each reader, and there may be a dozen

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def _told() -> Iterator[None]:
    """SQLite's errors as the store's."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise Conflict(str(error)) from None
    except sqlite3.Error as error:
        if not is_unwell(error):
            raise
        raise StoreUnavailable(f"a database fails: {error}") from None


Identity = tuple[int, int] | None  # of a file: its device and its number there


def identity(path: Path) -> Identity:
    """None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class SqliteDatabase(Database):
    """One file; aiosqlite's thread is no daemon. `opened` is its path and which file that was, for who looks again."""

    engine: Engine = "sqlite"
    shared = False

    def __init__(
        self,
        connection: aiosqlite.Connection,
        lock: WriterLock | None,
        opened: tuple[Path, Identity] | None = None,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._opened = opened
        self._turn = asyncio.Lock()
        self.migrated: list[str] = []

    async def close(self) -> None:
        try:
            await self._connection.close()
        finally:
            if self._lock is not None:
                self._lock.release()

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        with _told():
            async with self._connection.execute(sql, values) as cursor:
                return cursor.rowcount

    async def run(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Uses aiosqlite's `_execute` and `_conn`, which is why that package is pinned to one minor version."""
        async with self._turn:
            connection = self._connection
            with _told():
                result: T = await connection._execute(  # type: ignore[no-untyped-call]
                    function, connection._conn, *args, **kwargs
                )
                return result

    async def atomic(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        return await self.run(_in_transaction, function, *args, **kwargs)

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        with _told():
            await self._connection.executemany(sql, rows)

    async def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Every row; the read never pins the WAL past its end."""
        with _told():
            return [tuple(row) for row in await self._connection.execute_fetchall(sql, values)]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._turn:
            try:
                with _told():
                    await self._connection.execute("begin immediate")
                yield
                with _told():
                    await self._connection.execute("commit")
            except BaseException:
                # A cancelled task must not leave the transaction open for the next one; and what it was waiting for,
                # a begin perhaps, still runs. So the rollback queues up behind it, and looks only then.
                await asyncio.shield(self._connection.rollback())
                raise

    async def hold_still(self) -> None:
        await self.execute("begin")

    def is_current(self) -> bool:
        """An open file keeps its number: none that came later has the same."""
        return self._opened is None or identity(self._opened[0]) == self._opened[1]

    async def stand_for(self, partner_key: str | None) -> None:
        """A file has no wall: who asks it names the apps."""

    async def let_go(self) -> None:
        """Behind whatever was asked before, also by who did not wait for the answer."""
        await self.run(_roll_back)

    async def abandon(self) -> None:
        with suppress(ValueError):  # it is closed already
            await self._connection.interrupt()
        await self.close()

    async def now(self) -> int:
        return time.time_ns() // 1_000_000

    async def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("rollback")


def _in_transaction(
    connection: sqlite3.Connection,
    function: Callable[Concatenate[sqlite3.Connection, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    connection.execute("begin immediate")
    try:
        result = function(connection, *args, **kwargs)
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
    return result


def is_unwell(error: Exception) -> bool:
    """Whether the store is at fault, as against what was to be stored."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in UNWELL


class WriterLock:
    """The right to be the one writing process of a file, given back by the OS when the process dies."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o660)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 20, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise Busy(f"{path.name} is being written by process {holder or 'unknown'}") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._file)


async def open_writer(data_dir: Path, nature: str) -> SqliteDatabase:
    """Open for writing, migrated. `nature` is registry, log or ledger.

    Raises Busy when another process writes it, StoreUnavailable when it cannot be opened, ConfigError when the file is
    newer than this program, or was given up.
    """
    path = data_dir / FILES[nature]
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = WriterLock(path) if nature in WAL else None
    except OSError as error:
        raise StoreUnavailable(f"{path}: {error.strerror}") from None
    try:
        server = given_up(data_dir)
        if server is not None:
            raise ConfigError(f"{data_dir} was copied to {server}, which goes on from it: set FOOTFALL_DATABASE_URL")
        database = SqliteDatabase(await _connect(path, nature), lock)
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    try:
        database.migrated = await migrate(database, nature)
    except BaseException:
        await database.close()
        raise
    return database


def give_up(data_dir: Path, server: str) -> None:
    """Have nobody write these files from now on: where two go on from the same cursors, both send."""
    part = data_dir / f"{GIVEN_UP}.part"
    with part.open("w") as file:
        file.write(server)
        file.flush()
        os.fsync(file.fileno())
    part.replace(data_dir / GIVEN_UP)
    handle = os.open(data_dir, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def given_up(data_dir: Path) -> str | None:
    """The server that goes on from these files, if one does."""
    try:
        return (data_dir / GIVEN_UP).read_text()
    except OSError:
        return None


async def open_reader(data_dir: Path, nature: str) -> SqliteDatabase:
    """Open read-only. Raises StoreUnavailable when there is no such file yet, or its writer has only begun it."""
    path = data_dir / FILES[nature]
    found = identity(path)  # before it is opened: one that takes its place now is taken for another later
    if found is None:
        raise StoreUnavailable(f"{path} does not exist yet: run `footfall migrate`")
    try:
        connection = await aiosqlite.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from None
    database = SqliteDatabase(connection, None, (path, found))
    settings = {"busy_timeout": BUSY_TIMEOUT_MS, "query_only": 1, "mmap_size": 0, "cache_size": -READER_CACHE_KIB}
    try:
        with _told():
            await _set(connection, settings)
        if await _lacking(database, nature):
            raise StoreUnavailable(f"{path} is not of this version yet: run `footfall migrate`")
    except BaseException:
        await database.close()
        raise
    return database


async def _connect(path: Path, nature: str) -> aiosqlite.Connection:
    try:
        connection = await aiosqlite.connect(path, isolation_level=None, cached_statements=256)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path}: {error}") from None
    settings: dict[str, Any] = {
        "busy_timeout": BUSY_TIMEOUT_MS,
        "auto_vacuum": 2,  # incremental; takes effect only before the first table
        "journal_mode": "wal" if nature in WAL else "delete",
        "synchronous": 2,  # FULL: one sync of the WAL per commit, so that stored means on disk
        "foreign_keys": 1,
        "trusted_schema": 0,
        "mmap_size": 0,
        "journal_size_limit": JOURNAL_SIZE_LIMIT,
        "wal_autocheckpoint": 4_000,
        "cache_size": -65_536,  # KiB
    }
    try:
        await _set(connection, settings)
    except sqlite3.Error as error:
        await connection.close()
        raise StoreUnavailable(f"{path}: {error}") from None
    except BaseException:
        await connection.close()
        raise
    return connection


async def _set(connection: aiosqlite.Connection, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        await connection.execute_fetchall(f"pragma {name} = {value}")
        rows = list(await connection.execute_fetchall(f"pragma {name}"))
        if not rows or rows[0][0] != value:
            raise StoreUnavailable(f"SQLite refuses {name} = {value}: it says {rows[0][0] if rows else 'nothing'}")


async def _lacking(database: Database, nature: str) -> list[str]:
    """The names of the migrations that a file has not seen."""
    try:
        seen = {row[0] for row in await database.all("select number from schema_migrations")}
    except sqlite3.OperationalError:  # there is no such table: nobody has written to the file
        seen = set()
    return [step.name for step in steps(nature, "sqlite") if step.number not in seen]


async def missing(data_dir: Path, nature: str) -> list[str]:
    """The names of the migrations that `open_writer` would apply."""
    if not (data_dir / FILES[nature]).exists():
        return [step.name for step in steps(nature, "sqlite")]
    try:
        connection = await aiosqlite.connect(f"{(data_dir / FILES[nature]).absolute().as_uri()}?mode=ro", uri=True)
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{data_dir / FILES[nature]}: {error}") from None
    async with SqliteDatabase(connection, None) as database:
        return await _lacking(database, nature)


async def migrate(database: SqliteDatabase, nature: str) -> list[str]:
    """Apply what is missing, each migration in a transaction of its own; return the names of those applied."""
    connection = database._connection  # executescript is the only way to run several statements
    await connection.execute(
        "create table if not exists schema_migrations (number integer primary key, name text not null) strict"
    )
    done = {row[0] for row in await database.all("select number from schema_migrations")}
    known = steps(nature, "sqlite")
    if done - {step.number for step in known}:
        raise ConfigError(f"{FILES[nature]} was written by a newer Footfall: upgrade this one")
    applied = []
    for step in known:
        if step.number in done:
            continue
        record = f"insert into schema_migrations values ({step.number}, '{step.name}');"  # noqa: S608 - our own names
        try:
            await connection.executescript(f"begin immediate;\n{step.sql}\n{record}\ncommit;")
        except sqlite3.Error as error:
            await connection.rollback()
            if await database.one("select 1 from schema_migrations where number = ?", (step.number,)):
                continue  # another process was quicker
            raise StoreUnavailable(f"migration {step.name} of {FILES[nature]} failed: {error}") from None
        applied.append(step.name)
    return applied
