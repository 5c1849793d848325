"""Who signs in at the demo's portal: an operator, an owner for each partner, and two colleagues of one owner.

The surprising thing: their passwords are kept nowhere. They are made of the secret key, so the next start on the same
data can print them again, for everybody who has not chosen another one since.
"""

from __future__ import annotations

from msgspec import Struct

from store.database import Database
from store.people import passwords, roster
from store.people.roster import Role
from store.ring import ring_of
from store.secrets import derived

ACTOR = "demo"
_CONSONANTS = "bdfghjklmnprstvz"
_VOWELS = "aeio"


class SignIn(Struct, frozen=True):
    """Somebody who signs in. `password` is empty for one that they chose themselves."""

    email: str
    name: str
    role: Role
    partner_key: str | None = None
    password: str = ""


PEOPLE: tuple[SignIn, ...] = (
    SignIn("operator@quayside.example", "Ada Brandt", "operator"),
    SignIn("owner@fernhollow.example", "Sigrid Moe", "owner", "fernhollow"),
    SignIn("editor@fernhollow.example", "Lars Eide", "editor", "fernhollow"),
    SignIn("viewer@fernhollow.example", "Kari Lund", "viewer", "fernhollow"),
    SignIn("owner@pebblewick.example", "Maud Visser", "owner", "pebblewick"),
    SignIn("owner@saltlight.example", "Claire Arsenault", "owner", "saltlight"),
    SignIn("owner@tallowfinch.example", "Ivy Finch", "owner", "tallowfinch"),
)


def password_of(secret_key: str, email: str) -> str:
    """Five short words that can be said and typed: sixty bits of the key's."""
    syllables = [_CONSONANTS[byte >> 4] + _VOWELS[byte & 3] for byte in derived(secret_key, f"demo/{email}")[:10]]
    return "-".join(first + second for first, second in zip(syllables[::2], syllables[1::2], strict=True))


async def move_in(db: Database, secret_key: str, now: int) -> list[SignIn]:
    """Add whoever is not there yet, and say with which passwords all of them sign in."""
    keys = ring_of(secret_key).keys
    return [await _moved_in(db, keys, now, who) for who in PEOPLE]


async def _moved_in(db: Database, keys: tuple[str, ...], now: int, who: SignIn) -> SignIn:
    person = await roster.by_email(db, who.email)
    if person is None:
        person = await roster.add(db, now, who.email, who.name, who.role, who.partner_key, ACTOR)
    if person.invited:
        password = password_of(keys[0], who.email)
        async with db.transaction():
            await roster.set_password(db, now, person, passwords.hashed(password), ACTOR)
    else:
        known = (password_of(key, who.email) for key in keys)
        password = next((each for each in known if passwords.is_right(person.password_hash, each)), "")
    return SignIn(who.email, who.name, person.role, who.partner_key, password)
