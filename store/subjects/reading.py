"""Who is who in one app: all ids of a subject, and the numbers of its visitors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from store.database import Connection, Database
from store.subjects.naming import ANONYMOUS, PARTNER_MADE, Id, Listing, node


async def ids_of(db: Database, listing: Listing, kind: str, text: str) -> list[Id]:
    """All ids of the subject that an id is of, this one among them, in order; just this one when it was never named
    with another, or is nobody's. `listing` is an app and the partner whose it is, `db` the log.

    `kind` is 'anonymous' or 'partner' (an event's anonymous id or partner anonymous id), 'account' (the user id of the
    listing's events), 'user' (the user id of a partner's own), a device's ('idfa', 'idfv', 'adid', 'android_id',
    'device') or a link's name.
    """
    return await db.run(read_ids, listing, kind, text)


async def visitors_of(db: Database, listing: Listing, kind: str, text: str) -> list[int]:
    """The numbers, in the rollups, of all visitors that the subject of an id is."""
    return await db.run(_visitors_of, listing, kind, text)


async def called(db: Database, listing: Listing, text: str, limit: int = 20) -> list[tuple[str, int]]:
    """(anonymous id, number) of all visitors whose subject has an id with this text, whatever kind it is of."""
    return await db.run(_called, listing, text, limit)


def read_ids(connection: Connection, listing: Listing, kind: str, text: str) -> list[Id]:
    """As `ids_of`, on the connection's thread."""
    asked = node(kind, text)
    rows = connection.execute(_IDS_OF, (*listing, asked.id, asked.kind)).fetchall()
    return sorted({asked, *(Id(*row) for row in rows)})


def _visitors_of(connection: Connection, listing: Listing, kind: str, text: str) -> list[int]:
    return sorted(number for _, number in _numbered(connection, listing, read_ids(connection, listing, kind, text)))


def _called(connection: Connection, listing: Listing, text: str, limit: int) -> list[tuple[str, int]]:
    wanted = sorted({text, text.lower()})
    found: dict[str, int] = {}
    for kind, known in connection.execute(_CALLED, (*listing, wanted[0], wanted[-1], limit)).fetchall():
        found |= dict(_numbered(connection, listing, read_ids(connection, listing, kind, known)))
    return list(found.items())[:limit]


def _numbered(connection: Connection, listing: Listing, ids: Sequence[Id]) -> Iterator[tuple[str, int]]:
    for each in ids:
        if each.kind in (ANONYMOUS, PARTNER_MADE):
            for (number,) in connection.execute(_NUMBER, (listing[1], each.id)).fetchall():
                yield each.id, number


_IDS_OF = """/* subjects.ids_of */
    select own.kind, own.id
    from subject_ids
    join subject_ids as own
      on own.app_key = subject_ids.app_key and own.partner_key = subject_ids.partner_key
        and own.subject = subject_ids.subject
    where subject_ids.app_key = ? and subject_ids.partner_key = ? and subject_ids.id = ? and subject_ids.kind = ?"""

_CALLED = """/* subjects.called */
    select kind, id
    from subject_ids
    where app_key = ? and partner_key = ? and id in (?, ?)
    order by kind, id
    limit ?"""

_NUMBER = """/* subjects.number */
    select visitor
    from rollup_visitors
    where partner_key = ? and anonymous_id = ?"""
