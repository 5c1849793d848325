"""The stores of the tests, on either engine: made as copies of what was filled once, read with the engine's own tool.

The surprising thing: a PostgreSQL database is used by one test after another. Its rows are put back in between, because
to copy its thousand files takes longer than most tests. A test that changes more than rows costs a new copy.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from selftest.cluster import Cluster, Databases
from store.database import NATURES, Engine, Row, Server, Where
from store.engines import migrate_all
from store.sqlite.database import FILES

ENGINES: tuple[Engine, ...] = ("sqlite", "postgresql")
Fill = Callable[[Where], Awaitable[Any]]


async def empty(where: Where) -> None:
    """Nothing: on SQLite not even a file, on a server every table."""


class Filled(NamedTuple):
    """A store to copy, and what filling it gave."""

    where: Where
    given: Any


class Templates:
    """What was filled once, for all tests. `directory` makes one, `server` is called when one is needed."""

    def __init__(self, directory: Callable[[str], Path], server: Callable[[], Databases]) -> None:
        self._directory = directory
        self._server = server
        self._filled: dict[tuple[Engine, Fill], Filled] = {}
        self._free: dict[Fill, list[Copy]] = {}

    @cached_property
    def databases(self) -> Databases:
        return self._server()

    def filled(self, engine: Engine, fill: Fill) -> Filled:
        if (engine, fill) not in self._filled:
            where: Where = self._directory("template") if engine == "sqlite" else Server(self.databases.database())
            if isinstance(where, Server):
                asyncio.run(migrate_all(where))
            self._filled[engine, fill] = Filled(where, asyncio.run(fill(where)))  # type: ignore[arg-type]
        return self._filled[engine, fill]

    def take(self, fill: Fill) -> Copy:
        """A database that is as `fill` left the first."""
        if self._free.get(fill):
            return self._free[fill].pop()
        origin = self.filled("postgresql", fill).where
        assert isinstance(origin, Server)
        return Copy(self.databases.copy(origin.url))

    def give_back(self, fill: Fill, copy: Copy) -> None:
        if copy.restored():
            self._free.setdefault(fill, []).append(copy)
        else:
            copy.close()
            self.databases.drop(copy.url)

    def close(self) -> None:
        """Leave nothing on a server that goes on after the tests."""
        copies = list(chain.from_iterable(self._free.values()))
        for copy in copies:
            copy.close()
        if not isinstance(self.databases, Cluster):
            origins = [filled.where.url for filled in self._filled.values() if isinstance(filled.where, Server)]
            for url in (*origins, *(copy.url for copy in copies)):
                self.databases.drop(url)


class Copy:
    """A database that is made again what it was when a test is over, which is quicker than to copy it again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._server = psycopg.connect(url, autocommit=True)
        self._shape = self._look()
        tables = self._server.execute(_TABLES, (list(NATURES),)).fetchall()
        self._rows = {table: b"".join(self._copied(table)) for (table,) in tables}
        self._empty = {table for table, rows in self._rows.items() if len(rows) == EMPTY_BYTES}
        self._sequences = [
            (name, *self._server.execute(f"select last_value, is_called from {name}".encode()).fetchone())  # type: ignore[misc]
            for (name,) in self._server.execute(_SEQUENCES, (list(NATURES),)).fetchall()
        ]

    def close(self) -> None:
        self._server.close()

    def restored(self) -> bool:
        """Put back the rows and the sequences that were there first; false where a test has changed more than those."""
        try:
            self._server.execute(_END_OTHERS)
            if self._look() != self._shape:
                return False
            with self._server.transaction():
                self._server.execute("set local session_replication_role = replica")  # in any order
                self._server.execute("; ".join(f"delete from {table}" for table in self._rows).encode())
                for table in self._rows.keys() - self._empty:
                    with self._server.cursor().copy(f"copy {table} from stdin (format binary)".encode()) as copied:
                        copied.write(self._rows[table])
                for sequence in self._sequences:
                    self._server.execute("select setval(%s, %s, %s)", sequence)
        except psycopg.Error:
            return False
        return True

    def _look(self) -> list[Row]:
        return self._server.execute(_SHAPE, (list(NATURES),)).fetchall()

    def _copied(self, table: str) -> list[bytes]:
        with self._server.cursor().copy(f"copy (select * from {table}) to stdout (format binary)".encode()) as copied:
            return [bytes(part) for part in copied]


EMPTY_BYTES = 21  # a signature, flags, the length of nothing, and an end
_OURS = "relnamespace = any(select oid from pg_namespace where nspname = any(%s))"
_TABLES = f"select oid::regclass::text from pg_class where {_OURS} and relkind in ('r', 'p') and not relispartition"
_SEQUENCES = f"select oid::regclass::text from pg_class where {_OURS} and relkind = 'S'"
_SHAPE = f"""
    select pg_class.oid, relnatts, relfilenode, setconfig
    from pg_class
    left join pg_db_role_setting on setdatabase = (select oid from pg_database where datname = current_database())
    where {_OURS}
    order by 1"""
_END_OTHERS = """
    select pg_terminate_backend(pid)
    from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()"""


class Stores:
    """The stores of one test, all on one engine."""

    def __init__(self, engine: Engine, templates: Templates) -> None:
        self.engine = engine
        self._templates = templates
        self._made: list[tuple[Fill, Copy]] = []

    def filled(self, fill: Fill) -> Filled:
        """What `fill` makes of an empty store, made once for all tests."""
        return self._templates.filled(self.engine, fill)

    def new(self, directory: Path, fill: Fill = empty) -> Where:
        """A copy of what `fill` makes: that directory with its files, or a database beside it."""
        if self.engine == "sqlite":
            shutil.copytree(str(self.filled(fill).where), directory, dirs_exist_ok=True)
            return directory
        directory.mkdir(parents=True, exist_ok=True)
        copy = self._templates.take(fill)
        self._made.append((fill, copy))
        return Server(copy.url)

    def close(self) -> None:
        for fill, copy in self._made:
            self._templates.give_back(fill, copy)


def look(where: Where, nature: str, sql: str, *values: Any) -> list[Row]:
    """Read, or change behind our back, what is on disk: with the database's own tool, not ours."""
    if isinstance(where, Server):
        options = f"-c search_path={nature} -c default_transaction_read_only=off"
        with psycopg.connect(where.url, autocommit=True, options=options) as server:
            found = server.execute(sql.replace("%", "%%").replace("?", "%s").encode(), values)
            return found.fetchall() if found.description else []
    with closing(sqlite3.connect(f"file:{where / FILES[nature]}?mode=rw", uri=True, isolation_level=None)) as file:
        return file.execute(sql, values).fetchall()


def columns(where: Where, nature: str, table: str) -> list[str]:
    """The names of a table's columns, in order."""
    if isinstance(where, Path):
        return [name for (name,) in look(where, nature, f"select name from pragma_table_info('{table}') order by cid")]
    sql = "select attname::text from pg_attribute where attrelid = ?::regclass and attnum > 0 order by attnum"
    return [name for (name,) in look(where, nature, sql, table)]


def every_byte(where: Where) -> bytes:
    """All that is stored: the directory's files one after another, or every row in the server's binary form."""
    if isinstance(where, Path):
        return b"\n".join(path.read_bytes() for path in sorted(where.iterdir()) if path.is_file())
    with psycopg.connect(where.url) as server:
        rows = []
        for (table,) in server.execute(_TABLES, (list(NATURES),)).fetchall():
            with server.cursor().copy(f"copy (select * from {table}) to stdout (format binary)".encode()) as copied:
                rows += [bytes(part) for part in copied]
        return b"\n".join(rows)


def environment(data_dir: Path, where: Where) -> dict[str, str]:
    """The settings that say where a store is."""
    url = {"FOOTFALL_DATABASE_URL": where.url} if isinstance(where, Server) else {}
    return {"FOOTFALL_DATA_DIR": str(data_dir)} | url
