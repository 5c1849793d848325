"""Where an app's events go, in the registry: destinations, replays of a window, and what is asked of the exporter.

A course is what the exporter ships: a destination's live events, or a replay. Each has a cursor in the ledger.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from typing import Literal

import msgspec

from store import ids, registry
from store.database import Database
from store.errors import ConfigError
from store.secrets import Vault

Action = Literal["release", "drop", "resume"]
MAIN = "main"


class Destination(msgspec.Struct, frozen=True):
    """A partner's source for one app. The write key is still encrypted; `url` is '' for Segment itself."""

    app_key: str
    destination_id: str
    name: str
    region: str
    url: str
    profile: str
    uninstalls: bool
    segment_write_key: bytes
    write_key_last4: str
    write_key_fingerprint: str
    start_seq: int
    active: bool
    verified_at: int | None
    code_hash: str
    code_sent_at: int


_COLUMNS = ", ".join(Destination.__struct_fields__)


class Course(msgspec.Struct, frozen=True):
    """What has a cursor of its own: events past `start_seq`, up to `last_seq` if there is one, for one destination.

    `ids_from` is the UUID that the events' ids are made from.
    """

    course_id: str
    destination: Destination
    ids_from: str
    start_seq: int
    last_seq: int | None = None

    @property
    def app_key(self) -> str:
        return self.destination.app_key


class Replay(msgspec.Struct, frozen=True):
    """Events of an app past `first_seq` up to `last_seq` once more, for one of its destinations."""

    app_key: str
    replay_id: str
    destination_id: str
    first_seq: int
    last_seq: int
    new_ids: bool
    cancelled: bool


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a partner enters under Manage app details; None leaves a field as it is."""

    segment_write_key: str | None = None
    region: str | None = None
    url: str | None = None
    profile: str | None = None
    uninstalls: bool | None = None
    new_source: bool = False


class Intent(msgspec.Struct, frozen=True):
    """Something asked of the exporter about one course; `seq` is of the parked event."""

    intent_id: str
    app_key: str
    destination_id: str
    action: Action
    seq: int


async def destinations(db: Database, of: Collection[str] | None = None) -> list[Destination]:
    """All that there ever were, the replaced and removed ones too, by app and name; only those of some apps."""
    rows = await db.each(_ALL, "app_key", of, "order by app_key, name, created_at")
    names = Destination.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), Destination, strict=False) for row in rows]


_ALL = f"/* destinations.all */ select {_COLUMNS} from destinations"  # noqa: S608 - our own column names


async def active(db: Database, of: Collection[str] | None = None) -> list[Destination]:
    """Those that take live events."""
    return [found for found in await destinations(db, of) if found.active]


async def destination(db: Database, app_key: str, name: str = MAIN) -> Destination | None:
    """The one of that name that takes the app's live events."""
    return next((found for found in await active(db, [app_key]) if found.name == name), None)


async def with_key_of(db: Database, d: Destination) -> list[Destination]:
    """Those that take live events with the same write key, whosever they are; this one is among them."""
    rows = await db.all(
        f"""/* destinations.with_key */
        select {_COLUMNS}
        from destinations
        where write_key_fingerprint = ? and active = 1""",  # noqa: S608 - our own column names
        (d.write_key_fingerprint,),
    )
    names = Destination.__struct_fields__
    return [msgspec.convert(dict(zip(names, row, strict=True)), Destination, strict=False) for row in rows]


def same_key(d: Destination, live: Iterable[Destination]) -> list[str]:
    """Where else this write key is in use: the other apps, and the app's other destinations as `app/name`."""
    others = [o for o in live if o.write_key_fingerprint == d.write_key_fingerprint]
    return sorted(
        {o.app_key if o.app_key != d.app_key else f"{o.app_key}/{o.name}" for o in others} - {f"{d.app_key}/{d.name}"}
    )


async def named(db: Database, app_key: str, name: str) -> Destination:
    """As `destination`. Raises ConfigError when there is none, or no such app."""
    await registry.app(db, app_key)
    found = await destination(db, app_key, name)
    if found is None:
        raise ConfigError(f"{app_key} has no destination {name}: make it with `footfall app set`")
    return found


async def courses(db: Database, replaced: bool = False, of: Collection[str] | None = None) -> list[Course]:
    """Everything that is to be shipped, or what is of some apps: live events first, then replays in the order in which
    they were asked for; with `replaced`, also what no longer is."""
    there = await destinations(db, of) if replaced else await active(db, of)
    found = [Course(d.destination_id, d, d.destination_id, d.start_seq) for d in there]
    by_id = {d.destination_id: d for d in there}
    for replay in await replays(db, of):
        if replay.destination_id in by_id and (replaced or not replay.cancelled):
            d = by_id[replay.destination_id]
            ids_from = replay.replay_id if replay.new_ids else d.destination_id
            found.append(Course(replay.replay_id, d, ids_from, replay.first_seq, replay.last_seq))
    return found


async def replays(db: Database, of: Collection[str] | None = None) -> list[Replay]:
    """Every replay that was ever asked for, in order; only those of some apps."""
    rows = await db.each(_REPLAYS, "app_key", of, "order by replay_id")
    return [Replay(a, r, d, first, last, bool(new), bool(off)) for a, r, d, first, last, new, off in rows]


_REPLAYS = """/* destinations.replays */
    select app_key, replay_id, destination_id, first_seq, last_seq, new_ids, cancelled
    from replays"""


async def set_destination(
    db: Database,
    vault: Vault,
    now: int,
    app_key: str,
    change: Change,
    start_seq: int,
    name: str = MAIN,
    actor: str = registry.COMMAND_LINE,
) -> Destination:
    """Change an app's destination of that name, or make it; a new one begins after `start_seq`.

    Another region, address or source is another destination, with ids of its own. Raises ConfigError when a first
    change brings no write key.
    """
    async with db.transaction():
        await registry.app(db, app_key)
        old = await destination(db, app_key, name)
        key = change.segment_write_key or (vault.decrypt(old.segment_write_key) if old else None)
        if key is None:
            raise ConfigError(f"{app_key} has no Segment write key yet: give one with --segment-write-key-file")
        new = _changed(vault, app_key, name, old, change, key, start_seq)
        await db.execute(
            """/* destinations.retire */
            update destinations
            set active = 0, updated_at = ?
            where app_key = ? and name = ?""",
            (now, app_key, name),
        )
        await db.execute(
            f"""/* destinations.set */
            insert into destinations ({_COLUMNS}, created_at, updated_at)
            values ({", ".join("?" * len(Destination.__struct_fields__))}, ?, ?)
            on conflict (app_key, destination_id) do update
            set profile = excluded.profile, uninstalls = excluded.uninstalls,
                segment_write_key = excluded.segment_write_key, write_key_last4 = excluded.write_key_last4,
                write_key_fingerprint = excluded.write_key_fingerprint, verified_at = excluded.verified_at,
                code_hash = excluded.code_hash, code_sent_at = excluded.code_sent_at,
                active = 1, updated_at = excluded.updated_at""",  # noqa: S608 - our own column names
            (*msgspec.structs.astuple(new), now, now),
        )
        await registry.audit(db, now, "app.set", app_key, _told(old, new), actor)
    return new


def _changed(
    vault: Vault, app_key: str, name: str, old: Destination | None, change: Change, key: str, start_seq: int
) -> Destination:
    """A destination after a change; what was proved of it holds only for the same key at the same place."""
    region = change.region or (old.region if old else "us")
    url = change.url if change.url is not None else (old.url if old else "")
    fingerprint = vault.fingerprint(key)
    same = old is not None and (old.region, old.url) == (region, url) and not change.new_source
    proved = old if same and old and old.write_key_fingerprint == fingerprint else None
    return Destination(
        app_key,
        old.destination_id if old and same else str(uuid.uuid4()),
        name,
        region,
        url,
        change.profile or (old.profile if old else "mpac"),
        change.uninstalls if change.uninstalls is not None else bool(old and old.uninstalls),
        vault.encrypt(key),
        key[-4:],
        fingerprint,
        old.start_seq if old and same else start_seq,
        True,
        proved.verified_at if proved else None,
        proved.code_hash if proved else "",
        proved.code_sent_at if proved else 0,
    )


def _told(old: Destination | None, new: Destination) -> str:
    """A change in words: before and after, without secrets."""

    def words(d: Destination) -> str:
        at = f" at {d.url}" if d.url else ""
        uninstalls = ", uninstalls" if d.uninstalls else ""
        return f"{d.name}: region {d.region}{at}, profile {d.profile}{uninstalls}, write key …{d.write_key_last4}"

    return f"{words(old)} -> {words(new)}" if old else words(new)


async def remove_destination(
    db: Database, now: int, app_key: str, name: str, actor: str = registry.COMMAND_LINE
) -> None:
    """Stop sending an app's events there. Raises ConfigError when there is no such destination."""
    async with db.transaction():
        old = await named(db, app_key, name)
        await db.execute(
            """/* destinations.remove */
            update destinations
            set active = 0, updated_at = ?
            where app_key = ? and destination_id = ?""",
            (now, app_key, old.destination_id),
        )
        await registry.audit(db, now, "app.remove-destination", app_key, _told(None, old), actor)


async def add_replay(
    db: Database,
    now: int,
    to: Destination,
    first_seq: int,
    last_seq: int,
    new_ids: bool,
    actor: str = registry.COMMAND_LINE,
) -> str:
    """Ask for events past `first_seq` up to `last_seq` once more; return the replay's id."""
    replay_id = str(ids.uuid7(now))
    async with db.transaction():
        await db.execute(
            """/* destinations.add_replay */
            insert into replays (app_key, replay_id, destination_id, first_seq, last_seq, new_ids, created_at)
            values (?, ?, ?, ?, ?, ?, ?)""",
            (to.app_key, replay_id, to.destination_id, first_seq, last_seq, int(new_ids), now),
        )
        which = "new ids" if new_ids else "the same ids"
        detail = f"{to.name}: events past {first_seq} up to {last_seq}, {which}"
        await registry.audit(db, now, "replay.add", to.app_key, detail, actor)
    return replay_id


async def cancel_replay(
    db: Database, now: int, app_key: str, replay_id: str, actor: str = registry.COMMAND_LINE
) -> None:
    """Stop a replay; what it has sent stays sent. Raises ConfigError when there is none of that id."""
    async with db.transaction():
        changed = await db.execute(
            """/* destinations.cancel_replay */
            update replays
            set cancelled = 1
            where app_key = ? and replay_id = ? and cancelled = 0""",
            (app_key, replay_id),
        )
        if changed != 1:
            raise ConfigError(f"{app_key} has no replay {replay_id} that could be cancelled")
        await registry.audit(db, now, "replay.cancel", app_key, replay_id, actor)


async def ask(
    db: Database,
    now: int,
    app_key: str,
    course_id: str,
    action: Action,
    seqs: Iterable[int],
    actor: str = registry.COMMAND_LINE,
) -> None:
    """Ask the exporter to release or drop parked events, or (seq 0) to try a paused course again with its next run."""
    seqs = list(seqs)
    async with db.transaction():
        await db.execute_many(
            """/* destinations.ask */
            insert into intents (intent_id, app_key, destination_id, action, seq, created_at)
            values (?, ?, ?, ?, ?, ?)""",
            [(str(ids.uuid7(now)), app_key, course_id, action, seq, now) for seq in seqs],
        )
        await registry.audit(
            db, now, f"park.{action}" if action != "resume" else action, app_key, f"{len(seqs)}", actor
        )


async def asked(db: Database, app_key: str, limit: int = 1_000) -> list[Intent]:
    """The newest of what was asked for one app, the newest first; the ledger knows what was done."""
    rows = await db.all(
        """/* destinations.asked */
        select intent_id, app_key, destination_id, action, seq
        from intents
        where app_key = ?
        order by intent_id desc
        limit ?""",
        (app_key, limit),
    )
    return [Intent(*row) for row in rows]


async def intents(db: Database) -> list[Intent]:
    """Everything that was asked, in order; the ledger knows what was done."""
    rows = await db.all(
        """/* destinations.intents */
        select intent_id, app_key, destination_id, action, seq
        from intents
        order by intent_id"""
    )
    return [Intent(*row) for row in rows]
