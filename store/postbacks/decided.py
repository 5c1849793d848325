"""What was decided of an app's installs, in attribution's own tables, as postbacks need it: in order, and how much of
it nobody has been told yet."""

from __future__ import annotations

from typing import NamedTuple

from store.database import Database


class Decided(NamedTuple):
    """A decision with its conversion; `document` is JSON, as attribution keeps it."""

    ordinal: int
    seq: int
    version: int
    decided_at: int
    document: str
    message_id: bytes
    converted_at: int
    received_at: int


_DECIDED = """decisions.ordinal, decisions.seq, decisions.version, decisions.decided_at, decisions.document,
      conversions.message_id, conversions.converted_at, conversions.received_at"""


async def past(db: Database, app_key: str, after: int, limit: int) -> list[Decided]:
    """An app's decisions past an ordinal, in order."""
    rows = await db.all(
        f"""/* postback_ledger.decided */
        select {_DECIDED}
        from decisions
        join conversions on conversions.app_key = decisions.app_key and conversions.seq = decisions.seq
        where decisions.app_key = ? and decisions.ordinal > ?
        order by decisions.ordinal
        limit ?""",  # noqa: S608 - our own column names
        (app_key, after, limit),
    )
    return [Decided(*row) for row in rows]


async def one(db: Database, app_key: str, seq: int, version: int) -> Decided | None:
    """One version of what was decided of a conversion."""
    row = await db.one(
        f"""/* postback_ledger.decision */
        select {_DECIDED}
        from decisions
        join conversions on conversions.app_key = decisions.app_key and conversions.seq = decisions.seq
        where decisions.app_key = ? and decisions.seq = ? and decisions.version = ?""",  # noqa: S608 - as above
        (app_key, seq, version),
    )
    return Decided(*row) if row else None


async def ordinals(db: Database) -> dict[str, int]:
    """The newest decision of every app."""
    return dict(await db.all("/* postback_ledger.ordinals */ select app_key, ordinal from attribution_cursors"))


async def owed(db: Database, app_key: str, since: int, up_to: int) -> int:
    """How many conversions that came in since then were first decided up to an ordinal."""
    n: int = await db.value(_FIRST_DECIDED + " and decisions.ordinal <= ?", (app_key, since, up_to))
    return n


async def unseen(db: Database, app_key: str, since: int, after: int) -> int:
    """How many of them were first decided past an ordinal."""
    n: int = await db.value(_FIRST_DECIDED + " and decisions.ordinal > ?", (app_key, since, after))
    return n


_FIRST_DECIDED = """/* postback_ledger.first_decided */
    select count(*)
    from decisions
    join conversions on conversions.app_key = decisions.app_key and conversions.seq = decisions.seq
    where decisions.app_key = ? and conversions.received_at >= ? and decisions.version = 1"""
