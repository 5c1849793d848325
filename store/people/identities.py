"""Who people are at an OpenID Connect provider: what it calls itself, the issuer, and somebody, the subject.

An address leads to somebody once. From then on the subject does, because a provider gives addresses to others when
people leave, and subjects never.
"""

from __future__ import annotations

from store import registry
from store.database import Database
from store.errors import Conflict
from store.people import roster
from store.people.roster import Person


async def whose(db: Database, issuer: str, subject: str) -> Person | None:
    """Who was found for a subject before."""
    person_id = await db.value(
        "/* identities.whose */ select person_id from identities where issuer = ? and subject = ?", (issuer, subject)
    )
    return await roster.person(db, person_id) if person_id else None


async def is_known(db: Database, issuer: str, who: Person) -> bool:
    """Whether somebody has signed in by that provider."""
    sql = "/* identities.known */ select 1 from identities where issuer = ? and person_id = ?"
    return await db.value(sql, (issuer, who.person_id)) is not None


async def keep(db: Database, now: int, issuer: str, subject: str, who: Person) -> bool:
    """From now on this subject is that person; False when they are another subject there, or somebody else is this."""
    try:
        async with db.transaction():
            await db.execute(
                """/* identities.keep */
                insert into identities (issuer, subject, person_id, created_at)
                values (?, ?, ?, ?)""",
                (issuer, subject, who.person_id, now),
            )
            await registry.audit(db, now, "person.identity", who.email, f"known to {issuer}", who.email)
    except Conflict:
        return False
    return True


async def forget(db: Database, now: int, who: Person, actor: str) -> None:
    """The next sign-in by a provider is their first again."""
    async with db.transaction():
        sql = "/* identities.forget */ delete from identities where person_id = ?"
        if await db.execute(sql, (who.person_id,)):
            await registry.audit(db, now, "person.identity", who.email, "forgotten", actor)
