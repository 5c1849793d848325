"""Parked events, which a cursor passed without sending them, and what people ask for: to release or to drop one, or to
try a paused course at once.

The registry holds what is asked; a run carries it out in the ledger, once each, and remembers that it did. A parked
event is told in the tallies for as long as it is here, and by what became of it afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from store import tallies
from store.database import Connection, Database
from store.tallies import Fate


class Parked(NamedTuple):
    """An event as it is set aside; `hour` is the epoch hour in which it was received."""

    seq: int
    message_id: str
    reason: str
    detail: str
    hour: int


def park(connection: Connection, keys: tuple[str, str], events: Sequence[Parked], now: int) -> None:
    """Within the transaction in which the cursor of `keys`, app and course, passes them."""
    connection.executemany(_PARK, [(*keys, *event, now) for event in events])


_PARK = """/* parked.park */
    insert into parked (app_key, destination_id, seq, message_id, reason, detail, hour, parked_at)
    values (?, ?, ?, ?, ?, ?, ?, ?)"""


class Held(NamedTuple):
    """A parked event as people see it; `released` is 1 when it goes out with the next run."""

    app_key: str
    destination_id: str
    seq: int
    message_id: str
    reason: str
    detail: str
    hour: int
    parked_at: int
    released: int


async def listed(db: Database, app_key: str | None = None, released: bool = False) -> list[Held]:
    """Parked events, in order; only those of one app, only those that were released."""
    rows = await db.all(
        f"""/* parked.listed */
        select {", ".join(Held._fields)}
        from parked
        where (cast(? as text) is null or app_key = ?) and released >= ?
        order by app_key, destination_id, seq""",  # noqa: S608 - our own column names
        (app_key, app_key, int(released)),
    )
    return [Held(*row) for row in rows]


def settle(connection: Connection, keys: tuple[str, str], seqs: Sequence[int], outcome: str, detail: str) -> None:
    """After an attempt with released events: accepted ones are parked no longer, refused ones are again."""
    for seq in seqs:
        if outcome == "accepted":
            fate = _unpark(connection, keys, seq)
            if fate is not None:
                tallies.count(connection, keys, Counter({Fate(fate.hour, "accepted"): 1}))
        elif outcome == "refused":
            connection.execute(_HOLD, (detail, *keys, seq))


def _unpark(connection: Connection, keys: tuple[str, str], seq: int) -> Fate | None:
    """Take a parked event back, and out of the tallies; the fate that it had."""
    sql = """/* parked.unpark */
        delete from parked
        where app_key = ? and destination_id = ? and seq = ?
        returning hour, reason"""
    row = connection.execute(sql, (*keys, seq)).fetchone()
    if row is None:
        return None
    fate = Fate(row[0], "parked", row[1])
    tallies.count(connection, keys, Counter({fate: -1}))
    return fate


async def hold(db: Database, keys: tuple[str, str], seqs: Sequence[int], why: str) -> None:
    """Keep released events parked after all."""
    await db.atomic(_hold, [(why, *keys, seq) for seq in seqs])


def _hold(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
    connection.executemany(_HOLD, rows)


_HOLD = """/* parked.hold */
    update parked
    set released = 0, detail = ?
    where app_key = ? and destination_id = ? and seq = ?"""


async def carry_out(db: Database, intents: Sequence[tuple[str, str, str, str, int]], now: int) -> list[str]:
    """Do what was asked and is not yet done: (id, app, course, action, seq) of each. What came of each of those."""
    return await db.atomic(_carry_out, intents, now)


def _carry_out(connection: Connection, intents: Sequence[tuple[str, str, str, str, int]], now: int) -> list[str]:
    done = {row[0] for row in connection.execute("/* parked.intents_done */ select intent_id from intents_done")}
    told = []
    for intent_id, app_key, course_id, action, seq in intents:
        if intent_id in done or not connection.execute(_INTENT, (intent_id, now)).rowcount:
            continue  # done, or another run does it now
        outcome = _ACTIONS[action](connection, (app_key, course_id), seq)
        connection.execute(
            "/* parked.intent_done */ update intents_done set outcome = ? where intent_id = ?", (outcome, intent_id)
        )
        told.append(outcome)
    return told


_INTENT = """/* parked.intent */
    insert into intents_done (intent_id, done_at, outcome)
    values (?, ?, '')
    on conflict do nothing"""


def _release(connection: Connection, keys: tuple[str, str], seq: int) -> str:
    sql = """/* parked.release */
        update parked
        set released = 1
        where app_key = ? and destination_id = ? and seq = ?"""
    return "released" if connection.execute(sql, (*keys, seq)).rowcount else "not parked"


def _drop(connection: Connection, keys: tuple[str, str], seq: int) -> str:
    fate = _unpark(connection, keys, seq)
    if fate is None:
        return "not parked"
    tallies.count(connection, keys, Counter({Fate(fate.hour, "suppressed", "dropped"): 1}))
    return "dropped"


def _resume(connection: Connection, keys: tuple[str, str], _seq: int) -> str:
    sql = "/* parked.resume */ update cursors set not_before = 0, trips = 0 where app_key = ? and destination_id = ?"
    return "resumed" if connection.execute(sql, keys).rowcount else "not begun"


_ACTIONS = {"release": _release, "drop": _drop, "resume": _resume}
