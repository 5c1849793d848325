"""What leaves the event log: events, rejections and visitors that are old enough, in small steps.

An event leaves its count behind, and leaves only when every course of its app has passed it; so each sum stays exact,
and nothing goes unsent and uncounted. Each step is one short transaction: what comes in waits for no more than one.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from store import destinations, ledger, log, quarantine
from store.database import Connection, Database, Where
from store.engines import exists, open_reader
from store.entry import HOUR_MS
from store.errors import StoreUnavailable
from store.rollups import following
from store.rollups.forgetting import Place, forget_events, forget_visitors
from store.settings import Settings
from store.subjects import forgetting as subjects

LOCK = "removal.lock"
WAIT_SECONDS = 0.05
STEP_ROWS = 250
STEP_PAGES = 128  # given back to the file system, per step
DAY_MS = 24 * HOUR_MS
REFUSAL_DAYS = 395  # as long as the visitor's own cookie: a no is not forgotten while somebody may come back


class Share(msgspec.Struct, frozen=True):
    """One app's events up to a seq, and the seqs at which their counts are kept apart."""

    app_key: str
    up_to: int
    cuts: list[int]


class Ages(msgspec.Struct, frozen=True):
    """What was last touched before these moments goes; epoch milliseconds."""

    events: int
    rejections: int
    visitors: int
    refusals: int


class Removed(msgspec.Struct):
    """How many went. `held_back` is events that are old enough, and that a course has not passed yet."""

    events: int = 0
    rejections: int = 0
    visitors: int = 0
    quarantined: int = 0
    held_back: int = 0


class Span(NamedTuple):
    """What a cursor moves over: past `start`, up to `last` if there is one; `seq` is where it stands. It is not live
    when it never moves again: a replay that is done, a destination that was replaced."""

    course_id: str
    start: int
    seq: int
    last: int | None
    live: bool


def ages(settings: Settings, now: int) -> Ages:
    """What the settings say is old now, epoch milliseconds."""
    events = now - settings.retention_days * DAY_MS
    refusals = now - max(settings.retention_days, REFUSAL_DAYS) * DAY_MS
    return Ages(events, now - settings.rejection_days * DAY_MS, events, refusals)


async def remove_old(data_dir: Path, writer: Database, old: Ages, breathe: Callable[[], Awaitable[None]]) -> Removed:
    """Remove what is old, with the log's one writing connection; `breathe` is awaited between any two steps.

    Raises StoreUnavailable when a database cannot be read, StoreUnavailable when the log cannot be written.
    """
    removed = Removed()
    shares, removed.held_back = await plan(data_dir, old.events)
    for share in shares:
        async for n in _steps(data_dir, writer, breathe, _remove_events, share):
            removed.events += n
    async for n in _steps(data_dir, writer, breathe, _remove_rejections, old.rejections):
        removed.rejections += n
    async for n in _steps(data_dir, writer, breathe, quarantine.remove_old, old.rejections, STEP_ROWS):
        removed.quarantined += n
    place: tuple[str, str] | None = ("", "")
    while place is not None:
        async with undisturbed(data_dir):
            n, place = await writer.atomic(remove_visitors, place, old, STEP_ROWS)
        removed.visitors += n
        await breathe()
    known: Place | None = ("", "")
    while known is not None:
        known = await writer.atomic(forget_visitors, known, STEP_ROWS)
        await breathe()
    while await writer.atomic(subjects.forget, STEP_ROWS):
        await breathe()
    async for _ in _steps(data_dir, writer, breathe, _give_back):
        pass
    return removed


async def _steps(
    data_dir: Path, writer: Database, breathe: Callable[[], Awaitable[None]], step: Callable[..., int], *args: Any
) -> AsyncIterator[int]:
    """Repeat a step, each in its transaction, until it finds nothing more."""
    n = 1
    while n:
        async with undisturbed(data_dir):
            n = await writer.atomic(step, *args)
        yield n
        await breathe()


# --- which events may go


async def plan(where: Where, moment: int) -> tuple[list[Share], int]:
    """Each app's share of what was received before a moment and is in the rollups, and how many events are held back by
    what is unsent."""
    async with AsyncExitStack() as stack:
        registry_db = await stack.enter_async_context(await open_reader(where, "registry"))
        log_db = await stack.enter_async_context(await open_reader(where, "log"))
        cursors = await _cursors(where)
        counted = (await following.standing(log_db)).seq
        return await shares(log_db, await standing(registry_db, log_db, cursors), moment, counted)


async def standing(
    registry_db: Database, log_db: Database, cursors: Mapping[tuple[str, str], ledger.Cursor]
) -> dict[str, list[Span]]:
    """Every span, by app."""
    return spans(await destinations.courses(registry_db), cursors, await removed_up_to(log_db))


async def shares(
    log_db: Database, found: Mapping[str, list[Span]], moment: int, up_to: int = log.NO_END
) -> tuple[list[Share], int]:
    """As `plan`; nothing past `up_to`."""
    cutoff = min(await log.seq_before(log_db, moment), up_to)
    may_go, held_back = [], 0
    for app_key, oldest in (await log.tails(log_db, cutoff)).items():
        of_app = found.get(app_key, [])
        end = min(cutoff, passed(of_app))
        if end < cutoff:
            held_back += await log.count_after(log_db, app_key, end, cutoff)
        if oldest <= end:
            may_go.append(Share(app_key, end, cuts(of_app)))
    return may_go, held_back


async def _cursors(where: Where) -> dict[tuple[str, str], ledger.Cursor]:
    if not exists(where, "ledger"):
        return {}
    async with await open_reader(where, "ledger") as db:
        return await ledger.cursors(db)


def spans(
    courses: Iterable[destinations.Course],
    cursors: Mapping[tuple[str, str], ledger.Cursor],
    gone: Mapping[str, int],
) -> dict[str, list[Span]]:
    """By app: every course, and every cursor of what is a course no more. `gone` is how far events of each app were
    removed: what has no cursor yet begins after them."""
    left = dict(cursors)
    found: dict[str, list[Span]] = {}
    for course in courses:
        cursor = left.pop((course.app_key, course.course_id), None)
        begins = max(course.start_seq, gone.get(course.app_key, 0))
        start, seq = (cursor.start_seq, cursor.seq) if cursor else (begins, begins)
        live = course.last_seq is None or seq < course.last_seq
        found.setdefault(course.app_key, []).append(Span(course.course_id, start, seq, course.last_seq, live))
    for cursor in left.values():
        span = Span(cursor.destination_id, cursor.start_seq, cursor.seq, cursor.seq, False)
        found.setdefault(cursor.app_key, []).append(span)
    return found


def passed(of_app: Iterable[Span]) -> int:
    """The seq that every live course of an app has passed."""
    return min((span.seq for span in of_app if span.live), default=log.NO_END)


def cuts(of_app: Iterable[Span]) -> list[int]:
    """The seqs at which one app's counts are kept apart, in order."""
    return sorted({seq for span in of_app for seq in (span.start, span.last) if seq})


# --- the steps


def _remove_events(connection: Connection, share: Share) -> int:
    rows = oldest_events(connection, share, STEP_ROWS)
    if not rows:
        return 0
    count(connection, share, rows)
    forget_events(connection, share.app_key, rows[-1][0])
    connection.execute(_REMOVE_EVENTS, (share.app_key, rows[-1][0]))
    return len(rows)


def oldest_events(connection: Connection, share: Share, limit: int) -> list[tuple[int, int]]:
    """(seq, received at) of an app's oldest events that may go, in order."""
    rows: list[tuple[int, int]] = connection.execute(_OLDEST_EVENTS, (share.app_key, share.up_to, limit)).fetchall()
    return rows


def count(connection: Connection, share: Share, rows: Sequence[tuple[int, int]]) -> None:
    """Note events, (seq, received at) in order, as removed: with what was noted of their hour between the same cuts,
    if anything was."""
    for piece in pieces(rows, share.cuts):
        keys = (share.app_key, piece.hour)
        before = next((cut for cut in share.cuts if cut > piece.after), log.NO_END)
        reach = (piece.first_seq, piece.first_seq, piece.last_seq, piece.last_seq)
        if not connection.execute(_COUNT_MORE, (*reach, piece.n, *keys, *keys, piece.after, before)).rowcount:
            connection.execute(_COUNT, (*keys, piece.first_seq, piece.last_seq, piece.n))


class Piece(NamedTuple):
    """Removed events of one hour between two cuts; `after` is the lower cut, or 0."""

    after: int
    hour: int
    first_seq: int
    last_seq: int
    n: int


def pieces(rows: Sequence[tuple[int, int]], cuts: Sequence[int]) -> list[Piece]:
    """(seq, received at) of events in order, counted by hour and between cuts. An event at a cut lies below it."""

    def place(row: tuple[int, int]) -> tuple[int, int]:
        below = bisect_left(cuts, row[0])
        return cuts[below - 1] if below else 0, row[1] // HOUR_MS

    found = []
    for (after, hour), group in groupby(sorted(rows, key=lambda row: (*place(row), row[0])), key=place):
        seqs = [seq for seq, _ in group]
        found.append(Piece(after, hour, seqs[0], seqs[-1], len(seqs)))
    return found


_OLDEST_EVENTS = """/* removal.oldest_events */
    select seq, received_at
    from events indexed by events_app
    where app_key = ? and seq <= ?
    order by seq
    limit ?"""

_REMOVE_EVENTS = """/* removal.events */
    delete from events indexed by events_app
    where app_key = ? and seq <= ?"""

_COUNT_MORE = """/* removal.count_more */
    update removed
    set first_seq = case when first_seq < ? then first_seq else ? end,
        last_seq = case when last_seq > ? then last_seq else ? end,
        n = n + ?
    where app_key = ? and hour = ? and reason = 'retention' and first_seq = (
      select max(first_seq)
      from removed as noted
      where noted.app_key = ? and noted.hour = ? and noted.reason = 'retention'
        and noted.first_seq > ? and noted.first_seq <= ?
    )"""

_COUNT = """/* removal.count */
    insert into removed (app_key, hour, reason, first_seq, last_seq, n)
    values (?, ?, 'retention', ?, ?, ?)"""


def _remove_rejections(connection: Connection, before: int) -> int:
    """The oldest, until one is young: they came in the order of their ids."""
    return connection.execute(_REMOVE_REJECTIONS, (STEP_ROWS, before)).rowcount


_REMOVE_REJECTIONS = """/* removal.rejections */
    delete from rejections
    where rejection_id in (select rejection_id from rejections order by rejection_id limit ?) and received_at < ?"""


def remove_visitors(
    connection: Connection, place: tuple[str, str], old: Ages, limit: int, /
) -> tuple[int, tuple[str, str] | None]:
    """Look at the next visitors past a place; how many went, and the place to go on from, None at the end."""
    rows = connection.execute(_NEXT_VISITORS, (*place, limit)).fetchall()
    if not rows:
        return 0, None
    last = rows[-1]
    n = connection.execute(_REMOVE_VISITORS, (*place, *last, old.visitors, old.refusals)).rowcount
    return n, last


_NEXT_VISITORS = """/* removal.next_visitors */
    select app_key, anonymous_id
    from visitors
    where (app_key, anonymous_id) > (?, ?)
    order by app_key, anonymous_id
    limit ?"""

_REMOVE_VISITORS = """/* removal.visitors */
    delete from visitors
    where (app_key, anonymous_id) > (?, ?) and (app_key, anonymous_id) <= (?, ?)
      and seen_at < case when coalesce(suppressed, '') = '' then ? else ? end"""


def _give_back(connection: Connection) -> int:
    """Give free pages back to the file system; how many are left, or 0 when there was nothing to give."""
    connection.execute(f"pragma incremental_vacuum({STEP_PAGES})").fetchall()
    left: int = connection.execute("pragma freelist_count").fetchone()[0]
    return left


# --- what is left behind


async def removed_after(db: Database, app_key: str, after: int, up_to: int = log.NO_END) -> int:
    """How many events of one app were removed past a start, up to an end: places where counts are kept apart."""
    n: int = await db.value(
        """/* removal.removed_after */
        select cast(coalesce(sum(n), 0) as bigint)
        from removed
        where app_key = ? and first_seq > ? and last_seq <= ?""",
        (app_key, after, up_to),
    )
    return n


async def removed_by_hour(db: Database, app_key: str, after: int, up_to: int = log.NO_END) -> dict[int, int]:
    """The same by the hour of reception."""
    rows = await db.all(
        """/* removal.removed_by_hour */
        select hour, cast(sum(n) as bigint)
        from removed
        where app_key = ? and first_seq > ? and last_seq <= ?
        group by hour""",
        (app_key, after, up_to),
    )
    return dict(rows)


async def removed_up_to(db: Database) -> dict[str, int]:
    """How far events of each app were removed: nothing can begin before."""
    return dict(await db.all("/* removal.removed_up_to */ select app_key, max(last_seq) from removed group by app_key"))


# --- one at a time


@asynccontextmanager
async def undisturbed(data_dir: Path) -> AsyncIterator[None]:
    """Nothing is removed from the log meanwhile, by whichever process; waits until a step that is under way ends."""
    try:
        handle = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o660)
    except OSError as error:
        raise StoreUnavailable(f"{data_dir / LOCK}: {error.strerror}") from None
    try:
        while not _taken(handle):  # noqa: ASYNC110 - another process's lock sets no event
            await asyncio.sleep(WAIT_SECONDS)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
