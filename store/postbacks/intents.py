"""What people ask of postbacks: to try one again, to give one up, to enable a target.

The registry holds what is asked; a run carries it out in the ledger, once each, and remembers that it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from store import ids, registry
from store.database import Connection, Database
from store.postbacks.delivering import Keys

Action = Literal["retry", "give_up", "enable"]


class Intent(msgspec.Struct, frozen=True):
    """Something asked of the exporter about one postback; seq is of its conversion, or 0 for the target as a whole."""

    intent_id: str
    app_key: str
    target_id: str
    seq: int
    action: Action


# --- in the registry


async def ask(
    db: Database, now: int, app_key: str, target_id: str, action: Action, seqs: Sequence[int], actor: str
) -> None:
    """Ask the exporter to retry or give up postbacks of one target, or with [0] to try a disabled target again."""
    async with db.transaction():
        await db.execute_many(
            """/* postbacks.ask */
            insert into postback_intents (intent_id, app_key, target_id, seq, action, created_at)
            values (?, ?, ?, ?, ?, ?)""",
            [(str(ids.uuid7(now)), app_key, target_id, each, action, now) for each in seqs],
        )
        await registry.audit(db, now, f"postback.{action.replace('_', '-')}", app_key, f"{len(seqs)}", actor)


async def asked(db: Database, app_key: str, limit: int = 1_000) -> list[Intent]:
    """The newest of what was asked for one app, the newest first; the ledger knows what was done."""
    rows = await db.all(
        """/* postbacks.asked */
        select intent_id, app_key, target_id, seq, action
        from postback_intents
        where app_key = ?
        order by intent_id desc
        limit ?""",
        (app_key, limit),
    )
    return [Intent(*row) for row in rows]


async def of_all(db: Database) -> list[Intent]:
    """Everything that was asked, in order."""
    rows = await db.all(
        """/* postbacks.intents */
        select intent_id, app_key, target_id, seq, action
        from postback_intents
        order by intent_id"""
    )
    return [Intent(*row) for row in rows]


# --- in the ledger


async def carry_out(db: Database, intents: Sequence[tuple[str, str, str, int, str]], now: int) -> list[str]:
    """Do what was asked and is not yet done: (id, app, target, seq, action) of each. What came of each."""
    return await db.atomic(_carry_out, intents, now)


def _carry_out(connection: Connection, intents: Sequence[tuple[str, str, str, int, str]], now: int) -> list[str]:
    done = {
        row[0] for row in connection.execute("/* postback_intents.done */ select intent_id from postback_intents_done")
    }
    told = []
    for intent_id, app_key, target_id, seq, action in intents:
        if intent_id in done or not connection.execute(_INTENT, (intent_id, now)).rowcount:
            continue  # done, or another run does it now
        outcome = _ACTIONS[action](connection, (app_key, target_id), seq, now)
        connection.execute(_INTENT_DONE, (outcome, intent_id))
        told.append(outcome)
    return told


_INTENT = """/* postback_intents.intent */
    insert into postback_intents_done (intent_id, done_at, outcome)
    values (?, ?, '')
    on conflict do nothing"""

_INTENT_DONE = "/* postback_intents.intent_done */ update postback_intents_done set outcome = ? where intent_id = ?"


def _retry(connection: Connection, keys: Keys, seq: int, now: int) -> str:
    """Try again what was given up, or waits, with as many attempts as in the beginning."""
    return "pending" if connection.execute(_RETRY, (now, now, *keys, seq)).rowcount else "nothing to do"


_RETRY = """/* postback_intents.retry */
    update postbacks
    set state = 'pending', reason = '', due_at = ?, attempts = 0, changed_at = ?
    where app_key = ? and target_id = ? and seq = ? and state in ('given_up', 'pending')"""


def _give_up(connection: Connection, keys: Keys, seq: int, now: int) -> str:
    return "given up" if connection.execute(_GIVE_UP, (now, *keys, seq)).rowcount else "nothing to do"


_GIVE_UP = """/* postback_intents.give_up */
    update postbacks
    set state = 'given_up', reason = 'person', changed_at = ?
    where app_key = ? and target_id = ? and seq = ? and state = 'pending'"""


def _enable(connection: Connection, keys: Keys, _seq: int, _now: int) -> str:
    return "enabled" if connection.execute(_ENABLE, keys).rowcount else "not begun"


_ENABLE = """/* postback_intents.enable */
    update postback_health
    set disabled_at = 0, disabled_why = '', not_before = 0, failures = 0, failing_since = 0
    where app_key = ? and target_id = ?"""

_ACTIONS = {"retry": _retry, "give_up": _give_up, "enable": _enable}


async def done(db: Database, intents: Sequence[str]) -> set[str]:
    """Which of these were carried out."""
    return await db.run(_done, intents)


def _done(connection: Connection, intents: Sequence[str]) -> set[str]:
    sql = "/* postback_intents.is_done */ select 1 from postback_intents_done where intent_id = ?"
    return {each for each in intents if connection.execute(sql, (each,)).fetchone()}
