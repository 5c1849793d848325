"""The doctor's questions and their answers: each ok, warn or FAIL. Pure.

FAIL is what somebody has to get up for; warn is what should be looked at in daylight.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from store.attribution.balance import Balance
from store.balance import Findings, Owed
from store.destinations import Destination
from store.errors import ConfigError
from store.runs import Run
from store.secrets import Vault
from store.settings import Settings

Level = Literal["ok", "warn", "FAIL"]
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


class Volume(msgspec.Struct, frozen=True):
    """How much comes in, and how much room is left: events of the last 24 hours, bytes of one, bytes free."""

    events: int
    event_bytes: int
    free: int


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
    """Whether every install is a campaign's, nobody's or a reinstall, and every model gives each once, with what it
    brought."""
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
