"""The state of an installation: one line per question, each ok, warn or FAIL. Answers are pure, looks gather for them.

FAIL is what somebody has to get up for; warn is what should be looked at in daylight. Nothing is changed by looking.
What only one engine can tell is looked for in store/sqlite/doctor.py and store/postgres/doctor.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from store import balance, destinations, log, runs
from store.attribution import balance as attribution_balance
from store.attribution.balance import Balance
from store.balance import Doors, Findings, Owed, Told
from store.database import Database, Engine, Server, Where, exists, open_reader
from store.destinations import Destination
from store.errors import ConfigError
from store.rollups import following
from store.runs import Run
from store.secrets import Vault
from store.settings import Settings

Level = Literal["ok", "warn", "FAIL"]
GROUND = ("databases", "server", "roles")  # without these no sum can be told
CLOCK_MS = 60_000
BEHIND_MS = 600_000  # of the rollups: until the portal is of little use
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
    """What was seen. `healthy` is false when a check is FAIL; without sound databases no sum is told. Of the engines'
    versions one is there."""

    healthy: bool
    balanced: bool
    engine: Engine
    sqlite: str | None
    postgresql: str | None
    checks: list[Check]
    doors: Doors | None
    destinations: list[Owed]
    postbacks: list[Told] = []

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
    where = settings.where
    version, checks = await _ground(where, settings.data_dir)
    findings: Findings | None = None
    if not any(check.level == "FAIL" and check.name in GROUND for check in checks):
        async with await open_reader(where, "registry") as registry_db, await open_reader(where, "log") as log_db:
            live = await destinations.active(registry_db)
            checks += [secret(settings, secret_from, live), *await _state(where, log_db, now)]
            checks += [clock(await _newest(log_db), now), rollups(await uncounted_since(log_db), now)]
            checks += [exporter(await _last_run(where), bool(live), now)]
        findings = await balance.examine(where, hours)
        checks.append(attribution(await _attribution(where)))
        checks += [*balances(findings), oldest(findings.destinations, now, max_age_hours), verified(live)]
    healthy = not any(check.level == "FAIL" for check in checks)
    return Diagnosis(
        healthy=healthy,
        balanced=findings is not None and findings.balanced,
        engine="postgresql" if isinstance(where, Server) else "sqlite",
        sqlite=None if isinstance(where, Server) else version,
        postgresql=version if isinstance(where, Server) else None,
        checks=checks,
        doors=findings.doors if findings else None,
        destinations=findings.destinations if findings else [],
        postbacks=findings.postbacks if findings else [],
    )


async def _ground(where: Where, data_dir: Path) -> tuple[str, list[Check]]:
    """The engine's version, and whether it is fit to be asked."""
    if isinstance(where, Server):
        from store.postgres import doctor as postgres

        version, checks = await postgres.ground(where)
        return version, [*checks, *key_mode(data_dir)]
    from store.sqlite import doctor as sqlite

    return await sqlite.ground(where)


async def _state(where: Where, log_db: Database, now: int) -> list[Check]:
    if isinstance(where, Server):
        from store.postgres import doctor as postgres

        return await postgres.state(where, now)
    from store.sqlite import doctor as sqlite

    return [room(await sqlite.volume(where, log_db, now))]


# --- answers


def modes(data_dir: Path) -> Iterable[Check]:
    """Who may read the files."""
    mode = data_dir.stat().st_mode & 0o777
    open_to_all = mode & 0o007
    said = f"data directory: mode {mode:04o}"
    yield Check("warn", "modes", f"{said}, open to every user") if open_to_all else Check("ok", "modes", said)
    yield from key_mode(data_dir)


def key_mode(data_dir: Path) -> Iterable[Check]:
    """Who may read the secret key, where it is a file of ours."""
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
            "FAIL", "secret", f"secret key: not the one under which the write keys of {some(lost)} were stored"
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
        return Check("FAIL", "clock", f"clock: {span(newest - now)} behind the newest event")
    return Check("ok", "clock", "clock: not behind the newest event")


def rollups(since: int | None, now: int) -> Check:
    """How far the rollups are behind the log: `since` when the oldest event that is not counted came in."""
    if since is not None and now - since > BEHIND_MS:
        return Check("warn", "rollups", f"rollups: {span(now - since)} behind; a collector keeps them up")
    return Check("ok", "rollups", "rollups: up with the log")


def exporter(last: Run | None, has_work: bool, now: int) -> Check:
    """When the exporter last ran."""
    if last is None:
        return Check("warn" if has_work else "ok", "exporter", "exporter: it has not run yet")
    began, late = span(now - last.began_at), now - last.began_at > RUN_MS
    if last.ended_at is None:
        said = f"exporter: a run began {began} ago and has not ended"
    else:
        said = f"exporter: last run {began} ago, took {span(last.ended_at - last.began_at)}, {last.deferred} deferred"
    return Check("warn" if late and has_work else "ok", "exporter", said)


def balances(findings: Findings) -> Iterable[Check]:
    yield Check("FAIL" if findings.doors.difference else "ok", "doors", findings.doors_line())
    for owed in findings.destinations:
        off = owed.difference or owed.difference_by_hour
        yield Check("FAIL" if off else "warn" if owed.paused else "ok", "balance", owed.line())
    for told in findings.postbacks:
        yield Check("FAIL" if told.difference else "warn" if told.disabled else "ok", "postbacks", told.line())


def attribution(found: Sequence[Balance]) -> Check:
    """Whether every install is a campaign's, nobody's or a reinstall, and every model gives each once."""
    off = [each.app for each in found if not each.holds]
    if off:
        return Check("FAIL", "attribution", f"attribution: the sums are off: {some(off)}")
    n = sum(each.conversions for each in found)
    terms = f"{sum(e.attributed for e in found)} attributed + {sum(e.organic for e in found)} organic"
    return Check(
        "ok", "attribution", f"attribution: conversions {n} = {terms} + {sum(e.reinstalls for e in found)} reinstalls"
    )


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
    said = f"oldest pending event: {span(now - waiting[0][0])}"
    late = [app for since, app in waiting if max_age_hours and now - since > max_age_hours * 3_600_000]
    if not late:
        return Check("ok", "pending", said)
    return Check("FAIL", "pending", f"{said}, over {max_age_hours:g} h: {some(dict.fromkeys(late))}")


def verified(live: Iterable[Destination]) -> Check:
    """Whose write keys nobody has proved to be the partner's."""
    unproved = dict.fromkeys(d.app_key for d in live if d.verified_at is None)
    if unproved:
        return Check("warn", "keys", f"write keys: never verified: {some(unproved)}")
    return Check("ok", "keys", "write keys: all verified")


def some(names: Iterable[str]) -> str:
    """A few of them, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def span(milliseconds: int) -> str:
    """A length of time in the unit that fits."""
    seconds = milliseconds / 1_000
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


# --- looks


async def uncounted_since(db: Database) -> int | None:
    """When the oldest event came in that is not in the rollups; None: all are."""
    return await following.oldest_waiting(db, (await following.standing(db)).seq, await log.settled(db))


async def _newest(db: Database) -> int | None:
    newest: int | None = await db.value("/* doctor.newest */ select received_at from events order by seq desc limit 1")
    return newest


async def _attribution(where: Where) -> list[Balance]:
    if not exists(where, "ledger"):
        return []
    async with await open_reader(where, "ledger") as db:
        await db.hold_still()
        return await attribution_balance.count(db)


async def _last_run(where: Where) -> Run | None:
    if not exists(where, "ledger"):
        return None
    async with await open_reader(where, "ledger") as db:
        return await runs.latest(db)
