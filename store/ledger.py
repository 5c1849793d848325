"""The ledger: cursors with their leases, batch rows, parked events, and the tallies of fates.

What must be true together is written together: a batch row is closed, its fates are counted and the cursor moves in
one transaction. A crash in between sends the same events again under the same ids.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from store.database import Database

Outcome = Literal["accepted", "refused", "deferred", "ambiguous"]


class Cursor(msgspec.Struct, frozen=True):
    app_key: str
    destination_id: str
    start_seq: int
    seq: int
    not_before: int
    paused_reason: str


class Fate(NamedTuple):
    """What is counted when a cursor passes an event; `hour` is the epoch hour in which it was received."""

    hour: int
    fate: Literal["accepted", "suppressed", "parked"]
    reason: str = ""


class Parked(NamedTuple):
    seq: int
    message_id: str
    reason: str
    detail: str


class Batch(msgspec.Struct, frozen=True):
    """An attempt that begins: what is written before the wire."""

    batch_id: str
    run_id: str
    attempt: int
    first_seq: int
    last_seq: int
    events: int
    bytes: int


class Answer(msgspec.Struct, frozen=True):
    """How an attempt ended. `detail` is an excerpt without secrets."""

    outcome: Outcome
    status: int | None = None
    detail: str = ""


class Passage(msgspec.Struct, frozen=True):
    """A cursor's move: the seq it moves to, the fates of what it passes, and what is set aside."""

    seq: int
    fates: Counter[Fate]
    parked: Sequence[Parked] = ()


async def cursors(db: Database) -> dict[tuple[str, str], Cursor]:
    """Every cursor, by app and destination."""
    rows = await db.all(
        """/* ledger.cursors */
        select app_key, destination_id, start_seq, seq, not_before, paused_reason
        from cursors"""
    )
    return {(row[0], row[1]): Cursor(*row) for row in rows}


async def begin(db: Database, destinations: Sequence[tuple[str, str, int]]) -> None:
    """Begin a cursor for each (app, destination, start) that has none."""
    async with db.transaction():
        await db.execute_many(
            """/* ledger.begin */
            insert into cursors (app_key, destination_id, start_seq, seq)
            values (?, ?, ?, ?)
            on conflict do nothing""",
            [(app_key, destination_id, start, start) for app_key, destination_id, start in destinations],
        )


async def lease(db: Database, app_key: str, destination_id: str, owner: str, now: int, until: int) -> bool:
    """Take or renew the right to work on a cursor; False when another run has it."""
    async with db.transaction():
        taken = await db.execute(
            """/* ledger.lease */
            update cursors
            set lease_owner = ?, lease_until = ?
            where app_key = ? and destination_id = ? and (lease_owner in ('', ?) or lease_until < ?)""",
            (owner, until, app_key, destination_id, owner, now),
        )
    return taken == 1


async def release(db: Database, owner: str) -> None:
    """Give back every lease of one run."""
    async with db.transaction():
        await db.execute(
            "/* ledger.release */ update cursors set lease_owner = '', lease_until = 0 where lease_owner = ?", (owner,)
        )


async def open_batch(db: Database, app_key: str, destination_id: str, batch: Batch, now: int) -> None:
    """Record an attempt before it reaches the wire."""
    b = batch
    row = (app_key, b.batch_id, destination_id, b.run_id, b.attempt, b.first_seq, b.last_seq, b.events, b.bytes, now)
    await db.atomic(sqlite3.Connection.execute, _OPEN, row)


_OPEN = """/* ledger.open_batch */
    insert into batches (app_key, batch_id, destination_id, run_id, attempt, first_seq, last_seq, events, bytes,
      opened_at, outcome)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')"""


async def close_batch(
    db: Database, held: Cursor, owner: str, batch_id: str, answer: Answer, now: int, passage: Passage | None = None
) -> None:
    """Record how an attempt ended and, with a passage, move the cursor: together, or not at all."""
    await db.atomic(_close, held, owner, batch_id, answer, now, passage)


def _close(
    connection: sqlite3.Connection,
    held: Cursor,
    owner: str,
    batch_id: str,
    answer: Answer,
    now: int,
    passage: Passage | None,
) -> None:
    connection.execute(_CLOSE, (answer.outcome, answer.status, answer.detail, now, held.app_key, batch_id))
    if passage is not None:
        _move(connection, held, owner, passage, now)


_CLOSE = """/* ledger.close_batch */
    update batches
    set outcome = ?, status = ?, detail = ?, closed_at = ?
    where app_key = ? and batch_id = ? and outcome = 'open'"""


async def move(db: Database, held: Cursor, owner: str, passage: Passage, now: int) -> None:
    """Move the cursor over events of which none was sent."""
    await db.atomic(_move, held, owner, passage, now)


def _move(connection: sqlite3.Connection, held: Cursor, owner: str, passage: Passage, now: int) -> None:
    """Forward only, and only by the run that holds the lease."""
    keys = held.app_key, held.destination_id
    if connection.execute(_MOVE, (passage.seq, *keys, passage.seq, owner)).rowcount != 1:
        raise LeaseLost(f"another run moved the cursor of {held.app_key}")
    connection.executemany(_TALLY, [(*keys, *fate, n) for fate, n in passage.fates.items()])
    connection.executemany(_PARK, [(*keys, *item, now) for item in passage.parked])


_MOVE = """/* ledger.move */
    update cursors
    set seq = ?
    where app_key = ? and destination_id = ? and seq < ? and lease_owner = ?"""

_TALLY = """/* ledger.tally */
    insert into tallies (app_key, destination_id, hour, fate, reason, n)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, destination_id, hour, fate, reason) do update
    set n = tallies.n + excluded.n"""

_PARK = """/* ledger.park */
    insert into parked (app_key, destination_id, seq, message_id, reason, detail, parked_at)
    values (?, ?, ?, ?, ?, ?, ?)"""


class LeaseLost(Exception):
    """The cursor is no longer this run's: whatever was sent will be sent again, under the same ids."""


async def set_waiting(db: Database, held: Cursor, not_before: int, paused_reason: str) -> None:
    """Remember between runs that a destination asked to be left alone, or is at fault."""
    async with db.transaction():
        await db.execute(
            """/* ledger.set_waiting */
            update cursors
            set not_before = ?, paused_reason = ?
            where app_key = ? and destination_id = ?""",
            (not_before, paused_reason, held.app_key, held.destination_id),
        )


async def recover(db: Database, now: int) -> int:
    """Mark what a dead run left open as ambiguous, and take its leases back; return how many attempts it left.

    The caller holds the ledger alone, so whoever had a lease is dead.
    """
    async with db.transaction():
        await db.execute(
            """/* ledger.take_back */
            update cursors
            set lease_owner = '', lease_until = 0
            where lease_owner <> ''"""
        )
        return await db.execute(
            """/* ledger.recover */
            update batches
            set outcome = 'ambiguous', detail = 'the exporter ended before the answer was recorded', closed_at = ?
            where outcome = 'open'""",
            (now,),
        )


async def fates(db: Database, app_key: str, destination_id: str) -> dict[str, int]:
    """The sums of what a cursor has passed, by fate."""
    rows = await db.all(
        """/* ledger.fates */
        select fate, sum(n)
        from tallies
        where app_key = ? and destination_id = ?
        group by fate""",
        (app_key, destination_id),
    )
    return {"accepted": 0, "suppressed": 0, "parked": 0} | dict(rows)
