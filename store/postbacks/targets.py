"""Who is told the results of attribution, in the registry: an app's own Segment source, and webhooks; and what people
ask of the exporter about them.

A webhook's secret is shown once and kept encrypted. After a rotation the one before signs as well for a week.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection
from typing import Literal

import msgspec

from store import registry
from store.database import Database
from store.destinations import MAIN
from store.errors import ConfigError, Conflict
from store.secrets import Vault

Kind = Literal["segment", "webhook"]
Delivery = Literal["all", "network", "agency"]
FOOTFALL = "Footfall"
MOST_WEBHOOKS = 20  # of an app
MOST_DELAY_MS = 600_000
MOST_RETRIES = 10
OVERLAP_MS = 7 * 86_400_000  # in which two secrets sign
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,60}\Z")


class Target(msgspec.Struct, frozen=True):
    """One who is told. Secrets are still encrypted; `name` is the destination's, for Segment."""

    app_key: str
    target_id: str
    kind: Kind
    name: str
    active: bool
    delivery: Delivery
    networks: str
    agencies: str
    delay_ms: int
    retries: int
    provider: str
    url: str
    form: Literal["json", "form"]
    template: str
    secret: bytes | None
    secret_last4: str
    old_secret: bytes | None
    old_until: int
    begins_at: int
    removed_at: int | None
    created_at: int

    @property
    def keys(self) -> tuple[str, str]:
        return self.app_key, self.target_id

    def secrets(self, vault: Vault, now: int) -> list[str]:
        """What signs now, the newest first. Raises ConfigError when one cannot be read."""
        stored = [self.secret, self.old_secret if now < self.old_until else None]
        return [vault.decrypt(secret) for secret in stored if secret is not None]


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a person enters about a target; see docs/reference/postbacks.md."""

    name: str = MAIN
    active: bool = True
    delivery: str = "all"
    networks: str = ""
    agencies: str = ""
    delay_ms: int = 0
    retries: int = 5
    provider: str = FOOTFALL
    url: str = ""
    form: str = "json"
    template: str = ""


def names(text: str) -> list[str]:
    """Names between commas, as they are compared."""
    return [name.strip().casefold() for name in text.split(",") if name.strip()]


def check(wishes: Wishes) -> None:
    """Raises ConfigError that says what would be right. The address and the template are for others to check."""
    if not _NAME.match(wishes.name.strip()):
        raise ConfigError("a webhook's name has 1 to 60 characters")
    if not _NAME.match(wishes.provider.strip()):
        raise ConfigError("the provider's name has 1 to 60 characters")
    if wishes.delivery not in ("all", "network", "agency"):
        raise ConfigError("choose of which installs is told")
    if wishes.delivery == "agency" and not names(wishes.agencies):
        raise ConfigError("name the agency whose campaigns are told, too")
    if max(len(wishes.networks), len(wishes.agencies)) > 1_000:
        raise ConfigError("the names of networks and of agencies have at most 1,000 characters")
    if not 0 <= wishes.delay_ms <= MOST_DELAY_MS:
        raise ConfigError("the delay is 0 to 10 minutes")
    if not 0 <= wishes.retries <= MOST_RETRIES:
        raise ConfigError("there are 0 to 10 retries")
    if wishes.form not in ("json", "form"):
        raise ConfigError("choose a form of the body")


_COLUMNS = ", ".join(Target.__struct_fields__)


async def of_apps(db: Database, of: Collection[str] | None = None, removed: bool = False) -> list[Target]:
    """All targets, or those of some apps, in the order in which they were made; with `removed`, those too."""
    rows = await db.each(_ALL, "app_key", of, "order by app_key, created_at, target_id")
    fields = Target.__struct_fields__
    found = [msgspec.convert(dict(zip(fields, row, strict=True)), Target, strict=False) for row in rows]
    return [target for target in found if removed or target.removed_at is None]


_ALL = f"/* postbacks.targets */ select {_COLUMNS} from postback_targets"  # noqa: S608 - our own column names


async def target(db: Database, app_key: str, target_id: str) -> Target:
    """Raises ConfigError when the app has no such target."""
    for found in await of_apps(db, [app_key]):
        if found.target_id == target_id:
            return found
    raise ConfigError(f"{app_key} has no webhook {target_id}")


async def to_segment(db: Database, app_key: str) -> Target | None:
    """What tells the app's own Segment source, if that was ever set."""
    return next((found for found in await of_apps(db, [app_key]) if found.kind == "segment"), None)


async def webhooks(db: Database, app_key: str) -> list[Target]:
    return [found for found in await of_apps(db, [app_key]) if found.kind == "webhook"]


async def set_segment(db: Database, now: int, app_key: str, wishes: Wishes, actor: str) -> Target:
    """Set how the app's own source is told, from now on. Raises ConfigError."""
    check(wishes)
    old = await to_segment(db, app_key)
    told = _as_wished(old or _new(app_key, "segment", now), wishes)
    told = msgspec.structs.replace(told, url="", template="")
    async with db.transaction():
        await registry.app(db, app_key)
        await _put(db, now, told)
        await registry.audit(db, now, "postback.set", app_key, _words(told), actor)
    return told


async def add_webhook(
    db: Database, vault: Vault, now: int, app_key: str, wishes: Wishes, secret: str, actor: str
) -> Target:
    """Make a webhook that is told what is decided from now on. Raises ConfigError."""
    check(wishes)
    if len(await webhooks(db, app_key)) >= MOST_WEBHOOKS:
        raise ConfigError(f"an app has at most {MOST_WEBHOOKS} webhooks")
    told = _as_wished(_new(app_key, "webhook", now), wishes)
    told = msgspec.structs.replace(told, secret=vault.encrypt(secret), secret_last4=secret[-4:])
    async with db.transaction():
        await registry.app(db, app_key)
        await _put(db, now, told)
        await registry.audit(db, now, "postback.add", app_key, _words(told), actor)
    return told


async def change_webhook(db: Database, now: int, old: Target, wishes: Wishes, actor: str) -> Target:
    """Raises ConfigError."""
    check(wishes)
    told = _as_wished(old, wishes)
    async with db.transaction():
        await _put(db, now, told)
        await registry.audit(db, now, "postback.set", old.app_key, _words(told), actor)
    return told


async def rotate_secret(db: Database, vault: Vault, now: int, old: Target, secret: str, actor: str) -> Target:
    """Give a webhook another secret; the one before signs as well for a week, the one before that no more."""
    told = msgspec.structs.replace(
        old,
        secret=vault.encrypt(secret),
        secret_last4=secret[-4:],
        old_secret=old.secret,
        old_until=now + OVERLAP_MS,
    )
    async with db.transaction():
        await _put(db, now, told)
        detail = f"webhook {old.name}: …{old.secret_last4} -> …{told.secret_last4}"
        await registry.audit(db, now, "postback.secret", old.app_key, detail, actor)
    return told


async def end_old_secret(db: Database, now: int, old: Target, actor: str) -> None:
    """Let only the newest secret sign, at once."""
    async with db.transaction():
        await _put(db, now, msgspec.structs.replace(old, old_secret=None, old_until=0))
        await registry.audit(db, now, "postback.secret", old.app_key, f"webhook {old.name}: one secret left", actor)


async def remove(db: Database, now: int, old: Target, actor: str) -> None:
    """Tell a webhook nothing more; its secrets are gone, its row stays for the ledger."""
    async with db.transaction():
        gone = msgspec.structs.replace(old, active=False, secret=None, old_secret=None, removed_at=now)
        await _put(db, now, gone)
        await registry.audit(db, now, "postback.remove", old.app_key, f"webhook {old.name}", actor)


def _new(app_key: str, kind: Kind, now: int) -> Target:
    return Target(
        app_key,
        str(uuid.uuid4()),
        kind,
        name=MAIN,
        active=False,
        delivery="all",
        networks="",
        agencies="",
        delay_ms=0,
        retries=0,
        provider=FOOTFALL,
        url="",
        form="json",
        template="",
        secret=None,
        secret_last4="",
        old_secret=None,
        old_until=0,
        begins_at=now,
        removed_at=None,
        created_at=now,
    )


def _as_wished(old: Target, wishes: Wishes) -> Target:
    told = msgspec.structs.asdict(wishes) | {"name": wishes.name.strip(), "provider": wishes.provider.strip()}
    return msgspec.structs.replace(old, **told)


async def _put(db: Database, now: int, told: Target) -> None:
    """Raises ConfigError when the name is taken."""
    fields = Target.__struct_fields__
    changed = ", ".join(f"{name} = excluded.{name}" for name in fields if name not in ("app_key", "target_id"))
    try:
        await db.execute(
            f"""/* postbacks.put */
            insert into postback_targets ({_COLUMNS}, updated_at)
            values ({", ".join("?" * len(fields))}, ?)
            on conflict (app_key, target_id) do update
            set {changed}, updated_at = excluded.updated_at""",  # noqa: S608 - our own column names
            (*msgspec.structs.astuple(told), now),
        )
    except Conflict:
        raise ConfigError(f"there is a webhook named {told.name} already") from None


def _words(told: Target) -> str:
    """A target in words, without secrets."""
    what = f"webhook {told.name} at {told.url.partition('?')[0]}" if told.kind == "webhook" else "Install Attributed"
    state = "on" if told.active else "off"
    of = {"all": "all", "network": "network only", "agency": "network and agency"}[told.delivery]
    whose = " / ".join(filter(None, (told.networks, told.agencies)))
    named = f" ({whose})" if whose and told.delivery != "all" else ""
    return f"{what}: {state}, {of}{named}, delay {told.delay_ms // 1_000} s, {told.retries} retries"


async def note_disabled(db: Database, target: Target, at: int, why: str) -> None:
    """That the exporter sends to a target no more, for the audit: once, however often it is seen."""
    mark = hashlib.sha256(f"{target.app_key}\n{target.target_id}\n{at}".encode()).digest()[:10]
    audit_id = str(uuid.UUID(bytes=at.to_bytes(6, "big") + mark))
    what = f"webhook {target.name}" if target.kind == "webhook" else "Install Attributed"
    await registry.note_once(db, audit_id, at, "postback.disabled", target.app_key, f"{what}: {why}", "exporter")
