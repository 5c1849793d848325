"""A listing that is much looked at: one app's events of ninety days, with all that the doors and the exporter book.

Rows go straight into the product's schema, hour by hour and made by SQLite itself, for the sake of time; the sums at
the doors and of the destination hold, as `footfall doctor` finds. What is made is used again where it is kept.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from bench.stage import AGENT, FIRST_APP, WRITE_KEY, connect
from store import destinations, ids, registry
from store.destinations import Change
from store.engines import migrate_all, open_reader, open_writer
from store.entry import HOUR_MS
from store.people import roster, sessions
from store.receipt import Signer, digest, make_receipts
from store.rollups.following import Follower
from store.secrets import Vault
from store.settings import Settings, load

DAYS = 90
DAY_MS = 24 * HOUR_MS
KEPT_DAYS = 3_650  # so that nothing goes when the installation is used again
SECRET_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"  # noqa: S105 - of measurements only
# How much happens in each hour of a day, UTC, and on each day of a week, beginning with a Thursday as the epoch does.
OF_DAY = (3, 2, 2, 2, 3, 4, 6, 8, 10, 11, 11, 10, 10, 12, 14, 15, 14, 13, 11, 9, 8, 7, 5, 4)
OF_WEEK = (10, 9, 4, 4, 10, 11, 11)
A_VISIT = 4  # events
NEW_OF_TEN = 6  # visits in ten are somebody's first
REPEATED, REFUSED = 50, 400  # for so many events one more was a duplicate, or rejected
KEPT_REJECTIONS = 500
BATCH = 500  # events that one request to the destination covers
PARKING_HOURS = 18  # in one hour of so many an event was parked
DEFERRED = 40  # one attempt of so many, and made again
COUNTED_AT_ONCE = 20_000


class Hour(NamedTuple):
    """`first` and `last` are seqs."""

    hour: int
    first: int
    last: int


class Batch(NamedTuple):
    """What one request covers; `events` of it were sent."""

    hour: int
    first: int
    last: int
    events: int
    newest_sent: int | None


class Suppressed(NamedTuple):
    """How many of an hour's events went nowhere."""

    hour: int
    reason: str
    n: int


def installation(directory: Path, events: int) -> Settings:
    """A data directory with so many events, made now where it is not there whole."""
    settings = load({"FOOTFALL_RETENTION_DAYS": str(KEPT_DAYS)}, data_dir=directory, secret_key=SECRET_KEY)
    whole = directory / "whole"
    if not whole.exists():
        if directory.exists():
            raise RuntimeError(f"{directory} is not whole: remove it")
        now = time.time_ns() // 1_000_000
        asyncio.run(_begin(settings, now))
        asyncio.run(move_in(settings, now))
        batches, suppressed = _fill_log(directory, spread(now, events))
        asyncio.run(_fill_ledger(settings, batches, suppressed))
        asyncio.run(count(settings))
        whole.touch()
    return settings


async def sign_in(settings: Settings) -> dict[str, str]:
    """A session of the operator and of the partner's owner: its token, by role."""
    now, tokens = time.time_ns() // 1_000_000, {}
    async with await open_writer(settings.where, "registry") as db:
        for person in await roster.people(db):
            tokens[person.role] = await sessions.begin(db, now, person, "", "")
    return {str(role): token for role, token in tokens.items()}


async def count(settings: Settings) -> None:
    """Have the rollups say what is in the log."""
    where = settings.where
    async with (
        await open_writer(where, "registry") as registry_db,
        await open_writer(where, "log") as writer,
        await open_reader(where, "log") as reader,
    ):
        follower = Follower(registry_db, reader, writer)
        while await follower.step(time.time_ns() // 1_000_000, COUNTED_AT_ONCE):
            pass


async def _begin(settings: Settings, now: int) -> None:
    """The registry: a partner with one app that has a destination."""
    began = now - DAYS * DAY_MS
    await migrate_all(settings.where)
    async with await open_writer(settings.where, "registry") as db:
        await registry.add_partner(db, began, "bench", "1", "Bench")
        await registry.add_app(db, began, FIRST_APP, "bench", "1000", "Bench")
        change = Change(segment_write_key=WRITE_KEY)
        await destinations.set_destination(db, Vault(settings.secret_key), began, FIRST_APP, change, 0)


async def move_in(settings: Settings, now: int) -> None:
    """The operator and the partner's owner."""
    async with await open_writer(settings.where, "registry") as db:
        await roster.add(db, now, "operator@bench.example", "", "operator", None, "bench")
        await roster.add(db, now, "owner@bench.example", "", "owner", "bench", "bench")


def spread(now: int, events: int) -> list[Hour]:
    """The hours before now, each with its share of so many events."""
    end = now // HOUR_MS
    hours = range(end - DAYS * 24, end)
    weights = [OF_DAY[hour % 24] * OF_WEEK[hour // 24 % 7] for hour in hours]
    whole, passed, found, last = sum(weights), 0, [], 0
    for hour, weight in zip(hours, weights, strict=True):
        passed += weight
        first, last = last + 1, events * passed // whole
        if last >= first:
            found.append(Hour(hour, first, last))
    return found


def _fill_log(directory: Path, hours: Sequence[Hour]) -> tuple[list[Batch], list[Suppressed]]:
    """An hour a statement; in commits of a day, which need not be on disk before the last."""
    batches: list[Batch] = []
    suppressed: list[Suppressed] = []
    with closing(connect(directory / "events.db")) as log:
        log.execute("pragma synchronous = off")
        log.execute("pragma cache_size = -262144")
        log.execute("create temp table numbers (n integer primary key)")
        log.execute(_NUMBERS, (max(hour.last - hour.first + 1 for hour in hours),))
        for at in range(0, len(hours), 24):
            log.execute("begin immediate")
            for hour in hours[at : at + 24]:
                told = {"n": hour.last - hour.first + 1, "first": hour.first, "at": hour.hour * HOUR_MS}
                log.execute(_EVENTS, told)
                log.executemany(_TALLY, _tallies(log, hour))
                batches += [Batch(hour.hour, *row) for row in log.execute(_BATCHES, hour)]
                suppressed += [Suppressed(hour.hour, *row) for row in log.execute(_SUPPRESSED, hour)]
            log.execute("commit")
        log.execute("begin immediate")
        log.execute(_VISITORS)
        log.executemany(_REJECTION, _rejections(hours))
        log.execute("commit")
        log.execute("pragma wal_checkpoint(truncate)")
    return batches, suppressed


def _tallies(log: sqlite3.Connection, hour: Hour) -> Iterator[tuple[str, str, int, str, str, int]]:
    """The balance of one hour at each door."""
    for door, stored in log.execute(_BY_DOOR, hour).fetchall():
        repeated, refused = stored // REPEATED, stored // REFUSED
        counted = {"received": stored + repeated + refused, "stored": stored, "duplicate": repeated}
        yield from ((FIRST_APP, door, hour.hour, outcome, "", n) for outcome, n in counted.items())
        yield FIRST_APP, door, hour.hour, "rejected", "invalid", refused


def _rejections(hours: Sequence[Hour]) -> Iterator[tuple[str, str, int, str, str, bytes]]:
    """What is kept of the newest that were refused."""
    for number, hour in enumerate(hours[-KEPT_REJECTIONS:]):
        body = f'{{"events":[{{"name":"page_view","app":"{FIRST_APP}","number":{number}}}]}}'.encode()
        yield FIRST_APP, "browser", hour.hour * HOUR_MS + number, "invalid", "messageId is missing", body


async def _fill_ledger(settings: Settings, batches: Sequence[Batch], suppressed: Sequence[Suppressed]) -> None:
    """A run an hour, as the exporter books it, up to the last hour but one; with their receipts."""
    async with await open_reader(settings.where, "registry") as registry_db:
        course = (await destinations.destination(registry_db, FIRST_APP)).destination_id  # type: ignore[union-attr]
    keys = FIRST_APP, course
    by_hour = {hour: list(found) for hour, found in groupby(batches, key=lambda batch: batch.hour)}
    *done, _ = by_hour
    last = by_hour[done[-1]][-1].last
    async with await open_writer(settings.where, "ledger") as db:
        async with db.transaction():
            await db.execute(_CURSOR, (*keys, last, batches[-1].last))
            for hour in done:
                await db.execute_many(_RUN, [(_run(hour), (hour + 1) * HOUR_MS, (hour + 1) * HOUR_MS + 9_000)])
                await db.execute_many(_BATCH, _attempts(keys, hour, by_hour[hour]))
                held = [
                    batch.newest_sent for batch in by_hour[hour][:1] if batch.newest_sent and hour % PARKING_HOURS == 0
                ]
                await db.execute_many(_PARKED, [_parked(keys, hour, seq) for seq in held])
                accepted = sum(batch.events for batch in by_hour[hour]) - len(held)
                fates = [("accepted", "", accepted), ("parked", "too_large", len(held))]
                await db.execute_many(_FATE, [(*keys, hour, *fate) for fate in fates if fate[2]])
            gone = [
                (*keys, each.hour, "suppressed", each.reason, each.n) for each in suppressed if each.hour <= done[-1]
            ]
            await db.execute_many(_FATE, gone)
        await make_receipts(db, Signer(Vault(settings.secret_key).receipt_seed), (done[-1] + 1) * HOUR_MS)


def _run(hour: int) -> str:
    """The id of the run that sent an hour's events."""
    return _time_ordered((hour + 1) * HOUR_MS)


def _time_ordered(at: int, number: int = 0) -> str:
    return f"{at >> 16:08x}-{at & 0xFFFF:04x}-7{number >> 8 & 0xFFF:03x}-8000-{number:012x}"


def _attempts(keys: tuple[str, str], hour: int, batches: Sequence[Batch]) -> Iterator[tuple[object, ...]]:
    """Rows of `batches`: each was accepted, some at the second try."""
    make, at = ids.destination_message_ids(UUID(keys[1])), (hour + 1) * HOUR_MS
    for number, batch in enumerate(batches, 1):
        first_id, last_id = make(f"{batch.first:032x}"), make(f"{batch.last:032x}")
        told = batch.first, batch.last, batch.events, batch.events * 700
        tries = [(503, "deferred", "", "", "")] if batch.first // BATCH % DEFERRED == 0 else []
        tries.append((200, "accepted", first_id, last_id, digest([first_id, last_id])))
        for attempt, (status, outcome, *ends) in enumerate(tries, 1):
            began = at + 10 * number + attempt
            of_run = keys[0], _time_ordered(began, number), keys[1], _run(hour), attempt
            yield *of_run, *told, began, began + 40, 35, *ends, outcome, status


def _parked(keys: tuple[str, str], hour: int, seq: int) -> tuple[object, ...]:
    message_id = ids.destination_message_ids(UUID(keys[1]))(f"{seq:032x}")
    return *keys, seq, message_id, "too_large", "it is larger than Segment takes", hour, (hour + 1) * HOUR_MS


_NUMBERS = """
    with recursive counted (n) as (select 1 union all select n + 1 from counted where n < ?)
    insert into numbers select n from counted"""

_TALLY = "insert into door_tallies values (?, ?, ?, ?, ?, ?)"

_REJECTION = """
    insert into rejections (app_key, door, received_at, reason, detail, body) values (?, ?, ?, ?, ?, ?)"""

_BY_DOOR = """
    select case name when 'install' then 'installs' when 'app_request' then 'app-requests' else 'browser' end, count(*)
    from events
    where ? > 0 and seq between ? and ?
    group by 1"""

_BATCHES = f"""
    select min(seq), max(seq), count(*) - count(suppressed), max(case when suppressed is null then seq end)
    from events
    where ? > 0 and seq between ? and ?
    group by seq / {BATCH}"""

_SUPPRESSED = """
    select suppressed, count(*)
    from events
    where ? > 0 and seq between ? and ? and suppressed is not null
    group by suppressed"""

_CURSOR = """
    insert into cursors (app_key, destination_id, start_seq, seq, newest_seq)
    values (?, ?, 0, ?, ?)"""

_RUN = "insert into runs (run_id, began_at, ended_at) values (?, ?, ?)"

_BATCH = """
    insert into batches (app_key, batch_id, destination_id, run_id, attempt, first_seq, last_seq, events, bytes,
      opened_at, closed_at, latency_ms, first_id, last_id, digest, outcome, status)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

_PARKED = """
    insert into parked (app_key, destination_id, seq, message_id, reason, detail, hour, parked_at)
    values (?, ?, ?, ?, ?, ?, ?, ?)"""

_FATE = "insert into tallies values (?, ?, ?, ?, ?, ?)"


def _one_of(number: str, *texts: str) -> str:
    """SQL for one of these by a number."""
    cases = " ".join(f"when {at} then '{text}'" for at, text in enumerate(texts))
    return f"case {number} % {len(texts)} {cases} end"


_HOSTING = _one_of("g", "cloud", "cloud", "datacenter")
_SOURCE = _one_of("g", "google", "newsletter", "linkedin", "capterra", "partner")
_REFERRER = _one_of("g", "www.google.com", "www.bing.com", "duckduckgo.com", "community.example", "www.linkedin.com")
_TAB = _one_of("dice", "Reviews", "Pricing", "Privacy & Security", "Support", "Installation", "Integrations")
_CALL = _one_of("dice", "Try it free", "Get it now", "Contact sales")
_HASH = "2654435761 % 4294967291"  # what a small number times this leaves is as good as drawn by lot

# A visit's events lie among those of seven others. `v` is the visitor: of ten visits so many are a new one's, the rest
# of one who was there before.
_EVENTS = f"""
    with
      numbered as (
        select :first - 1 + n as seq, :at + n * {HOUR_MS} / (:n + 1) as at, (:first - 1 + n) % 32 / 8 as step,
          (:first - 1 + n) / 32 * 8 + (:first - 1 + n) % 8 as visit
        from numbers
        where n <= :n
      ),
      drawn as (
        select seq, at, step, seq * {_HASH} / 7 % 1000 as dice, visit * {_HASH} / 5 as g,
          case when visit % 10 < {NEW_OF_TEN} then visit / 10 * {NEW_OF_TEN} + visit % 10
            else visit / 10 * {NEW_OF_TEN} - visit * {_HASH} % min(200003, visit / 10 * {NEW_OF_TEN} + 1) end as v
        from numbered
      ),
      named as (
        select *, case when step = 0 or dice < 467 then 'page_view' when dice < 767 then 'tab_click'
          when dice < 947 then 'cta_click' when dice < 967 then 'app_request' else 'install' end as name
        from drawn
      )
    insert into events
    select seq, '{FIRST_APP}', cast(printf('%011x%05x', at, seq % 1048576) as blob), 'track', name,
      case when name in ('app_request', 'install') then 'server' else 'browser' end, at - 180, at, 'bench',
      printf('%08x%032x', v * {_HASH}, v), case when v % 5 = 0 then printf('%040x', v) end,
      case when v % 3 = 0 then printf('crm-%d', v) end,
      case when v % 100 < 6 then 'consent' when v % 100 < 10 then 'gpc' when v % 100 < 12 then 'bot' end,
      case when name in ('app_request', 'install') then '{{}}'
      else '{{"url":"https://marketplace.example/apps/1000/bench?hosting=' || {_HOSTING}
        || '","query":{{"hosting":"' || {_HOSTING} || case when g % 10 < 3
          then '","utm_source":"' || {_SOURCE} || '","utm_medium":"cpc","utm_campaign":"campaign-' || (g / 10 % 40)
          else '' end
        || '"}},' || case when g % 4 < 3 then '"referrer":"https://' || {_REFERRER} || '/",' else '' end
        || '"title":"Bench for teams | Marketplace",' || case name when 'tab_click' then '"label":"' || {_TAB} || '",'
          when 'cta_click' then '"label":"' || {_CALL} || '",' else '' end
        || '"user_agent":"{AGENT}","locale":"en-GB","version":"0.1.0"}}' end
    from named"""

# In the order of its key: so the table is written from its beginning to its end.
_VISITORS = """
    insert into visitors (app_key, anonymous_id, user_id, partner_anonymous_id, suppressed, seen_at)
    select app_key, anonymous_id, user_id, partner_anonymous_id, coalesce(suppressed, ''), max(received_at)
    from events not indexed
    where name = 'page_view'
    group by app_key, anonymous_id"""
