"""What becomes of a postback and of its target after an attempt, and when the next one is due. Pure.

A target that fails is left alone for longer and longer, and is disabled when it fails for good: what it is owed stays
pending, and a person lets it try again. One postback is tried as often as its target's settings say.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from store.postbacks.delivering import Health, Outcome, Postback
from store.postbacks.targets import Target
from wire.verdict import Reply, Verdict

MINUTE_MS = 60_000
WAITS_MS = tuple(minutes * MINUTE_MS for minutes in (1, 2, 5, 10, 30, 60, 120, 240, 480, 720))  # before each retry
ALONE_MS = 30_000  # for a target, after its first failure, and twice as long after each more …
MOST_ALONE_MS = 3_600_000  # … up to this
IN_A_ROW = 20
LASTING_MS = 3 * 86_400_000
LEAST_IN_LASTING = 5  # failures that tell a lasting fault from a quiet target's one
TRIES_IN_A_RUN = 3  # in a row that fail, before what else waits is left for a later run

Kind = Literal["accepted", "refused", "deferred", "ambiguous", "gone"]


class After(msgspec.Struct, frozen=True):
    """What an attempt leaves behind."""

    outcome: Outcome
    postback: Postback
    health: Health


def kind_of(verdict: Verdict) -> Kind:
    """What Segment's verdict means for one postback: what is refused for what it holds is never sent again."""
    if verdict.kind == "accepted":
        return "accepted"
    if verdict.kind == "content":
        return "refused"
    return "ambiguous" if verdict.kind == "ambiguous" else "deferred"


def after(target: Target, postback: Postback, health: Health, kind: Kind, reply: Reply, now: int) -> After:
    """After an attempt, which `postback.attempts` counts already."""
    if kind == "accepted":
        return After("accepted", postback._replace(state="accepted", reason=""), _well(health))
    if kind == "refused":
        why = "oversize" if reply.status is None else f"refused_{reply.status}"
        told = postback._replace(state="given_up", reason=why)
        return After("refused", told, _well(health))
    failing = _failed(health, reply, now)
    if kind == "gone":
        disabled = msgspec.structs.replace(failing, disabled_at=now, disabled_why="it answers 410: it wants no more")
        return After("refused", postback, disabled)
    outcome: Outcome = "ambiguous" if kind == "ambiguous" else "deferred"
    if failing.disabled_at:
        return After(outcome, postback._replace(due_at=now), failing)
    return After(outcome, _next(target, postback, reply, now), failing)


def _next(target: Target, postback: Postback, reply: Reply, now: int) -> Postback:
    """When it is tried again, if it is."""
    if postback.attempts > target.retries:
        return postback._replace(state="given_up", reason="attempts_spent")
    wait = WAITS_MS[min(postback.attempts, len(WAITS_MS)) - 1]
    return postback._replace(due_at=now + max(wait, round((reply.retry_after or 0) * 1_000)))


def _well(health: Health) -> Health:
    return msgspec.structs.replace(health, not_before=0, failures=0, failing_since=0)


def _failed(health: Health, reply: Reply, now: int) -> Health:
    """One more in a row; disabled when that lasts."""
    failures, since = health.failures + 1, health.failing_since or now
    alone = min(MOST_ALONE_MS, ALONE_MS * 2 ** min(failures - 1, 10))
    asked = round((reply.retry_after or 0) * 1_000)
    lasting = failures >= LEAST_IN_LASTING and now - since >= LASTING_MS
    why = ""
    if failures >= IN_A_ROW or lasting:
        said = reply.forbidden or reply.error or f"answer {reply.status}"
        why = f"{failures} attempts failed in a row" if failures >= IN_A_ROW else "it failed for three days"
        why = f"{why}, the last with: {said}"
    return msgspec.structs.replace(
        health,
        not_before=now + max(alone, asked),
        failures=failures,
        failing_since=since,
        disabled_at=now if why else 0,
        disabled_why=why,
    )


def planned(
    old: Postback | None, seq: int, version: int, unasked: str, told: str, converted_at: int, due_at: int
) -> Postback | None:
    """What a decision makes of a postback; None when it changes nothing.

    A decision that tells the same leaves what was sent, or tried, as it is: it goes on under the same id.
    """
    fresh = Postback(seq, version, "unasked" if unasked else "pending", unasked, converted_at, due_at, 0, told)
    if old is None or old.state == "unasked":
        return fresh
    if old.told == told and not unasked:
        return None
    if old.version >= version:
        return None
    return fresh
