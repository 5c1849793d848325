"""Sessions: a random token in a cookie, and a row here by its hash; so that a session can be seen, and ended, here.

A session ends 12 hours after it was last seen, and 14 days after it began whatever happens.
"""

from __future__ import annotations

import secrets

import msgspec

from store import registry
from store.database import Database
from store.people.roster import Person, person
from store.secrets import token_hash

IDLE_MS = 12 * 3_600_000
LONGEST_MS = 14 * 24 * 3_600_000
SEEN_MS = 60_000  # how exact `seen_at` is
PROVED_MS = 15 * 60_000  # how long a password that was given stands for what asks for it again


class Session(msgspec.Struct, frozen=True):
    """One browser of one person. Times in epoch milliseconds."""

    session_id: str
    person_id: str
    created_at: int
    seen_at: int
    proved_at: int
    address: str
    agent: str


_COLUMNS = ", ".join(Session.__struct_fields__)


async def begin(db: Database, now: int, who: Person, address: str, agent: str, how: str = "") -> str:
    """Sign somebody in; the token for the cookie. `how` is for the audit; '' when they were in before."""
    token = secrets.token_urlsafe(32)
    async with db.transaction():
        await _forget_ended(db, now)
        await db.execute(
            f"/* sessions.begin */ insert into sessions (token_hash, {_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
            (token_hash(token), secrets.token_hex(8), who.person_id, now, now, now, address[:64], agent[:200]),
        )
        if how:
            await registry.note(db, now, "person.sign-in", who.email, how, who.email)
    return token


async def _forget_ended(db: Database, now: int) -> None:
    await db.execute(
        "/* sessions.forget */ delete from sessions where seen_at <= ? or created_at <= ?",
        (now - IDLE_MS, now - LONGEST_MS),
    )


async def find(db: Database, now: int, token: str) -> tuple[Session, Person] | None:
    """Who a token stands for now; None when it stands for nobody any more."""
    row = await db.one(
        f"/* sessions.find */ select {_COLUMNS} from sessions where token_hash = ?",  # noqa: S608
        (token_hash(token),),
    )
    session = Session(*row) if row else None
    if session is None or now - session.seen_at >= IDLE_MS or now - session.created_at >= LONGEST_MS:
        return None
    who = await person(db, session.person_id)
    if who is None or who.disabled_at is not None:
        return None
    return session, who


async def see(db: Database, now: int, session: Session) -> None:
    """It was used just now."""
    if now - session.seen_at > SEEN_MS:
        await db.change(
            "/* sessions.seen */ update sessions set seen_at = ? where session_id = ?", (now, session.session_id)
        )


async def prove(db: Database, now: int, session: Session) -> None:
    """The password was given again."""
    await db.change(
        "/* sessions.prove */ update sessions set proved_at = ? where session_id = ?", (now, session.session_id)
    )


def is_proved(session: Session, now: int) -> bool:
    """Whether the password was given lately enough for what must not be done by whoever finds an open browser."""
    return 0 <= now - session.proved_at < PROVED_MS


async def of(db: Database, now: int, person_id: str) -> list[Session]:
    """A person's sessions, the newest first."""
    rows = await db.all(
        f"""/* sessions.of */
        select {_COLUMNS}
        from sessions
        where person_id = ? and seen_at > ? and created_at > ?
        order by seen_at desc, session_id""",  # noqa: S608
        (person_id, now - IDLE_MS, now - LONGEST_MS),
    )
    return [Session(*row) for row in rows]


async def end(db: Database, now: int, who: Person, session_id: str) -> bool:
    """End one of a person's own; whether there was such a session of theirs."""
    sql = "/* sessions.end */ delete from sessions where person_id = ? and session_id = ?"
    async with db.transaction():
        ended = await db.execute(sql, (who.person_id, session_id))
        await _note_end(db, now, who, ended)
    return ended > 0


async def end_others(db: Database, now: int, who: Person, session: Session) -> int:
    """End all of a person's sessions but this one; how many."""
    sql = "/* sessions.end_others */ delete from sessions where person_id = ? and session_id <> ?"
    async with db.transaction():
        ended = await db.execute(sql, (who.person_id, session.session_id))
        await _note_end(db, now, who, ended)
    return ended


async def _note_end(db: Database, now: int, who: Person, ended: int) -> None:
    if ended:
        told = "1 session ended" if ended == 1 else f"{ended} sessions ended"
        await registry.note(db, now, "person.sign-out", who.email, told, who.email)


async def end_all(db: Database, now: int, who: Person, actor: str) -> None:
    """Somebody else ends all of a person's sessions."""
    async with db.transaction():
        ended = await db.execute("/* sessions.end_all */ delete from sessions where person_id = ?", (who.person_id,))
        await registry.audit(db, now, "person.sign-out", who.email, f"{ended} sessions ended", actor)
