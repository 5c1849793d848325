"""The whole diagnosis: looks gather what the answers of checks.py need. Nothing is changed by looking.

What only one engine can tell is looked for in store/sqlite/doctor.py and store/postgres/doctor.py.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from store import balance, destinations, log, runs
from store.attribution import balance as attribution_balance
from store.attribution.balance import Balance
from store.balance import Doors, Findings, Owed, Told
from store.database import Database, Engine, Server, Where
from store.doctor.checks import (
    Check,
    attribution,
    balances,
    clock,
    exporter,
    key_mode,
    oldest,
    rollups,
    room,
    secret,
    verified,
)
from store.engines import exists, open_reader
from store.rollups import following
from store.runs import Run
from store.settings import Settings

GROUND = ("databases", "server", "roles")  # without these no sum can be told


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
