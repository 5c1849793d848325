"""The sums that must hold: at the doors, and for every course from where its cursor began.

Each term is counted on its own from what is stored; none is a difference of others, or the check would prove nothing.
What was removed from the log left its count there, and is collected all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from store import destinations, ledger, log, removal, tallies
from store.database import Database, Where
from store.destinations import MAIN, Course
from store.entry import HOUR_MS
from store.instant import instant
from store.ledger import Cursor
from store.log import NO_END
from store.postbacks import decided, delivering, reading, targets
from store.removal import Span

LOOKS = 3
FATES = ("accepted", "pending", "parked", "suppressed", "expired")


class Doors(msgspec.Struct, frozen=True):
    """received = stored + duplicate + rejected + shed."""

    received: int
    stored: int
    duplicate: int
    rejected: int
    shed: int

    @property
    def difference(self) -> int:
        return self.received - self.stored - self.duplicate - self.rejected - self.shed


class Hour(msgspec.Struct, frozen=True):
    """As Owed, for what was received within one hour, `at` its beginning."""

    at: str
    collected: int
    accepted: int
    pending: int
    parked: int
    suppressed: int
    expired: int
    difference: int


class Owed(msgspec.Struct, frozen=True):
    """collected = accepted + pending + parked + suppressed + expired, for one course from its start.

    `state` is live, replay, or ended: for a destination that was replaced or removed and a replay that was cancelled,
    collected counts up to its cursor. `reasons` are those of parked, suppressed and expired.
    """

    app: str
    destination: str
    name: str
    state: str
    collected: int
    accepted: int
    pending: int
    parked: int
    suppressed: int
    expired: int
    reasons: dict[str, dict[str, int]]
    paused: str
    oldest_pending: int | None
    hours: list[Hour]

    @property
    def difference(self) -> int:
        return self.collected - self.accepted - self.pending - self.parked - self.suppressed - self.expired

    @property
    def difference_by_hour(self) -> int:
        """How much is off in the hours, also where they make up for each other."""
        return sum(abs(hour.difference) for hour in self.hours)

    def line(self) -> str:
        """For a person."""
        called = "" if self.name == MAIN and self.state == "live" else f" {self.name}"
        kind = {"live": "", "replay": f" (replay {self.destination})", "ended": " (ended)"}[self.state]
        terms = " + ".join(f"{fate} {getattr(self, fate)}" for fate in FATES)
        said = f"{self.app}{called}{kind}: collected {self.collected} = {terms}{_verdict(self.difference)}"
        if self.difference_by_hour and not self.difference:
            said += f"; OFF BY {self.difference_by_hour} in its hours"
        return f"{said}; paused: {self.paused}" if self.paused else said

    def hour_lines(self) -> list[str]:
        return [
            f"  {hour.at}  {hour.collected} = {' + '.join(f'{fate} {getattr(hour, fate)}' for fate in FATES)}"
            f"{_verdict(hour.difference)}"
            for hour in self.hours
        ]


class Told(msgspec.Struct, frozen=True):
    """owed = accepted + pending + given_up + unasked, for one target of postbacks, of the installs that came in since
    it was made and are decided. `reasons` are those of given_up and unasked; for a removed target, owed counts what was
    looked at before."""

    app: str
    target: str
    kind: str
    name: str
    owed: int
    accepted: int
    pending: int
    given_up: int
    unasked: int
    reasons: dict[str, dict[str, int]]
    disabled: str

    @property
    def difference(self) -> int:
        return self.owed - self.accepted - self.pending - self.given_up - self.unasked

    def line(self) -> str:
        """For a person."""
        called = "Install Attributed" if self.kind == "segment" else f"webhook {self.name}"
        terms = f"accepted {self.accepted} + pending {self.pending} + given up {self.given_up}"
        said = f"{self.app} {called}: owed {self.owed} = {terms} + not asked for {self.unasked}"
        said += _verdict(self.difference)
        return f"{said}; disabled: {self.disabled}" if self.disabled else said


class Findings(msgspec.Struct, frozen=True):
    """`engine` is what holds the databases, and its version."""

    engine: str
    doors: Doors
    destinations: list[Owed]
    balanced: bool
    postbacks: list[Told] = []

    def lines(self) -> list[str]:
        """For a person."""
        told = [self.engine, self.doors_line()]
        for owed in self.destinations:
            told += [owed.line(), *owed.hour_lines()]
        return told + [each.line() for each in self.postbacks]

    def doors_line(self) -> str:
        d = self.doors
        return (
            f"doors: received {d.received} = stored {d.stored} + duplicate {d.duplicate} + rejected {d.rejected}"
            f" + shed {d.shed}{_verdict(d.difference)}"
        )


def _verdict(difference: int) -> str:
    return "" if difference == 0 else f"; OFF BY {difference}"


async def examine(where: Where, hours: bool = False) -> Findings:
    """Count every term, also while both processes work: see store/instant.py.

    A sum that is off is counted again: of SQLite's files, what was removed between two instants only seems to miss.
    Raises StoreUnavailable when a database is missing; a ledger that nobody began yet is empty.
    """
    for _ in range(LOOKS):
        findings = await _examine(where, hours)
        if findings.balanced:
            break
    return findings


async def _examine(where: Where, hours: bool) -> Findings:
    async with instant(where) as (registry_db, ledger_db, log_db, _):
        return await count(registry_db, ledger_db, log_db, hours)


async def count(registry_db: Database, ledger_db: Database | None, log_db: Database, hours: bool = False) -> Findings:
    """Count every term of databases that hold still, the ledger not later than the log."""
    live = {course.course_id for course in await destinations.courses(registry_db)}
    courses = await destinations.courses(registry_db, replaced=True)
    cursors = await ledger.cursors(ledger_db) if ledger_db else {}
    begun = [c for c in courses if c.course_id in live or (c.app_key, c.course_id) in cursors]
    found = removal.spans([c for c in begun if c.course_id in live], cursors, await removal.removed_up_to(log_db))
    places = {(app, span.course_id): span for app, spans in found.items() for span in spans}
    owed = [
        await _owed(ledger_db, log_db, c, cursors.get((c.app_key, c.course_id)), span, c.course_id in live, hours)
        for c in begun
        if (span := places.get((c.app_key, c.course_id))) is not None
    ]
    doors = Doors(**await log.door_totals(log_db))
    told = await _postbacks(registry_db, ledger_db) if ledger_db else []
    balanced = doors.difference == 0 and not any(item.difference or item.difference_by_hour for item in owed)
    balanced = balanced and not any(item.difference for item in told)
    return Findings(await log_db.version(), doors, owed, balanced, told)


async def _postbacks(registry_db: Database, ledger_db: Database) -> list[Told]:
    fares = await delivering.health(ledger_db)
    every = await targets.of_apps(registry_db, removed=True)
    return [
        await _told(ledger_db, target, fares.get(target.keys, delivering.Health()))
        for target in every
        if target.removed_at is None or target.keys in fares
    ]


async def _told(ledger_db: Database, target: targets.Target, health: delivering.Health) -> Told:
    """What waits to be looked at is pending, but for a target that was removed."""
    place = target.app_key, target.begins_at
    unseen = 0 if target.removed_at else await decided.unseen(ledger_db, *place, health.seen)
    sums: Counter[str] = Counter(pending=unseen)
    reasons: dict[str, dict[str, int]] = {"given_up": {}, "unasked": {}}
    for (state, reason), n in (await reading.sums(ledger_db, target.keys)).items():
        sums[state] += n
        if state in reasons:
            reasons[state][reason] = n
    return Told(
        target.app_key,
        target.target_id,
        target.kind,
        target.name,
        owed=unseen + await decided.owed(ledger_db, *place, health.seen),
        accepted=sums["accepted"],
        pending=sums["pending"],
        given_up=sums["given_up"],
        unasked=sums["unasked"],
        reasons=reasons,
        disabled=health.disabled_why if target.removed_at is None else "",
    )


async def _owed(
    ledger_db: Database | None,
    log_db: Database,
    course: Course,
    cursor: Cursor | None,
    span: Span,
    live: bool,
    hours: bool,
) -> Owed:
    keys = course.app_key, course.course_id
    end = NO_END if span.last is None else span.last
    reasons = await tallies.reasons(ledger_db, *keys) if ledger_db else {}
    sums: Counter[str] = Counter()
    told: dict[str, dict[str, int]] = {"parked": {}, "suppressed": {}, "expired": {}}
    for (fate, reason), n in reasons.items():
        sums[fate] += n
        if fate in told:
            told[fate][reason] = n
    present = await log.count_after(log_db, course.app_key, span.start, end)
    return Owed(
        *keys,
        name=course.destination.name,
        state=("live" if course.last_seq is None else "replay") if live else "ended",
        collected=present + await removal.removed_after(log_db, course.app_key, span.start, end),
        accepted=sums["accepted"],
        pending=await log.count_after(log_db, course.app_key, span.seq, end),
        parked=sums["parked"],
        suppressed=sums["suppressed"],
        expired=sums["expired"],
        reasons=told,
        paused=cursor.health.tripped if cursor and live else "",
        oldest_pending=await log.received_after(log_db, course.app_key, span.seq, end),
        hours=await _hours(ledger_db, log_db, keys, span, end) if hours else [],
    )


async def _hours(
    ledger_db: Database | None, log_db: Database, keys: tuple[str, str], span: Span, end: int
) -> list[Hour]:
    collected = await _by_hour(log_db, keys[0], span.start, end)
    collected.update(await removal.removed_by_hour(log_db, keys[0], span.start, end))
    pending = await _by_hour(log_db, keys[0], span.seq, end)
    fates = await tallies.fates_by_hour(ledger_db, *keys) if ledger_db else {}
    return [
        _hour(hour, collected[hour], {"pending": pending[hour]} | fates.get(hour, {}))
        for hour in sorted(collected.keys() | pending.keys() | fates.keys())
    ]


async def _by_hour(db: Database, app_key: str, after: int, up_to: int) -> Counter[int]:
    counted: Counter[int] = Counter()
    for hour, _, n in await log.counts(db, app_key, after, up_to):
        counted[hour] += n
    return counted


def _hour(hour: int, collected: int, fates: Mapping[str, int]) -> Hour:
    at = datetime.fromtimestamp(hour * HOUR_MS / 1_000, UTC).strftime("%Y-%m-%dT%H:00Z")
    terms = {fate: fates.get(fate, 0) for fate in FATES}
    return Hour(at=at, collected=collected, **terms, difference=collected - sum(terms.values()))
