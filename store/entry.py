"""What the doors ask the event log to store, and what a commit of it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from store.event import NewRow

HOUR_MS = 3_600_000

Outcome = Literal["received", "stored", "duplicate", "rejected", "shed"]


class Tally(NamedTuple):
    """What is counted at a door; `hour` is in epoch hours, `reason` is '' but for rejections."""

    app_key: str
    door: str
    hour: int
    outcome: Outcome
    reason: str = ""


class Rejection(NamedTuple):
    """A message that a door refused. `body` is what came, capped, with account ids taken out; None: it is counted
    and not kept."""

    app_key: str
    door: str
    received_at: int
    reason: str
    detail: str
    body: bytes | None


class Held(NamedTuple):
    """A request without proof, on its way into the quarantine, or there; `body` is as it came, but for secrets and
    addresses. `reason` is why the proof did not hold."""

    app_key: str
    quarantine_id: str
    door: str
    path: str
    received_at: int
    reason: str
    size: int
    body: bytes


class Visitor(NamedTuple):
    """What a page view says of a visitor of one app. `suppressed` is the visitor's word on sharing: 'gpc', 'consent'
    (not given), '' (given), or None: nothing was said. `campaign` is the last one, JSON, see
    store/campaign.py; '' takes it away."""

    app_key: str
    anonymous_id: str
    user_id: str | None
    partner_anonymous_id: str | None
    suppressed: str | None
    seen_at: int
    campaign: str | None = None


class Entry(msgspec.Struct, frozen=True):
    """What one request asks to be stored. `leaving` are requests that leave the quarantine with it: (app, id)."""

    door: str
    received_at: int
    rows: list[NewRow]
    visitors: list[Visitor]
    rejections: list[Rejection]
    held: list[Held] = []
    leaving: list[tuple[str, str]] = []


class Committed(msgspec.Struct, frozen=True):
    """What a commit did. Positions count the rows of all its entries; every row not named was stored."""

    duplicates: set[int]
    unstorable: set[int]
    counts: Counter[Tally]


def counted(entries: Sequence[Entry], duplicates: set[int], unstorable: set[int]) -> Counter[Tally]:
    """The doors' balance for these entries; each term is counted from what happened, none by subtraction."""
    came = [(row[0], entry.door, entry.received_at // HOUR_MS) for entry in entries for row in entry.rows]
    together = Counter(came)  # there are many rows of few kinds
    counts = Counter({Tally(*of, "received"): n for of, n in together.items()})
    if duplicates or unstorable:
        counts.update(Tally(*of, *_fate(at, duplicates, unstorable)) for at, of in enumerate(came))
    else:
        counts.update({Tally(*of, "stored"): n for of, n in together.items()})
    for entry in entries:
        hour = entry.received_at // HOUR_MS
        for rejection in entry.rejections:
            counts[Tally(rejection.app_key, entry.door, hour, "received")] += 1
            counts[Tally(rejection.app_key, entry.door, hour, "rejected", rejection.reason)] += 1
    return counts


def _fate(position: int, duplicates: set[int], unstorable: set[int]) -> tuple[Outcome, str]:
    if position in duplicates:
        return "duplicate", ""
    return ("rejected", "unstorable") if position in unstorable else ("stored", "")
