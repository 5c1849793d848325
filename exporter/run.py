"""One run of the exporter: what has a backlog, and for whom it is shipped; or run after run with a pause between.

On SQLite the ledger's lock file keeps a second run out; the lease on every cursor does the same where several exporters
share one database.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from exporter import segment
from exporter.mapping import Mapper
from exporter.report import Report, Shipped, Voice
from exporter.shipping import LANES, REFUSED_IN_A_ROW, SUSPECT_LANES, Send, Shipping, Work
from store import ids, ledger, log, registry
from store.database import FILES, Database, is_unwell, open_reader, open_writer
from store.errors import Busy, ConfigError, StoreUnavailable
from store.ledger import Cursor
from store.registry import App, Destination
from store.secrets import Vault
from store.settings import Settings


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
) -> Report:
    """One pass over every destination with a backlog. What goes wrong with one is told after the others are done."""
    report = Report(run=str(ids.uuid7()), dry_run=dry_run)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        stack.enter_context(_store_failures())
        registry_db = await stack.enter_async_context(await open_reader(settings.data_dir, "registry"))
        log_db = await stack.enter_async_context(await open_reader(settings.data_dir, "log"))
        try:
            ledger_db = await stack.enter_async_context(await _open_ledger(settings, dry_run, stack))
        except Busy as busy:
            report.busy = str(busy)
            return report
        left_open = 0 if dry_run else await ledger.recover(ledger_db, _now())
        shipping = Shipping(log_db, ledger_db, report, voice, stop, send)
        try:
            work = await _find_work(settings, registry_db, log_db, ledger_db, shipping, report, only)
            voice.note("run began", run=report.run, destinations=len(work), left_open=left_open)
            ended = await asyncio.gather(*(shipping.ship(item) for item in work), return_exceptions=True)
            for error in filter(None, ended):
                raise error
        finally:
            shipping.close()
            if not dry_run:
                await ledger.release(ledger_db, report.run)
    report.seconds = time.monotonic() - began
    voice.end()
    voice.note("run ended", run=report.run, seconds=round(report.seconds, 2), **report.sums())
    return report


@contextmanager
def _store_failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if not is_unwell(error):
            raise
        raise StoreUnavailable(f"a database fails: {error}") from None


async def _open_ledger(settings: Settings, dry_run: bool, stack: AsyncExitStack) -> Database:
    """To look is enough for a dry run, also beside a real one; before the first run it looks at an empty ledger."""
    if not dry_run:
        return await open_writer(settings.data_dir, "ledger")
    if (settings.data_dir / FILES["ledger"]).exists():
        return await open_reader(settings.data_dir, "ledger")
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
    destinations = [d for d in await registry.destinations(registry_db) if only in (None, d.app_key)]
    apps = {app.app_key: app for app in await registry.apps(registry_db)}  # read after what refers to them
    if not report.dry_run:
        await ledger.begin(ledger_db, [(d.app_key, d.destination_id, d.start_seq) for d in destinations])
    cursors, heads = await ledger.cursors(ledger_db), await log.heads(log_db)
    vault, now = Vault(settings.secret_key), _now()
    found: list[Work] = []
    unreadable: ConfigError | None = None
    for d in destinations:
        begun = Cursor(d.app_key, d.destination_id, d.start_seq, d.start_seq, 0, "")
        cursor = cursors.get((d.app_key, d.destination_id), begun)
        if heads.get(d.app_key, 0) <= cursor.seq:
            continue
        shipped = Shipped(d.app_key, d.destination_id)
        report.destinations.append(shipped)
        if cursor.not_before > now:
            shipping.defer(shipped, f"asked to be left alone for {(cursor.not_before - now) // 1_000} s more")
            continue
        try:
            found.append(_begin(settings, apps[d.app_key], d, vault, cursor, shipped))
        except ConfigError as error:
            unreadable = error
            shipping.defer(shipped, str(error))
    if unreadable and not found:
        raise unreadable
    random.shuffle(found)
    return found


def _begin(settings: Settings, app: App, d: Destination, vault: Vault, cursor: Cursor, shipped: Shipped) -> Work:
    """A destination that was paused is sent one event first, and is left alone again when it refuses that one."""
    key, host = vault.decrypt(d.segment_write_key), settings.segment_url(d.region)
    mapper = Mapper(app, d, settings.event_prefix)
    work = Work(app, d, mapper, host, key, cursor, shipped, cursor.seq, ready=[], splits=[])
    if cursor.paused_reason:
        work.splits, work.suspect, work.refused_in_a_row = [1], True, REFUSED_IN_A_ROW - 1
    return work


def _now() -> int:
    return time.time_ns() // 1_000_000
