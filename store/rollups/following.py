"""The rollups follow the log: which events come next, and whether all is to be counted anew.

The registry says how often somebody asked for a rebuild; when the log has not begun the last one, they are emptied, in
steps that nobody waits long for, and the log is read from its beginning.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, NamedTuple

import msgspec

from store import log
from store.database import Connection, Database, Row
from store.rollups import counting, event_names
from store.rollups.counting import Known, Turn
from store.rollups.event_names import Deletion
from store.rollups.facets import Counted, Told

RUN = 1_000  # events that one transaction counts
EMPTIED = 5_000  # rows that one transaction takes away
POLL_SECONDS = 0.05


class Standing(NamedTuple):
    """How far the rollups go: see the table."""

    seq: int
    received_at: int
    rebuild_id: int
    taken_by: str
    taken_until: int
    deletion_id: int = 0


async def standing(db: Database) -> Standing:
    row = await db.one(_STANDING)
    return Standing(*row) if row else Standing(0, 0, 0, "", 0)


async def oldest_waiting(db: Database, seq: int, settled: int) -> int | None:
    """When the oldest event came in that is past `seq`, and thus not counted; None: all are."""
    if seq >= settled:
        return None
    at: int | None = await db.value(_OLDEST_WAITING, (seq, settled))
    return at


async def counted(registry: Database, reader: Database, up_to: int, patience: float) -> int:
    """Up to which seq, at most `up_to`, the rollups say who is whom; 0 while they are made anew.

    The process that counts gets `patience` seconds to come that far. Where none does, nobody waits for it: `up_to`.

    Raises StoreUnavailable.
    """
    deadline = time.monotonic() + patience
    while True:
        at = await standing(reader)
        seq = at.seq if at.rebuild_id == await last_rebuild(registry) else 0
        if seq >= up_to or at.taken_until == 0:
            return up_to
        if time.monotonic() > deadline:
            return seq if at.taken_until >= time.time_ns() // 1_000_000 else up_to
        await asyncio.sleep(POLL_SECONDS)


class Follower:
    """One process's way through the log: call `step` again and again. `reader` and `writer` are of the log."""

    def __init__(self, registry: Database, reader: Database, writer: Database) -> None:
        self._registry = registry
        self._reader = reader
        self._writer = writer
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._known: Known = {}
        self._seq = -1  # up to which we counted ourselves: as long as it stands there, what we know is true

    async def step(self, now: int, most: int | None = None) -> int:
        """Count what comes next, at most so many events (else RUN); how many were. 0: there was none, or another
        process counts. A step that empties the rollups, or forgets names, is as if it had counted as many as it may.

        Raises StoreUnavailable.
        """
        at = await standing(self._reader)
        if at.taken_by != self._name and at.taken_until >= now:
            if self._writer.shared:
                return 0
            await self._writer.change(_TAKE_BACK)  # it writes no more, or we could not
        wanted, deleted = await _asked_for(self._registry)
        settled = await log.settled(self._reader)
        if deleted > at.deletion_id:
            deletions = await event_names.asked_deletions(self._registry, at.deletion_id)
            await self._writer.atomic(_delete_names, Turn(self._name, at.seq, now), deletions, max(settled, at.seq))
            return most or RUN
        if wanted > at.rebuild_id:
            await self._writer.atomic(_begin_anew, Turn(self._name, at.seq, now), wanted)
            self._known = {}
            return most or RUN
        events = await next_events(self._reader, at.seq, settled, most or RUN) if settled > at.seq else []
        if not events:
            return 0
        if at.seq != self._seq:
            self._known = {}
        known, self._known, self._seq = self._known, {}, -1  # what a transaction learned is forgotten with it
        turn = Turn(self._name, at.seq, now)
        if not await self._writer.atomic(counting.count, turn, events, known, events[-1].seq):
            return 0
        self._known, self._seq = known, events[-1].seq
        return len(events)

    async def pass_over(self, now: int) -> int:
        """Leave the next event uncounted, because it fails alone: those behind it are not to wait. Its seq; 0: there
        was none, or it was another's turn.

        Raises StoreUnavailable.
        """
        at = await standing(self._reader)
        events = await next_events(self._reader, at.seq, await log.settled(self._reader), 1)
        turn = Turn(self._name, at.seq, now)
        if not events or not await self._writer.atomic(counting.count, turn, [], {}, events[0].seq):
            return 0
        return events[0].seq

    async def leave(self) -> None:
        """Let another process count at once. Raises StoreUnavailable."""
        await self._writer.change(_LEAVE, (self._name,))


async def catch_up(registry: Database, reader: Database, writer: Database, now: int) -> int:
    """Count what is not counted yet, unless another process does; the seq up to which everything is."""
    follower = Follower(registry, reader, writer)
    while await follower.step(now):
        pass
    await follower.leave()
    return (await standing(reader)).seq


async def last_rebuild(registry: Database) -> int:
    found: int = await registry.value("/* rollups.last_rebuild */ select coalesce(max(rebuild_id), 0) from rebuilds")
    return found


async def _asked_for(registry: Database) -> tuple[int, int]:
    """The numbers of the last rebuild and of the last deletion of an event's name."""
    rebuild_id, deletion_id = (await registry.all(_ASKED_FOR))[0]
    return rebuild_id, deletion_id


async def ask_for_rebuild(registry: Database, now: int, who: str) -> int:
    """Have everything counted anew; the rebuild's number."""
    return await registry.atomic(_ask, now, who)


def _ask(connection: Connection, now: int, who: str) -> int:
    row = connection.execute("/* rollups.last_asked */ select coalesce(max(rebuild_id), 0) from rebuilds").fetchone()
    connection.execute(_ASK, (row[0] + 1, now, who))
    return int(row[0]) + 1


async def next_events(db: Database, after: int, up_to: int, most: int) -> list[Counted]:
    """The next events past a seq, none past `up_to`."""
    rows = await db.all(_NEXT, (after, up_to, most))
    return [_counted(row) for row in rows]


def _counted(row: Row) -> Counted:
    values: tuple[Any, ...] = (*row[:-1], _told(row[-1]))
    return Counted(*values)


def _told(details: str) -> Told:
    try:
        return msgspec.json.decode(details, type=Told)
    except msgspec.DecodeError:
        return Told()  # it counts as what its columns say


def _delete_names(connection: Connection, turn: Turn, deletions: list[Deletion], up_to: int) -> None:
    """What is not counted yet of these names, up to a seq, never will be."""
    if counting.take_turn(connection, turn):
        event_names.delete(connection, deletions, up_to)


def _begin_anew(connection: Connection, turn: Turn, rebuild_id: int) -> None:
    if not counting.take_turn(connection, turn):
        return
    for sql in _EMPTY:
        if connection.execute(sql, (EMPTIED,)).rowcount == EMPTIED:
            return
    connection.execute(_BEGIN_ANEW, (rebuild_id,))


_EMPTY = (
    """/* rollups.empty_slots */
    delete from rollup_slots
    where (app_key, partner_key, facet, slot, value) in (
      select app_key, partner_key, facet, slot, value
      from rollup_slots
      order by app_key, partner_key, facet, slot, value
      limit ?
    )""",
    """/* rollups.empty_days */
    delete from rollup_days
    where (app_key, partner_key, facet, day, value) in (
      select app_key, partner_key, facet, day, value
      from rollup_days
      order by app_key, partner_key, facet, day, value
      limit ?
    )""",
    """/* rollups.empty_values */
    delete from rollup_values
    where (app_key, partner_key, facet, value) in (
      select app_key, partner_key, facet, value
      from rollup_values
      order by app_key, partner_key, facet, value
      limit ?
    )""",
    """/* rollups.empty_apps */
    delete from rollup_apps
    where (app_key, partner_key) in (
      select app_key, partner_key
      from rollup_apps
      order by app_key, partner_key
      limit ?
    )""",
    """/* rollups.empty_journeys */
    delete from rollup_journeys
    where (partner_key, visitor, app_key) in (
      select partner_key, visitor, app_key
      from rollup_journeys
      order by partner_key, visitor, app_key
      limit ?
    )""",
    """/* rollups.empty_events */
    delete from rollup_events
    where (partner_key, visitor, seq, app_key) in (
      select partner_key, visitor, seq, app_key
      from rollup_events
      order by partner_key, visitor, seq, app_key
      limit ?
    )""",
    """/* rollups.empty_names */
    delete from rollup_names
    where (partner_key, kind, id, visitor) in (
      select partner_key, kind, id, visitor
      from rollup_names
      order by partner_key, kind, id, visitor
      limit ?
    )""",
    """/* rollups.empty_event_names */
    delete from event_names
    where (app_key, partner_key, name) in (
      select app_key, partner_key, name
      from event_names
      order by app_key, partner_key, name
      limit ?
    )""",
    """/* rollups.empty_event_properties */
    delete from event_properties
    where (app_key, partner_key, name, property, kind) in (
      select app_key, partner_key, name, property, kind
      from event_properties
      order by app_key, partner_key, name, property, kind
      limit ?
    )""",
    """/* rollups.empty_visitors */
    delete from rollup_visitors
    where (partner_key, anonymous_id) in (
      select partner_key, anonymous_id
      from rollup_visitors
      order by partner_key, anonymous_id
      limit ?
    )""",
    """/* rollups.empty_links */
    delete from subject_links
    where (app_key, partner_key, id, kind, other_id, other_kind) in (
      select app_key, partner_key, id, kind, other_id, other_kind
      from subject_links
      order by app_key, partner_key, id, kind, other_id, other_kind
      limit ?
    )""",
    """/* rollups.empty_ids */
    delete from subject_ids
    where (app_key, partner_key, id, kind) in (
      select app_key, partner_key, id, kind
      from subject_ids
      order by app_key, partner_key, id, kind
      limit ?
    )""",
    """/* rollups.empty_marks */
    delete from audience_marks
    where (app_key, partner_key, audience, id, kind, at, seq) in (
      select app_key, partner_key, audience, id, kind, at, seq
      from audience_marks
      order by app_key, partner_key, audience, id, kind, at, seq
      limit ?
    )""",
    """/* rollups.empty_members */
    delete from audience_members
    where (app_key, partner_key, audience, id, kind) in (
      select app_key, partner_key, audience, id, kind
      from audience_members
      order by app_key, partner_key, audience, id, kind
      limit ?
    )""",
    """/* rollups.empty_moves */
    delete from audience_slots
    where (app_key, partner_key, audience, slot) in (
      select app_key, partner_key, audience, slot
      from audience_slots
      order by app_key, partner_key, audience, slot
      limit ?
    )""",
    """/* rollups.empty_traits */
    delete from audience_traits
    where (app_key, partner_key, trait, id, kind) in (
      select app_key, partner_key, trait, id, kind
      from audience_traits
      order by app_key, partner_key, trait, id, kind
      limit ?
    )""",
    """/* rollups.empty_audiences */
    delete from audiences
    where (app_key, partner_key, form, name) in (
      select app_key, partner_key, form, name
      from audiences
      order by app_key, partner_key, form, name
      limit ?
    )""",
)

_STANDING = """/* rollups.standing */
    select seq, received_at, rebuild_id, taken_by, taken_until, deletion_id
    from rollups
    where one = 1"""

_ASKED_FOR = """/* rollups.asked_for */
    select
      (select coalesce(max(rebuild_id), 0) from rebuilds),
      (select coalesce(max(deletion_id), 0) from event_deletions)"""

_TAKE_BACK = """/* rollups.take_back */
    update rollups
    set taken_until = 0
    where one = 1"""

_LEAVE = """/* rollups.leave */
    update rollups
    set taken_until = 0
    where one = 1 and taken_by = ?"""

_NEXT = """/* rollups.next */
    select seq, app_key, partner_key, type, name, source, occurred_at, received_at, anonymous_id, user_id,
      partner_anonymous_id, suppressed, details
    from events
    where seq > ? and seq <= ?
    order by seq
    limit ?"""

_OLDEST_WAITING = """/* rollups.oldest_waiting */
    select received_at
    from events
    where seq > ? and seq <= ?
    order by seq
    limit 1"""

_ASK = """/* rollups.ask */
    insert into rebuilds (rebuild_id, asked_at, asked_by)
    values (?, ?, ?)"""

_BEGIN_ANEW = """/* rollups.begin_anew */
    update rollups
    set seq = 0, received_at = 0, rebuild_id = ?
    where one = 1"""
