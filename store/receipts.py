"""Receipts in the ledger: which accepted batches have none yet, and those that were made.

The receipts of a course are a chain, so they are made one run at a time: whoever makes them holds the course's cursor,
reads what there is, and adds to its end, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from store.database import Connection, Database


class Receipted(NamedTuple):
    """An accepted batch as its receipt speaks of it; `course_id` is the destination's id or the replay's."""

    app_key: str
    course_id: str
    run_id: str
    batch_id: str
    events: int
    bytes: int
    first_seq: int
    last_seq: int
    first_id: str
    last_id: str
    digest: str


class Made(NamedTuple):
    """A receipt as it is kept: its document exactly as signed, and the batches that it covers."""

    receipt_id: str
    run_id: str
    made_at: int
    document: str
    signature: str
    batch_ids: list[str]


Make = Callable[[Sequence[Receipted], str | None], list[Made]]


async def courses_without(db: Database) -> list[tuple[str, str]]:
    """(app, course) of everything that has accepted batches which no receipt covers yet."""
    rows = await db.all(
        """/* receipts.without */
        select distinct app_key, destination_id
        from batches
        where outcome = 'accepted' and receipt_id = ''
        order by app_key, destination_id"""
    )
    return [(app_key, course_id) for app_key, course_id in rows]


async def add(db: Database, courses: Sequence[tuple[str, str]], make: Make) -> int:
    """Give courses, in their order, their receipts: for each, `make` gets the batches that have none, in the order in
    which they were sent, and the document of the last receipt. How many were made."""
    return await db.atomic(_add_all, courses, make)


def _add_all(connection: Connection, courses: Sequence[tuple[str, str]], make: Make) -> int:
    return sum(_add(connection, keys, make) for keys in courses)


def _add(connection: Connection, keys: tuple[str, str], make: Make) -> int:
    connection.execute(_HOLD, keys)
    batches = [Receipted(*row) for row in connection.execute(_WITHOUT, keys)]
    last = connection.execute(_LAST, keys).fetchone()
    made = make(batches, last[0] if last else None) if batches else []
    for receipt in made:
        connection.execute(_ADD, (*keys, *receipt[:-1]))
        connection.executemany(_COVER, [(receipt.receipt_id, keys[0], batch_id) for batch_id in receipt.batch_ids])
    return len(made)


# Another run that does the same waits here, and finds nothing left.
_HOLD = "/* receipts.hold */ update cursors set seq = seq where app_key = ? and destination_id = ?"

_WITHOUT = """/* receipts.batches */
    select app_key, destination_id, run_id, batch_id, events, bytes, first_seq, last_seq, first_id, last_id, digest
    from batches
    where app_key = ? and destination_id = ? and outcome = 'accepted' and receipt_id = ''
    order by batch_id"""

_LAST = """/* receipts.last */
    select document
    from receipts
    where app_key = ? and destination_id = ?
    order by receipt_id desc
    limit 1"""

_ADD = """/* receipts.add */
    insert into receipts (app_key, destination_id, receipt_id, run_id, made_at, document, signature)
    values (?, ?, ?, ?, ?, ?, ?)"""

_COVER = "/* receipts.cover */ update batches set receipt_id = ? where app_key = ? and batch_id = ?"


async def receipts(
    db: Database, app_key: str | None = None, course_id: str | None = None
) -> list[tuple[str, str, str]]:
    """(id, document, signature) of every receipt, the oldest first; only of one app, of one course."""
    rows = await db.all(
        """/* receipts.all */
        select receipt_id, document, signature
        from receipts
        where (cast(? as text) is null or app_key = ?) and (cast(? as text) is null or destination_id = ?)
        order by receipt_id""",
        (app_key, app_key, course_id, course_id),
    )
    return [(receipt_id, document, signature) for receipt_id, document, signature in rows]
