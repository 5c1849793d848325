"""The registry: partners, apps and tokens, with the statement that reads or writes each.

Several processes may write it, seldom; every change leaves a line in the audit, in the same transaction.
"""

from __future__ import annotations

import secrets as random
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress

import msgspec

from store import ids
from store.database import Connection, Database
from store.errors import ConfigError, Conflict
from store.secrets import new_token, token_hash

COMMAND_LINE = "command line"  # who did it, in the audit
SCOPES = ("installs", "app-requests", "uninstalls")  # of the marketplace's back end
PARTNER_SCOPES = ("read",)  # of a partner's own tokens


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
    authentication: str = "off"  # see store/authentication.py


class Partner(msgspec.Struct, frozen=True):
    """`apps` and `people` are how many it has."""

    partner_key: str
    partner_id: str
    name: str
    created_at: int
    apps: int
    people: int


class Token(msgspec.Struct, frozen=True):
    """An API token, without what it is. `partner_key` is None for the marketplace's own, `app_key` for all apps of the
    partner; times in epoch milliseconds."""

    token_id: str
    token_hash: str
    name: str
    scopes: frozenset[str]
    partner_key: str | None
    app_key: str | None
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    created_by: str
    last4: str

    @property
    def label(self) -> str:
        """The name as its owner gave it: partners' names are kept apart from each other."""
        return self.name.removeprefix(f"{self.partner_key}/") if self.partner_key else self.name

    def is_valid(self, now: int) -> bool:
        return self.expires_at is None or now < self.expires_at


async def add_partner(
    db: Database, now: int, partner_key: str, partner_id: str, name: str, actor: str = COMMAND_LINE
) -> None:
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
        await audit(db, now, "partner.add", partner_key, f"id {partner_id}", actor)


async def partner(db: Database, partner_key: str) -> Partner:
    """Raises ConfigError when there is no such partner."""
    for found in await partners(db):
        if found.partner_key == partner_key:
            return found
    raise ConfigError(f"there is no partner {partner_key}: add it with `footfall partner add`")


async def partner_name(db: Database, partner_key: str) -> str:
    name: str = await db.value(
        "/* registry.partner_name */ select name from partners where partner_key = ?", (partner_key,)
    )
    return name


async def partners(db: Database) -> list[Partner]:
    """By key."""
    rows = await db.all(
        """/* registry.partners */
        select partner_key, partner_id, name, created_at,
          (select count(*) from apps where apps.partner_key = partners.partner_key),
          (select count(*) from people where people.partner_key = partners.partner_key)
        from partners
        order by partner_key"""
    )
    return [Partner(*row) for row in rows]


async def add_app(
    db: Database, now: int, app_key: str, partner_key: str, plugin_id: str, name: str, actor: str = COMMAND_LINE
) -> App:
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
        await audit(db, now, "app.add", app_key, f"partner {partner_key}, plugin id {plugin_id}", actor)
    return await app(db, app_key)


async def apps(db: Database, of: Collection[str] | None = None) -> list[App]:
    """By key; only some of them."""
    return [App(*row) for row in await db.each(_APPS, "apps.app_key", of, "order by app_key")]


_APPS = """/* registry.apps */
    select app_key, apps.partner_key, partner_id, plugin_id, apps.name, guid, ingest_key, listing_url,
      authentication
    from apps join partners on partners.partner_key = apps.partner_key"""


async def app(db: Database, app_key: str) -> App:
    """Raises ConfigError when there is no such app."""
    for found in await apps(db, [app_key]):
        return found
    raise ConfigError(f"there is no app {app_key}: add it with `footfall app add`")


async def add_token(
    db: Database,
    now: int,
    name: str,
    scopes: frozenset[str],
    *,
    partner_key: str | None = None,
    app_key: str | None = None,
    expires_at: int | None = None,
    actor: str = COMMAND_LINE,
) -> str:
    """Make an API token and return it; only its hash is kept. With `partner_key` it is for that partner's data.

    Raises ConfigError for an unknown scope, a taken name, or an app of another partner.
    """
    known = SCOPES if partner_key is None else PARTNER_SCOPES
    unknown = sorted(scopes - set(known))
    if unknown or not scopes:
        said = f"{', '.join(unknown)} is none" if unknown else "none was given"
        raise ConfigError(f"a token's scopes are some of {', '.join(known)}; {said}")
    token, kept_name = new_token(), f"{partner_key}/{name}" if partner_key else name
    values = (str(uuid.uuid4()), kept_name, token_hash(token), " ".join(sorted(scopes)), now)
    async with db.transaction():
        if app_key is not None and (await app(db, app_key)).partner_key != partner_key:
            raise ConfigError(f"there is no app {app_key} of this partner")
        try:
            await db.execute(
                """/* registry.add_token */
                insert into tokens (token_id, name, token_hash, scopes, created_at,
                  partner_key, app_key, expires_at, created_by, last4)
                values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
                (*values, partner_key, app_key, expires_at, actor, token[-4:]),
            )
        except Conflict:
            raise ConfigError(f"there is a token named {name} already") from None
        of_app = f", app {app_key}" if app_key else ""
        await audit(db, now, "token.add", kept_name, " ".join(sorted(scopes)) + of_app, actor)
    return token


_TOKENS = f"/* registry.tokens */ select {', '.join(Token.__struct_fields__)} from tokens"  # noqa: S608 - our own names


async def tokens(db: Database, partner_key: str | None = None) -> list[Token]:
    """All, or a partner's, by name; expired ones too."""
    of = None if partner_key is None else [partner_key]
    rows = await db.each(_TOKENS, "partner_key", of, "order by name")
    return [msgspec.structs.replace(Token(*row), scopes=frozenset(row[3].split())) for row in rows]


async def revoke_token(db: Database, now: int, token: Token, actor: str) -> None:
    """Every collector forgets it within a second; its name is free again."""
    async with db.transaction():
        await audit(db, now, "token.revoke", token.name, " ".join(sorted(token.scopes)), actor)  # while it has an owner
        await db.execute("/* registry.revoke_token */ delete from tokens where token_id = ?", (token.token_id,))


async def used_tokens(db: Database, used: Mapping[str, int]) -> None:
    """Keep when tokens were last used, by their ids. It is no change that others have to see at once."""
    await db.atomic(_used_tokens, [(at, token_id, at) for token_id, at in sorted(used.items())])


def _used_tokens(connection: Connection, rows: list[tuple[int, str, int]]) -> None:
    connection.executemany(
        """/* registry.used_tokens */
        update tokens
        set last_used_at = ?
        where token_id = ? and coalesce(last_used_at, 0) < ?""",
        rows,
    )


async def version(db: Database) -> str:
    """Changes with every change of the registry, and is another when an older registry was put back and changed."""
    value: str = await db.value(
        """/* registry.version */
        select n || ' ' || changed
        from revision"""
    )
    return value


async def audit(db: Database, now: int, action: str, subject: str, detail: str, actor: str = COMMAND_LINE) -> None:
    """Record a change, within its transaction, and have every process see it; `detail` is without secrets."""
    audit_id = str(ids.uuid7(now))
    await db.execute("/* registry.changed */ update revision set n = n + 1, changed = ?", (audit_id,))
    await _line(db, audit_id, now, action, subject, detail, actor)


async def note(db: Database, now: int, action: str, subject: str, detail: str, actor: str) -> None:
    """As `audit`, of what changes nothing that other processes keep in memory: somebody signed in."""
    await _line(db, str(ids.uuid7(now)), now, action, subject, detail, actor)


async def note_once(db: Database, audit_id: str, at: int, action: str, subject: str, detail: str, actor: str) -> None:
    """As `note`, of what several processes see: the line is there once."""
    with suppress(Conflict):
        await _line(db, audit_id, at, action, subject, detail, actor)


async def _line(db: Database, audit_id: str, now: int, action: str, subject: str, detail: str, actor: str) -> None:
    sql = _WHOSE.get(action.partition(".")[0])
    partner_key = await db.value(sql, (subject,)) if sql else None
    await db.execute(
        """/* registry.audit */
        insert into audit (audit_id, at, actor, action, subject, detail, partner_key)
        values (?, ?, ?, ?, ?, ?, ?)""",
        (audit_id, now, actor, action, subject, detail, partner_key),
    )


# Whose a line is, by what kind of thing it is about; that of any other kind is for operators alone.
_OF_APP = "/* registry.whose_app */ select partner_key from apps where app_key = ?"
_WHOSE = {
    "app": _OF_APP,
    "event": _OF_APP,
    "replay": _OF_APP,
    "park": _OF_APP,
    "resume": _OF_APP,
    "postback": _OF_APP,
    "authentication": _OF_APP,
    "quarantine": _OF_APP,
    "partner": "/* registry.whose_partner */ select partner_key from partners where partner_key = ?",
    "person": "/* registry.whose_person */ select partner_key from people where email = ?",
    "token": "/* registry.whose_token */ select partner_key from tokens where name = ?",
}
