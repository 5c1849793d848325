"""psycopg's connection as the store's functions see one, on a thread of its own.

Statements keep their question marks, and are prepared when they run for the second time. Every number and truth goes as
a bigint and every text as text, so that one statement has one prepared form. Whole columns go as arrays, encoded here:
psycopg's own way takes five times as long (docs/decisions/0015).
"""

from __future__ import annotations

import math
import re
import struct
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from psycopg import adapt, pq
from psycopg.abc import PQGen
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import StrBinaryDumper

from store.database import Server
from store.errors import ConfigError, Conflict, StoreUnavailable
from store.postgres import citus

CONNECT_SECONDS = 5
STATEMENT_MS = 30_000
IDLE_MS = 15_000  # within a transaction
UNREACHABLE_MS = 10_000  # bytes that nobody acknowledges
SILENT_SECONDS = STATEMENT_MS / 1_000 + 5  # past its own timeout a server that works has answered
POLL_SECONDS = 0.1
NO_ANSWER = "the server does not answer"  # in time
PREPARED = 300
# Classes and codes of SQLSTATE: the server's fault, not its input's.
UNWELL = ("08", "25006", "40", "53", "55", "57", "58", "XX")
AGAIN = frozenset({"40001", "40P01"})  # given up so that another may go on

T = TypeVar("T")

_HINT = re.compile(r" indexed by \w+|(?<=\n)( *)cross(?= join)")


class Texts(tuple[Any, ...]):
    """A column of texts, None for null."""


class Numbers(tuple[Any, ...]):
    """A column of integers that fit in 64 bits."""


class Bytes(tuple[Any, ...]):
    """A column of byte strings."""


_length = struct.Struct(">i").pack
_number = struct.Struct(">iq").pack
_head = struct.Struct(">iiIii").pack
_NULL = _length(-1)


def _array(element: int, items: Sequence[Any], parts: Iterable[bytes]) -> bytes:
    """One dimension that may hold nulls; the form is `array_recv`'s in PostgreSQL's source."""
    return b"".join((_head(1, 1, element, len(items), 1), *parts))


class _TextsDumper(adapt.Dumper):
    format = pq.Format.BINARY
    oid = 1009

    def dump(self, column: Any) -> bytes:
        encoded = [None if item is None else item.encode() for item in column]
        return _array(25, column, [_NULL if item is None else _length(len(item)) + item for item in encoded])


class _NumbersDumper(adapt.Dumper):
    format = pq.Format.BINARY
    oid = 1016

    def dump(self, column: Any) -> bytes:
        return _array(20, column, [_number(8, item) for item in column])


class _BytesDumper(adapt.Dumper):
    format = pq.Format.BINARY
    oid = 1001

    def dump(self, column: Any) -> bytes:
        return _array(17, column, [_NULL if item is None else _length(len(item)) + item for item in column])


class _TruthDumper(adapt.Dumper):
    """The schema has integers for truths."""

    format = pq.Format.BINARY
    oid = 20

    def dump(self, truth: Any) -> bytes:
        return struct.pack(">q", truth)


def _adapt(connection: psycopg.Connection[Any]) -> None:
    kinds: tuple[tuple[type, type[adapt.Dumper]], ...] = (
        (int, Int8BinaryDumper),
        (bool, _TruthDumper),
        (str, StrBinaryDumper),
        (Texts, _TextsDumper),
        (Numbers, _NumbersDumper),
        (Bytes, _BytesDumper),
    )
    for kind, dumper in kinds:
        connection.adapters.register_dumper(kind, dumper)


@lru_cache(maxsize=1024)
def translated(sql: str) -> str:
    """A statement of the store in psycopg's words, without hints for SQLite: an index, and the order of a join."""
    return _HINT.sub("", sql).replace("%", "%%").replace("?", "%s")


class Patient(psycopg.Connection[Any]):
    """psycopg's connection, which waits for an answer so long and no longer, and is closed then.

    No timeout below it is enough: a machine whose PostgreSQL has stopped still acknowledges every byte.
    """

    silence = math.inf  # seconds for each answer
    deadline = math.inf  # by the monotonic clock, for all that is asked until it is set anew

    def wait(self, gen: PQGen[T], interval: float = POLL_SECONDS, timeout: float | None = None) -> T:
        """See psycopg."""
        left = min(self.silence, max(self.deadline - time.monotonic(), 0), math.inf if timeout is None else timeout)
        try:
            return super().wait(gen, interval, None if left == math.inf else left)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError(NO_ANSWER) from None


class Connection:
    """One connection. Not safe for two threads; `lost` once the server is no longer there."""

    def __init__(self, raw: Patient, citus: bool = False) -> None:
        self.raw = raw
        self.citus = citus
        self._cursor = raw.cursor(binary=True)

    @property
    def lost(self) -> bool:
        return self.raw.closed or self.raw.broken

    @property
    def backend(self) -> int:
        """The number of the server's process for this connection."""
        return self.raw.info.backend_pid

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Any:
        """Values become parameters; without any, `sql` may be several statements."""
        if ";" in sql and not values:
            return self.raw.execute(sql)  # as text: only that way the server takes several
        return self.raw.cursor(binary=True).execute(translated(sql), values, prepare=True)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> None:
        """In one go to the server and back."""
        listed = list(rows)
        if listed:
            with self.raw.pipeline():
                cursor = self.raw.cursor(binary=True)
                for row in listed:
                    cursor.execute(translated(sql), row, prepare=True)

    def rollback(self) -> None:
        """Undo what is open, if anything is and the server is still there."""
        if not self.lost and self.raw.info.transaction_status != pq.TransactionStatus.IDLE:
            self.raw.execute("rollback")

    def close(self) -> None:
        self.raw.close()


def connect(
    server: Server,
    schema: str,
    role: str | None,
    read_only: bool,
    standby: bool = False,
    deadline: float = math.inf,
) -> Connection:
    """Connect, take a role and look at one schema. A standby is taken where one will do alone.

    Raises StoreUnavailable when the server is not there, ConfigError when it does not let us.
    """
    options = [
        f"-c search_path={schema}",
        f"-c statement_timeout={STATEMENT_MS}",
        f"-c idle_in_transaction_session_timeout={IDLE_MS}",
        "-c synchronous_commit=on",
        "-c jit=off",
    ]
    if read_only:  # else as the server says: one that is closed for maintenance stays closed
        options.append("-c default_transaction_read_only=on")
    try:
        raw = Patient.connect(
            server.url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            options=" ".join(options),
            application_name=f"footfall {schema}",
            tcp_user_timeout=UNREACHABLE_MS,
            keepalives_idle=30,
            target_session_attrs="any" if standby else "primary" if read_only else "read-write",
        )
    except psycopg.Error as error:
        raise _refused(error, server) from None
    try:
        raw.prepared_max = PREPARED
        raw.deadline, raw.silence = deadline, SILENT_SECONDS
        _adapt(raw)
        connection = Connection(raw, citus.prepare(raw))
        if role is not None:
            _take(connection, role, server)
        raw.silence = math.inf
        return connection
    except psycopg.Error as error:
        raw.close()
        raise _refused(error, server) from None
    except BaseException:
        raw.close()
        raise


def _take(connection: Connection, role: str, server: Server) -> None:
    """Be no more than this role, which somebody has to have granted to our user."""
    raw = connection.raw
    try:
        if not (connection.citus and citus.is_by_membership(raw, role)):
            raw.execute(f"set role {role}")
    except psycopg.errors.InvalidParameterValue:
        raise StoreUnavailable(f"{server}: there is no role {role} yet: run `footfall migrate`") from None
    except psycopg.errors.InsufficientPrivilege:
        said = f"the user {raw.info.user} is not in {role}: grant {role} to {raw.info.user}"
        raise ConfigError(f"{server}: {said}; see docs/how-to/grow.md") from None


def _refused(error: psycopg.Error, server: Server) -> Exception:
    """Why there is no connection: no such database, role or right is for whoever set this up."""
    if error.sqlstate is not None and error.sqlstate.startswith(("22", "28", "3D", "42")):
        return ConfigError(f"{server}: {_line(error)}; see docs/how-to/grow.md")
    return StoreUnavailable(f"{server}: {_line(error)}")


class Locked(StoreUnavailable):
    """Another transaction holds what this one waited for, for as long as it may wait."""


def told(error: psycopg.Error, server: Server) -> Exception:
    """psycopg's error as the store's; what is a fault of ours stays as it is."""
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return Locked(f"{server}: {_line(error)}")
    if isinstance(error, psycopg.IntegrityError):
        return Conflict(_line(error))
    if error.sqlstate is None or error.sqlstate.startswith(UNWELL):
        return StoreUnavailable(f"{server}: {_line(error)}")
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return ConfigError(f"{server}: {_line(error)}; see docs/how-to/grow.md")
    return error


def _line(error: psycopg.Error) -> str:
    """In one line; of several servers what each said."""
    told = _EACH.findall(str(error))
    if told:
        return "; ".join(f"{host}:{port}: {said}" for host, port, said in told)
    return str(error).strip().split("\n")[0] or type(error).__name__


# psycopg's list of what it tried; what a server said goes on with words that it says of each.
_EACH = re.compile(r"^- host: '?(.*?)'?, port: '?(.*?)'?, hostaddr: .*?: (?:.* failed: )?(.*)", re.MULTILINE)


def may_try_again(error: psycopg.Error) -> bool:
    """Whether the server gave this transaction up so that another may go on."""
    return error.sqlstate in AGAIN
