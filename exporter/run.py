"""One run of the exporter: what has a backlog, and for whom it is shipped; or run after run with a pause between.

On SQLite the ledger's lock file keeps a second run out; the lease on every cursor does the same where several exporters
share one database.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from exporter import finding
from exporter.attributing import Attributing
from exporter.finding import Backlog
from exporter.postbacks import Postbacks, Tell
from exporter.report import Report, Shipped, Voice
from exporter.sending import REFUSED_IN_A_ROW
from exporter.shipping import LANES, LEASE_SECONDS, SUSPECT_LANES, Shipping
from exporter.work import Send, Work
from store import ids, ledger, log, registry, runs
from store.database import Database
from store.engines import exists, open_reader, open_writer
from store.errors import Busy, ConfigError, StoreUnavailable
from store.ledger import Cursor, Passage
from store.postbacks import delivering
from store.receipt import Signer, make_receipts
from store.secrets import Vault
from store.settings import Settings
from store.tallies import Fate
from wire import segment, webhook
from wire.elsewhere import elsewhere
from wire.mapping import Mapper

DAY_MS = 24 * 3_600_000


async def run(
    settings: Settings, voice: Voice, *, only: str | None = None, dry_run: bool = False, every: float | None = None
) -> Report:
    """Ship what is pending, then end; with `every`, do so again after that many seconds until told to stop.

    Raises StoreUnavailable when a database fails (with `every`, the next run may find it well again), ConfigError when
    something is set up wrongly.
    """
    segment.prepare(LANES + SUSPECT_LANES)
    sys.setswitchinterval(0.000_2)  # the threads that read and send are to begin while this one maps
    gc.freeze()  # what was imported lives as long as the process
    gc.set_threshold(50_000, 20, 50)  # a run makes many short-lived objects and no cycles
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        while True:
            try:
                report = await run_once(settings, voice, stop, only=only, dry_run=dry_run)
            except StoreUnavailable as error:
                if every is None:
                    raise
                voice.complain("run failed", reason=str(error))
                if await _stopped_within(stop, every):
                    raise
            else:
                if every is None or await _stopped_within(stop, every):
                    return report
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _stopped_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def run_once(
    settings: Settings,
    voice: Voice,
    stop: asyncio.Event,
    *,
    only: str | None = None,
    dry_run: bool = False,
    send: Send = segment.send,
    tell: Tell = webhook.send,
) -> Report:
    """One pass over every destination with a backlog. What goes wrong with one is told after the others are done."""
    report = Report(run=str(ids.uuid7()), dry_run=dry_run)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        registry_db = await stack.enter_async_context(await open_reader(settings.where, "registry"))
        log_db = await stack.enter_async_context(await open_reader(settings.where, "log"))
        try:
            ledger_db = await stack.enter_async_context(await _open_ledger(settings, dry_run, stack))
        except Busy as busy:
            report.busy = str(busy)
            return report
        left_open = 0 if dry_run else await ledger.recover(ledger_db, await ledger_db.now())
        if not dry_run:
            await runs.begin(ledger_db, report.run, _now())
            following = Attributing(registry_db, log_db, ledger_db, report.run, voice, stop)
            report.attribution = await following.follow(await log.settled(log_db), _now(), only)
        shipping = Shipping(log_db, ledger_db, report, voice, stop, send)
        try:
            work = await _find_work(settings, registry_db, log_db, ledger_db, shipping, report, only)
            voice.note("run began", run=report.run, destinations=len(work), left_open=left_open)
            await shipping.ship_all(work)
        finally:
            shipping.close()
            if not dry_run:
                await ledger.release(ledger_db, report.run)
        if not dry_run:
            telling = Postbacks(settings, registry_db, log_db, ledger_db, report.run, voice, stop, send, tell)
            report.postbacks = await telling.tell_all(only)
            await make_receipts(ledger_db, Signer(Vault(settings.secret_key).receipt_seed), await ledger_db.now())
            await runs.end(ledger_db, report.run, _now(), sum(1 for shipped in report.destinations if shipped.deferred))
            await runs.forget(ledger_db, _now() - settings.attempt_days * DAY_MS)
            await delivering.forget_attempts(ledger_db, _now() - settings.attempt_days * DAY_MS)
    report.seconds = time.monotonic() - began
    voice.end()
    voice.note("run ended", run=report.run, seconds=round(report.seconds, 2), **report.sums())
    return report


async def _open_ledger(settings: Settings, dry_run: bool, stack: AsyncExitStack) -> Database:
    """To look is enough for a dry run, also beside a real one; before the first run it looks at an empty ledger."""
    if not dry_run:
        return await open_writer(settings.where, "ledger")
    if exists(settings.where, "ledger"):
        return await open_reader(settings.where, "ledger")
    return await open_writer(Path(stack.enter_context(TemporaryDirectory())), "ledger")


async def _find_work(
    settings: Settings,
    registry_db: Database,
    log_db: Database,
    ledger_db: Database,
    shipping: Shipping,
    report: Report,
    only: str | None,
) -> list[Work]:
    """What has a backlog, in an order that differs from run to run, so that nobody is always last."""
    if only is not None:
        await registry.app(registry_db, only)
    now = _now()
    settled = shipping.reading.settled = await log.settled(log_db)
    if report.dry_run:
        backlogs = await finding.peek(registry_db, log_db, ledger_db, settled)
    else:
        backlogs = await finding.find(registry_db, log_db, ledger_db, settled, now)
    backlogs = [backlog for backlog in backlogs if only in (None, backlog.app.app_key)]
    if not report.dry_run:
        backlogs = await _expire(settings, log_db, ledger_db, backlogs, report, now)
    vault = Vault(settings.secret_key)
    found: list[Work] = []
    unreadable: ConfigError | None = None
    for backlog in backlogs:
        health = backlog.cursor.health
        shipped = Shipped(backlog.app.app_key, backlog.course.course_id)
        report.destinations.append(shipped)
        if health.not_before > now:
            why = f"paused: {health.tripped}" if health.tripped else "asked to be left alone"
            shipping.sending.defer(shipped, f"{why} for {(health.not_before - now) // 1_000} s more")
            continue
        try:
            found.append(_begin(settings, backlog, vault, shipped))
        except ConfigError as error:
            unreadable = error
            shipping.sending.defer(shipped, str(error))
    if unreadable and not found:
        raise unreadable
    random.shuffle(found)
    return found


async def _expire(
    settings: Settings, log_db: Database, ledger_db: Database, backlogs: Sequence[Backlog], report: Report, now: int
) -> list[Backlog]:
    """Move every cursor past what is older than events are kept, and count it: it will be removed unsent. What is
    left."""
    oldest = await log.seq_before(log_db, now - settings.retention_days * DAY_MS) if backlogs else 0
    left = []
    for backlog in backlogs:
        cursor, up_to = backlog.cursor, min(oldest, backlog.up_to)
        if cursor.seq < up_to:
            counted = await log.counts(log_db, cursor.app_key, cursor.seq, up_to)
            fates: Counter[Fate] = Counter()
            for hour, suppressed, n in counted:
                fates[Fate(hour, "suppressed", suppressed) if suppressed else Fate(hour, "expired", "retention")] += n
            if await _move(ledger_db, cursor, report.run, Passage(up_to, fates), now):
                cursor = msgspec.structs.replace(cursor, seq=up_to)
        if cursor.seq < backlog.up_to or backlog.released:
            left.append(backlog._replace(cursor=cursor))
    return left


async def _move(ledger_db: Database, cursor: Cursor, run: str, passage: Passage, now: int) -> bool:
    """Whether no other run has the course, or has moved it since."""
    began = await ledger_db.now()
    until = began + round(LEASE_SECONDS * 1_000)
    held = await ledger.lease(ledger_db, cursor.app_key, cursor.destination_id, run, began, until)
    if held == cursor:
        await ledger.move(ledger_db, cursor, run, passage, now)
    if held is not None:
        await ledger.release(ledger_db, run, (cursor.app_key, cursor.destination_id))
    return held == cursor


def _begin(settings: Settings, backlog: Backlog, vault: Vault, shipped: Shipped) -> Work:
    """A course whose breaker is open is sent one event first, and is left alone again when that fails."""
    app, course, cursor = backlog.app, backlog.course, backlog.cursor
    d = course.destination
    key, host = vault.decrypt(d.segment_write_key), d.url or settings.segment_url(d.region)
    mapper = Mapper(app, d, settings.event_prefix, course.ids_from)
    work = Work(app, course, mapper, host, key, cursor, shipped, ready=[], splits=[])
    work.up_to, work.released = backlog.up_to, backlog.released
    if d.url:
        work.send = elsewhere(settings.allowed_destinations).send
    if cursor.health.tripped:
        work.splits, work.suspect, work.refused_in_a_row = [1], True, REFUSED_IN_A_ROW - 1
    return work


def _now() -> int:
    return time.time_ns() // 1_000_000
