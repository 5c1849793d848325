"""What people ask of postbacks: to try one again, to give one up, to enable a target.

The registry holds what is asked; a run carries it out in the ledger, once each, and remembers that it did.
"""

from __future__ import annotations

from collections.abc import Sequence

from store.database import Connection, Database
from store.postbacks.delivering import Keys


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
