"""A second factor for signing in: the codes of an authenticator app, and codes on paper for when that is lost.

The app's secret is encrypted under the secret key. A code is taken once: the step of the last one is kept, and a
recovery code is marked. Recovery codes are random enough for one plain hash.
"""

from __future__ import annotations

import base64
import secrets
from contextlib import suppress
from typing import Literal

from itsdangerous import BadSignature, URLSafeTimedSerializer

from store import registry
from store.database import Database
from store.errors import ConfigError
from store.people import roster, totp
from store.people.roster import Person
from store.ring import ring_of
from store.secrets import Vault, derived, token_hash

RECOVERY_CODES = 10
TICKET_SECONDS = 10 * 60  # between the password and the code, and between a picture and its first code

Taken = Literal["second step", "recovery code"]


class Tickets:
    """What a form carries from one step to the next, signed and timed, so that nothing is kept for who never comes."""

    def __init__(self, secret_key: str) -> None:
        keys = [derived(key, "tickets") for key in reversed(ring_of(secret_key).keys)]
        self._signer = URLSafeTimedSerializer(keys, salt="footfall second step")
        self._vault = Vault(secret_key)

    def after_first(self, who: Person, how: str) -> str:
        """Says that the first step was right, and which it was. Void once the password is another."""
        ticket: str = self._signer.dumps([who.person_id, token_hash(who.password_hash), how])
        return ticket

    async def whose(self, db: Database, ticket: str) -> tuple[Person, str] | None:
        """Who took the first step, and how; None when the ticket is forged or too old."""
        try:
            person_id, password, how = self._signer.loads(ticket, max_age=TICKET_SECONDS)
        except (BadSignature, ValueError, TypeError):
            return None
        who = await roster.person(db, person_id)
        if who is None or who.disabled_at is not None or token_hash(who.password_hash) != password:
            return None
        return who, how

    def for_app(self, who: Person, now: int) -> tuple[str, str]:
        """A new secret for an authenticator app, and the ticket that holds it until its first code comes."""
        secret = totp.new_secret()
        return secret, self._vault.encrypt(f"{who.person_id} {now} {secret}").decode()

    def secret(self, who: Person, now: int, ticket: str) -> str | None:
        """The secret in such a ticket; None when it is another person's, forged or too old."""
        try:
            person_id, at, secret = self._vault.decrypt(ticket.encode()).split(" ")
        except (ConfigError, ValueError):
            return None
        return secret if person_id == who.person_id and 0 <= now - int(at) <= TICKET_SECONDS * 1_000 else None


async def begin(db: Database, vault: Vault, now: int, who: Person, secret: str, code: str) -> list[str] | None:
    """From now on a code is asked of them: the recovery codes; None when the first code is wrong."""
    step = totp.step_of(secret, code, now, 0)
    if step is None:
        return None
    async with db.transaction():
        await db.execute(
            "/* second_factor.begin */ update people set totp_secret = ?, totp_step = ? where person_id = ?",
            (vault.encrypt(secret), step, who.person_id),
        )
        codes = await _new_codes(db, who)
        await registry.audit(db, now, "person.second-factor", who.email, "off -> on", who.email)
    return codes


async def renew_codes(db: Database, now: int, who: Person) -> list[str]:
    """New recovery codes; the old ones are void."""
    async with db.transaction():
        codes = await _new_codes(db, who)
        await registry.audit(db, now, "person.recovery-codes", who.email, "made anew", who.email)
    return codes


async def _new_codes(db: Database, who: Person) -> list[str]:
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    await _forget_codes(db, who)
    await db.execute_many(
        "/* second_factor.add_code */ insert into recovery_codes (person_id, code_hash) values (?, ?)",
        [(who.person_id, token_hash(_plain(code))) for code in codes],
    )
    return codes


def _recovery_code() -> str:
    """120 random bits in base32, in groups that can be read aloud."""
    text = base64.b32encode(secrets.token_bytes(15)).decode().lower()
    return "-".join(text[at : at + 6] for at in range(0, len(text), 6))


def _plain(code: str) -> str:
    return "".join(code.lower().split()).replace("-", "")


async def _forget_codes(db: Database, who: Person) -> None:
    sql = "/* second_factor.forget_codes */ delete from recovery_codes where person_id = ?"
    await db.execute(sql, (who.person_id,))


async def codes_left(db: Database, who: Person) -> int:
    sql = "/* second_factor.left */ select count(*) from recovery_codes where person_id = ? and used_at is null"
    return int(await db.value(sql, (who.person_id,)))


async def end(db: Database, now: int, who: Person, actor: str) -> None:
    """No code is asked of them any more."""
    async with db.transaction():
        await db.execute(
            "/* second_factor.end */ update people set totp_secret = null, totp_step = 0 where person_id = ?",
            (who.person_id,),
        )
        await _forget_codes(db, who)
        await registry.audit(db, now, "person.second-factor", who.email, "on -> off", actor)


async def take(db: Database, vault: Vault, now: int, who: Person, given: str) -> Taken | None:
    """Which code it was, if it is right and was not taken before. Of two at once one is."""
    if who.totp_secret is None:
        return None
    step = None
    with suppress(ConfigError):  # stored under a secret key that is lost: then there are the recovery codes
        step = totp.step_of(vault.decrypt(who.totp_secret), given, now, who.totp_step)
    if step is not None:
        sql = "/* second_factor.take */ update people set totp_step = ? where person_id = ? and totp_step < ?"
        return "second step" if await db.change(sql, (step, who.person_id, step)) == 1 else None
    return "recovery code" if await _take_recovery_code(db, now, who, given) else None


async def refuse(db: Database, now: int, who: Person, how: str) -> None:
    """A wrong code came from somebody whose first step was right: that is for the audit. The code is not."""
    async with db.transaction():
        await registry.note(db, now, "person.wrong-code", who.email, f"after {how}", who.email)


async def _take_recovery_code(db: Database, now: int, who: Person, given: str) -> bool:
    async with db.transaction():
        taken = await db.execute(
            """/* second_factor.recover */
            update recovery_codes
            set used_at = ?
            where person_id = ? and code_hash = ? and used_at is null""",
            (now, who.person_id, token_hash(_plain(given))),
        )
        if taken:
            await registry.audit(db, now, "person.recovery-code", who.email, "one was used", who.email)
    return taken == 1
