"""Who is who in one app: all ids of a subject, and the numbers of its visitors."""

from __future__ import annotations

from store.database import Connection, Database
from store.rollups.counting import Listing
from store.subjects.naming import Id, node


async def ids_of(db: Database, listing: Listing, kind: str, text: str) -> list[Id]:
    """All ids of the subject that an id is of, this one among them, in order; just this one when it was never named
    with another, or is nobody's. `listing` is an app and the partner whose it is, `db` the log.

    `kind` is 'anonymous' or 'partner' (an event's anonymous id or partner anonymous id), 'account' (the user id of the
    listing's events), 'user' (the user id of a partner's own), a device's ('idfa', 'idfv', 'adid', 'android_id',
    'device') or a link's name.
    """
    return await db.run(read_ids, listing, kind, text)


def read_ids(connection: Connection, listing: Listing, kind: str, text: str) -> list[Id]:
    """As `ids_of`, on the connection's thread."""
    asked = node(kind, text)
    rows = connection.execute(_IDS_OF, (*listing, asked.id, asked.kind, *listing)).fetchall()
    return sorted({asked, *(Id(*row) for row in rows)})


_IDS_OF = """/* subjects.ids_of */
    select subject_ids.kind, subject_ids.id
    from subject_ids
    join subject_ids as asked
      on asked.app_key = subject_ids.app_key and asked.partner_key = subject_ids.partner_key
        and asked.subject = subject_ids.subject
    where asked.app_key = ? and asked.partner_key = ? and asked.id = ? and asked.kind = ?
      and subject_ids.app_key = ? and subject_ids.partner_key = ?"""
