"""The ledger's side of postbacks as people look at it: one target's attempts and what it was owed, the newest first,
and its sums.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from store.database import Database
from store.postbacks import targets
from store.postbacks.delivering import POSTBACK, Health, Keys, Postback, health


class Attempt(msgspec.Struct, frozen=True):
    """One request to a target, and what came of it."""

    attempt_id: str
    target_id: str
    seq: int
    version: int
    run_id: str
    message_id: str
    attempt: int
    opened_at: int
    latency_ms: int | None
    outcome: str
    status: int | None
    detail: str


class Faring(NamedTuple):
    """How a target that is there fares: how many postbacks wait, and when the first of them is due."""

    app_key: str
    kind: str
    name: str
    pending: int
    due_at: int | None
    health: Health


async def faring(registry_db: Database, ledger_db: Database) -> list[Faring]:
    """Every target's, in the order of `targets.of_apps`."""
    rows = await ledger_db.all(
        """/* postback_pages.waiting */
        select app_key, target_id, count(*), min(due_at)
        from postbacks
        where state = 'pending'
        group by app_key, target_id"""
    )
    waiting = {(app_key, target_id): (n, due_at) for app_key, target_id, n, due_at in rows}
    fares = await health(ledger_db)
    return [
        Faring(t.app_key, t.kind, t.name, *waiting.get(t.keys, (0, None)), fares.get(t.keys, Health()))
        for t in await targets.of_apps(registry_db)
    ]


_ATTEMPT = ", ".join(Attempt.__struct_fields__)
LAST = "z"  # sorts after every id
NO_END = (1 << 53) - 1


async def attempts(
    db: Database, keys: Keys, outcome: str | None = None, before: str = LAST, limit: int = 50
) -> list[Attempt]:
    """One target's attempts older than the one whose id is `before`, the newest first."""
    rows = await db.all(
        f"""/* postback_pages.attempts */
        select {_ATTEMPT}
        from postback_attempts
        where app_key = ? and target_id = ? and attempt_id < ? and (cast(? as text) is null or outcome = ?)
        order by attempt_id desc
        limit ?""",  # noqa: S608 - our own column names
        (*keys, before, outcome, outcome, limit),
    )
    return [Attempt(*row) for row in rows]


async def page(
    db: Database, keys: Keys, state: str | None = None, before: tuple[int, int] = (NO_END, 0), limit: int = 50
) -> list[Postback]:
    """What one target was owed of conversions before a place, the newest first."""
    at, seq = before
    rows = await db.all(
        f"""/* postback_pages.page */
        select {POSTBACK}
        from postbacks
        where app_key = ? and target_id = ? and (converted_at < ? or converted_at = ? and seq < ?)
          and (cast(? as text) is null or state = ?)
        order by converted_at desc, seq desc
        limit ?""",  # noqa: S608 - our own column names
        (*keys, at, at, seq, state, state, limit),
    )
    return [Postback(*row) for row in rows]


async def sums(db: Database, keys: Keys) -> dict[tuple[str, str], int]:
    """How many conversions are in each state, by state and reason."""
    rows = await db.all(
        """/* postback_pages.sums */
        select state, reason, count(*)
        from postbacks
        where app_key = ? and target_id = ?
        group by state, reason""",
        keys,
    )
    return {(state, reason): n for state, reason, n in rows}
