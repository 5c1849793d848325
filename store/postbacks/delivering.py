"""The ledger's side of postbacks: what each target is owed, its attempts, and how it fares. People page through it by
reading.py, and what they ask is in intents.py.

As with batches, an attempt is on record before it is sent, and its answer, the postback's state and the target's health
are written together. A crash in between sends the same postback again under the same id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import msgspec

from store.database import Connection, Database
from store.ledger import LeaseLost

State = Literal["pending", "accepted", "given_up", "unasked"]
Outcome = Literal["accepted", "refused", "deferred", "ambiguous"]
Keys = tuple[str, str]  # an app and a target of its


class Health(msgspec.Struct, frozen=True):
    """How a target fares, and the newest decision that was looked at for it."""

    seen: int = 0
    not_before: int = 0
    failures: int = 0
    failing_since: int = 0
    disabled_at: int = 0
    disabled_why: str = ""


class Postback(NamedTuple):
    """What one target is owed of the conversion with that seq; times are epoch milliseconds."""

    seq: int
    version: int
    state: State
    reason: str
    converted_at: int
    due_at: int
    attempts: int
    told: str


class Opened(NamedTuple):
    """An attempt that begins: what is written before the wire."""

    attempt_id: str
    seq: int
    version: int
    run_id: str
    message_id: str
    attempt: int
    opened_at: int


class Closed(NamedTuple):
    """How it ended. `detail` is an excerpt without secrets."""

    outcome: Outcome
    status: int | None
    detail: str
    latency_ms: int | None
    closed_at: int


_HEALTH = ", ".join(Health.__struct_fields__)
POSTBACK = ", ".join(Postback._fields)  # its columns


async def health(db: Database, app_key: str | None = None) -> dict[Keys, Health]:
    """How every target fares, or those of one app."""
    rows = await db.all(
        f"""/* postback_ledger.health */
        select app_key, target_id, {_HEALTH}
        from postback_health
        where cast(? as text) is null or app_key = ?""",  # noqa: S608 - our own column names
        (app_key, app_key),
    )
    return {(app, target): Health(*rest) for app, target, *rest in rows}


async def disabled(db: Database) -> dict[Keys, Health]:
    """The targets that are sent to no more."""
    rows = await db.all(
        f"""/* postback_ledger.disabled */
        select app_key, target_id, {_HEALTH}
        from postback_health
        where disabled_at > 0"""  # noqa: S608 - our own column names
    )
    return {(app, target): Health(*rest) for app, target, *rest in rows}


async def begin(db: Database, keys: Iterable[Keys]) -> None:
    """Begin the books of each target that has none."""
    await db.atomic(_begin, sorted(keys))


def _begin(connection: Connection, rows: Sequence[Keys]) -> None:
    connection.executemany(_BEGIN, rows)


_BEGIN = """/* postback_ledger.begin */
    insert into postback_health (app_key, target_id)
    values (?, ?)
    on conflict do nothing"""


async def take_back(db: Database) -> None:
    """Where the ledger is held alone, whoever has a lease is dead."""
    await db.change(
        "/* postback_ledger.take_back */"
        " update postback_health set lease_owner = '', lease_until = 0 where lease_owner <> ''"
    )


async def lease(db: Database, keys: Keys, owner: str, now: int, until: int) -> Health | None:
    """Take or renew the right to tell a target; None when another run has it. What a dead run left open there is marked
    as ambiguous."""
    return await db.claim(_lease, keys, owner, now, until)


def _lease(connection: Connection, keys: Keys, owner: str, now: int, until: int) -> Health | None:
    if connection.execute(_RENEW, (until, *keys, owner)).rowcount != 1:
        if connection.execute(_LEASE, (owner, until, *keys, now)).rowcount != 1:
            return None
        connection.execute(_RECOVER, (now, *keys, owner))
    return Health(*connection.execute(_FARES, keys).fetchone())


# A run that has it already left nothing of another's open, and does not look again before every attempt.
_RENEW = """/* postback_ledger.renew */
    update postback_health
    set lease_until = ?
    where app_key = ? and target_id = ? and lease_owner = ?"""

# The condition stands in the statement that changes the row: two that ask at once cannot both have it.
_LEASE = """/* postback_ledger.lease */
    update postback_health
    set lease_owner = ?, lease_until = ?
    where app_key = ? and target_id = ? and (lease_owner = '' or lease_until < ?)"""

_RECOVER = """/* postback_ledger.recover */
    update postback_attempts
    set outcome = 'ambiguous', detail = 'the exporter ended before the answer was recorded', closed_at = ?
    where app_key = ? and target_id = ? and outcome = 'open' and run_id <> ?"""

_FARES = f"""/* postback_ledger.fares */
    select {_HEALTH}
    from postback_health
    where app_key = ? and target_id = ?"""  # noqa: S608 - our own column names


async def release(db: Database, owner: str, keys: Keys) -> None:
    """Give back a lease, if it is still this run's."""
    await db.claim(_release, owner, keys)


def _release(connection: Connection, owner: str, keys: Keys) -> None:
    connection.execute(_RELEASE, (owner, *keys))


_RELEASE = """/* postback_ledger.release */
    update postback_health
    set lease_owner = '', lease_until = 0
    where lease_owner = ? and app_key = ? and target_id = ?"""


async def some(db: Database, keys: Keys, seqs: Sequence[int]) -> dict[int, Postback]:
    """What is on record of some conversions, by their seqs."""
    return await db.run(_some, keys, seqs)


def _some(connection: Connection, keys: Keys, seqs: Sequence[int]) -> dict[int, Postback]:
    found = {}
    for each in seqs:
        row = connection.execute(_ONE, (*keys, each)).fetchone()
        if row is not None:
            found[each] = Postback(*row)
    return found


_ONE = f"""/* postback_ledger.one */
    select {POSTBACK}
    from postbacks
    where app_key = ? and target_id = ? and seq = ?"""  # noqa: S608 - our own column names


async def record(db: Database, keys: Keys, owner: str, rows: Sequence[Postback], seen: int, now: int) -> None:
    """Note what a target is owed of decisions up to `seen`: together, or not at all. Raises LeaseLost."""
    await db.atomic(_record, keys, owner, rows, seen, now)


def _record(connection: Connection, keys: Keys, owner: str, rows: Sequence[Postback], seen: int, now: int) -> None:
    if connection.execute(_SEEN, (seen, *keys, owner, seen)).rowcount != 1:
        raise LeaseLost(f"another run has the target {keys[1]}")
    connection.executemany(_RECORD, [(*keys, *row, now) for row in rows])


_SEEN = """/* postback_ledger.see */
    update postback_health
    set seen = ?
    where app_key = ? and target_id = ? and lease_owner = ? and seen <= ?"""

_RECORD = f"""/* postback_ledger.record */
    insert into postbacks (app_key, target_id, {POSTBACK}, changed_at)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, target_id, seq) do update
    set version = excluded.version, state = excluded.state, reason = excluded.reason,
        converted_at = excluded.converted_at, due_at = excluded.due_at, attempts = excluded.attempts,
        told = excluded.told, changed_at = excluded.changed_at"""  # noqa: S608 - our own column names


async def due(db: Database, keys: Keys, now: int, limit: int) -> list[Postback]:
    """What may be sent now, the oldest first."""
    rows = await db.all(
        f"""/* postback_ledger.due */
        select {POSTBACK}
        from postbacks
        where app_key = ? and target_id = ? and state = 'pending' and due_at <= ?
        order by due_at, seq
        limit ?""",  # noqa: S608 - our own column names
        (*keys, now, limit),
    )
    return [Postback(*row) for row in rows]


async def pending(db: Database) -> set[Keys]:
    """The targets that are owed something."""
    rows = await db.all(
        "/* postback_ledger.pending */ select distinct app_key, target_id from postbacks where state = 'pending'"
    )
    return {(app_key, target_id) for app_key, target_id in rows}


async def open_attempt(db: Database, keys: Keys, owner: str, attempt: Opened) -> None:
    """Record an attempt before it reaches the wire. Raises LeaseLost."""
    await db.atomic(_open, keys, owner, attempt)


def _open(connection: Connection, keys: Keys, owner: str, a: Opened) -> None:
    _check_lease(connection, keys, owner)
    connection.execute(_TRY, (a.attempt, *keys, a.seq))
    connection.execute(_OPEN, (keys[0], a.attempt_id, keys[1], *a[1:]))


def _check_lease(connection: Connection, keys: Keys, owner: str) -> None:
    """Hold the row, so that nobody takes the lease before this transaction ends."""
    if connection.execute(_HELD, (*keys, owner)).rowcount != 1:
        raise LeaseLost(f"another run has the target {keys[1]}")


_HELD = """/* postback_ledger.held */
    update postback_health
    set lease_owner = lease_owner
    where app_key = ? and target_id = ? and lease_owner = ?"""

_TRY = """/* postback_ledger.try */
    update postbacks
    set attempts = ?
    where app_key = ? and target_id = ? and seq = ?"""

_OPEN = """/* postback_ledger.open */
    insert into postback_attempts (app_key, attempt_id, target_id, seq, version, run_id, message_id, attempt,
      opened_at, outcome)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')"""


async def close_attempt(
    db: Database, keys: Keys, owner: str, attempt_id: str, closed: Closed, after: Postback, fares: Health
) -> None:
    """Record how an attempt ended, what its postback is now, and how the target fares: together, or not at all. Raises
    LeaseLost."""
    await db.atomic(_close, keys, owner, attempt_id, closed, after, fares)


def _close(
    connection: Connection, keys: Keys, owner: str, attempt_id: str, closed: Closed, after: Postback, fares: Health
) -> None:
    f = fares
    standing = (f.not_before, f.failures, f.failing_since, f.disabled_at, f.disabled_why)
    if connection.execute(_FARE, (*standing, *keys, owner)).rowcount != 1:
        raise LeaseLost(f"another run has the target {keys[1]}")
    connection.execute(_CLOSE, (*closed, keys[0], attempt_id))
    told = (after.state, after.reason, after.due_at, closed.closed_at)
    connection.execute(_BECOME, (*told, *keys, after.seq, after.version))


_FARE = """/* postback_ledger.fare */
    update postback_health
    set not_before = ?, failures = ?, failing_since = ?, disabled_at = ?, disabled_why = ?
    where app_key = ? and target_id = ? and lease_owner = ?"""

_CLOSE = """/* postback_ledger.close */
    update postback_attempts
    set outcome = ?, status = ?, detail = ?, latency_ms = ?, closed_at = ?
    where app_key = ? and attempt_id = ? and outcome = 'open'"""

_BECOME = """/* postback_ledger.become */
    update postbacks
    set state = ?, reason = ?, due_at = ?, changed_at = ?
    where app_key = ? and target_id = ? and seq = ? and version = ?"""


async def settle(db: Database, keys: Keys, owner: str, after: Postback, now: int) -> None:
    """Record what a postback is now that was not sent. Raises LeaseLost."""
    await db.atomic(_settle, keys, owner, after, now)


def _settle(connection: Connection, keys: Keys, owner: str, after: Postback, now: int) -> None:
    _check_lease(connection, keys, owner)
    told = (after.state, after.reason, after.due_at, now)
    connection.execute(_BECOME, (*told, *keys, after.seq, after.version))


async def give_up_all(db: Database, keys: Keys, owner: str, reason: str, now: int) -> int:
    """Give up whatever a target is still owed; how much it was. Raises LeaseLost."""
    return await db.atomic(_give_up_all, keys, owner, reason, now)


def _give_up_all(connection: Connection, keys: Keys, owner: str, reason: str, now: int) -> int:
    _check_lease(connection, keys, owner)
    return connection.execute(_GIVE_UP_ALL, (reason, now, *keys)).rowcount


_GIVE_UP_ALL = """/* postback_ledger.give_up_all */
    update postbacks
    set state = 'given_up', reason = ?, changed_at = ?
    where app_key = ? and target_id = ? and state = 'pending'"""


async def forget_attempts(db: Database, before: int) -> int:
    """Remove attempts that ended before that moment, epoch milliseconds; what became of each conversion stays."""
    return await db.change("/* postback_ledger.forget */ delete from postback_attempts where closed_at < ?", (before,))
