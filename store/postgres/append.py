"""A commit of the event log on PostgreSQL: whole columns at once, in three journeys to the server and back.

Rows are written in the order of their keys, so that two collectors that write the same never wait for each other in a
ring.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from store.entry import Committed, Entry, Tally, Visitor, counted
from store.event import COLUMNS, NewRow
from store.postgres.connection import Bytes, Connection, Numbers, Texts
from store.postgres.settled import BEGIN

SLOTS = 64
# What is wrong with a row itself: data, a constraint, or it cannot be said in the server's words at all.
_UNSPEAKABLE = (AttributeError, TypeError, UnicodeError, OverflowError, struct.error)
_UNFIT = (psycopg.DataError, psycopg.IntegrityError, *_UNSPEAKABLE)


def commit(connection: Connection, entries: Sequence[Entry], carried: Counter[Tally]) -> Committed:
    """See store.log.commit. Begins and ends the transaction itself, so that neither is a journey of its own."""
    rows = [row for entry in entries for row in entry.rows]
    try:
        return _commit(connection, entries, carried, rows, set())
    except _UNFIT:
        connection.rollback()
        return _commit(connection, entries, carried, rows, _unfit(connection, rows))


def _commit(
    connection: Connection,
    entries: Sequence[Entry],
    carried: Counter[Tally],
    rows: Sequence[NewRow],
    unfit: set[int],
) -> Committed:
    seqs = _begin(connection, len(rows))
    numbered = [(seqs[position], *row) for position, row in enumerate(rows) if position not in unfit]
    fresh = _fresh(connection, numbered)
    duplicates = {position for position, seq in enumerate(seqs) if seq not in fresh and position not in unfit}
    counts = counted(entries, duplicates, unfit)
    slot = connection.backend % SLOTS
    tallies = [(*key, slot, n) for key, n in sorted((counts + carried or carried).items())]
    visitors = _merged(visitor for entry in entries for visitor in entry.visitors)
    held = sorted({(item.app_key, item.quarantine_id): item for entry in entries for item in entry.held}.values())
    leaving = sorted(key for entry in entries for key in entry.leaving)
    kept = [rejection for entry in entries for rejection in entry.rejections if rejection.body is not None]
    with connection.raw.pipeline():
        _put(connection, _APPEND, [row for row in numbered if row[0] in fresh], _EVENT)
        _put(connection, _SEE_VISITORS, visitors, _VISITOR)
        _put(connection, _REJECT, kept, _REJECTION)
        _put(connection, _HOLD, held, _HELD)
        for key in leaving:
            connection.execute(_LEAVE, key)
        _put(connection, _TALLY, tallies, _TALLIED)
        connection.execute("commit")
    return Committed(duplicates, unfit, counts)


def _begin(connection: Connection, events: int) -> list[int]:
    """Begin, announce the transaction (store/postgres/settled.py), and take a seq for each event."""
    cursor = connection.raw.execute(f"{BEGIN}; select nextval('events_seq') from generate_series(1, {events})")
    while cursor.nextset():
        pass
    return [seq for (seq,) in cursor.fetchall()]


def _fresh(connection: Connection, numbered: Sequence[tuple[Any, ...]]) -> set[int]:
    """Note which messages came; the seqs of those that are new. Of two alike in one commit the first is."""
    if not numbered:
        return set()
    in_order = sorted((app_key, message_id, seq) for seq, app_key, message_id, *_ in numbered)
    apps, messages, seqs = zip(*in_order, strict=True)
    cursor = connection.execute(_NOTE, (Texts(apps), Bytes(messages), Numbers(seqs)))
    return {seq for (seq,) in cursor.fetchall()}


def _put(
    connection: Connection, sql: str, rows: Sequence[Sequence[Any]], kinds: Sequence[type[tuple[Any, ...]]]
) -> None:
    """Many rows in one statement, a column an array."""
    if rows:
        columns = zip(*rows, strict=True)
        connection.execute(sql, [kind(column) for kind, column in zip(kinds, columns, strict=True)])


def _merged(visitors: Iterable[Visitor]) -> list[Visitor]:
    """Each visitor once, as if they had been seen one after another (see store/sqlite/append.py); in order of key."""
    seen: dict[tuple[str, str], Visitor] = {}
    for new in visitors:
        old = seen.get((new.app_key, new.anonymous_id))
        if old is not None:
            new = new._replace(
                user_id=old.user_id if new.user_id is None else new.user_id,
                partner_anonymous_id=old.partner_anonymous_id
                if new.partner_anonymous_id is None
                else new.partner_anonymous_id,
                suppressed=old.suppressed if new.suppressed is None else new.suppressed,
                campaign=old.campaign if new.campaign is None else new.campaign,
            )
        seen[new.app_key, new.anonymous_id] = new
    return [seen[key] for key in sorted(seen)]


def _unfit(connection: Connection, rows: Sequence[NewRow]) -> set[int]:
    """The positions of the rows that the log cannot hold, found by halves; nothing is stored."""
    found: set[int] = set()
    spans = [(0, len(rows))]
    while spans:
        first, end = spans.pop()
        if _fit(connection, rows[first:end]):
            continue
        if end - first == 1:
            found.add(first)
        else:
            middle = (first + end) // 2
            spans += [(first, middle), (middle, end)]
    return found


def _fit(connection: Connection, rows: Sequence[NewRow]) -> bool:
    numbered = [(-position, *row) for position, row in enumerate(rows, 1)]
    connection.raw.execute("begin")
    try:
        _fresh(connection, numbered)
        _put(connection, _APPEND, numbered, _EVENT)
    except _UNFIT:
        return False
    finally:
        connection.rollback()
    return True


_TEXT_6 = (Texts,) * 6
_EVENT = (Numbers, Texts, Bytes, Texts, Texts, Texts, Numbers, Numbers, *_TEXT_6)
_VISITOR = (Texts, Texts, Texts, Texts, Texts, Numbers, Texts)
_REJECTION = (Texts, Texts, Numbers, Texts, Texts, Bytes)
_HELD = (Texts, Texts, Texts, Texts, Numbers, Texts, Numbers, Bytes)
_TALLIED = (Texts, Texts, Numbers, Texts, Texts, Numbers, Numbers)

_NOTE = """/* append.note */
    insert into message_ids (app_key, message_id, seq)
    select * from unnest(?, ?, ?)
    on conflict do nothing
    returning seq"""

# Nobody reads what the next two return. Without it Citus would copy the rows to its nodes, which row-level security
# forbids there, and which has no say on whose fault an error is.
_APPEND = f"""/* append.events */
    insert into events ({COLUMNS})
    select * from unnest({", ".join("?" * len(_EVENT))})
    returning seq"""

_REJECT = """/* append.reject */
    insert into rejections (app_key, door, received_at, reason, detail, body)
    select * from unnest(?, ?, ?, ?, ?, ?)
    returning rejection_id"""

_HOLD = """/* append.hold */
    insert into quarantine (app_key, quarantine_id, door, path, received_at, reason, size, body)
    select * from unnest(?, ?, ?, ?, ?, ?, ?, ?)
    on conflict do nothing"""

_LEAVE = "/* append.leave */ delete from quarantine where app_key = ? and quarantine_id = ?"

_SEE_VISITORS = """/* append.see_visitors */
    insert into visitors (app_key, anonymous_id, user_id, partner_anonymous_id, suppressed, seen_at, campaign)
    select * from unnest(?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, anonymous_id) do update
    set user_id = coalesce(excluded.user_id, visitors.user_id),
        partner_anonymous_id = coalesce(excluded.partner_anonymous_id, visitors.partner_anonymous_id),
        suppressed = coalesce(excluded.suppressed, visitors.suppressed),
        seen_at = excluded.seen_at,
        campaign = coalesce(excluded.campaign, visitors.campaign)"""

_TALLY = """/* append.tally */
    insert into door_tallies (app_key, door, hour, outcome, reason, slot, n)
    select * from unnest(?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, door, hour, outcome, reason, slot) do update
    set n = door_tallies.n + excluded.n"""
