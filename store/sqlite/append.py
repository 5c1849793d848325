"""A commit of the event log on SQLite.

It is one function on the connection's own thread, and inserts many rows with one statement: sqlite3 gives up the GIL
for every step of a statement, so anything finer would have the writing thread wait for the event loop ever again.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from store.entry import Committed, Entry, Tally, counted
from store.event import COLUMNS, NewRow
from store.sqlite.database import is_unwell

_NEW_COLUMNS = COLUMNS.removeprefix("seq, ")
_WIDTH = _NEW_COLUMNS.count(",") + 1
_CHUNKS = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)  # few distinct statements, each prepared once


def commit(connection: sqlite3.Connection, entries: Sequence[Entry], carried: Counter[Tally]) -> Committed:
    rows = [row for entry in entries for row in entry.rows]
    stored, unstorable = _append(connection, rows, 0)
    known = stored + len(unstorable) < len(rows)
    duplicates = _duplicates(connection, rows, unstorable, stored) if known else set()
    counts = counted(entries, duplicates, unstorable)
    connection.executemany(_SEE_VISITOR, [visitor for entry in entries for visitor in entry.visitors])
    kept = [rejection for entry in entries for rejection in entry.rejections if rejection.body is not None]
    connection.executemany(_REJECT, kept)
    for sql, parked in ((_HOLD, [held for entry in entries for held in entry.held]), (_LEAVE, _leaving(entries))):
        if parked:
            connection.executemany(sql, parked)
    connection.executemany(_TALLY, [(*key, n) for key, n in chain(counts.items(), carried.items())])
    return Committed(duplicates, unstorable, counts)


def _leaving(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    return [key for entry in entries for key in entry.leaving]


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


# What is unknown now does not erase what was known of a visitor; the visitor's last word on sharing stands.
_SEE_VISITOR = """/* log.see_visitor */
    insert into visitors (app_key, anonymous_id, user_id, partner_anonymous_id, suppressed, seen_at, campaign)
    values (?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, anonymous_id) do update
    set user_id = coalesce(excluded.user_id, visitors.user_id),
        partner_anonymous_id = coalesce(excluded.partner_anonymous_id, visitors.partner_anonymous_id),
        suppressed = coalesce(excluded.suppressed, visitors.suppressed),
        seen_at = excluded.seen_at,
        campaign = coalesce(excluded.campaign, visitors.campaign)"""

_REJECT = """/* log.reject */
    insert into rejections (app_key, door, received_at, reason, detail, body)
    values (?, ?, ?, ?, ?, ?)"""

_HOLD = """/* log.hold */
    insert into quarantine (app_key, quarantine_id, door, path, received_at, reason, size, body)
    values (?, ?, ?, ?, ?, ?, ?, ?)
    on conflict do nothing"""

_LEAVE = "/* log.leave */ delete from quarantine where app_key = ? and quarantine_id = ?"

_TALLY = """/* log.tally */
    insert into door_tallies (app_key, door, hour, outcome, reason, n)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, door, hour, outcome, reason) do update
    set n = door_tallies.n + excluded.n"""
