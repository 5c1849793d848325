"""One app's newest events and rejections, for people who look: every read is bounded, however long the log.

A page of events is read from its end through the app's index. A search looks at so many of the app's newest events and
says how far it came, so that whoever looks can go on from there. What a visitor did not agree to share is found by its
name and its time alone, and never by an id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec

from store import ids, log
from store.database import Connection, Database
from store.event import COLUMNS, Details, Event
from store.log import NO_END
from store.registry import App

PAGE = 50
SEARCHED = 20_000  # events that one search looks at
MOST_NAMES = 8  # of events, to be looked for at once
TRIED = 4_000  # events whose id at a destination is made, to compare it
MOST_CHARACTERS = 1024 * 1024  # of details, in one run of events
BLOCKS = 40  # of the log, from which a share is estimated …
BLOCK = 500  # … with so many events from each
EXACT = BLOCKS * BLOCK  # events up to which it is counted exactly


class Listed(Protocol):
    """An app, as far as one has to know it to look at its events."""

    @property
    def app_key(self) -> str: ...

    @property
    def partner_key(self) -> str: ...


class Wanted(msgspec.Struct, frozen=True):
    """What to look for: events of certain names, and one of the ids being `text`; '' and none are everything."""

    text: str = ""
    names: frozenset[str] = frozenset()

    @property
    def everything(self) -> bool:
        return not self.text and not self.names


class Found(msgspec.Struct, frozen=True):
    """Events, the newest first. `further` is the seq before which to go on, None at the beginning of the log;
    `searched` is how many events were looked at, and `since` when the oldest of them was received."""

    events: list[Event]
    further: int | None
    searched: int
    since: int | None


async def events(
    db: Database,
    app: Listed,
    wanted: Wanted,
    before: int = NO_END,
    after: int = 0,
    limit: int = PAGE,
    searched: int | None = None,
) -> Found:
    """The newest of an app's events between two seqs, neither of them included. Events that were collected for another
    partner, when the app was theirs, are not this one's to see."""
    looked = limit if wanted.everything else searched or SEARCHED
    return await db.run(_events, app, wanted, (app.app_key, after, before, looked), limit)


def _events(
    connection: Connection, app: Listed, wanted: Wanted, window: tuple[str, int, int, int], limit: int
) -> Found:
    oldest, looked = connection.execute(_REACH, window).fetchone()
    names = sorted(wanted.names)[:MOST_NAMES]
    named = (len(names), *names, *[""] * (MOST_NAMES - len(names)))
    values = (*window, app.partner_key, *named, *[wanted.text or ""] * 4, limit)
    seqs = [row[0] for row in connection.execute(_RECENT, values)]
    found = _some(connection, app.app_key, seqs)
    full = len(seqs) == limit
    further = seqs[-1] if full else oldest if looked == window[-1] else None
    since = _one(connection, app.app_key, oldest)[0].received_at if looked else None
    return Found(found, further, looked, since)


_REACH = """/* looking.reach */
    select min(seq), count(*)
    from (
      select seq
      from events
      where app_key = ? and seq > ? and seq < ?
      order by seq desc
      limit ?
    ) as recent"""

_RECENT = f"""/* looking.recent */
    select seq
    from (
      select seq, name, partner_key, anonymous_id, user_id, partner_anonymous_id, suppressed
      from events
      where app_key = ? and seq > ? and seq < ?
      order by seq desc
      limit ?
    ) as recent
    where partner_key = ? and (? = 0 or name in ({", ".join("?" * MOST_NAMES)}))
      and (? = '' or suppressed is null and (anonymous_id = ? or user_id = ? or partner_anonymous_id = ?))
    order by seq desc
    limit ?"""  # noqa: S608 - a number of question marks

_ONE = f"""/* looking.one */
    select {COLUMNS}
    from events
    where app_key = ? and seq = ?"""  # noqa: S608 - our own column names


def _one(connection: Connection, app_key: str, seq: int) -> list[Event]:
    found = []
    for at, app, message_id, *told, details in connection.execute(_ONE, (app_key, seq)):
        try:
            read = msgspec.json.decode(details, type=Details)
        except msgspec.DecodeError:
            read = None
        found.append(Event(*(at, app, message_id.hex(), *told, read)))
    return found


async def event(db: Database, app: App, seq: int) -> Event | None:
    """One event of an app; None when it is not there, or another partner's."""
    for found in await db.run(_one, app.app_key, seq):
        return found if found.partner_key == app.partner_key else None
    return None


async def some(db: Database, app: Listed, seqs: Sequence[int]) -> list[Event]:
    """An app's events of these seqs; those that are gone, or another partner's, are left out."""
    return [found for found in await db.run(_some, app.app_key, seqs) if found.partner_key == app.partner_key]


def _some(connection: Connection, app_key: str, seqs: Sequence[int]) -> list[Event]:
    return [event for seq in seqs for event in _one(connection, app_key, seq)]


class Run(NamedTuple):
    """An app's events past a place, in order. `up_to` is the place to go on from, `more` whether there is more now."""

    events: list[Event]
    up_to: int
    more: bool


async def onwards(db: Database, app: App, after: int, limit: int) -> Run:
    """At most `limit` events past seq `after`, of a bounded size, and none before which one can still come: who goes
    on and on sees every event once. A run may hold fewer than there are, or none, and yet there is more."""
    settled = await log.settled(db)
    events = await log.run(db, app.app_key, after, limit, MOST_CHARACTERS, settled)
    if not events:
        return Run([], max(after, settled), False)
    up_to = events[-1].seq
    more = await log.received_after(db, app.app_key, up_to, settled) is not None
    return Run([event for event in events if event.partner_key == app.partner_key], up_to, more)


async def by_message_id(db: Database, app: App, text: str) -> Event | None:
    """The event that its sender gave this id."""
    if not 1 <= len(text) <= 100:
        return None
    found = await log.find(db, app.app_key, ids.message_id(text, app.app_key)[0])
    return found if found is not None and found.partner_key == app.partner_key else None


async def by_sent_id(
    db: Database, app: App, text: str, ids_from: Collection[str], before: int = NO_END
) -> Event | None:
    """The event that left under this id for a destination whose ids are made from one of these UUIDs: what a partner
    reads in their own source. Only the app's newest events are tried, because such an id cannot be turned back."""
    if not ids.is_uuid(text):
        return None
    seq = await db.run(_seq_of_sent, app.app_key, ids.canonical(text), sorted(ids_from), before)
    return None if seq is None else await event(db, app, seq)


def _seq_of_sent(connection: Connection, app_key: str, wanted: str, ids_from: Sequence[str], before: int) -> int | None:
    makers = [ids.destination_message_ids(UUID(each)) for each in ids_from]
    for seq, message_id in connection.execute(_RECENT_IDS, (app_key, before, TRIED)):
        plain = message_id.hex()
        if any(make(plain) == wanted for make in makers):
            return int(seq)
    return None


_RECENT_IDS = """/* looking.recent_ids */
    select seq, message_id
    from events
    where app_key = ? and seq < ?
    order by seq desc
    limit ?"""


class Rejected(NamedTuple):
    """A message of the app that a door refused; `body` is what came, capped, for the operator alone."""

    rejection_id: int
    door: str
    received_at: int
    reason: str
    detail: str
    body: bytes


async def rejections(db: Database, app_key: str, before: int = NO_END, limit: int = PAGE) -> list[Rejected]:
    """The newest first."""
    rows = await db.all(
        """/* looking.rejections */
        select rejection_id, door, received_at, reason, detail, body
        from rejections
        where app_key = ? and rejection_id < ?
        order by rejection_id desc
        limit ?""",
        (app_key, before, limit),
    )
    return [Rejected(*row) for row in rows]


class Share(NamedTuple):
    """How many page views of a listing carry a partner anonymous id. `exact` when all were looked at, else they are
    those of blocks that lie evenly over the time."""

    views: int
    carrying: int
    exact: bool


async def share(db: Database, app: App, since: int) -> Share:
    """Of what was received since that moment, epoch milliseconds."""
    first = await log.seq_before(db, since)
    last = await log.head(db)
    return await db.run(_share, app, first, last)


def _share(connection: Connection, app: App, first: int, last: int) -> Share:
    there = connection.execute(_AT_MOST, (app.app_key, first, EXACT + 1)).fetchone()[0]
    if there <= EXACT:
        windows = [(first, last, EXACT)]
    else:
        width = (last - first) / BLOCKS
        windows = [(first + round(width * n), first + round(width * (n + 1)), BLOCK) for n in range(BLOCKS)]
    views = carrying = 0
    for after, up_to, limit in windows:
        values = (app.app_key, after, up_to, limit, app.partner_key)
        seen, with_id = connection.execute(_CARRYING, values).fetchone()
        views, carrying = views + seen, carrying + with_id
    return Share(views, carrying, there <= EXACT)


_AT_MOST = """/* looking.at_most */
    select count(*)
    from (
      select seq
      from events
      where app_key = ? and seq > ?
      order by seq
      limit ?
    ) as few"""

_CARRYING = """/* looking.carrying */
    select count(*), count(partner_anonymous_id)
    from (
      select name, partner_key, partner_anonymous_id, suppressed
      from events
      where app_key = ? and seq > ? and seq <= ?
      order by seq
      limit ?
    ) as block
    where name = 'page_view' and partner_key = ? and suppressed is null"""
