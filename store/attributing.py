"""What the exporter writes of attribution as it follows the log: cursors with their leases, and rows of every kind.

Rows and a cursor's move are one transaction. All of it is on a connection's own thread; what is decided is decided by
whoever calls (exporter/attributing.py), and comes here as rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from store.database import Connection, Database, Engine
from store.event import COLUMNS, Event, event_of
from store.ledger import LeaseLost

TOGETHER = 50  # values that one statement looks for
STRETCH = 200_000  # seqs that one statement looks through
MOST_TOUCHES = 200  # of one identity, the newest
MOST_MONEY = 4_000_000_000_000_000_000  # minor units, of any sum


class Cursor(NamedTuple):
    """How far an app's events are read; `ordinal` is the last that a decision got."""

    app_key: str
    seq: int
    newest_seq: int
    due_at: int
    ordinal: int


_CURSOR = ", ".join(Cursor._fields)


# --- which apps, and whose turn


async def notice(db: Database, heads: Mapping[str, int], looked: int) -> None:
    """Note the newest seq of apps, beginning the cursors of new ones, and how far was looked."""
    await db.atomic(_notice, heads, looked)


def _notice(connection: Connection, heads: Mapping[str, int], looked: int) -> None:
    connection.executemany(_NEWEST, sorted(heads.items()))
    connection.execute(_SEE, (str(looked),))


_NEWEST = """/* attributing.newest */
    insert into attribution_cursors (app_key, seq, newest_seq)
    values (?, 0, ?)
    on conflict (app_key) do update
    set newest_seq = case
      when excluded.newest_seq > attribution_cursors.newest_seq then excluded.newest_seq
      else attribution_cursors.newest_seq
    end"""

_SEE = """/* attributing.see */
    insert into seen (name, value)
    values ('attribution', ?)
    on conflict (name) do update
    set value = excluded.value"""


async def looked(db: Database) -> int:
    """How far the runs have looked for new events; 0 before the first."""
    found = await db.value("/* attributing.looked */ select value from seen where name = 'attribution'")
    return int(found or 0)


async def waiting(db: Database, now: int) -> list[Cursor]:
    """The cursors behind, and those where time has made something necessary."""
    rows = await db.all(
        f"""/* attributing.waiting */
        select {_CURSOR}
        from attribution_cursors
        where newest_seq > seq or (due_at > 0 and due_at <= ?)
        order by app_key""",  # noqa: S608 - our own column names
        (now,),
    )
    return [Cursor(*row) for row in rows]


async def lease(db: Database, app_key: str, owner: str, now: int, until: int) -> Cursor | None:
    """Take or renew the right to work on a cursor, which is given as it is now; None when another run has it."""
    return await db.claim(_lease, app_key, owner, now, until)


def _lease(connection: Connection, app_key: str, owner: str, now: int, until: int) -> Cursor | None:
    if connection.execute(_LEASE, (owner, until, app_key, owner, now)).rowcount != 1:
        return None
    return Cursor(*connection.execute(_ONE, (app_key,)).fetchone())


_LEASE = """/* attributing.lease */
    update attribution_cursors
    set lease_owner = ?, lease_until = ?
    where app_key = ? and (lease_owner in ('', ?) or lease_until < ?)"""

_ONE = f"/* attributing.cursor */ select {_CURSOR} from attribution_cursors where app_key = ?"  # noqa: S608 - our own


async def release(db: Database, app_key: str, owner: str) -> None:
    await db.change(_RELEASE, (app_key, owner))


_RELEASE = """/* attributing.release */
    update attribution_cursors
    set lease_owner = '', lease_until = 0
    where app_key = ? and lease_owner = ?"""


async def take_back(db: Database) -> None:
    """Where the caller holds the ledger alone, whoever has a lease is dead."""
    if not db.shared:
        await db.change(
            """/* attributing.take_back */
            update attribution_cursors
            set lease_owner = '', lease_until = 0
            where lease_owner <> ''"""
        )


def move(connection: Connection, cursor: Cursor, owner: str, seq: int) -> None:
    """Only from where the cursor was seen, and only by the run that holds the lease. Raises LeaseLost."""
    if connection.execute(_MOVE, (seq, cursor.app_key, cursor.seq, cursor.ordinal, owner)).rowcount != 1:
        raise LeaseLost(f"another run attributes the installs of {cursor.app_key}")


_MOVE = """/* attributing.move */
    update attribution_cursors
    set seq = ?
    where app_key = ? and seq = ? and ordinal = ? and lease_owner = ?"""


def count_up(connection: Connection, app_key: str, ordinal: int) -> None:
    """Note the last ordinal that a decision got."""
    connection.execute(
        "/* attributing.count_up */ update attribution_cursors set ordinal = ? where app_key = ?", (ordinal, app_key)
    )


def be_due(connection: Connection, app_key: str, keep: int) -> None:
    """Note when something closes, or a touchpoint is older than `keep` milliseconds."""
    closes = connection.execute(_NEXT_CLOSING, (app_key,)).fetchone()[0]
    row = connection.execute(_OLDEST_TOUCH, (app_key,)).fetchone()
    dues = [each for each in (closes, row[0] + keep if row else None) if each is not None]
    connection.execute(_BE_DUE, (min(dues, default=-1) + 1, app_key))


_NEXT_CLOSING = """/* attributing.next_closing */
    select min(open_until)
    from conversions
    where app_key = ? and open = 1"""

_OLDEST_TOUCH = """/* attributing.oldest_touch */
    select received_at
    from touchpoints
    where app_key = ?
    order by seq
    limit 1"""

_BE_DUE = "/* attributing.be_due */ update attribution_cursors set due_at = ? where app_key = ?"


# --- the log


class Stretch(NamedTuple):
    """Events that may tell something, in order, and the seq up to which there are no others."""

    events: list[Event]
    up_to: int


async def next_events(db: Database, app_key: str, after: int, up_to: int, limit: int) -> Stretch:
    """Past a seq, none past `up_to`: installs, what a partner's systems sent, and visits of the listing that have to do
    with a campaign. `db` is the log."""
    last = min(up_to, after + STRETCH)
    rows = await db.all(_NEXT[db.engine], (app_key, after, last, limit))
    events = [event_of(row) for row in rows]
    return Stretch(events, events[-1].seq if len(events) == limit else last)


async def events_at(db: Database, app_key: str, seqs: Iterable[int]) -> list[Event]:
    """Some events of an app, as far as they are there. `db` is the log."""
    return await db.run(_events_at, app_key, sorted(seqs))


def _events_at(connection: Connection, app_key: str, seqs: Sequence[int]) -> list[Event]:
    found = {}
    for values in _in_lots(seqs):
        found.update({row[0]: event_of(row) for row in connection.execute(_EVENTS_AT, (app_key, *values))})
    return [found[seq] for seq in sorted(found)]


_MARKS = ", ".join("?" * TOGETHER)

_EVENTS_AT = f"""/* attributing.events_at */
    select {COLUMNS}
    from events
    where app_key = ? and seq in ({_MARKS})"""  # noqa: S608 - our own column names, and question marks


# What a visit with a campaign has in its address, in whichever case: UTM parameters, or a click id, whose name ends so.
_IS_MARKED = "details like '%utm_%' or details like '%id\":\"%'"

_NEXT_OF_SQLITE = f"""/* attributing.next */
    select {COLUMNS}
    from events
    where app_key = ? and seq > ? and seq <= ? and suppressed is null
      and (
        source = 'partner'
        or (source = 'server' and name = 'install')
        or (source = 'browser' and (
          (name = 'page_view' and partner_anonymous_id is not null)
          or {_IS_MARKED}
        ))
      )
    order by seq
    limit ?"""  # noqa: S608 - our own column names

_NEXT: dict[Engine, str] = {
    "sqlite": _NEXT_OF_SQLITE,
    "postgresql": _NEXT_OF_SQLITE.replace(_IS_MARKED, _IS_MARKED.replace(" like ", " ilike ")),
}


# --- touchpoints


class Touch(NamedTuple):
    """A row of the table but for its app."""

    seq: int
    part: int
    partner_key: str
    message_id: bytes
    received_at: int
    touched_at: int
    timed: int
    way: str
    origin: str
    campaign: str
    identities: str


def keep_touches(connection: Connection, app_key: str, rows: Iterable[tuple[Touch, Collection[bytes]]]) -> None:
    """Touchpoints with whose they are, the hashes of their identities."""
    kept = list(rows)
    connection.executemany(_TOUCH, [(app_key, *touch) for touch, _ in kept])
    marks = [(app_key, mark, t.touched_at, t.seq, t.part) for t, marks in kept for mark in marks]
    connection.executemany(_TOUCH_IDENTITY, sorted(marks))


_TOUCH = """/* attributing.touch */
    insert into touchpoints (app_key, seq, part, partner_key, message_id, received_at, touched_at, timed, way, origin,
      campaign, identities)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_TOUCH_IDENTITY = """/* attributing.touch_identity */
    insert into touchpoint_identities (app_key, identity, touched_at, seq, part)
    values (?, ?, ?, ?, ?)
    on conflict do nothing"""


def touches(
    connection: Connection, app_key: str, marks: Iterable[bytes], since: int, until: int, received_until: int
) -> list[Touch]:
    """Those of any of some identities, from `since` to `until`: of each identity the newest MOST_TOUCHES."""
    found = {}
    for mark in sorted(marks):
        for row in connection.execute(_TOUCHES, (app_key, mark, since, until, received_until, MOST_TOUCHES)):
            found[row[0], row[1]] = Touch(*row)
    return list(found.values())


_TOUCHES = f"""/* attributing.touches */
    select {", ".join(f"touchpoints.{name}" for name in Touch._fields)}
    from touchpoint_identities
    join touchpoints
      on touchpoints.app_key = touchpoint_identities.app_key and touchpoints.seq = touchpoint_identities.seq
        and touchpoints.part = touchpoint_identities.part
    where touchpoint_identities.app_key = ? and identity = ? and touchpoint_identities.touched_at >= ?
      and touchpoint_identities.touched_at <= ? and received_at <= ?
    order by touchpoint_identities.touched_at desc, touchpoint_identities.seq desc
    limit ?"""  # noqa: S608 - our own column names


def oldest_touches(connection: Connection, app_key: str, before: int, limit: int) -> list[tuple[Any, ...]]:
    """(seq, part, touched_at, identities) of the oldest that were received before a moment."""
    rows = connection.execute(_OLDEST, (app_key, limit)).fetchall()
    return [row[:4] for row in rows if row[4] < before]


_OLDEST = """/* attributing.oldest */
    select seq, part, touched_at, identities, received_at
    from touchpoints
    where app_key = ?
    order by seq, part
    limit ?"""


def forget_touches(
    connection: Connection, app_key: str, gone: Iterable[tuple[int, int, int, Collection[bytes]]]
) -> None:
    """Touchpoints by seq, part, when they were, and their identities' hashes."""
    rows = list(gone)
    marks = [(app_key, mark, at, seq, part) for seq, part, at, marks in rows for mark in marks]
    connection.executemany(_FORGET_IDENTITY, sorted(marks))
    connection.executemany(_FORGET, [(app_key, seq, part) for seq, part, _, _ in rows])


_FORGET_IDENTITY = """/* attributing.forget_identity */
    delete from touchpoint_identities
    where app_key = ? and identity = ? and touched_at = ? and seq = ? and part = ?"""

_FORGET = "/* attributing.forget */ delete from touchpoints where app_key = ? and seq = ? and part = ?"


# --- installs


class Stored(NamedTuple):
    """A row of conversions but for its app."""

    seq: int
    partner_key: str
    message_id: bytes
    told_by: str
    converted_at: int
    received_at: int
    open_until: int
    open: int
    identities: str
    version: int
    outcome: str
    reason: str
    campaign_key: str
    decided_at: int


_STORED = ", ".join(Stored._fields)


def installs(connection: Connection, app_key: str, seqs: Iterable[int]) -> list[Stored]:
    """Some of an app's, by their seqs."""
    found = []
    for values in _in_lots(sorted(seqs)):
        found += [Stored(*row) for row in connection.execute(_INSTALLS, (app_key, *values))]
    return found


_INSTALLS = f"""/* attributing.installs */
    select {_STORED}
    from conversions
    where app_key = ? and seq in ({_MARKS})"""  # noqa: S608 - our own column names, and question marks


def installs_of(connection: Connection, app_key: str, mark: bytes, limit: int) -> list[int]:
    """The seqs of the first installs of an identity."""
    return [seq for (seq,) in connection.execute(_OF_IDENTITY, (app_key, mark, limit))]


_OF_IDENTITY = """/* attributing.of_identity */
    select seq
    from conversion_identities
    where app_key = ? and identity = ?
    order by seq
    limit ?"""


def open_of(connection: Connection, app_key: str, marks: Iterable[bytes], since: int) -> list[tuple[bytes, int, int]]:
    """(identity, seq, open until) of the installs of these identities that evidence of then may change."""
    found = []
    for values in _in_lots(sorted(marks)):
        found += connection.execute(_OPEN_OF, (app_key, since, *values)).fetchall()
    return found


# By their identities: `+ 0` keeps an engine from going through all that are open instead.
_OPEN_OF = f"""/* attributing.open_of */
    select identity, conversions.seq, open_until
    from conversion_identities
    join conversions
      on conversions.app_key = conversion_identities.app_key and conversions.seq = conversion_identities.seq
    where conversion_identities.app_key = ? and open + 0 = 1 and open_until >= ? and identity in ({_MARKS})"""  # noqa: S608 - as above


def _in_lots(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """TOGETHER at a time, the last repeated."""
    for at in range(0, len(values), TOGETHER):
        some = values[at : at + TOGETHER]
        yield [*some, *[some[-1]] * (TOGETHER - len(some))]


def closing(connection: Connection, app_key: str, before: int, limit: int) -> list[Stored]:
    """The next open installs that nothing received from then on can change."""
    return [Stored(*row) for row in connection.execute(_CLOSING, (app_key, before, limit))]


_CLOSING = f"""/* attributing.closing */
    select {_STORED}
    from conversions
    where app_key = ? and open = 1 and open_until < ?
    order by open_until
    limit ?"""  # noqa: S608 - our own column names


def keep_installs(connection: Connection, app_key: str, rows: Iterable[Stored]) -> None:
    """New ones, and those that were decided anew."""
    connection.executemany(_INSTALL, [(app_key, *row) for row in rows])


_INSTALL = f"""/* attributing.install */
    insert into conversions (app_key, {_STORED})
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, seq) do update
    set open = excluded.open, identities = excluded.identities, version = excluded.version, outcome = excluded.outcome,
        reason = excluded.reason, campaign_key = excluded.campaign_key, decided_at = excluded.decided_at"""  # noqa: S608 - as above


def keep_identities(connection: Connection, app_key: str, rows: Iterable[tuple[bytes, int]]) -> None:
    """Pairs of an identity's hash and an install's seq."""
    connection.executemany(_INSTALL_IDENTITY, sorted((app_key, *row) for row in rows))


_INSTALL_IDENTITY = """/* attributing.install_identity */
    insert into conversion_identities (app_key, identity, seq)
    values (?, ?, ?)
    on conflict do nothing"""


# --- decisions


class Decided(NamedTuple):
    """A row of decisions but for its app."""

    ordinal: int
    seq: int
    version: int
    decided_at: int
    cause: str
    cause_seq: int
    document: str


def keep_decisions(connection: Connection, app_key: str, rows: Iterable[Decided]) -> None:
    connection.executemany(_DECISION, [(app_key, *row) for row in rows])


_DECISION = """/* attributing.decision */
    insert into decisions (app_key, ordinal, seq, version, decided_at, cause, cause_seq, document)
    values (?, ?, ?, ?, ?, ?, ?, ?)"""


def document(connection: Connection, app_key: str, seq: int, version: int) -> str:
    """What was decided of an install in this version."""
    row = connection.execute(_DOCUMENT, (app_key, seq, version)).fetchone()
    text: str = row[0]
    return text


_DOCUMENT = """/* attributing.document */
    select document
    from decisions
    where app_key = ? and seq = ? and version = ?"""


# --- sums


class Sums(NamedTuple):
    """What a transaction adds to the sums: counts by (partner, day, outcome), credit by (partner, model, day,
    campaign), and money by (partner, model, day, campaign, currency)."""

    days: Counter[tuple[str, int, str]]
    credit: Counter[tuple[str, str, int, str]]
    money: Counter[tuple[str, str, int, str, str]]


def add(connection: Connection, app_key: str, sums: Sums) -> None:
    connection.executemany(_ADD_DAY, [(app_key, *key, n) for key, n in sorted(sums.days.items()) if n])
    connection.executemany(_ADD_CREDIT, [(app_key, *key, n) for key, n in sorted(sums.credit.items()) if n])
    money = [(app_key, *key, _kept_amount(n)) for key, n in sorted(sums.money.items()) if n]
    connection.executemany(_ADD_MONEY, money)


def _kept_amount(amount: int) -> int:
    """No amount is further from nothing than MOST_MONEY, so that two of them add up within 64 bits on any engine."""
    return max(-MOST_MONEY, min(amount, MOST_MONEY))


_ADD_DAY = """/* attributing.add_day */
    insert into attribution_days (app_key, partner_key, day, outcome, n)
    values (?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, day, outcome) do update
    set n = attribution_days.n + excluded.n"""

_ADD_CREDIT = """/* attributing.add_credit */
    insert into attribution_sums (app_key, partner_key, model, day, campaign_key, credit)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, model, day, campaign_key) do update
    set credit = attribution_sums.credit + excluded.credit"""

_ADD_MONEY = f"""/* attributing.add_money */
    insert into attribution_revenue (app_key, partner_key, model, day, campaign_key, currency, amount)
    values (?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, model, day, campaign_key, currency) do update
    set amount = case
      when attribution_revenue.amount + excluded.amount > {MOST_MONEY} then {MOST_MONEY}
      when attribution_revenue.amount + excluded.amount < -{MOST_MONEY} then -{MOST_MONEY}
      else attribution_revenue.amount + excluded.amount
    end"""  # noqa: S608 - our own number


class Revenue(NamedTuple):
    """What was earned after an install on one day, in minor units, by so many events."""

    seq: int
    day: int
    currency: str
    amount: int
    n: int


def revenue(connection: Connection, app_key: str, seq: int) -> list[Revenue]:
    return [Revenue(*row) for row in connection.execute(_REVENUE, (app_key, seq))]


_REVENUE = """/* attributing.revenue */
    select seq, day, currency, amount, n
    from conversion_revenue
    where app_key = ? and seq = ?"""


def keep_revenue(connection: Connection, app_key: str, rows: Iterable[Revenue]) -> None:
    """Whole sums, in place of those that are there."""
    whole = [row._replace(amount=_kept_amount(row.amount)) for row in rows]
    connection.executemany(_KEEP_REVENUE, [(app_key, *row) for row in whole])


_KEEP_REVENUE = """/* attributing.keep_revenue */
    insert into conversion_revenue (app_key, seq, day, currency, amount, n)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, seq, day, currency) do update
    set amount = excluded.amount, n = excluded.n"""


def park(connection: Connection, app_key: str, rows: Iterable[tuple[int, str]], now: int) -> None:
    """Events by seq, with why they could not be read."""
    connection.executemany(_PARK, [(app_key, *row, now) for row in rows])


_PARK = """/* attributing.park */
    insert into attribution_parked (app_key, seq, reason, parked_at)
    values (?, ?, ?, ?)
    on conflict do nothing"""
