"""What is old leaves a server: whole partitions of the log first, then by rows what those leave behind.

It runs as the owner of the schemas, while collectors and exporters work and ask nobody. A partition goes out of the log
in the transaction that counts it. The ids of its messages, which tell duplicates, go after that in small steps: a
collector to which one of them comes again would have to wait until all of them are gone. A purge that is cut short is
taken up by the next one where it was.

An event that is old enough may stay for GRACE_MS longer, so that it goes with its partition.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from store import ledger, log, removal
from store.database import Connection, Database, Server
from store.entry import HOUR_MS
from store.errors import Busy
from store.postgres import partitions
from store.postgres.connection import Connection as OurConnection
from store.postgres.connection import Locked, Numbers, Texts
from store.postgres.database import open_together
from store.postgres.partitions import LOCK_MS, PAUSE_SECONDS, Partition
from store.removal import DAY_MS, Ages, Removed, Share, Span
from store.rollups import following
from store.rollups.forgetting import Place, forget_events, forget_visitors
from store.subjects import forgetting as subjects

LOCK = 0x466F_6F74_7075_7267  # an advisory lock: "Footpurg"
GRACE_MS = 2 * DAY_MS
STEP_ROWS = 2_000
_DETACHED = re.compile(r"events_\d+")


class _Changed(Exception):
    """The registry changed: what may go has to be found anew."""


class _Plan(NamedTuple):
    """Every course's span by app, at a revision of the registry; cursors only move forward, so it holds until that
    changes."""

    revision: int
    spans: Mapping[str, list[Span]]


async def purge(server: Server, old: Ages, patience: float) -> Removed:
    """Remove what is old. Raises Busy when another purge works, or somebody reads the log, for `patience` seconds."""
    until = time.monotonic() + patience
    async with _alone(server, until) as db:
        await _prepare(db)
        await following.catch_up(db, db, db, await db.now())
        removed = Removed()
        for name in await db.run(_detached):
            await _forget(db, name, until)
        removed.events = await _remove_partitions(db, old.events, until)
        _, removed.held_back = await _shares(db, await _plan(db), old.events)
        removed.events += await _remove_left(db, old.events - GRACE_MS)
        removed.rejections = await db.execute(_REJECTIONS, (old.rejections,))
        removed.quarantined = await db.execute(_QUARANTINE, (old.rejections,))
        place: tuple[str, str] | None = ("", "")
        while place is not None:
            n, place = await db.atomic(removal.remove_visitors, place, old, STEP_ROWS)
            removed.visitors += n
        known: Place | None = ("", "")
        while known is not None:
            known = await db.atomic(forget_visitors, known, STEP_ROWS)
        while await db.atomic(subjects.forget, STEP_ROWS):
            pass
        return removed


@asynccontextmanager
async def _alone(server: Server, until: float) -> AsyncIterator[Database]:
    """The owner's connection, as long as it is there, with the lock that only one purge has."""
    async with await open_together(server, role=None, once=True) as db:
        while not await db.value(f"select pg_try_advisory_lock({LOCK})"):
            if time.monotonic() > until:
                raise Busy("another `footfall purge` is at work")
            await asyncio.sleep(PAUSE_SECONDS)
        await db.execute("set statement_timeout = 0")
        yield db


async def _prepare(db: Database) -> None:
    try:
        await db.run(partitions.prepare)
    except Locked as error:
        raise Busy(f"events_rest is being read for too long, by a dump perhaps: {error}") from None


async def _plan(db: Database) -> _Plan:
    revision = await db.value("/* purging.revision */ select n from revision")
    return _Plan(revision, await removal.standing(db, db, await ledger.cursors(db)))


# Whoever adds a course changes this row in the same transaction, so that none is added until ours has ended.
_HOLD_REVISION = "/* purging.hold_revision */ select n from revision for share"


# --- partitions


async def _remove_partitions(db: Database, moment: int, until: float) -> int:
    """Every partition whose events are all old and passed; how many events those were."""
    n, counted, plan = 0, await _counted(db), await _plan(db)
    for partition in await db.run(partitions.partitions):
        if partition.end - 1 > counted:
            break
        while await _may_go(db, partition, plan.spans, moment):
            try:
                n += await _remove_partition(db, partition, plan, until)
                break
            except _Changed:
                plan = await _plan(db)
    return n


async def _may_go(db: Database, partition: Partition, spans: Mapping[str, list[Span]], moment: int) -> bool:
    newest = await db.value(_of(_NEWEST, partition.name))
    if newest is not None and newest >= moment:
        return False
    rows = await db.all(_of(_CONTENTS, partition.name))
    return all(at < moment and seq <= removal.passed(spans.get(app_key, ())) for app_key, seq, at in rows)


async def _remove_partition(db: Database, partition: Partition, plan: _Plan, until: float) -> int:
    """Count the events of a partition and take it out of the log, in one transaction; then forget its messages."""
    cuts = [
        (app_key, cut)
        for app_key, of_app in plan.spans.items()
        for cut in removal.cuts(of_app)
        if partition.first <= cut < partition.end
    ]
    apps, seqs = Texts(app_key for app_key, _ in cuts), Numbers(cut for _, cut in cuts)
    async with db.transaction():
        n: int = await db.value(_of(_COUNT, partition.name), (apps, seqs))
        await db.execute("savepoint counted")
        while not await _detach(db, partition, plan):
            await db.execute("rollback to savepoint counted")
            await _wait(f"{partition.name} is being read", until)
    await _forget(db, partition.name, until)
    return n


async def _detach(db: Database, partition: Partition, plan: _Plan) -> bool:
    """Whether it could be had before those who wait behind us had to wait for too long."""
    try:
        await db.execute(f"set local lock_timeout = {LOCK_MS}")
        if await db.value(_HOLD_REVISION) != plan.revision:
            raise _Changed
        await db.execute(f"alter table log.events detach partition log.{partition.name}")
    except Locked:
        return False
    return True


async def _wait(why: str, until: float) -> None:
    if time.monotonic() > until:
        raise Busy(f"{why} for too long, by a dump perhaps: what is old stays until the next `footfall purge`")
    await asyncio.sleep(PAUSE_SECONDS)


async def _counted(db: Database) -> int:
    """The seq up to which nothing can come any more, and everything is in the rollups."""
    return min(await log.settled(db), (await following.standing(db)).seq)


def _of(sql: str, partition: str) -> str:
    """What is said of the log's events, said of one partition, whether it is in the log or was taken out."""
    return re.sub(r"\bevents\b", f"log.{partition}", sql)


_NEWEST = "/* purging.newest */ select received_at from events order by seq desc limit 1"

_CONTENTS = "/* purging.contents */ select app_key, max(seq), max(received_at) from events group by app_key"

# Kept apart by hour and between cuts, as removal.pieces does; an event at a cut lies below it.
_COUNT = f"""/* purging.count */
    with counted as (
      insert into removed (app_key, hour, reason, first_seq, last_seq, n)
      select app_key, received_at / {HOUR_MS}, 'retention', min(seq), max(seq), count(*)
      from events
      left join (
        select app_key, array_agg(cut order by cut) as cuts
        from unnest(?, ?) as each_cut (app_key, cut)
        group by app_key
      ) as apart using (app_key)
      group by app_key, received_at / {HOUR_MS}, coalesce(width_bucket(seq - 1, cuts), 0)
      returning n
    )
    select coalesce(sum(n), 0)::bigint
    from counted"""


def _detached(connection: OurConnection) -> list[str]:
    """Partitions that were taken out of the log, and whose messages are not forgotten yet."""
    rows = connection.execute(
        """/* purging.detached */
        select relname::text
        from pg_class
        where relnamespace = 'log'::regnamespace and relkind = 'r' and not relispartition"""
    )
    return sorted(name for (name,) in rows if _DETACHED.fullmatch(name))


async def _forget(db: Database, name: str, until: float) -> None:
    """Forget the messages of a partition that was taken out, and remove it."""
    after: int | None = 0
    while after is not None:
        after = await db.atomic(_forget_some, name, after)
    while True:
        try:
            async with db.transaction():
                await db.execute(f"set local lock_timeout = {LOCK_MS}")
                await db.execute(f"drop table log.{name}")
            return
        except Locked:
            await _wait(f"{name} is being read", until)


def _forget_some(connection: Connection, name: str, after: int) -> int | None:
    last: int | None = connection.execute(_of(_FORGET, name), (after, STEP_ROWS)).fetchone()[0]
    return last


# A message that came again since has another seq.
_FORGET = """/* purging.forget */
    with gone as (
      select seq, app_key, message_id, partner_key, anonymous_id
      from events
      where seq > ?
      order by seq
      limit ?
    ), pointers as (
      delete from rollup_events
      using gone, rollup_visitors
      where rollup_visitors.partner_key = gone.partner_key and rollup_visitors.anonymous_id = gone.anonymous_id
        and rollup_events.partner_key = gone.partner_key and rollup_events.visitor = rollup_visitors.visitor
        and rollup_events.seq = gone.seq and rollup_events.app_key = gone.app_key
    ), forgotten as (
      delete from message_ids
      using gone
      where message_ids.app_key = gone.app_key and message_ids.message_id = gone.message_id
        and message_ids.seq = gone.seq
    )
    select max(seq)
    from gone"""


# --- rows


async def _shares(db: Database, plan: _Plan, moment: int) -> tuple[list[Share], int]:
    return await removal.shares(db, plan.spans, moment, await _counted(db))


async def _remove_left(db: Database, moment: int) -> int:
    """What no partition took along: of apps that hold others back or are held back, and what the rest took in."""
    n, plan = 0, await _plan(db)
    shares, _ = await _shares(db, plan, moment)
    while shares:
        try:
            removed = await db.atomic(_remove_events, shares[0], plan.revision)
        except _Changed:
            plan = await _plan(db)
            shares, _ = await _shares(db, plan, moment)
            continue
        n += removed
        if not removed:
            shares.pop(0)
    return n


def _remove_events(connection: Connection, share: Share, revision: int) -> int:
    if connection.execute(_HOLD_REVISION).fetchone()[0] != revision:
        raise _Changed
    rows = removal.oldest_events(connection, share, STEP_ROWS)
    if rows:
        removal.count(connection, share, rows)
        forget_events(connection, share.app_key, rows[-1][0])
        connection.execute(_REMOVE_EVENTS, (share.app_key, rows[-1][0], share.app_key))
    return len(rows)


_REMOVE_EVENTS = """/* purging.events */
    with gone as (
      delete from events
      where app_key = ? and seq <= ?
      returning message_id, seq
    )
    delete from message_ids
    using gone
    where app_key = ? and message_ids.message_id = gone.message_id and message_ids.seq = gone.seq"""

_QUARANTINE = "/* purging.quarantine */ delete from quarantine where received_at < ?"

_REJECTIONS = "/* purging.rejections */ delete from rejections where received_at < ?"
