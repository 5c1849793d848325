"""Strict authentication: whether an app's callers have to prove who they are, and the key pairs they do it with.

An API key names its secret and travels in the clear; the secret is encrypted at rest, and shown once, when it is made.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Collection

import msgspec

from store import registry
from store.database import Database
from store.errors import ConfigError
from store.secrets import Vault

OFF, ON, QUARANTINE = "off", "on", "quarantine"
MODES = (OFF, ON, QUARANTINE)
MOST_PAIRS = 2  # one, and the one that follows it


class KeyPair(msgspec.Struct, frozen=True):
    """A live pair; `secret` is encrypted."""

    app_key: str
    api_key: str
    secret: bytes
    created_at: int
    created_by: str


class NewPair(msgspec.Struct, frozen=True):
    """A pair as it is shown once."""

    api_key: str
    secret: str


async def set_mode(db: Database, now: int, app_key: str, mode: str, actor: str = registry.COMMAND_LINE) -> None:
    """Raises ConfigError for a mode that there is not, and for one that nobody could satisfy for want of a key pair."""
    if mode not in MODES:
        raise ConfigError(f"authentication is one of {', '.join(MODES)}")
    async with db.transaction():
        if mode != OFF and not await pairs(db, [app_key]):
            raise ConfigError("make a key pair first: without one no call could prove who sends it")
        await db.execute(
            "/* authentication.set_mode */ update apps set authentication = ? where app_key = ?", (mode, app_key)
        )
        await registry.audit(db, now, "authentication.mode", app_key, mode, actor)


async def add_pair(db: Database, vault: Vault, now: int, app_key: str, actor: str = registry.COMMAND_LINE) -> NewPair:
    """Make a pair and return it. Raises ConfigError when two are live already."""
    made = NewPair(f"ffk_{random.token_hex(16)}", random.token_hex(32))
    async with db.transaction():
        await db.execute(
            "/* authentication.hold */ update apps set authentication = authentication where app_key = ?", (app_key,)
        )
        if len(await pairs(db, [app_key])) >= MOST_PAIRS:
            raise ConfigError("two key pairs are live: revoke the older one before you make another")
        await db.execute(
            """/* authentication.add_pair */
            insert into key_pairs (app_key, api_key, secret, created_at, created_by)
            values (?, ?, ?, ?, ?)""",
            (app_key, made.api_key, vault.encrypt(made.secret), now, actor),
        )
        await registry.audit(db, now, "authentication.add-key", app_key, made.api_key, actor)
    return made


async def revoke_pair(db: Database, now: int, app_key: str, api_key: str, actor: str = registry.COMMAND_LINE) -> bool:
    """Every collector forgets it within a second. Whether it was there."""
    async with db.transaction():
        gone = await db.execute(
            "/* authentication.revoke_pair */ delete from key_pairs where app_key = ? and api_key = ?",
            (app_key, api_key),
        )
        if gone:
            await registry.audit(db, now, "authentication.revoke-key", app_key, api_key, actor)
    return bool(gone)


async def pairs(db: Database, of: Collection[str] | None = None) -> list[KeyPair]:
    """Of these apps, or of all: the oldest first."""
    return [KeyPair(*row) for row in await db.each(_PAIRS, "app_key", of, "order by created_at, api_key")]


_PAIRS = """/* authentication.pairs */
    select app_key, api_key, secret, created_at, created_by
    from key_pairs"""
