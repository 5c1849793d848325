"""The state of an installation: one line per question, each ok, warn or FAIL. Answers are pure, looks gather for them.

FAIL is what somebody has to get up for; warn is what should be looked at in daylight. Nothing is changed by looking.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import msgspec

from store import balance, destinations, log, runs
from store.balance import Doors, Findings, Owed
from store.database import Database, open_reader
from store.destinations import Destination
from store.errors import ConfigError, StoreUnavailable
from store.runs import Run
from store.secrets import Vault
from store.settings import Settings
from store.sqlite.database import FILES, WAL

Level = Literal["ok", "warn", "FAIL"]
WAL_LIMIT = 256 * 1024 * 1024
CLOCK_MS = 60_000
RUN_MS = 2 * 3_600_000
DAY_MS = 24 * 3_600_000
FREE_BYTES = 64 * 1024 * 1024
DAYS_TO_ACT, DAYS_TO_PLAN = 2, 14
NAMED = 5


class Check(msgspec.Struct, frozen=True):
    """One question and its answer; `name` is from a closed list."""

    level: Level
    name: str
    text: str

    def line(self) -> str:
        return f"{self.level:<4}  {self.text}"


class Diagnosis(msgspec.Struct, frozen=True):
    """What was seen. `healthy` is false when a check is FAIL; without sound databases no sum is told."""

    healthy: bool
    balanced: bool
    sqlite: str
    checks: list[Check]
    doors: Doors | None
    destinations: list[Owed]

    def lines(self, quiet: bool = False, hours: bool = False) -> list[str]:
        """For a person; `quiet`: only what is wrong."""
        told = []
        by_line = {owed.line(): owed for owed in self.destinations}
        for check in self.checks:
            if quiet and check.level == "ok":
                continue
            told.append(check.line())
            if hours and check.name == "balance" and check.text in by_line:
                told += by_line[check.text].hour_lines()
        return told


class Volume(msgspec.Struct, frozen=True):
    """How much comes in, and how much room is left: events of the last 24 hours, bytes of one, bytes free."""

    events: int
    event_bytes: int
    free: int


async def diagnose(
    settings: Settings, secret_from: str | None, now: int, max_age_hours: float = 3, hours: bool = False
) -> Diagnosis:
    """Look at everything; `now` in epoch milliseconds, `secret_from` as told by settings.secret_origin.

    Raises StoreUnavailable when the registry or the log is not there.
    """
    data_dir = settings.data_dir
    sound = [await _soundness(data_dir, nature) for nature in FILES]
    checks = [
        Check("ok", "settings", f"settings: readable, data in {data_dir}, SQLite {sqlite3.sqlite_version}"),
        *modes(data_dir),
        *sound,
    ]
    findings: Findings | None = None
    if all(check.level == "ok" for check in sound):
        async with AsyncExitStack() as stack:
            registry_db = await stack.enter_async_context(await open_reader(data_dir, "registry"))
            log_db = await stack.enter_async_context(await open_reader(data_dir, "log"))
            live = await destinations.active(registry_db)
            checks += [secret(settings, secret_from, live), room(await _volume(data_dir, log_db, now))]
            checks += [clock(await _newest(log_db), now), exporter(await _last_run(data_dir), bool(live), now)]
        findings = await balance.examine(data_dir, hours)
        checks += [*balances(findings), oldest(findings.destinations, now, max_age_hours), verified(live)]
    healthy = not any(check.level == "FAIL" for check in checks)
    return Diagnosis(
        healthy=healthy,
        balanced=findings is not None and findings.balanced,
        sqlite=sqlite3.sqlite_version,
        checks=checks,
        doors=findings.doors if findings else None,
        destinations=findings.destinations if findings else [],
    )


# --- answers


def modes(data_dir: Path) -> Iterable[Check]:
    """Who may read the files."""
    mode = data_dir.stat().st_mode & 0o777
    open_to_all = mode & 0o007
    said = f"data directory: mode {mode:04o}"
    yield Check("warn", "modes", f"{said}, open to every user") if open_to_all else Check("ok", "modes", said)
    key = data_dir / "secret-key"
    if key.exists() and key.stat().st_mode & 0o077:
        yield Check("FAIL", "modes", f"{key}: mode {key.stat().st_mode & 0o777:04o}, and others may read it: chmod 600")


def secret(settings: Settings, origin: str | None, live: Sequence[Destination]) -> Check:
    """Whether the stored write keys can be read under the secret key."""
    vault, lost = Vault(settings.secret_key), []
    for destination in live:
        try:
            vault.decrypt(destination.segment_write_key)
        except ConfigError:
            lost.append(destination.app_key)
    if lost:
        return Check(
            "FAIL", "secret", f"secret key: not the one under which the write keys of {_some(lost)} were stored"
        )
    if origin is None:
        return Check("warn", "secret", "secret key: there was none; one was made in the data directory")
    return Check("ok", "secret", f"secret key: from {origin}")


def room(volume: Volume) -> Check:
    """How long the disk lasts, as much as came in during the last day."""
    said = f"disk: {volume.free // 1_000_000} MB free"
    a_day = volume.events * volume.event_bytes
    days = volume.free / a_day if a_day else float("inf")
    if a_day:
        left = f"{days:.0f} days" if days < 3_650 else "over 10 years"
        said += f", {left} at {volume.events} events a day"
    if volume.free < FREE_BYTES or days < DAYS_TO_ACT:
        return Check("FAIL", "disk", said)
    return Check("warn" if days < DAYS_TO_PLAN else "ok", "disk", said)


def clock(newest: int | None, now: int) -> Check:
    """Whether time went back since the newest event."""
    if newest is not None and newest > now + CLOCK_MS:
        return Check("FAIL", "clock", f"clock: {_span(newest - now)} behind the newest event")
    return Check("ok", "clock", "clock: not behind the newest event")


def exporter(last: Run | None, has_work: bool, now: int) -> Check:
    """When the exporter last ran."""
    if last is None:
        return Check("warn" if has_work else "ok", "exporter", "exporter: it has not run yet")
    began, late = _span(now - last.began_at), now - last.began_at > RUN_MS
    if last.ended_at is None:
        said = f"exporter: a run began {began} ago and has not ended"
    else:
        said = f"exporter: last run {began} ago, took {_span(last.ended_at - last.began_at)}, {last.deferred} deferred"
    return Check("warn" if late and has_work else "ok", "exporter", said)


def balances(findings: Findings) -> Iterable[Check]:
    yield Check("FAIL" if findings.doors.difference else "ok", "doors", findings.doors_line())
    for owed in findings.destinations:
        off = owed.difference or owed.difference_by_hour
        yield Check("FAIL" if off else "warn" if owed.paused else "ok", "balance", owed.line())


def oldest(owed: Iterable[Owed], now: int, max_age_hours: float) -> Check:
    """Whether something waits for too long; a limit of 0 is none."""
    return waited(
        [(item.oldest_pending, item.app) for item in owed if item.oldest_pending is not None], now, max_age_hours
    )


def waited(since: Iterable[tuple[int, str]], now: int, max_age_hours: float) -> Check:
    """The same of when the oldest event of each app was received."""
    waiting = sorted(since)
    if not waiting:
        return Check("ok", "pending", "oldest pending event: none")
    said = f"oldest pending event: {_span(now - waiting[0][0])}"
    late = [app for since, app in waiting if max_age_hours and now - since > max_age_hours * 3_600_000]
    if not late:
        return Check("ok", "pending", said)
    return Check("FAIL", "pending", f"{said}, over {max_age_hours:g} h: {_some(dict.fromkeys(late))}")


def verified(live: Iterable[Destination]) -> Check:
    """Whose write keys nobody has proved to be the partner's."""
    unproved = dict.fromkeys(d.app_key for d in live if d.verified_at is None)
    if unproved:
        return Check("warn", "keys", f"write keys: never verified: {_some(unproved)}")
    return Check("ok", "keys", "write keys: all verified")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def _span(milliseconds: int) -> str:
    seconds = milliseconds / 1_000
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


# --- looks


async def _soundness(data_dir: Path, nature: str) -> Check:
    """Whether a database is whole, of this version, and its WAL no longer than it should be."""
    file = FILES[nature]
    if nature == "ledger" and not (data_dir / file).exists():
        return Check("ok", "databases", f"{file}: not begun, because no exporter has run")
    said = await _quick_check(data_dir, nature)
    if said != "ok":
        return Check("FAIL", "databases", f"{file}: {said}")
    wal = data_dir / f"{file}-wal"
    length = wal.stat().st_size if nature in WAL and wal.exists() else 0
    size = (data_dir / file).stat().st_size
    text = f"{file}: whole, of this version, {size // 1_000} kB"
    if length > WAL_LIMIT:
        return Check(
            "warn", "databases", f"{text}, and {length // 1_000_000} MB in its WAL: something reads for too long"
        )
    return Check("ok", "databases", text)


async def _quick_check(data_dir: Path, nature: str) -> str:
    """What SQLite says, or why it cannot be asked. Raises StoreUnavailable when there is no such file."""
    try:
        async with await open_reader(data_dir, nature) as db:
            said: str = await db.value("pragma quick_check(1)")
            return said
    except (StoreUnavailable, sqlite3.Error) as error:
        if not (data_dir / FILES[nature]).exists():
            raise
        return str(error).removeprefix(f"{data_dir / FILES[nature]} ")


async def _volume(data_dir: Path, db: Database, now: int) -> Volume:
    first = await db.value("/* doctor.first */ select min(seq) from events")
    head = await log.head(db)
    kept = head - first + 1 if first else 0
    size = (data_dir / FILES["log"]).stat().st_size
    recent = head - await log.seq_before(db, now - DAY_MS)
    return Volume(recent if kept else 0, size // kept if kept else 0, shutil.disk_usage(data_dir).free)


async def _newest(db: Database) -> int | None:
    newest: int | None = await db.value("/* doctor.newest */ select received_at from events order by seq desc limit 1")
    return newest


async def _last_run(data_dir: Path) -> Run | None:
    if not (data_dir / FILES["ledger"]).exists():
        return None
    async with await open_reader(data_dir, "ledger") as db:
        return await runs.latest(db)
