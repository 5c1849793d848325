"""The metrics of every destination and target of postbacks, from the ledger: looked at when somebody asks, at most
once in a while.

A look runs on a thread with connections and an event loop of its own, and so is its text made, so that the loop with
the doors never waits. Only one runs at a time, and whoever asks meanwhile shares what it sees.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

import journal
from collector.metrics import Metric, Sample, single, text
from store.accounts import Account, Accounts, Standing
from store.database import Where
from store.errors import Unavailable
from store.postbacks.reading import Faring

LOOK_SECONDS = 15.0
OUTCOMES = ("accepted", "refused", "deferred", "ambiguous")


class Ledger:
    """What was seen last."""

    def __init__(self, where: Where) -> None:
        self._accounts = Accounts(where)
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._seen = Standing(0, [], None)

    async def text(self) -> str:
        async with self._looking:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                await self._look()
        return await asyncio.to_thread(lambda: text(of_destinations(self._seen, _now())))

    async def _look(self) -> None:
        try:
            self._seen = await asyncio.to_thread(asyncio.run, self._accounts.look(_now()))
        except Unavailable as error:  # the age of the figures tells it too; the next look tries again
            journal.note("the ledger cannot be read", level="warning", reason=str(error))
        self._looked_at = time.monotonic()


def _now() -> int:
    return time.time_ns() // 1_000_000


def of_destinations(seen: Standing, now: int) -> list[Metric]:
    """`now` in epoch milliseconds."""
    last = seen.last_run
    ended, took = (last.ended_at or 0, (last.ended_at or 0) - last.began_at) if last else (0, 0)
    return [
        *_by_reason(seen.accounts),
        *_by_destination(seen.accounts, now),
        _each(
            "footfall_attempts_last_day",
            "gauge",
            "Attempts of the last 24 hours, by outcome.",
            (
                ({**_of(a), "outcome": outcome}, n)
                for a in seen.accounts
                for outcome in OUTCOMES
                if (n := a.attempts.get(outcome, 0)) or outcome == "accepted"
            ),
        ),
        *_by_target(seen.targets, now),
        single("footfall_last_run_timestamp_seconds", "gauge", "When the exporter's last run ended.", ended / 1_000),
        single("footfall_last_run_seconds", "gauge", "How long the exporter's last run took.", took / 1_000),
        single(
            "footfall_last_run_deferred",
            "gauge",
            "Courses of which the exporter's last run left something.",
            last.deferred if last else 0,
        ),
        single(
            "footfall_ledger_age_seconds",
            "gauge",
            "How old what is said of destinations and runs is.",
            (now - seen.at) / 1_000,
        ),
    ]


def _by_reason(accounts: Iterable[Account]) -> Iterable[Metric]:
    for fate, name, kind, meaning in (
        ("suppressed", "footfall_suppressed_total", "counter", "Events that were passed over, by reason."),
        ("expired", "footfall_expired_total", "counter", "Events that grew too old before they were sent."),
        ("parked", "footfall_parked", "gauge", "Events that are set aside, by reason."),
    ):
        yield _each(
            name,
            kind,
            meaning,
            (({**_of(a), "reason": r}, n) for a in accounts for (f, r), n in sorted(a.fates.items()) if f == fate),
        )


def _by_destination(accounts: Iterable[Account], now: int) -> Iterable[Metric]:
    figures: tuple[tuple[str, str, str, Callable[[Account], float]], ...] = (
        (
            "footfall_accepted_total",
            "counter",
            "Events that the destination answered success to.",
            lambda a: a.fates.get(("accepted", ""), 0),
        ),
        ("footfall_pending", "gauge", "Events that wait.", lambda a: a.pending),
        (
            "footfall_oldest_pending_seconds",
            "gauge",
            "How long the oldest event has waited; 0 when none does.",
            lambda a: max(now - a.oldest_pending, 0) / 1_000 if a.oldest_pending is not None else 0,
        ),
        (
            "footfall_breaker_open",
            "gauge",
            "1 while one event a run is sent, because the destination is at fault.",
            lambda a: int(bool(a.tripped)),
        ),
        (
            "footfall_last_success_timestamp_seconds",
            "gauge",
            "When the destination last answered success; 0 when never.",
            lambda a: (a.last_success or 0) / 1_000,
        ),
        (
            "footfall_conservation_diff",
            "gauge",
            "How much the destination's sum is off; anything but 0 is a fault of ours.",
            lambda a: a.difference,
        ),
    )
    for name, kind, meaning, figure in figures:
        yield _each(name, kind, meaning, ((_of(a), figure(a)) for a in accounts))


def _by_target(targets: Iterable[Faring], now: int) -> Iterable[Metric]:
    figures: tuple[tuple[str, str, Callable[[Faring], float]], ...] = (
        ("footfall_postbacks_pending", "Postbacks that wait for their time, or for their target.", lambda t: t.pending),
        (
            "footfall_postbacks_overdue_seconds",
            "How long the oldest postback might have been sent; 0 when none is due.",
            lambda t: max(now - t.due_at, 0) / 1_000 if t.due_at is not None else 0,
        ),
        ("footfall_postbacks_failing", "Attempts that failed in a row.", lambda t: t.health.failures),
        (
            "footfall_postbacks_disabled",
            "1 while nothing is sent, because the target failed for long.",
            lambda t: int(t.health.disabled_at > 0),
        ),
    )
    for name, meaning, figure in figures:
        labelled = (({"app": t.app_key, "target": t.name, "kind": t.kind}, figure(t)) for t in targets)
        yield _each(name, "gauge", meaning, labelled)


def _of(account: Account) -> dict[str, str]:
    return {"app": account.app_key, "destination": account.destination}


def _each(name: str, kind: str, meaning: str, values: Iterable[tuple[dict[str, str], float]]) -> Metric:
    return Metric(name, kind, meaning, [Sample(name, labels, value) for labels, value in values])
