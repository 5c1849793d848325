"""The event log: committing what the doors took in, and reading one app's run of events.

A commit is one function on the connection's own thread, and inserts many rows with one statement: sqlite3 gives up the
GIL for every step of a statement, so anything finer would have the writing thread wait for the event loop ever again.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from store.database import Database, is_unwell, open_reader
from store.errors import StoreUnavailable
from store.event import COLUMNS, Event, NewRow, decode_events

HOUR_MS = 3_600_000
_NEW_COLUMNS = COLUMNS.removeprefix("seq, ")
_WIDTH = _NEW_COLUMNS.count(",") + 1
_CHUNKS = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)  # few distinct statements, each prepared once

Outcome = Literal["received", "stored", "duplicate", "rejected", "shed"]


class Tally(NamedTuple):
    """What is counted at a door; `hour` is in epoch hours, `reason` is '' but for rejections."""

    app_key: str
    door: str
    hour: int
    outcome: Outcome
    reason: str = ""


class Rejection(NamedTuple):
    """A message that a door refused. `body` is what came, capped, with account ids taken out; None: it is counted
    and not kept."""

    app_key: str
    door: str
    received_at: int
    reason: str
    detail: str
    body: bytes | None


class Visitor(NamedTuple):
    """What a page view says of a visitor of one app. `suppressed` is the visitor's word on sharing: 'gpc', 'consent'
    (not given), '' (given), or None: nothing was said."""

    app_key: str
    anonymous_id: str
    user_id: str | None
    partner_anonymous_id: str | None
    suppressed: str | None
    seen_at: int


class Entry(msgspec.Struct, frozen=True):
    """What one request asks to be stored."""

    door: str
    received_at: int
    rows: list[NewRow]
    visitors: list[Visitor]
    rejections: list[Rejection]


class Committed(msgspec.Struct, frozen=True):
    """What a commit did. Positions count the rows of all its entries; every row not named was stored."""

    duplicates: set[int]
    unstorable: set[int]
    counts: Counter[Tally]


async def commit(db: Database, entries: Sequence[Entry], carried: Counter[Tally]) -> Committed:
    """Store entries, and what was counted before, in one transaction; on return it is on disk.

    A row that the log cannot hold is found by bisection and left out. Raises sqlite3.Error when the store is unwell.
    """
    return await db.atomic(_commit, entries, carried)


def _commit(connection: sqlite3.Connection, entries: Sequence[Entry], carried: Counter[Tally]) -> Committed:
    rows = [row for entry in entries for row in entry.rows]
    stored, unstorable = _append(connection, rows, 0)
    known = stored + len(unstorable) < len(rows)
    duplicates = _duplicates(connection, rows, unstorable, stored) if known else set()
    counts = _counted(entries, duplicates, unstorable)
    connection.executemany(_SEE_VISITOR, [visitor for entry in entries for visitor in entry.visitors])
    kept = [rejection for entry in entries for rejection in entry.rejections if rejection.body is not None]
    connection.executemany(_REJECT, kept)
    connection.executemany(_TALLY, [(*key, n) for key, n in chain(counts.items(), carried.items())])
    return Committed(duplicates, unstorable, counts)


def insert_statement(rows: int) -> str:
    values = ",\n".join(["(" + ", ".join("?" * _WIDTH) + ")"] * rows)
    return f"/* log.append */\ninsert into events ({_NEW_COLUMNS})\nvalues {values}\non conflict do nothing"


_INSERTS = {size: insert_statement(size) for size in _CHUNKS}


def _append(connection: sqlite3.Connection, rows: Sequence[NewRow], first: int) -> tuple[int, set[int]]:
    """How many rows were stored, and the positions (from `first`) of those that the log cannot hold."""
    stored, unstorable = 0, set()
    at = 0
    while at < len(rows):
        size = next(size for size in _CHUNKS if size <= len(rows) - at)
        chunk = rows[at : at + size]
        try:
            stored += connection.execute(_INSERTS[size], tuple(chain.from_iterable(chunk))).rowcount
        except (sqlite3.Error, UnicodeError, OverflowError) as error:
            if is_unwell(error):
                raise
            # The statement as a whole had no effect: look for the culprit in its halves.
            if size == 1:
                unstorable.add(first + at)
            for half in (slice(0, size // 2), slice(size // 2, size)) if size > 1 else ():
                more, bad = _append(connection, chunk[half], first + at + half.start)
                stored += more
                unstorable |= bad
        at += size
    return stored, unstorable


def _duplicates(connection: sqlite3.Connection, rows: Sequence[NewRow], unstorable: set[int], stored: int) -> set[int]:
    """Positions of the rows that are not among the `stored` newest: known already, or twice in these rows."""
    newest = "/* log.newest */ select app_key, message_id from events order by seq desc limit ?"
    fresh = set(connection.execute(newest, (stored,)))
    duplicates = set()
    for position, row in enumerate(rows):
        key = (row[0], row[1])
        if position in unstorable:
            continue
        if key in fresh:
            fresh.discard(key)
        else:
            duplicates.add(position)
    return duplicates


def _counted(entries: Sequence[Entry], duplicates: set[int], unstorable: set[int]) -> Counter[Tally]:
    """The doors' balance for these entries; each term is counted from what happened, none by subtraction."""
    counts: Counter[Tally] = Counter()
    at = 0
    for entry in entries:
        hour = entry.received_at // HOUR_MS
        for position, row in enumerate(entry.rows, at):
            counts[row[0], entry.door, hour, "received", ""] += 1  # type: ignore[index]  # a Tally, made cheaply
            counts[row[0], entry.door, hour, *_fate(position, duplicates, unstorable)] += 1  # type: ignore[index]
        for rejection in entry.rejections:
            counts[Tally(rejection.app_key, entry.door, hour, "received")] += 1
            counts[Tally(rejection.app_key, entry.door, hour, "rejected", rejection.reason)] += 1
        at += len(entry.rows)
    return counts


def _fate(position: int, duplicates: set[int], unstorable: set[int]) -> tuple[Outcome, str]:
    if position in duplicates:
        return "duplicate", ""
    return ("rejected", "unstorable") if position in unstorable else ("stored", "")


# What is unknown now does not erase what was known of a visitor; the visitor's last word on sharing stands.
_SEE_VISITOR = """/* log.see_visitor */
    insert into visitors (app_key, anonymous_id, user_id, partner_anonymous_id, suppressed, seen_at)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, anonymous_id) do update
    set user_id = coalesce(excluded.user_id, visitors.user_id),
        partner_anonymous_id = coalesce(excluded.partner_anonymous_id, visitors.partner_anonymous_id),
        suppressed = coalesce(excluded.suppressed, visitors.suppressed),
        seen_at = excluded.seen_at"""

_REJECT = """/* log.reject */
    insert into rejections (app_key, door, received_at, reason, detail, body)
    values (?, ?, ?, ?, ?, ?)"""

_TALLY = """/* log.tally */
    insert into door_tallies (app_key, door, hour, outcome, reason, n)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, door, hour, outcome, reason) do update
    set n = door_tallies.n + excluded.n"""


_VISITOR = "app_key, anonymous_id, user_id, partner_anonymous_id, suppressed, seen_at"


async def visitor(db: Database, app_key: str, anonymous_id: str) -> Visitor | None:
    """What page views of the app's listing said of a visitor."""
    row = await db.one(
        f"""/* log.visitor */
        select {_VISITOR}
        from visitors
        where app_key = ? and anonymous_id = ?""",  # noqa: S608 - our own column names
        (app_key, anonymous_id),
    )
    return Visitor(*row) if row else None


async def visitor_of_user(db: Database, app_key: str, user_id: str) -> Visitor | None:
    """The visitor as whom a user last saw the app's listing."""
    row = await db.one(
        f"""/* log.visitor_of_user */
        select {_VISITOR}
        from visitors
        where app_key = ? and user_id = ?
        order by seen_at desc
        limit 1""",  # noqa: S608 - our own column names
        (app_key, user_id),
    )
    return Visitor(*row) if row else None


async def head(db: Database) -> int:
    """The newest seq; 0 in an empty log."""
    value: int = await db.value("/* log.head */ select coalesce(max(seq), 0) from events")
    return value


NO_END = 2**63 - 1


async def run(
    db: Database, app_key: str, after: int, limit: int, most_bytes: int | None = None, up_to: int = NO_END
) -> list[Event]:
    """At most `limit` events of one app past seq `after`, none past `up_to`, in order; with `most_bytes`, only until
    their details reach that many characters, so that a run of large events is no larger in memory than one of small
    ones.

    SQLite puts the whole run into one JSON text, without the interpreter's lock; row by row the reading thread would
    ask for that lock again with every row. Details that are no JSON come as null.
    """
    window = app_key, after, up_to
    text = await db.run(_run, _RUN, window, limit, most_bytes)
    try:
        return decode_events(text)
    except msgspec.DecodeError:
        return decode_events(await db.run(_run, _RUN_CHECKED, window, limit, most_bytes))


def _run(
    connection: sqlite3.Connection, select: str, window: tuple[str, int, int], limit: int, most_bytes: int | None
) -> str:
    if most_bytes is not None:
        size = connection.execute(_RUN_SIZE, (*window, limit)).fetchone()[0]
        if size is not None and size > most_bytes:
            limit = connection.execute(_RUN_FITTING, (*window, limit, most_bytes)).fetchone()[0]
    text: str = connection.execute(select, (*window, limit)).fetchone()[0]
    return text


async def some(db: Database, app_key: str, seqs: Sequence[int]) -> list[Event]:
    """One app's events of just these seqs, in order; those that are gone are left out."""
    found = []
    for seq in sorted(seqs):
        found += await run(db, app_key, seq - 1, 1, up_to=seq)
    return found


_TOLD = COLUMNS.removesuffix(", details").replace("message_id", "lower(hex(message_id))")
_RUN = f"""/* log.run */
    select '[' || coalesce(group_concat(rtrim(json_array({_TOLD}), ']') || ',' || details || ']'), '') || ']'
    from (
      select {COLUMNS}
      from events
      where app_key = ? and seq > ? and seq <= ?
      order by seq
      limit ?
    )"""  # noqa: S608 - our own column names
_RUN_CHECKED = _RUN.replace("|| details ||", "|| case when json_valid(details) then details else 'null' end ||")

_RUN_SIZE = """/* log.run_size */
    select sum(length(details))
    from (
      select details
      from events
      where app_key = ? and seq > ? and seq <= ?
      order by seq
      limit ?
    )"""

_RUN_FITTING = """/* log.run_fitting */
    select count(*)
    from (
      select sum(length(details)) over (order by seq) - length(details) as before
      from (
        select seq, details
        from events
        where app_key = ? and seq > ? and seq <= ?
        order by seq
        limit ?
      )
    )
    where before <= ?"""


async def head_or_zero(data_dir: Path) -> int:
    """The newest seq; 0 also when nothing was ever collected."""
    try:
        async with await open_reader(data_dir, "log") as db:
            return await head(db)
    except StoreUnavailable:
        return 0


async def heads(db: Database) -> dict[str, int]:
    """The newest seq of every app that has events."""
    return await _edges(db, "max")


async def tails(db: Database) -> dict[str, int]:
    """The oldest seq of every app that has events."""
    return await _edges(db, "min")


async def _edges(db: Database, which: Literal["min", "max"]) -> dict[str, int]:
    """One step through the index per app, however long the log."""
    rows = await db.all(
        f"""/* log.edges */
        with recursive listed (app_key) as (
          select min(app_key) from events
          union all
          select (select min(app_key) from events where app_key > listed.app_key)
          from listed
          where app_key is not null
        )
        select app_key, (select {which}(seq) from events where events.app_key = listed.app_key)
        from listed
        where app_key is not null"""  # noqa: S608 - one of two words
    )
    return dict(rows)


async def count_after(db: Database, app_key: str, after: int, up_to: int = NO_END) -> int:
    """How many events of one app lie past seq `after`, and not past `up_to`."""
    count: int = await db.value(
        "/* log.count_after */ select count(*) from events where app_key = ? and seq > ? and seq <= ?",
        (app_key, after, up_to),
    )
    return count


async def counts(db: Database, app_key: str, after: int, up_to: int) -> list[tuple[int, str, int]]:
    """One app's events past seq `after` up to `up_to`: (hour of reception, why suppressed or '', how many)."""
    rows = await db.all(
        f"""/* log.counts */
        select received_at / {HOUR_MS}, coalesce(suppressed, ''), count(*)
        from events
        where app_key = ? and seq > ? and seq <= ?
        group by 1, 2""",  # noqa: S608 - a constant
        (app_key, after, up_to),
    )
    return [(hour, suppressed, n) for hour, suppressed, n in rows]


class Window(NamedTuple):
    """What lies between two seqs: how many events, how many of them suppressed, characters of details, and how many
    were received before a moment."""

    events: int
    suppressed: int
    size: int
    older: int


async def window(db: Database, app_key: str, after: int, up_to: int, moment: int) -> Window:
    row = await db.one(
        """/* log.window */
        select count(*), count(suppressed), coalesce(sum(length(details)), 0), coalesce(sum(received_at < ?), 0)
        from events
        where app_key = ? and seq > ? and seq <= ?""",
        (moment, app_key, after, up_to),
    )
    return Window(*(row or (0, 0, 0, 0)))


async def seq_before(db: Database, moment: int) -> int:
    """The seq up to which everything was received before that moment, epoch milliseconds; by bisection, because seq
    grows with time and no index on time is kept."""
    low = int(await db.value("/* log.oldest */ select coalesce(min(seq), 1) from events")) - 1
    high = await head(db)
    while low < high:
        middle = (low + high + 1) // 2
        row = await db.one(
            "/* log.at */ select seq, received_at from events where seq >= ? order by seq limit 1", (middle,)
        )
        if row is not None and row[1] < moment:
            low = int(row[0])
        else:
            high = middle - 1
    return low


async def find(db: Database, app_key: str, message_id: bytes) -> Event | None:
    """The event that an app's sender gave this id (see store.ids.message_id)."""
    seq = await db.value(
        "/* log.find */ select seq from events where app_key = ? and message_id = ?", (app_key, message_id)
    )
    return None if seq is None else (await some(db, app_key, [seq]))[0]


async def received_after(db: Database, app_key: str, after: int, up_to: int = NO_END) -> int | None:
    """When the first event of one app past seq `after`, and not past `up_to`, was received; None when there is none."""
    found: int | None = await db.value(
        """/* log.received_after */
        select received_at
        from events
        where app_key = ? and seq > ? and seq <= ?
        order by seq
        limit 1""",
        (app_key, after, up_to),
    )
    return found


async def door_totals(db: Database) -> dict[str, int]:
    """The terms of the balance at the doors, over everything."""
    rows = await db.all("/* log.door_totals */ select outcome, sum(n) from door_tallies group by outcome")
    totals = {"received": 0, "stored": 0, "duplicate": 0, "rejected": 0, "shed": 0}
    totals.update(dict(rows))
    return totals
