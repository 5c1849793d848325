"""Who can visit the demo marketplace, and the signed cookie that remembers the choice.

The surprising thing: there are no passwords. A newcomer picks who to be; the cookie is signed all the same, because the
account in it ends up in tokens that the collector trusts.
"""

from __future__ import annotations

from itsdangerous import BadSignature, URLSafeSerializer
from msgspec import Struct

COOKIE = "footfall_demo_person"
_SALT = "footfall.demo.person"


class Person(Struct, frozen=True):
    """Somebody with an account at the marketplace. `account_id` never leaves the servers unhashed."""

    key: str
    account_id: str
    name: str
    role: str
    site: str

    @property
    def initials(self) -> str:
        """Two letters for the round badge."""
        return "".join(word[0] for word in self.name.split())


PEOPLE: tuple[Person, ...] = (
    Person("mira", "acct-40217-mira", "Mira Okafor", "Leads a product team", "larkspur.quayside.example"),
    Person("jonas", "acct-51830-jonas", "Jonas Hale", "Administers a site", "hale-and-sons.quayside.example"),
    Person("soraya", "acct-66102-soraya", "Soraya Lind", "Keeps the books", "brightwater.quayside.example"),
)
BY_KEY: dict[str, Person] = {person.key: person for person in PEOPLE}


def seal(person: Person, secret: str) -> str:
    """The cookie's value for this person."""
    return str(URLSafeSerializer(secret, salt=_SALT).dumps(person.key))


def unseal(value: str, secret: str) -> Person | None:
    """The person a cookie names; None for a visitor who is signed out or whose cookie was not made here."""
    try:
        return BY_KEY.get(str(URLSafeSerializer(secret, salt=_SALT).loads(value)))
    except BadSignature:
        return None
