"""The registry: partners, apps and tokens, with the statement that reads or writes each.

Several processes may write it, seldom; every change leaves a line in the audit, in the same transaction.
"""

from __future__ import annotations

import secrets as random
import uuid
from collections.abc import Collection

import msgspec

from store import ids
from store.database import Database
from store.errors import ConfigError, Conflict
from store.secrets import new_token, token_hash

COMMAND_LINE = "command line"  # who did it, in the audit
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
    listing_url: str = ""


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
        except Conflict:
            raise ConfigError(f"there is a partner with key {partner_key} or id {partner_id} already") from None
        await audit(db, now, "partner.add", partner_key, f"id {partner_id}")


async def partner_name(db: Database, partner_key: str) -> str:
    name: str = await db.value(
        "/* registry.partner_name */ select name from partners where partner_key = ?", (partner_key,)
    )
    return name


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
        except Conflict:
            raise ConfigError(f"there is an app with key {app_key} or plugin id {plugin_id} already") from None
        await audit(db, now, "app.add", app_key, f"partner {partner_key}, plugin id {plugin_id}")
    return await app(db, app_key)


async def apps(db: Database, of: Collection[str] | None = None) -> list[App]:
    """By key; only some of them."""
    return [App(*row) for row in await db.each(_APPS, "apps.app_key", of, "order by app_key")]


_APPS = """/* registry.apps */
    select app_key, apps.partner_key, partner_id, plugin_id, apps.name, guid, ingest_key, listing_url
    from apps join partners on partners.partner_key = apps.partner_key"""


async def app(db: Database, app_key: str) -> App:
    """Raises ConfigError when there is no such app."""
    for found in await apps(db, [app_key]):
        return found
    raise ConfigError(f"there is no app {app_key}: add it with `footfall app add`")


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
        except Conflict:
            raise ConfigError(f"there is a token named {name} already") from None
        await audit(db, now, "token.add", name, " ".join(sorted(scopes)))
    return token


async def tokens(db: Database) -> list[Token]:
    rows = await db.all("/* registry.tokens */ select token_hash, name, scopes from tokens")
    return [Token(digest, name, frozenset(scopes.split())) for digest, name, scopes in rows]


async def version(db: Database) -> str:
    """Changes with every change of the registry, and is another when an older registry was put back and changed."""
    value: str = await db.value(
        """/* registry.version */
        select n || ' ' || coalesce((select max(audit_id) from audit), '')
        from revision"""
    )
    return value


async def audit(db: Database, now: int, action: str, subject: str, detail: str, actor: str = COMMAND_LINE) -> None:
    """Record a change, within its transaction, and have every process see it; `detail` is without secrets."""
    await db.execute("/* registry.changed */ update revision set n = n + 1")
    await db.execute(
        """/* registry.audit */
        insert into audit (audit_id, at, actor, action, subject, detail)
        values (?, ?, ?, ?, ?, ?)""",
        (str(ids.uuid7(now)), now, actor, action, subject, detail),
    )
