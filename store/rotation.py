"""Carrying what is stored encrypted over to the newest secret key, so that an older one can leave the ring: write keys,
the secrets of webhooks and those of people's authenticator apps.

All of them in one transaction: killed at any moment, either every row is as before or every row is done. Fingerprints
come from the ring's key for ids; when that is another than they were made with, user ids have changed too, and nobody
should learn that from their partners.
"""

from __future__ import annotations

import msgspec

from store import authentication, destinations, registry
from store.database import Database
from store.destinations import Destination
from store.errors import ConfigError
from store.secrets import Vault


async def check(db: Database, vault: Vault) -> None:
    """Raises ConfigError when nothing that is stored agrees with the secret key: user ids would be others."""
    live = await destinations.active(db)
    if live and not any(_agrees(vault, d) for d in live):
        raise ConfigError(
            "FOOTFALL_SECRET_KEY is not the one that write keys were stored and user ids made under: every"
            " visitor would get a new user id. Add the old one again; where it is lost, enter a write key with"
            " `footfall app set`"
        )


def _agrees(vault: Vault, d: Destination) -> bool:
    try:
        return vault.fingerprint(vault.decrypt(d.segment_write_key)) == d.write_key_fingerprint
    except ConfigError:
        return False


class Rotated(msgspec.Struct, frozen=True):
    """How many write keys are stored, those of replaced destinations included, and how many were carried over now; the
    same of the secrets of authenticator apps, of those with which an app's callers prove who they are, and of
    webhooks."""

    write_keys: int
    renewed: int
    second_factors: int = 0
    second_factors_renewed: int = 0
    key_pairs: int = 0
    key_pairs_renewed: int = 0
    webhook_secrets: int = 0
    webhook_secrets_renewed: int = 0


async def rotate(db: Database, vault: Vault, now: int, new_ids: bool = False) -> Rotated:
    """Encrypt every stored write key under the ring's first key; one that is already is left alone.

    Raises ConfigError when a write key in use cannot be read with any key of the ring or, without `new_ids`, when the
    key for ids is not the one that the fingerprints were made with.
    """
    if db.engine == "sqlite":
        await db.all("pragma secure_delete = 1")  # what was encrypted under the old key is not to stay on a free page
    async with db.transaction():
        rows = await db.all(
            """/* rotation.stored */
            select app_key, destination_id, segment_write_key, write_key_fingerprint, active
            from destinations"""
        )
        renewed = 0
        for app_key, destination_id, stored, fingerprint, active in rows:
            try:
                key = vault.decrypt(stored)
            except ConfigError:
                if active:
                    raise
                continue  # lost with its secret key, and nobody needs it
            made = vault.fingerprint(key)
            if made != fingerprint and not new_ids:
                raise ConfigError(
                    "the secret key from which user ids are made is missing: add it again as a line ids:KEY,"
                    " or say --new-ids if every visitor is to get a new user id"
                )
            if made == fingerprint and vault.is_newest(stored):
                continue
            # A key that somebody has entered since is newer than what was read.
            renewed += await db.execute(
                """/* rotation.renew */
                update destinations
                set segment_write_key = ?, write_key_fingerprint = ?
                where app_key = ? and destination_id = ? and segment_write_key = ?""",
                (vault.encrypt(key), made, app_key, destination_id, stored),
            )
        of_people, of_callers = await _second_factors(db, vault), await _key_pairs(db, vault)
        rotated = Rotated(len(rows), renewed, *of_people, *of_callers, *await _webhook_secrets(db, vault))
        detail = f"{rotated.renewed} of {rotated.write_keys} write keys{', new ids' if new_ids else ''}"
        await registry.audit(db, now, "secret.rotate", "secret key", detail)
    return rotated


async def _second_factors(db: Database, vault: Vault) -> tuple[int, int]:
    """How many there are, and how many were carried over. One that is lost stays: its person needs a new one anyhow."""
    rows = await db.all(
        "/* rotation.second_factors */ select person_id, totp_secret from people where totp_secret is not null"
    )
    renewed = 0
    for person_id, stored in rows:
        if vault.is_newest(stored):
            continue
        try:
            secret = vault.encrypt(vault.decrypt(stored))
        except ConfigError:
            continue
        await db.execute(
            "/* rotation.renew_second_factor */ update people set totp_secret = ? where person_id = ?",
            (secret, person_id),
        )
        renewed += 1
    return len(rows), renewed


async def _key_pairs(db: Database, vault: Vault) -> tuple[int, int]:
    """The same of key pairs. One whose secret is lost proves nothing any more, and its owner makes another."""
    found = await authentication.pairs(db)
    renewed = 0
    for pair in found:
        if vault.is_newest(pair.secret):
            continue
        try:
            secret = vault.encrypt(vault.decrypt(pair.secret))
        except ConfigError:
            continue
        renewed += await db.execute(
            """/* rotation.renew_key_pair */
            update key_pairs
            set secret = ?
            where app_key = ? and api_key = ? and secret = ?""",
            (secret, pair.app_key, pair.api_key, pair.secret),
        )
    return len(found), renewed


async def _webhook_secrets(db: Database, vault: Vault) -> tuple[int, int]:
    """As `_second_factors`: a webhook whose secret is lost is given another on its page."""
    found = renewed = 0
    for column in ("secret", "old_secret"):
        rows = await db.all(
            f"""/* rotation.{column} */
            select app_key, target_id, {column}
            from postback_targets
            where {column} is not null"""  # noqa: S608 - our own column names
        )
        found += len(rows)
        for app_key, target_id, stored in rows:
            if vault.is_newest(stored):
                continue
            try:
                secret = vault.encrypt(vault.decrypt(stored))
            except ConfigError:
                continue
            renewed += await db.execute(
                f"""/* rotation.renew_{column} */
                update postback_targets
                set {column} = ?
                where app_key = ? and target_id = ? and {column} = ?""",  # noqa: S608 - our own column names
                (secret, app_key, target_id, stored),
            )
    return found, renewed
