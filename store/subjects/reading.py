"""Who is who in one app: all ids of a subject, and the numbers of its visitors."""

from __future__ import annotations

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


async def find(db: Database, listing: Listing, text: str, limit: int = 20) -> list[Id]:
    """Every id with this text, whatever kind it is of."""
    wanted = sorted({text, text.lower()})
    rows = await db.all(_FIND, (*listing, wanted[0], wanted[-1], limit))
    return [Id(*row) for row in rows]


def read_ids(connection: Connection, listing: Listing, kind: str, text: str) -> list[Id]:
    """As `ids_of`, on the connection's thread."""
    asked = node(kind, text)
    rows = connection.execute(_IDS_OF, (*listing, asked.id, asked.kind)).fetchall()
    return sorted({asked, *(Id(*row) for row in rows)})


def _visitors_of(connection: Connection, listing: Listing, kind: str, text: str) -> list[int]:
    texts = [each.id for each in read_ids(connection, listing, kind, text) if each.kind in (ANONYMOUS, PARTNER_MADE)]
    found = [connection.execute(_NUMBER, (listing[1], each)).fetchone() for each in texts]
    return sorted(row[0] for row in found if row)


_IDS_OF = """/* subjects.ids_of */
    select own.kind, own.id
    from subject_ids
    join subject_ids as own
      on own.app_key = subject_ids.app_key and own.partner_key = subject_ids.partner_key
        and own.subject = subject_ids.subject
    where subject_ids.app_key = ? and subject_ids.partner_key = ? and subject_ids.id = ? and subject_ids.kind = ?"""

_FIND = """/* subjects.find */
    select kind, id
    from subject_ids
    where app_key = ? and partner_key = ? and id in (?, ?)
    order by kind, id
    limit ?"""

_NUMBER = """/* subjects.number */
    select visitor
    from rollup_visitors
    where partner_key = ? and anonymous_id = ?"""
