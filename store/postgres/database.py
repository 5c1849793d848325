"""One schema on a PostgreSQL server: one connection on one thread, made again when it was lost.

Whoever reads or writes takes the least role that can (docs/reference/database.md). Nothing is migrated on the way:
`footfall migrate` does that, while older programs work.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Concatenate, LiteralString, ParamSpec, TypeVar

import psycopg
from psycopg import pq

from store.database import NATURES, Database, Engine, Row, Server
from store.errors import StoreUnavailable
from store.migrations import steps
from store.postgres import citus
from store.postgres.connection import NO_ANSWER, SILENT_SECONDS, Connection, connect, may_try_again, told
from store.postgres.wall import stand_for

P = ParamSpec("P")
T = TypeVar("T")

WRITERS = {"registry": "footfall_operator", "log": "footfall_collector", "ledger": "footfall_exporter"}
READER, PORTAL = "footfall_reader", "footfall_portal"
TOGETHER = ",".join(NATURES)  # no two schemas have a table of one name, but for schema_migrations
_BEGIN_CLAIM: LiteralString = "begin; set local synchronous_commit = off"
COUNTING_MS = 600_000  # for a statement of one who holds still and counts everything …
COUNTING_SECONDS = COUNTING_MS / 1_000 + 5  # … and the server's answer
CANCEL_SECONDS = 2.0  # that a server may take to hear that a statement is not wanted any more
TRIES = 5  # of a transaction that the server gives up for another's sake


class PostgresDatabase(Database):
    """A lost connection is an error once; the next call connects anew, and when that fails it fails for all who wait.
    From when it was made, no call takes longer than `patience`, and a server that is silent for long is given up in any
    case. With `once`, the session itself is what is needed: it is not made anew, and may be silent for as long as it
    takes. `nature` may be TOGETHER: every schema over one connection."""

    engine: Engine = "postgresql"
    shared = True

    def __init__(
        self,
        server: Server,
        nature: str,
        role: str | None,
        partner_key: str | None = None,
        standby: bool = False,
        patience: float = math.inf,
        once: bool = False,
    ) -> None:
        self._server = server
        self._standby = standby
        self._patience = patience
        self._once = once
        self._made = 0.0  # when the call that is under way was made, by the monotonic clock
        self._missed = 0.0, ""  # when the server was found away, and why
        self._usual_silence = math.inf if once else SILENT_SECONDS
        self._silence = self._usual_silence
        self._nature = nature
        self._role = role
        self._partner_key = partner_key
        self._thread = ThreadPoolExecutor(1, f"postgresql {nature}")
        self._turn = asyncio.Lock()
        self._within = False  # a transaction that must not go on over another connection
        self._connection: Connection | None = None
        self.migrated: list[str] = []

    async def close(self) -> None:
        try:
            await self._on_thread(self._close)
        finally:
            self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _on_thread(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return await self._since(time.monotonic(), function, *args, **kwargs)

    async def _since(self, made: float, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call it on the thread; `made` is when it was asked for."""

        def call() -> T:
            self._made = made
            return function(*args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _there(self) -> Connection:
        """The connection, made when there is none."""
        deadline = self._made + self._patience
        if time.monotonic() > deadline:  # waited for its turn behind others
            raise StoreUnavailable(f"{self._server}: {NO_ANSWER}")
        if self._connection is None or self._connection.lost:
            if self._within:
                raise StoreUnavailable(f"{self._server}: the connection was lost within a transaction")
            if self._once and self._connection is not None:
                raise StoreUnavailable(f"{self._server}: the connection was lost")
            read_only = self._role in (READER, PORTAL)
            if self._made < self._missed[0]:  # another has looked meanwhile
                raise StoreUnavailable(self._missed[1])
            try:
                self._connection = connect(self._server, self._nature, self._role, read_only, self._standby, deadline)
            except StoreUnavailable as error:
                self._missed = time.monotonic(), str(error)
                raise
        self._connection.raw.deadline, self._connection.raw.silence = deadline, self._silence
        return self._connection

    def _do(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """With the store's errors. A server that says it is read-only may have become a standby: find the other."""
        connection = self._there()
        try:
            if self._partner_key is not None and not self._within:
                connection.raw.execute("begin")
                stand_for(connection, self._partner_key)
            return function(connection, *args, **kwargs)
        except psycopg.Error as error:
            if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
                connection.close()
            raise told(error, self._server) from None
        finally:
            if not self._within:
                self._roll_back()

    async def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        return await self._on_thread(self._do, _execute, sql, values)

    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        await self._on_thread(self._do, Connection.executemany, sql, rows)

    async def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return await self._on_thread(self._do, _all, sql, values)

    async def run(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        made = time.monotonic()
        async with self._turn:
            return await asyncio.shield(self._since(made, self._do, function, *args, **kwargs))

    async def atomic(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(_in_transaction, "begin", function, *args, **kwargs)

    async def claim(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.run(_in_transaction, _BEGIN_CLAIM, function, *args, **kwargs)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        made = time.monotonic()
        async with self._turn:
            try:
                await self._since(made, self._begin, "begin")
                yield
                await self.execute("commit")
            except BaseException:
                await asyncio.shield(self._on_thread(self._roll_back))
                raise
            finally:
                self._within = False

    async def now(self) -> int:
        return int(await self.value("select floor(extract(epoch from clock_timestamp()) * 1000)::bigint"))

    async def version(self) -> str:
        number = int(await self.value("select current_setting('server_version_num')::int"))
        return f"PostgreSQL {number // 10_000}.{number % 10_000}"

    def _begin(self, sql: str) -> None:
        self._within = False
        self._roll_back()  # who stands for a partner has a transaction, which this one follows
        if self._partner_key is None:
            self._do(_execute, "select 1", ())  # a connection that was lost is made anew now, and not later
        self._begin_within(sql)

    def _begin_within(self, sql: str) -> None:
        self._within = True
        self._do(_execute, sql, ())
        if self._partner_key is not None:
            self._do(stand_for, self._partner_key)

    def _roll_back(self) -> None:
        """Whatever the statement before this one was, it has ended by now."""
        if self._connection is not None:
            try:
                self._connection.rollback()
            except psycopg.Error:
                self._connection.close()

    def is_current(self) -> bool:
        return True

    async def stand_for(self, partner_key: str | None) -> None:
        """Whose rows it shows is said to a transaction that lasts until `let_go`; each statement sees what is committed
        then."""
        await self._on_thread(self._stand_for, partner_key)

    def _stand_for(self, partner_key: str | None) -> None:
        self._partner_key = partner_key
        if partner_key is None:
            self._do(_execute, "select 1", ())  # a server that began anew is noticed now, not within a page
        else:
            self._there()
            self._begin_within("begin read only")

    async def let_go(self) -> None:
        await self._on_thread(self._let_go)

    def _let_go(self) -> None:
        self._within, self._partner_key, self._silence = False, None, self._usual_silence
        self._roll_back()
        if self._connection is None or self._connection.lost:
            raise StoreUnavailable(f"{self._server}: the connection was lost")

    async def abandon(self) -> None:
        """A statement is cut off by the server, which is asked over another connection."""
        connection = self._connection
        if connection is not None and connection.raw.info.transaction_status == pq.TransactionStatus.ACTIVE:
            with suppress(psycopg.Error):
                await asyncio.to_thread(connection.raw.cancel_safe, timeout=CANCEL_SECONDS)
        await self.close()

    async def hold_still(self) -> None:
        """Partitions are locked first: one that went would be missed here, and its count not seen yet. On Citus it is a
        moment of each node, that of the first look there; what is of one app lies on one node."""
        self._silence = COUNTING_SECONDS
        sql = f"begin isolation level repeatable read read only; set local statement_timeout = {COUNTING_MS}"
        distributed = self._connection is not None and self._connection.citus
        if "log" in self._nature and not distributed:
            sql += "; lock table log.events in access share mode"
        await self._on_thread(self._begin, sql)
        if distributed:
            await self.execute(citus.ONE_MOMENT)


def _execute(connection: Connection, sql: str, values: Sequence[Any]) -> int:
    return int(connection.execute(sql, values).rowcount)


def _all(connection: Connection, sql: str, values: Sequence[Any]) -> list[Row]:
    rows: list[Row] = connection.execute(sql, values).fetchall()
    return rows


def _in_transaction(
    connection: Connection,
    begin: LiteralString,
    function: Callable[Concatenate[Connection, P], T],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Again from its beginning where it was given up for another: a function sees nothing of the try before."""
    for left in reversed(range(TRIES)):
        try:
            connection.raw.execute(begin)
            result = function(connection, *args, **kwargs)
            connection.raw.execute("commit")
            return result
        except psycopg.Error as error:
            if not (left and may_try_again(error)):
                raise
            connection.rollback()
    raise AssertionError("the last try returns or raises")


async def open_writer(server: Server, nature: str, patience: float | None = None) -> Database:
    """Raises StoreUnavailable when the server is not there or not of this version, ConfigError when it refuses us; with
    `patience`, nothing: see store/database.py."""
    if patience is not None:
        return PostgresDatabase(server, nature, WRITERS[nature], patience=patience)
    return await _open(PostgresDatabase(server, nature, WRITERS[nature]), nature)


async def open_reader(
    server: Server, nature: str, partner_key: str | None = None, standby: bool = False, patience: float | None = None
) -> Database:
    """As `open_writer`; with `partner_key`, the server shows nothing of other partners."""
    role = READER if partner_key is None else PORTAL
    if patience is not None:
        return PostgresDatabase(server, nature, role, partner_key, standby, patience)
    return await _open(PostgresDatabase(server, nature, role, partner_key, standby), nature)


async def open_together(server: Server, role: str | None = READER, once: bool = False) -> Database:
    """Every schema over one connection; without a role, as the user of the URL."""
    return await _open(PostgresDatabase(server, TOGETHER, role, once=once), *NATURES)


async def _open(db: PostgresDatabase, *natures: str) -> Database:
    try:
        for nature in natures:
            if await lacking(db, nature):
                raise StoreUnavailable(f"the schema {nature} is not of this version yet: run `footfall migrate`")
    except BaseException:
        await db.close()
        raise
    return db


async def lacking(db: Database, nature: str) -> list[str]:
    """The names of the migrations that a schema has not seen; it may have seen newer ones, which only add."""
    try:
        seen = {row[0] for row in await db.all(f"select number from {nature}.schema_migrations")}
    except psycopg.errors.UndefinedTable:
        seen = set()
    return [step.name for step in steps(nature, "postgresql") if step.number not in seen]
