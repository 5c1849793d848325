"""Proof that a write key is the partner's: a code that goes out in a test event and has to come back from a person.

Segment answers success to any key, so an answer proves nothing; a code that somebody read in the source's own debugger
proves key, region and source at once. Only a keyed hash of it is kept, for a day, and for five answers.
"""

from __future__ import annotations

import hmac
import secrets

from store import registry
from store.database import Database
from store.destinations import Destination
from store.errors import ConfigError
from store.secrets import Vault

ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # nothing that looks like something else
LENGTH = 6
VALID_MS = 24 * 3_600_000
ANSWERS = 5
REMIND_MS = 13 * 24 * 3_600_000  # Segment disables a source without an enabled destination after 14 days


def new_code() -> str:
    """Six characters, about 30 bits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def is_old(verified_at: int, now: int) -> bool:
    """Whether a proof is so old that the source may have been disabled since."""
    return now - verified_at > REMIND_MS


async def ask(db: Database, vault: Vault, now: int, d: Destination, code: str) -> None:
    """Remember that this code is on its way there; an earlier one is void."""
    async with db.transaction():
        await _keep(db, d, vault.code_hash(d.destination_id, code), now, 0)
        await _audit(db, now, d, "code sent")


async def answer(db: Database, vault: Vault, now: int, d: Destination, code: str) -> None:
    """Verify a destination by the code that was read there. Raises ConfigError that says what was wrong with it."""
    async with db.transaction():  # ends well for a wrong answer too, which counts
        kept, sent_at, wrong = await _kept(db, d)
        given = vault.code_hash(d.destination_id, code.strip().upper())
        left = ANSWERS - wrong - 1
        if not kept:
            refused = "no code is awaited"
        elif not 0 <= now - sent_at < VALID_MS:
            refused = "the code is older than a day"
        elif hmac.compare_digest(kept, given):
            refused = ""
            await _verify(db, now, d)
        else:
            refused = "that is not the code" if left else "that is not the code, for the fifth time, and it is void"
            await _keep(db, d, kept if left else "", sent_at, wrong + 1)
            await _audit(db, now, d, f"wrong code, {left} answers left")
    if refused == "that is not the code":
        raise ConfigError(f"{refused}; answers that are left: {left}")
    if refused:
        raise ConfigError(f"{refused}; send another with `footfall app verify {d.app_key} --destination {d.name}`")


async def _verify(db: Database, now: int, d: Destination) -> None:
    await _keep(db, d, "", 0, 0)
    await db.execute(
        """/* proof.verify */
        update destinations
        set verified_at = ?
        where app_key = ? and destination_id = ?""",
        (now, d.app_key, d.destination_id),
    )
    await _audit(db, now, d, "verified")


async def _kept(db: Database, d: Destination) -> tuple[str, int, int]:
    row = await db.one(
        """/* proof.kept */
        select code_hash, code_sent_at, code_wrong
        from destinations
        where app_key = ? and destination_id = ? and active = 1""",
        (d.app_key, d.destination_id),
    )
    return (row[0], row[1], row[2]) if row else ("", 0, 0)


async def _keep(db: Database, d: Destination, code_hash: str, sent_at: int, wrong: int) -> None:
    await db.execute(
        """/* proof.keep */
        update destinations
        set code_hash = ?, code_sent_at = ?, code_wrong = ?
        where app_key = ? and destination_id = ?""",
        (code_hash, sent_at, wrong, d.app_key, d.destination_id),
    )


async def _audit(db: Database, now: int, d: Destination, what: str) -> None:
    await registry.audit(db, now, "app.verify", d.app_key, f"{d.name}: {what}, write key …{d.write_key_last4}")
