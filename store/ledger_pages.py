"""The ledger as people page through it: one app's attempts, parked events and receipts, the newest first.

Every read goes along a key of its table and ends after a page, so that its cost does not grow with what there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from store.database import Connection, Database
from store.ledger import Attempt
from store.log import NO_END
from store.parked import Held

PAGE = 50
LAST = "z"  # sorts after every id, whatever the language that a server sorts by


class Request(msgspec.Struct, frozen=True):
    """An attempt, and the course that it was for."""

    course_id: str
    attempt: Attempt


_ATTEMPT = Attempt.__struct_fields__


async def attempts(
    db: Database,
    app_key: str,
    course_id: str | None = None,
    outcome: str | None = None,
    run_id: str | None = None,
    before: str = LAST,
    limit: int = PAGE,
) -> list[Request]:
    """Batch rows older than the one whose id is `before`, only those of a course, with an outcome, of a run."""
    rows = await db.all(
        f"""/* ledger_pages.attempts */
        select destination_id, {", ".join(_ATTEMPT)}
        from batches
        where app_key = ? and batch_id < ?
          and (cast(? as text) is null or destination_id = ?)
          and (cast(? as text) is null or outcome = ?)
          and (cast(? as text) is null or run_id = ?)
        order by batch_id desc
        limit ?""",  # noqa: S608 - our own column names
        (app_key, before, course_id, course_id, outcome, outcome, run_id, run_id, limit),
    )
    return [
        Request(row[0], msgspec.convert(dict(zip(_ATTEMPT, row[1:], strict=True)), Attempt, strict=False))
        for row in rows
    ]


async def parked(db: Database, app_key: str, course_id: str, before: int = NO_END, limit: int = PAGE) -> list[Held]:
    """Parked events of one course."""
    rows = await db.all(
        f"""/* ledger_pages.parked */
        select {", ".join(Held._fields)}
        from parked
        where app_key = ? and destination_id = ? and seq < ?
        order by seq desc
        limit ?""",  # noqa: S608 - our own column names
        (app_key, course_id, before, limit),
    )
    return [Held(*row) for row in rows]


async def held(db: Database, app_key: str, course_id: str, seq: int) -> Held | None:
    """One parked event."""
    for found in await parked(db, app_key, course_id, seq + 1, 1):
        return found if found.seq == seq else None
    return None


async def parked_by_reason(db: Database, app_key: str) -> dict[str, dict[str, int]]:
    """How many are parked, by course and reason."""
    rows = await db.all(
        """/* ledger_pages.parked_by_reason */
        select destination_id, reason, count(*)
        from parked
        where app_key = ?
        group by destination_id, reason
        order by destination_id, reason""",
        (app_key,),
    )
    found: dict[str, dict[str, int]] = {}
    for course_id, reason, n in rows:
        found.setdefault(course_id, {})[reason] = n
    return found


class Made(NamedTuple):
    """A receipt as it is kept: its document exactly as signed."""

    receipt_id: str
    course_id: str
    made_at: int
    document: str
    signature: str


async def receipts(
    db: Database, app_key: str, course_ids: Iterable[str], before: str = LAST, limit: int = PAGE
) -> list[Made]:
    """Receipts of some courses older than the one whose id is `before`."""
    found = await db.run(_receipts, app_key, sorted(course_ids), before, limit)
    return sorted(found, reverse=True)[:limit]


def _receipts(connection: Connection, app_key: str, course_ids: Sequence[str], before: str, limit: int) -> list[Made]:
    rows = []
    for course_id in course_ids:
        rows += connection.execute(_RECEIPTS, (app_key, course_id, before, limit)).fetchall()
    return [Made(*row) for row in rows]


_RECEIPTS = """/* ledger_pages.receipts */
    select receipt_id, destination_id, made_at, document, signature
    from receipts
    where app_key = ? and destination_id = ? and receipt_id < ?
    order by receipt_id desc
    limit ?"""


async def receipt(db: Database, app_key: str, receipt_id: str) -> Made | None:
    """One receipt of an app."""
    row = await db.one(
        """/* ledger_pages.receipt */
        select receipt_id, destination_id, made_at, document, signature
        from receipts
        where app_key = ? and receipt_id = ?""",
        (app_key, receipt_id),
    )
    return Made(*row) if row else None


async def done(db: Database, intent_ids: Sequence[str]) -> set[str]:
    """Which of these intents the exporter has carried out."""
    return await db.run(_done, intent_ids)


def _done(connection: Connection, intent_ids: Sequence[str]) -> set[str]:
    sql = "/* ledger_pages.done */ select 1 from intents_done where intent_id = ?"
    return {each for each in intent_ids if connection.execute(sql, (each,)).fetchone() is not None}


async def runs(db: Database, run_ids: Iterable[str]) -> dict[str, tuple[int, int | None]]:
    """When each of these runs began and ended, epoch milliseconds; those that are forgotten are left out."""
    return await db.run(_runs, sorted(set(run_ids)))


def _runs(connection: Connection, run_ids: Sequence[str]) -> dict[str, tuple[int, int | None]]:
    sql = "/* ledger_pages.runs */ select began_at, ended_at from runs where run_id = ?"
    found = {}
    for run_id in run_ids:
        row = connection.execute(sql, (run_id,)).fetchone()
        if row is not None:
            found[run_id] = (row[0], row[1])
    return found
