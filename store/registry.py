"""The registry: partners, apps, destinations and tokens, with the statement that reads or writes each.

Several processes may write it, seldom; every change leaves a line in the audit, in the same transaction.
"""

from __future__ import annotations

import secrets as random
import sqlite3
import uuid

import msgspec

from store import ids
from store.database import Database
from store.errors import ConfigError
from store.secrets import Vault, new_token, token_hash

SCOPES = ("installs", "app-requests", "uninstalls")


class App(msgspec.Struct, frozen=True):
    """A listed app with its partner's ids, as events need them."""

    app_key: str
    partner_key: str
    partner_id: str
    plugin_id: str
    name: str
    guid: str
    ingest_key: str


class Destination(msgspec.Struct, frozen=True):
    """A partner's Segment source for one app. The write key is still encrypted."""

    app_key: str
    destination_id: str
    region: str
    profile: str
    uninstalls: bool
    segment_write_key: bytes
    write_key_last4: str
    start_seq: int


class Token(msgspec.Struct, frozen=True):
    token_hash: str
    name: str
    scopes: frozenset[str]


async def add_partner(db: Database, now: int, partner_key: str, partner_id: str, name: str) -> None:
    """Raises ConfigError when the key or the id is taken."""
    async with db.transaction():
        try:
            await db.execute(
                """/* registry.add_partner */
                insert into partners (partner_key, partner_id, name, created_at)
                values (?, ?, ?, ?)""",
                (partner_key, partner_id, name, now),
            )
        except sqlite3.IntegrityError:
            raise ConfigError(f"there is a partner with key {partner_key} or id {partner_id} already") from None
        await _audit(db, now, "partner.add", partner_key, f"id {partner_id}")


async def add_app(db: Database, now: int, app_key: str, partner_key: str, plugin_id: str, name: str) -> App:
    """Raises ConfigError when the partner is unknown, or the key or the plugin id is taken."""
    async with db.transaction():
        if (
            await db.value("/* registry.partner */ select 1 from partners where partner_key = ?", (partner_key,))
            is None
        ):
            raise ConfigError(f"there is no partner {partner_key}: add it with `footfall partner add`")
        try:
            await db.execute(
                """/* registry.add_app */
                insert into apps (app_key, partner_key, plugin_id, name, guid, ingest_key, created_at)
                values (?, ?, ?, ?, ?, ?, ?)""",
                (app_key, partner_key, plugin_id, name, str(uuid.uuid4()), random.token_hex(16), now),
            )
        except sqlite3.IntegrityError:
            raise ConfigError(f"there is an app with key {app_key} or plugin id {plugin_id} already") from None
        await _audit(db, now, "app.add", app_key, f"partner {partner_key}, plugin id {plugin_id}")
    return await app(db, app_key)


async def apps(db: Database) -> list[App]:
    rows = await db.all(
        """/* registry.apps */
        select app_key, apps.partner_key, partner_id, plugin_id, apps.name, guid, ingest_key
        from apps join partners on partners.partner_key = apps.partner_key
        order by app_key"""
    )
    return [App(*row) for row in rows]


async def app(db: Database, app_key: str) -> App:
    """Raises ConfigError when there is no such app."""
    for found in await apps(db):
        if found.app_key == app_key:
            return found
    raise ConfigError(f"there is no app {app_key}: add it with `footfall app add`")


async def destinations(db: Database) -> list[Destination]:
    """The destinations that take live events."""
    rows = await db.all(
        """/* registry.destinations */
        select app_key, destination_id, region, profile, uninstalls, segment_write_key, write_key_last4, start_seq
        from destinations
        where active = 1
        order by app_key"""
    )
    return [
        Destination(app_key, destination_id, region, profile, bool(uninstalls), key, last4, start)
        for app_key, destination_id, region, profile, uninstalls, key, last4, start in rows
    ]


async def destination(db: Database, app_key: str) -> Destination | None:
    for found in await destinations(db):
        if found.app_key == app_key:
            return found
    return None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a partner enters under Manage app details; None leaves a field as it is."""

    segment_write_key: str | None = None
    region: str | None = None
    profile: str | None = None
    uninstalls: bool | None = None
    new_source: bool = False


async def set_destination(
    db: Database, vault: Vault, now: int, app_key: str, change: Change, start_seq: int
) -> Destination:
    """Change an app's destination, or make it; a new one begins after `start_seq`.

    Another region or another source is another destination, with ids of its own. Raises ConfigError when a first
    change brings no write key.
    """
    async with db.transaction():
        await app(db, app_key)
        old = await destination(db, app_key)
        key = change.segment_write_key or (vault.decrypt(old.segment_write_key) if old else None)
        if key is None:
            raise ConfigError(f"{app_key} has no Segment write key yet: give one with --segment-write-key-file")
        region = change.region or (old.region if old else "us")
        profile = change.profile or (old.profile if old else "mpac")
        uninstalls = change.uninstalls if change.uninstalls is not None else bool(old and old.uninstalls)
        same = old is not None and old.region == region and not change.new_source
        destination_id = old.destination_id if old and same else str(uuid.uuid4())
        await db.execute(
            "/* registry.retire */ update destinations set active = 0, updated_at = ? where app_key = ?", (now, app_key)
        )
        await db.execute(
            """/* registry.set_destination */
            insert into destinations (app_key, destination_id, region, profile, uninstalls, segment_write_key,
              write_key_last4, write_key_fingerprint, start_seq, active, created_at, updated_at)
            values (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)
            on conflict (app_key, destination_id) do update
            set profile = excluded.profile, uninstalls = excluded.uninstalls,
                segment_write_key = excluded.segment_write_key, write_key_last4 = excluded.write_key_last4,
                write_key_fingerprint = excluded.write_key_fingerprint, active = 1, updated_at = excluded.updated_at""",
            (
                app_key,
                destination_id,
                region,
                profile,
                int(uninstalls),
                vault.encrypt(key),
                key[-4:],
                vault.fingerprint(key),
                start_seq,
                now,
                now,
            ),
        )
        await _audit(db, now, "app.set", app_key, f"region {region}, profile {profile}, write key …{key[-4:]}")
    found = await destination(db, app_key)
    assert found is not None  # noqa: S101 - written above
    return found


async def add_token(db: Database, now: int, name: str, scopes: frozenset[str]) -> str:
    """Make an API token and return it; only its hash is kept.

    Raises ConfigError for an unknown scope or a taken name.
    """
    unknown = sorted(scopes - set(SCOPES))
    if unknown or not scopes:
        said = f"{', '.join(unknown)} is none" if unknown else "none was given"
        raise ConfigError(f"a token's scopes are some of {', '.join(SCOPES)}; {said}")
    token = new_token()
    async with db.transaction():
        try:
            await db.execute(
                """/* registry.add_token */
                insert into tokens (token_id, name, token_hash, scopes, created_at)
                values (?, ?, ?, ?, ?)""",
                (str(uuid.uuid4()), name, token_hash(token), " ".join(sorted(scopes)), now),
            )
        except sqlite3.IntegrityError:
            raise ConfigError(f"there is a token named {name} already") from None
        await _audit(db, now, "token.add", name, " ".join(sorted(scopes)))
    return token


async def tokens(db: Database) -> list[Token]:
    rows = await db.all("/* registry.tokens */ select token_hash, name, scopes from tokens")
    return [Token(digest, name, frozenset(scopes.split())) for digest, name, scopes in rows]


async def version(db: Database) -> int:
    """Changes whenever another connection changed the registry."""
    value: int = await db.value("pragma data_version")
    return value


async def _audit(db: Database, now: int, action: str, subject: str, detail: str) -> None:
    await db.execute(
        """/* registry.audit */
        insert into audit (audit_id, at, actor, action, subject, detail)
        values (?, ?, 'command line', ?, ?, ?)""",
        (str(ids.uuid7(now)), now, action, subject, detail),
    )
