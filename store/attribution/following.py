"""What the exporter writes of attribution as it follows the log: cursors with their leases, installs and decisions.

Rows and a cursor's move are one transaction, with those of touchpoints.py and sums.py. All of
it is on a connection's own thread; what is decided is decided by whoever calls (exporter/attributing.py), and comes
here as rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec

from store.attribution.reading import Made
from store.database import Connection, Database, Engine
from store.event import COLUMNS, Event, event_of
from store.ledger import LeaseLost
from store.lookup import MARKS, look_up

STRETCH = 200_000  # seqs that one statement looks through


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


def be_due(connection: Connection, app_key: str, keep: int, margin: int) -> None:
    """Note when something closes, or a touchpoint is older than `keep` milliseconds, or the time of something earned is
    over by `margin`."""
    closes = connection.execute(_NEXT_CLOSING, (app_key,)).fetchone()[0]
    row = connection.execute(_OLDEST_TOUCH, (app_key,)).fetchone()
    earned = connection.execute(_OLDEST_EARNING, (app_key,)).fetchone()
    found = (closes, row[0] + keep if row else None, earned[0] + margin if earned else None)
    dues = [each for each in found if each is not None]
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

_OLDEST_EARNING = """/* attributing.oldest_earning */
    select open_until
    from earnings
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
    return [event_of(row) for row in sorted(look_up(connection, _EVENTS_AT, (app_key,), seqs), key=itemgetter(0))]


_EVENTS_AT = f"""/* attributing.events_at */
    select {COLUMNS}
    from events
    where app_key = ? and seq in ({MARKS})"""  # noqa: S608 - our own column names, and question marks


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
    return [Stored(*row) for row in look_up(connection, _INSTALLS, (app_key,), sorted(seqs))]


_INSTALLS = f"""/* attributing.installs */
    select {_STORED}
    from conversions
    where app_key = ? and seq in ({MARKS})"""  # noqa: S608 - our own column names, and question marks


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
    return list(look_up(connection, _OPEN_OF, (app_key, since), sorted(marks)))


# By their identities: `+ 0` keeps an engine from going through all that are open instead.
_OPEN_OF = f"""/* attributing.open_of */
    select identity, conversions.seq, open_until
    from conversion_identities
    join conversions
      on conversions.app_key = conversion_identities.app_key and conversions.seq = conversion_identities.seq
    where conversion_identities.app_key = ? and open + 0 = 1 and open_until >= ? and identity in ({MARKS})"""  # noqa: S608 - as above


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


def keep_decisions(connection: Connection, app_key: str, rows: Iterable[Made]) -> None:
    connection.executemany(_DECISION, [(app_key, *msgspec.structs.astuple(row)) for row in rows])


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


# --- what could not be read


def park(connection: Connection, app_key: str, rows: Iterable[tuple[int, str]], now: int) -> None:
    """Events by seq, with why they could not be read."""
    connection.executemany(_PARK, [(app_key, *row, now) for row in rows])


_PARK = """/* attributing.park */
    insert into attribution_parked (app_key, seq, reason, parked_at)
    values (?, ?, ?, ?)
    on conflict do nothing"""
