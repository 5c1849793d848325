"""Reading the audit: who did what, newest first, for operators all of it, for a partner's owners what is about theirs.

What leaves a line is in store/registry.py, beside what changes; whose a line is was found as it was written, and stays.
"""

from __future__ import annotations

import msgspec

from store.database import Database


class Line(msgspec.Struct, frozen=True):
    """One line of the audit."""

    audit_id: str
    at: int
    actor: str
    action: str
    subject: str
    detail: str


class Wanted(msgspec.Struct, frozen=True):
    """Which lines: '' and None for any. `person` did it, or it was done to them; `since` and `until` are epoch
    milliseconds, the second past the last; `before` is the id of the line that the page before ended with."""

    person: str = ""
    action: str = ""
    subject: str = ""
    since: int = 0
    until: int = 1 << 53
    before: str = ""


_MATCHES = """(? = '' or actor = ? or subject = ?) and (? = '' or action = ?) and (? = '' or subject = ?)
      and at >= ? and at < ? and (? = '' or audit_id < ?)"""

_ALL = f"""/* audit.all */
    select {", ".join(Line.__struct_fields__)}
    from audit
    where {_MATCHES}
    order by audit_id desc
    limit ?"""  # noqa: S608 - our own column names

_OF_PARTNER = f"""/* audit.of_partner */
    select {", ".join(Line.__struct_fields__)}
    from audit
    where partner_key = ? and {_MATCHES}
    order by audit_id desc
    limit ?"""  # noqa: S608 - our own column names


async def lines(db: Database, wanted: Wanted, limit: int, partner_key: str | None = None) -> list[Line]:
    """Newest first; a partner's, or all there are."""
    matching = (
        *(wanted.person,) * 3,
        *(wanted.action,) * 2,
        *(wanted.subject,) * 2,
        wanted.since,
        wanted.until,
        *(wanted.before,) * 2,
    )
    if partner_key is None:
        rows = await db.all(_ALL, (*matching, limit))
    else:
        rows = await db.all(_OF_PARTNER, (partner_key, *matching, limit))
    return [Line(*row) for row in rows]
