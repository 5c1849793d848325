"""What has a backlog, found from what changed since the last look: what is idle costs nothing, however much there is.

The ledger keeps how far the runs have looked into the log and at the registry, and with each cursor the newest event of
its app. So a run reads the log's newest part, the cursors behind, and of the registry only what belongs to those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from store import destinations, ledger, log, parked, registry, removal
from store.database import Database
from store.destinations import Course
from store.ledger import Cursor
from store.log import NO_END
from store.registry import App

FEW = 200  # apps that are asked for one by one

Keys = tuple[str, str]


class Backlog(NamedTuple):
    """A course that may have something to ship: events past its cursor up to `up_to`, and parked ones released."""

    course: Course
    app: App
    cursor: Cursor
    up_to: int
    released: list[int]


async def find(registry_db: Database, log_db: Database, ledger_db: Database, settled: int, now: int) -> list[Backlog]:
    """Every backlog up to seq `settled`. Begins the cursors of new courses and does what was asked of the exporter."""
    seen, version = await ledger.seen(ledger_db), await registry.version(registry_db)
    if seen.get("registry") != version:
        await _begin_new(registry_db, log_db, ledger_db, settled, now)
    looked = int(seen.get("log", 0))
    after = looked if looked <= settled else 0  # an older log was put back
    heads = await log.heads(log_db, after, settled) if after < settled else {}
    await ledger.notice(ledger_db, heads, {"registry": version, "log": str(settled)})
    behind = await ledger.behind(ledger_db)
    released = await _released(ledger_db)
    apps, courses = await _of(registry_db, {app_key for app_key, _ in (*behind, *released)})
    missing = [keys for keys in released if keys not in behind]
    cursors = {keys: cursor for keys, (cursor, _) in behind.items()} | await ledger.some_cursors(ledger_db, missing)
    newest = {keys: seq for keys, (_, seq) in behind.items()}
    return _backlogs(apps, courses, cursors, newest, released, settled)


async def peek(registry_db: Database, log_db: Database, ledger_db: Database, settled: int) -> list[Backlog]:
    """As `find`, and changes nothing: it looks at everything."""
    courses = await destinations.courses(registry_db)
    apps = {app.app_key: app for app in await registry.apps(registry_db)}  # read after what refers to them
    heads, there = await log.heads(log_db, 0, settled), await ledger.cursors(ledger_db)
    cursors, newest = {}, {}
    for course in courses:
        keys = course.app_key, course.course_id
        cursors[keys] = there.get(keys, Cursor(*keys, course.start_seq, course.start_seq))
        newest[keys] = heads.get(course.app_key, 0)
    return _backlogs(apps, courses, cursors, newest, await _released(ledger_db), settled)


def _backlogs(
    apps: Mapping[str, App],
    courses: Iterable[Course],
    cursors: Mapping[Keys, Cursor],
    newest: Mapping[Keys, int],
    released: Mapping[Keys, list[int]],
    settled: int,
) -> list[Backlog]:
    found = []
    for course in courses:
        keys = course.app_key, course.course_id
        up_to = min(newest.get(keys, 0), settled, NO_END if course.last_seq is None else course.last_seq)
        waiting = released.get(keys, [])
        if keys in cursors and (cursors[keys].seq < up_to or waiting):
            found.append(Backlog(course, apps[course.app_key], cursors[keys], up_to, waiting))
    return found


async def _begin_new(registry_db: Database, log_db: Database, ledger_db: Database, settled: int, now: int) -> None:
    courses = await destinations.courses(registry_db)
    there = await ledger.cursors(ledger_db)
    new = [course for course in courses if (course.app_key, course.course_id) not in there]
    gone = await removal.removed_up_to(log_db) if new else {}
    newest = await log.heads_of(log_db, {c.app_key for c in new}, settled)
    starts = [(c.app_key, c.course_id, max(c.start_seq, gone.get(c.app_key, 0))) for c in new]
    await ledger.begin(ledger_db, starts, newest)
    asked = [msgspec.structs.astuple(intent) for intent in await destinations.intents(registry_db)]
    await parked.carry_out(ledger_db, asked, now)


async def _released(ledger_db: Database) -> dict[Keys, list[int]]:
    released: dict[Keys, list[int]] = {}
    for held in await parked.listed(ledger_db, released=True):
        released.setdefault((held.app_key, held.destination_id), []).append(held.seq)
    return released


async def _of(registry_db: Database, app_keys: set[str]) -> tuple[dict[str, App], list[Course]]:
    """What the registry says of some apps; the apps are read after what refers to them."""
    wanted = app_keys if len(app_keys) <= FEW else None
    courses = [c for c in await destinations.courses(registry_db, of=wanted) if c.app_key in app_keys]
    return {app.app_key: app for app in await registry.apps(registry_db, wanted)}, courses
