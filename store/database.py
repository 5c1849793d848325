"""A database of the store, whichever engine holds it; store/engines.py opens one.

There are three natures, registry, log and ledger. On one machine each is an SQLite file in the data directory; on a
PostgreSQL server each is a schema. The SQL is one text for both: values are marked with ?, times and flags are
integers. Several statements that belong together are one plain function of a `Connection`, run on the connection's own
thread, so that it costs one change of threads and is the same on both engines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, Self, TypeVar
from urllib.parse import urlsplit

Engine = Literal["sqlite", "postgresql"]
Row = tuple[Any, ...]
P = ParamSpec("P")
T = TypeVar("T")

NATURES = ("registry", "log", "ledger")


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL database by its URL, which may hold a password."""

    url: str = field(repr=False)

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        hosts = parts.netloc.rpartition("@")[2]  # one, or several between commas
        return f"PostgreSQL at {hosts or 'the local socket'}{parts.path}"


Where = Path | Server  # a data directory with SQLite files, or a server


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What a function sees of the engine, on the connection's own thread; `sqlite3.Connection` is one."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Cursor: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any: ...


class Database(ABC):
    """One open database. Close it, or the process does not end.

    Every method raises StoreUnavailable when the database is at fault and not what was asked of it, and Conflict when a
    row would break a rule of its table.
    """

    engine: Engine
    shared: bool  # several processes may write it at once
    migrated: list[str]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None: ...

    @abstractmethod
    async def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement; return how many rows it changed."""

    @abstractmethod
    async def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None: ...

    @abstractmethod
    async def all(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Every row; the read is over when this returns."""

    @abstractmethod
    async def run(self, function: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function of the plain connection on the connection's thread: many statements, one change of threads."""

    @abstractmethod
    async def atomic(self, function: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, in a transaction: what the function did is on disk when this returns, and undone when it raises.

        The function may be run again where the engine gave up one of several transactions that waited for each other.
        """

    async def claim(self, function: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `atomic`, for what need not outlive a crash of the server: it does not wait for the disk if it can.

        What is waited for later is on disk only together with it.
        """
        return await self.atomic(function, *args, **kwargs)

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[None]:
        """One transaction at a time on this connection; two tasks that shared one would share its rollback."""

    @abstractmethod
    async def hold_still(self) -> None:
        """From the next read on, see what was committed then and nothing newer, until this is closed."""

    @abstractmethod
    def is_current(self) -> bool:
        """Whether what is open is still what the store's place holds; a file may have been replaced."""

    @abstractmethod
    async def stand_for(self, partner_key: str | None) -> None:
        """Until `let_go`, show what a partner may see, on a server by the wall; None: whatever this may read."""

    @abstractmethod
    async def let_go(self) -> None:
        """As new: when this returns nothing is under way, nothing holds still, and it stands for nobody."""

    @abstractmethod
    async def abandon(self) -> None:
        """Stop what is under way, and close."""

    @abstractmethod
    async def now(self) -> int:
        """The time by the clock that all who share this database share, epoch milliseconds."""

    async def change(self, sql: str, values: Sequence[Any] = ()) -> int:
        """One statement in a transaction of its own; how many rows it changed."""
        return await self.atomic(_change, sql, values)

    @abstractmethod
    async def version(self) -> str:
        """The engine's name and version, for a person."""

    async def each(self, select: str, column: str, of: Collection[str] | None, order: str = "") -> list[Row]:
        """The rows of a select without a condition, all of them or those with certain values in one column, value by
        value."""
        if of is None:
            return await self.all(f"{select}\n{order}")
        sql = f"{select}\nwhere {column} = ?\n{order}"
        return [row for value in sorted(of) for row in await self.all(sql, (value,))]

    async def one(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        rows = await self.all(sql, values)
        return rows[0] if rows else None

    async def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The first column of the first row; None when there is no row."""
        row = await self.one(sql, values)
        return None if row is None else row[0]


def _change(connection: Connection, sql: str, values: Sequence[Any]) -> int:
    return connection.execute(sql, values).rowcount
