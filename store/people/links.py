"""Links that let somebody in once: an invitation, or a password to be set anew.

The link's token is signed and timed (itsdangerous), and its nonce is in the registry by its hash: so it works once, for
two days, for one purpose, and can be made void. A newer link of a person's makes the older ones void.
"""

from __future__ import annotations

import secrets
from typing import Literal

from itsdangerous import BadSignature, URLSafeTimedSerializer

from store import registry
from store.database import Database
from store.people.roster import Person, person, set_password
from store.ring import ring_of
from store.secrets import derived, token_hash

Purpose = Literal["invitation", "reset"]
VALID_SECONDS = 48 * 3_600


class Links:
    """Makes and reads the tokens in links."""

    def __init__(self, secret_key: str) -> None:
        keys = [derived(key, "links") for key in reversed(ring_of(secret_key).keys)]
        self._signers = {
            purpose: URLSafeTimedSerializer(keys, salt=f"footfall {purpose}") for purpose in ("invitation", "reset")
        }

    async def make(self, db: Database, now: int, who: Person, purpose: Purpose, actor: str) -> str:
        """The token of a new link for somebody."""
        nonce = secrets.token_urlsafe(16)
        async with db.transaction():
            await db.execute("/* links.void */ delete from links where person_id = ?", (who.person_id,))
            await db.execute(
                """/* links.make */
                insert into links (nonce_hash, purpose, person_id, created_at, expires_at)
                values (?, ?, ?, ?, ?)""",
                (token_hash(nonce), purpose, who.person_id, now, now + VALID_SECONDS * 1_000),
            )
            await registry.audit(db, now, f"person.{purpose}", who.email, "link made", actor)
        token: str = self._signers[purpose].dumps(nonce)
        return token

    async def read(self, db: Database, now: int, token: str, purpose: Purpose) -> Person | None:
        """For whom a link is; None when it is not ours, too old, used, or void."""
        nonce = self._nonce(token, purpose)
        if nonce is None:
            return None
        person_id = await db.value(
            """/* links.read */
            select person_id
            from links
            where nonce_hash = ? and purpose = ? and used_at is null and expires_at > ?""",
            (token_hash(nonce), purpose, now),
        )
        who = await person(db, person_id) if person_id else None
        return who if who is not None and who.disabled_at is None else None

    async def use(self, db: Database, now: int, token: str, purpose: Purpose, password_hash: str) -> Person | None:
        """Set the password that the link is for; None when it does not work (any more). Two at once: one gets it."""
        nonce = self._nonce(token, purpose)
        if nonce is None:
            return None
        async with db.transaction():
            taken = await db.execute(
                """/* links.use */
                update links
                set used_at = ?
                where nonce_hash = ? and purpose = ? and used_at is null and expires_at > ?""",
                (now, token_hash(nonce), purpose, now),
            )
            if taken != 1:
                return None
            person_id = await db.value(
                "/* links.whose */ select person_id from links where nonce_hash = ?", (token_hash(nonce),)
            )
            who = await person(db, person_id)
            if who is None or who.disabled_at is not None:
                return None
            await set_password(db, now, who, password_hash, who.email)
            return await person(db, person_id)

    def _nonce(self, token: str, purpose: Purpose) -> str | None:
        try:
            nonce = self._signers[purpose].loads(token, max_age=VALID_SECONDS)
        except (BadSignature, ValueError):
            return None
        return nonce if isinstance(nonce, str) else None
