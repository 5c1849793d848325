"""Touchpoints, with whose they are: what the exporter found in an app's log that may have brought an install.

An identity is a hash here. All of it is on a connection's own thread, within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from store.database import Connection

MOST_TOUCHES = 200  # of one identity, the newest


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


def keep(connection: Connection, app_key: str, rows: Iterable[tuple[Touch, Collection[bytes]]]) -> None:
    """Touchpoints with whose they are, the hashes of their identities."""
    kept = list(rows)
    connection.executemany(_KEEP, [(app_key, *touch) for touch, _ in kept])
    marks = [(app_key, mark, t.touched_at, t.seq, t.part) for t, marks in kept for mark in marks]
    connection.executemany(_IDENTITY, sorted(marks))


_KEEP = """/* touchpoints.keep */
    insert into touchpoints (app_key, seq, part, partner_key, message_id, received_at, touched_at, timed, way, origin,
      campaign, identities)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_IDENTITY = """/* touchpoints.identity */
    insert into touchpoint_identities (app_key, identity, touched_at, seq, part)
    values (?, ?, ?, ?, ?)
    on conflict do nothing"""


def of_any(
    connection: Connection, app_key: str, marks: Iterable[bytes], since: int, until: int, received_until: int
) -> list[Touch]:
    """Those of any of some identities, from `since` to `until`: of each identity the newest MOST_TOUCHES."""
    found = {}
    for mark in sorted(marks):
        for row in connection.execute(_OF_ANY, (app_key, mark, since, until, received_until, MOST_TOUCHES)):
            found[row[0], row[1]] = Touch(*row)
    return list(found.values())


_OF_ANY = f"""/* touchpoints.of_any */
    select {", ".join(f"touchpoints.{name}" for name in Touch._fields)}
    from touchpoint_identities
    join touchpoints
      on touchpoints.app_key = touchpoint_identities.app_key and touchpoints.seq = touchpoint_identities.seq
        and touchpoints.part = touchpoint_identities.part
    where touchpoint_identities.app_key = ? and identity = ? and touchpoint_identities.touched_at >= ?
      and touchpoint_identities.touched_at <= ? and received_at <= ?
    order by touchpoint_identities.touched_at desc, touchpoint_identities.seq desc
    limit ?"""  # noqa: S608 - our own column names


def oldest(connection: Connection, app_key: str, before: int, limit: int) -> list[tuple[Any, ...]]:
    """(seq, part, touched_at, identities) of the oldest that were received before a moment."""
    rows = connection.execute(_OLDEST, (app_key, limit)).fetchall()
    return [row[:4] for row in rows if row[4] < before]


_OLDEST = """/* touchpoints.oldest */
    select seq, part, touched_at, identities, received_at
    from touchpoints
    where app_key = ?
    order by seq, part
    limit ?"""


def forget(connection: Connection, app_key: str, gone: Iterable[tuple[int, int, int, Collection[bytes]]]) -> None:
    """Touchpoints by seq, part, when they were, and their identities' hashes."""
    rows = list(gone)
    marks = [(app_key, mark, at, seq, part) for seq, part, at, marks in rows for mark in marks]
    connection.executemany(_FORGET_IDENTITY, sorted(marks))
    connection.executemany(_FORGET, [(app_key, seq, part) for seq, part, _, _ in rows])


_FORGET_IDENTITY = """/* touchpoints.forget_identity */
    delete from touchpoint_identities
    where app_key = ? and identity = ? and touched_at = ? and seq = ? and part = ?"""

_FORGET = "/* touchpoints.forget */ delete from touchpoints where app_key = ? and seq = ? and part = ?"
