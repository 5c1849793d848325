"""Whether a course is sent to in full, is tried with one event first, or is left alone. Pure.

The breaker opens on failures of the destination, however they show: at once when it says so itself, else when attempts
fail five times in a row or seven times in ten. Open, it lets one event through in each run; an accepted one closes it.
Opened ten times in a row, the destination is paused: it is tried once a day. Collecting goes on all the while.

That one event has to be accepted soon, or every run would be as long as the wait for those that never answer. Every
fifth time there is as much time as ever, so that a destination which is slow and not broken gets through.
"""

from __future__ import annotations

import msgspec

from store.ledger import Health
from store.replaying import FORGOTTEN_MS

IN_A_ROW = 5
WINDOW = 20
ENOUGH = 10
MOSTLY = 0.7
TRIPS = 10
PATIENT_EVERY = 5  # trips; the tenth, once a day, is one of them, and so is the first after `footfall app resume`
PAUSE_MS = 24 * 3_600_000


def succeeded(health: Health, accepted_up_to: int) -> Health:
    """After an accepted attempt. What was in doubt up to there is so no longer."""
    if health.ambiguous_seq and accepted_up_to >= health.ambiguous_seq:
        health = msgspec.structs.replace(health, ambiguous_since=0, ambiguous_seq=0)
    if not (health.not_before or health.tripped or health.failures or "-" in health.recent):
        return health if len(health.recent) == WINDOW else _noted(health, "+")
    return msgspec.structs.replace(_noted(health, "+"), not_before=0, tripped="", trips=0, failures=0)


def failed(health: Health, why: str) -> Health:
    """After an attempt that the destination did not take."""
    health = _noted(health, "-")
    failures = health.failures + 1
    recent = health.recent
    mostly = len(recent) >= ENOUGH and recent.count("-") >= MOSTLY * len(recent)
    tripped = health.tripped or (why if failures >= IN_A_ROW or mostly else "")
    return msgspec.structs.replace(health, failures=failures, tripped=tripped)


def trip(health: Health, why: str) -> Health:
    """Open at once: the answer leaves no doubt about who is at fault."""
    return msgspec.structs.replace(health, tripped=why)


def ended(health: Health, now: int) -> Health:
    """At the end of a course's part of a run, now in epoch milliseconds: one more trip if it is open."""
    if not health.tripped:
        return health
    trips = health.trips + 1
    not_before = now + PAUSE_MS if trips >= TRIPS else health.not_before
    return msgspec.structs.replace(health, trips=trips, not_before=not_before)


def hurries(health: Health) -> bool:
    """Whether the event that tries an open breaker is to be answered soon."""
    return bool(health.tripped) and health.trips % PATIENT_EVERY != 0


def doubted(health: Health, opened_at: int, last_seq: int) -> Health:
    """After an attempt whose answer was lost: it may have been accepted."""
    since = health.ambiguous_since or opened_at
    return msgspec.structs.replace(health, ambiguous_since=since, ambiguous_seq=max(health.ambiguous_seq, last_seq))


def possible_duplicate(health: Health, first_seq: int, now: int) -> bool:
    """Whether an attempt that begins with `first_seq` repeats one which Segment may have taken and forgotten."""
    return bool(health.ambiguous_since and first_seq <= health.ambiguous_seq) and (
        now - health.ambiguous_since > FORGOTTEN_MS
    )


def asked_to_wait(health: Health, until: int) -> Health:
    """Leave the destination alone until then, epoch milliseconds; a later run respects it too."""
    return msgspec.structs.replace(health, not_before=until)


def _noted(health: Health, sign: str) -> Health:
    return msgspec.structs.replace(health, recent=(health.recent + sign)[-WINDOW:])
