"""The ledger: cursors with their leases, and batch rows; see store/parked.py and store/tallies.py for what else a move
writes.

What must be true together is written together: a batch row is closed, its fates are counted and the cursor moves in
one transaction. A crash in between sends the same events again under the same ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from store import parked, tallies
from store.database import Connection, Database
from store.parked import Parked
from store.tallies import Fate

Outcome = Literal["accepted", "refused", "deferred", "ambiguous"]


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a course has fared, kept between runs: see exporter/breaker.py for what follows from it."""

    not_before: int = 0
    tripped: str = ""
    trips: int = 0
    failures: int = 0
    recent: str = ""
    ambiguous_since: int = 0
    ambiguous_seq: int = 0


class Cursor(msgspec.Struct, frozen=True):
    """Where a course stands; `destination_id` is the course's id."""

    app_key: str
    destination_id: str
    start_seq: int
    seq: int
    health: Health = Health()


class Batch(msgspec.Struct, frozen=True):
    """An attempt that begins: what is written before the wire."""

    batch_id: str
    run_id: str
    attempt: int
    first_seq: int
    last_seq: int
    events: int
    bytes: int
    parked: bool = False  # events that were released, which the cursor has passed already


class Answer(msgspec.Struct, frozen=True):
    """How an attempt ended. `detail` is an excerpt without secrets."""

    outcome: Outcome
    status: int | None = None
    detail: str = ""
    latency_ms: int | None = None
    possible_duplicate: bool = False
    first_id: str = ""
    last_id: str = ""
    digest: str = ""


class Passage(msgspec.Struct, frozen=True):
    """A cursor's move: the seq it moves to, the fates of what it passes, and what is set aside."""

    seq: int
    fates: Counter[Fate]
    parked: Sequence[Parked] = ()


_HEALTH = ", ".join(Health.__struct_fields__)


async def cursors(db: Database) -> dict[tuple[str, str], Cursor]:
    """Every cursor, by app and course."""
    rows = await db.all(
        f"""/* ledger.cursors */
        select app_key, destination_id, start_seq, seq, {_HEALTH}
        from cursors"""  # noqa: S608 - our own column names
    )
    return {(row[0], row[1]): Cursor(row[0], row[1], row[2], row[3], Health(*row[4:])) for row in rows}


async def some_cursors(db: Database, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Cursor]:
    """The cursors of these courses, by app and course."""
    return await db.run(_some_cursors, list(keys))


def _some_cursors(connection: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Cursor]:
    found = {}
    for each in keys:
        for start_seq, seq, *health in connection.execute(_CURSOR, each):
            found[each] = Cursor(*each, start_seq, seq, Health(*health))
    return found


async def behind(db: Database) -> dict[tuple[str, str], tuple[Cursor, int]]:
    """The cursors that something may wait for, each with the newest seq that was seen of its app."""
    rows = await db.all(
        f"""/* ledger.behind */
        select app_key, destination_id, start_seq, seq, newest_seq, {_HEALTH}
        from cursors
        where newest_seq > seq"""  # noqa: S608 - our own column names
    )
    return {(a, d): (Cursor(a, d, start, seq, Health(*health)), newest) for a, d, start, seq, newest, *health in rows}


async def seen(db: Database) -> dict[str, str]:
    """How far the runs have looked."""
    return dict(await db.all("/* ledger.seen */ select name, value from seen"))


async def notice(db: Database, heads: Mapping[str, int], looked: Mapping[str, str]) -> None:
    """Note the newest seq of apps, and how far was looked."""
    await db.atomic(_notice, heads, looked)


def _notice(connection: Connection, heads: Mapping[str, int], looked: Mapping[str, str]) -> None:
    connection.executemany(_NEWEST, [(seq, app_key, seq) for app_key, seq in sorted(heads.items())])
    connection.executemany(_SEEN, sorted(looked.items()))


_NEWEST = "/* ledger.newest */ update cursors set newest_seq = ? where app_key = ? and newest_seq < ?"

_SEEN = """/* ledger.see */
    insert into seen (name, value)
    values (?, ?)
    on conflict (name) do update
    set value = excluded.value"""


async def begin(
    db: Database, destinations: Sequence[tuple[str, str, int]], newest: Mapping[str, int] | None = None
) -> None:
    """Begin a cursor for each (app, destination, start) that has none; `newest` is the newest seq of apps."""
    heads = newest or {}
    rows = [(app, destination, start, start, heads.get(app, 0)) for app, destination, start in destinations]
    await db.atomic(_begin, rows)


def _begin(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
    connection.executemany(_BEGIN, rows)


_BEGIN = """/* ledger.begin */
    insert into cursors (app_key, destination_id, start_seq, seq, newest_seq)
    values (?, ?, ?, ?, ?)
    on conflict do nothing"""


async def lease(db: Database, app_key: str, destination_id: str, owner: str, now: int, until: int) -> Cursor | None:
    """Take or renew the right to work on a cursor, which is given as it is now; None when another run has it.

    What a run that lost its lease left open is marked as ambiguous. After a crash of the server a lease may be
    another's: then the cursor does not move for the one who had it.
    """
    return await db.claim(_lease, (app_key, destination_id), owner, now, until)


def _lease(connection: Connection, keys: tuple[str, str], owner: str, now: int, until: int) -> Cursor | None:
    if connection.execute(_LEASE, (owner, until, *keys, owner, now)).rowcount != 1:
        return None
    if connection.execute(_LEFT_OPEN, (*keys, owner)).fetchone() is not None:
        _mark_ambiguous(connection, now)
    row = connection.execute(_CURSOR, keys).fetchone()
    return Cursor(*keys, row[0], row[1], Health(*row[2:]))


# The condition stands in the statement that changes the row: two that ask at once cannot both have it.
_LEASE = """/* ledger.lease */
    update cursors
    set lease_owner = ?, lease_until = ?
    where app_key = ? and destination_id = ? and (lease_owner in ('', ?) or lease_until < ?)"""

_LEFT_OPEN = """/* ledger.left_open */
    select 1
    from batches
    where app_key = ? and destination_id = ? and outcome = 'open' and run_id <> ?
    limit 1"""

_CURSOR = f"""/* ledger.cursor */
    select start_seq, seq, {_HEALTH}
    from cursors
    where app_key = ? and destination_id = ?"""  # noqa: S608 - our own column names


async def release(db: Database, owner: str, keys: tuple[str, str] | None = None) -> None:
    """Give back one lease of a run, (app, course), or all that it has."""
    if keys is None:
        sql = "/* ledger.release */ update cursors set lease_owner = '', lease_until = 0 where lease_owner = ?"
        await db.claim(_execute, sql, (owner,))
    else:
        await db.claim(_execute, _RELEASE, (owner, *keys))


_RELEASE = """/* ledger.release_one */
    update cursors
    set lease_owner = '', lease_until = 0
    where lease_owner = ? and app_key = ? and destination_id = ?"""


def _execute(connection: Connection, sql: str, values: Sequence[Any]) -> int:
    return connection.execute(sql, values).rowcount


async def open_batch(db: Database, app_key: str, course_id: str, batch: Batch, now: int) -> None:
    """Record an attempt before it reaches the wire."""
    b = batch
    row = (
        app_key,
        b.batch_id,
        course_id,
        b.run_id,
        b.attempt,
        b.first_seq,
        b.last_seq,
        b.events,
        b.bytes,
        b.parked,
        now,
    )
    await db.run(_execute, _OPEN, row)  # one statement is a transaction, in one journey to a server


_OPEN = """/* ledger.open_batch */
    insert into batches (app_key, batch_id, destination_id, run_id, attempt, first_seq, last_seq, events, bytes, parked,
      opened_at, outcome)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')"""


async def close_batch(
    db: Database, held: Cursor, owner: str, batch_id: str, answer: Answer, now: int, passage: Passage | None = None
) -> None:
    """Record how an attempt ended, how its course fares (`held.health`) and, with a passage, that the cursor moves:
    together, or not at all."""
    await db.atomic(_close, held, owner, batch_id, answer, now, passage)


def _close(
    connection: Connection,
    held: Cursor,
    owner: str,
    batch_id: str,
    answer: Answer,
    now: int,
    passage: Passage | None,
) -> None:
    a = answer
    ended = (a.outcome, a.status, a.detail, a.latency_ms, a.possible_duplicate, a.first_id, a.last_id, a.digest, now)
    connection.execute(_CLOSE, (*ended, held.app_key, batch_id))
    if passage is None:
        keys = held.app_key, held.destination_id
        connection.execute(_FARE, (*msgspec.structs.astuple(held.health), *keys, owner))
    else:
        _move(connection, held, owner, passage, now)


_CLOSE = """/* ledger.close_batch */
    update batches
    set outcome = ?, status = ?, detail = ?, latency_ms = ?, possible_duplicate = ?, first_id = ?, last_id = ?,
        digest = ?, closed_at = ?
    where app_key = ? and batch_id = ? and outcome = 'open'"""


async def close_released(
    db: Database, held: Cursor, owner: str, batch_id: str, answer: Answer, now: int, seqs: Sequence[int]
) -> None:
    """Record how an attempt with released events ended: accepted ones are parked no longer, refused ones are again."""
    await db.atomic(_close_released, held, owner, batch_id, answer, now, seqs)


def _close_released(
    connection: Connection,
    held: Cursor,
    owner: str,
    batch_id: str,
    answer: Answer,
    now: int,
    seqs: Sequence[int],
) -> None:
    _close(connection, held, owner, batch_id, answer, now, None)
    keys = held.app_key, held.destination_id
    parked.settle(connection, keys, seqs, answer.outcome, answer.detail)


async def move(db: Database, held: Cursor, owner: str, passage: Passage, now: int) -> None:
    """Move the cursor over events of which none was sent, and record how its course fares."""
    await db.atomic(_move, held, owner, passage, now)


def _move(connection: Connection, held: Cursor, owner: str, passage: Passage, now: int) -> None:
    """Forward only, and only by the run that holds the lease."""
    keys = held.app_key, held.destination_id
    health = msgspec.structs.astuple(held.health)
    if connection.execute(_MOVE, (passage.seq, *health, *keys, passage.seq, owner)).rowcount != 1:
        raise LeaseLost(f"another run moved the cursor of {held.app_key}")
    tallies.count(connection, keys, passage.fates)
    parked.park(connection, keys, passage.parked, now)


_MOVE = f"""/* ledger.move */
    update cursors
    set seq = ?, {", ".join(f"{name} = ?" for name in Health.__struct_fields__)}
    where app_key = ? and destination_id = ? and seq < ? and lease_owner = ?"""  # noqa: S608 - our own column names

_FARE = f"""/* ledger.fare */
    update cursors
    set {", ".join(f"{name} = ?" for name in Health.__struct_fields__)}
    where app_key = ? and destination_id = ? and lease_owner = ?"""  # noqa: S608 - our own column names


class LeaseLost(Exception):
    """The cursor is no longer this run's: whatever was sent will be sent again, under the same ids."""


async def recover(db: Database, now: int) -> int:
    """Mark what dead runs left open as ambiguous; return how many attempts those were.

    A run is dead when its lease has run out; where the caller holds the ledger alone, whoever has a lease is.
    """
    return await db.atomic(_recover, now, not db.shared)


def _recover(connection: Connection, now: int, alone: bool) -> int:
    if alone:
        connection.execute(
            "/* ledger.take_back */ update cursors set lease_owner = '', lease_until = 0 where lease_owner <> ''"
        )
    return _mark_ambiguous(connection, now)


def _mark_ambiguous(connection: Connection, now: int) -> int:
    """Every open attempt of a run that does not hold its course's lease."""
    connection.execute(_DOUBT, (now,))
    return connection.execute(_RECOVER, (now, now)).rowcount


_DOUBT = """/* ledger.doubt */
    update cursors
    set ambiguous_since = case ambiguous_since when 0 then open.since else ambiguous_since end,
        ambiguous_seq = case when open.up_to > ambiguous_seq then open.up_to else ambiguous_seq end
    from (
      select app_key, destination_id, min(opened_at) as since, max(last_seq) as up_to
      from batches
      where outcome = 'open' and not exists (
        select 1
        from cursors as held
        where held.app_key = batches.app_key and held.destination_id = batches.destination_id
          and held.lease_owner = batches.run_id and held.lease_until >= ?
      )
      group by app_key, destination_id
    ) as open
    where open.app_key = cursors.app_key and open.destination_id = cursors.destination_id"""

_RECOVER = """/* ledger.recover */
    update batches
    set outcome = 'ambiguous', detail = 'the exporter ended before the answer was recorded', closed_at = ?
    where outcome = 'open' and not exists (
      select 1
      from cursors as held
      where held.app_key = batches.app_key and held.destination_id = batches.destination_id
        and held.lease_owner = batches.run_id and held.lease_until >= ?
    )"""


class Attempt(msgspec.Struct, frozen=True):
    """A batch row: one request, and what came of it."""

    batch_id: str
    run_id: str
    attempt: int
    first_seq: int
    last_seq: int
    events: int
    bytes: int
    parked: bool
    opened_at: int
    closed_at: int | None
    outcome: str
    status: int | None
    latency_ms: int | None
    detail: str
    possible_duplicate: bool


async def attempts(db: Database, app_key: str, course_id: str, seq: int) -> list[Attempt]:
    """Every attempt whose run of events covers this one, the oldest first."""
    names = Attempt.__struct_fields__
    rows = await db.all(
        f"""/* ledger.attempts */
        select {", ".join(names)}
        from batches
        where app_key = ? and destination_id = ? and first_seq <= ? and last_seq >= ?
        order by opened_at, batch_id""",  # noqa: S608 - our own column names
        (app_key, course_id, seq, seq),
    )
    return [msgspec.convert(dict(zip(names, row, strict=True)), Attempt, strict=False) for row in rows]


async def forget_attempts(db: Database, before: int) -> int:
    """Remove attempts that ended before that moment, epoch milliseconds; how many. The tallies stay."""
    return await db.atomic(_execute, "/* ledger.forget */ delete from batches where closed_at < ?", (before,))
