"""People who sign in: who they are, what they may do, and the secrets that prove it.

An operator runs the marketplace and sees every partner; owners, editors and viewers see their own partner. Nobody
exists until somebody adds them, and whoever is added has no password until they set one by their invitation.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, Literal

import msgspec

from store import registry
from store.database import Database
from store.errors import ConfigError, Conflict

Role = Literal["operator", "owner", "editor", "viewer"]
PARTNER_ROLES = ("owner", "editor", "viewer")
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[a-z0-9.-]{1,190}\.[a-z0-9-]{2,}\Z")


class Person(msgspec.Struct, frozen=True):
    """`partner_key` is None for operators; `disabled_at` None for who may sign in, if a password is set."""

    person_id: str
    email: str
    name: str
    role: Role
    partner_key: str | None
    password_hash: str
    totp_secret: bytes | None
    totp_step: int
    disabled_at: int | None
    created_at: int

    @property
    def invited(self) -> bool:
        """Whether the invitation has not been taken up."""
        return not self.password_hash


_COLUMNS = ", ".join(Person.__struct_fields__)
_PEOPLE = f"/* people.all */ select {_COLUMNS} from people"  # noqa: S608 - our own column names


def address(email: str) -> str:
    """As it is kept. Raises ConfigError when it is none."""
    lower = email.strip().lower()
    if not _EMAIL.fullmatch(lower):
        raise ConfigError(f"{email.strip()} is no e-mail address")
    return lower


async def add(db: Database, now: int, email: str, name: str, role: Role, partner_key: str | None, actor: str) -> Person:
    """Add somebody, without a password. Raises ConfigError when the address is taken or the partner unknown."""
    person = Person(str(uuid.uuid4()), address(email), name.strip(), role, partner_key, "", None, 0, None, now)
    if (role == "operator") != (partner_key is None):
        raise ConfigError("an operator belongs to no partner, and everybody else to one")
    async with db.transaction():
        if partner_key is not None and not await db.one(
            "/* people.partner */ select 1 from partners where partner_key = ?", (partner_key,)
        ):
            raise ConfigError(f"there is no partner {partner_key}: add it with `footfall partner add`")
        values = msgspec.structs.astuple(person)
        try:
            await db.execute(
                f"/* people.add */ insert into people ({_COLUMNS}) values ({', '.join('?' * len(values))})",  # noqa: S608
                values,
            )
        except Conflict:
            raise ConfigError(f"there is somebody with the address {person.email} already") from None
        told = f"{role}{f' of {partner_key}' if partner_key else ''}"
        await registry.audit(db, now, "person.add", person.email, told, actor)
    return person


async def people(db: Database, partner_key: str | None = None) -> list[Person]:
    """Everybody, or a partner's people, by address."""
    of = None if partner_key is None else [partner_key]
    return [Person(*row) for row in await db.each(_PEOPLE, "partner_key", of, "order by email")]


async def person(db: Database, person_id: str) -> Person | None:
    for row in await db.each(_PEOPLE, "person_id", [person_id]):
        return Person(*row)
    return None


async def by_email(db: Database, email: str) -> Person | None:
    for row in await db.each(_PEOPLE, "email", [email.strip().lower()]):
        return Person(*row)
    return None


async def set_password(db: Database, now: int, who: Person, password_hash: str, actor: str) -> None:
    """Within a transaction of the caller's. Everybody who was signed in as them is signed out."""
    await db.execute(
        "/* people.set_password */ update people set password_hash = ? where person_id = ?",
        (password_hash, who.person_id),
    )
    await _sign_out(db, who)
    await registry.audit(db, now, "person.password", who.email, "set", actor)


async def rename(db: Database, now: int, who: Person, name: str, actor: str) -> None:
    async with db.transaction():
        await db.execute(
            "/* people.rename */ update people set name = ? where person_id = ?", (name.strip(), who.person_id)
        )
        await registry.audit(db, now, "person.rename", who.email, f"{who.name} -> {name.strip()}", actor)


_NOT_LAST = """(
      role not in ('owner', 'operator')
      or exists (
        select 1
        from people as other
        where other.role = people.role and other.person_id <> people.person_id
          and (other.partner_key = people.partner_key or people.partner_key is null)
          and other.disabled_at is null and other.password_hash <> ''
      )
    )"""


async def change_role(
    db: Database, now: int, who: Person, role: Role, actor: str, *, may_be_last: bool = False
) -> None:
    """Among a partner's roles. Whoever is changed is signed out.

    Raises ConfigError when nobody who can sign in would be owner then, unless `may_be_last`.
    """
    if who.partner_key is None or role not in PARTNER_ROLES:
        raise ConfigError("an operator's role cannot be changed, and nobody becomes one")
    async with db.transaction():
        await registry.audit(db, now, "person.role", who.email, f"{who.role} -> {role}", actor)
        sql = _CHANGE_ROLE if may_be_last or role == "owner" else _CHANGE_ROLE_BUT_THE_LAST
        await _or_last(db, sql, (role, who.person_id))
        await _sign_out(db, who)


async def disable(db: Database, now: int, who: Person, actor: str, *, may_be_last: bool = False) -> None:
    """Let somebody sign in no more, and sign them out; links that they have are void.

    Raises ConfigError when nobody who can sign in would have their role then, for owners and operators.
    """
    async with db.transaction():
        await registry.audit(db, now, "person.disable", who.email, "on -> off", actor)
        await _or_last(db, _DISABLE if may_be_last else _DISABLE_BUT_THE_LAST, (now, who.person_id))
        await _sign_out(db, who)
        await db.execute("/* people.void_links */ delete from links where person_id = ?", (who.person_id,))


_CHANGE_ROLE = "/* people.change_role */ update people set role = ? where person_id = ?"
_CHANGE_ROLE_BUT_THE_LAST = f"{_CHANGE_ROLE} and {_NOT_LAST}"
_DISABLE = "/* people.disable */ update people set disabled_at = ? where person_id = ?"
_DISABLE_BUT_THE_LAST = f"{_DISABLE} and {_NOT_LAST}"


async def _or_last(db: Database, sql: str, values: tuple[Any, ...]) -> None:
    """The audit came before, and has every other change of the registry wait: of two who leave at once one is last."""
    if await db.execute(sql, values) != 1:
        raise ConfigError("they are the last who can: make somebody else one first")


async def _sign_out(db: Database, who: Person) -> None:
    await db.execute("/* people.sign_out */ delete from sessions where person_id = ?", (who.person_id,))


async def enable(db: Database, now: int, who: Person, actor: str) -> None:
    async with db.transaction():
        await db.execute(
            "/* people.enable */ update people set disabled_at = null where person_id = ?", (who.person_id,)
        )
        await registry.audit(db, now, "person.enable", who.email, "off -> on", actor)
