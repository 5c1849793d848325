"""A decision in sentences: why this campaign, what lost and why, and what changed from one decision to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from attribution.decision import Decision, Influencer, Lost, Match, decode
from attribution.evidence import Touchpoint
from store.attribution.reading import Install, Made
from store.attribution.rules import told

BECAUSE: dict[Lost, str] = {
    "outside_window": "it was longer before the install than its window",
    "after_conversion": "it was after the install",
    "before_first_install": "an install came after it already",
    "view": "a click counts for more than a view",
    "weaker_match": "the winner is known to be the same person's by better evidence",
    "older": "the winner was later",
    "duplicate": "the same campaign was met again later",
    "ambiguous": "address and agent fit more than one person",
    "other_device": "the devices differ",
    "not_allowed": "this app does not match by address and agent",
}
KNOWN_BY = {
    "anonymous": "the visitor's id",
    "partner": "the partner's own id",
    "previous_id": "an earlier id",
    "account": "the account",
    "user": "the partner's user",
    "idfa": "Apple's advertising id",
    "idfv": "Apple's id for the vendor",
    "adid": "the advertising id",
    "advertising_id": "the advertising id",
    "amazon_adid": "Amazon's advertising id",
    "oaid": "the open advertising id",
    "android_id": "the Android id",
    "kochava_device_id": "Kochava's id of the device",
    "network": "address and agent",
} | dict.fromkeys(("device", "device_id", "openudid", "udid", "imei", "mac"), "the device's id")
HASHED = ("md5", "sha1", "sha256")
NOBODYS = {"no_touchpoint": "nobody is known to have met a campaign before it"} | {
    reason: f"of what was met, the best lost because {because}" for reason, because in BECAUSE.items()
}


def explained(install: Install, made: Sequence[Made]) -> list[str]:
    """For a person; decisions the newest first."""
    lines = [f"install at {_at(install.converted_at)}, told by the {install.told_by}"]
    for place, each in enumerate(made):
        before = decode(made[place + 1].document) if place + 1 < len(made) else None
        holds = "holds" if place == 0 else "was"
        lines.append(f"decision {each.version} {holds}, made {_at(each.decided_at)} because of {_cause(each)}")
        lines += [f"  {line}" for line in sentences(decode(each.document))]
        if before is not None:
            lines.append(f"  changed: {', '.join(changes(before, decode(each.document)))}")
    return lines


def sentences(decision: Decision) -> Iterator[str]:
    """One decision."""
    if decision.winner is not None and decision.match is not None:
        yield f"attributed to {_met(decision.winner)}: {_matched(decision.match)}"
    elif decision.outcome == "organic":
        yield f"organic: {NOBODYS.get(decision.reason, decision.reason)}"
    elif decision.outcome == "told_again":
        yield f"told again: the install {decision.first} was told of already"
    else:
        yield f"reinstall: {decision.reason.removeprefix('known_')} of the install {decision.first}"
    for each in decision.influencers:
        yield _lost(each)
    if decision.left_out:
        yield f"and {decision.left_out} more"


def _lost(each: Influencer) -> str:
    return f"not {_met(each.touchpoint)}: {BECAUSE[each.reason]}"


def _met(touchpoint: Touchpoint) -> str:
    when = f" at {_at(touchpoint.at)}" if touchpoint.timed else ", nobody says when"
    return f"{touchpoint.campaign.key}, a {touchpoint.kind}{when}"


def _matched(match: Match) -> str:
    by = "the platform's claim" if match.level == "claim" else f"known by {known_by(match.by)}"
    return f"{by}, within {told(match.length)} ({match.set_by})"


def known_by(kind: str) -> str:
    """The kind of an id, as a person would call it; a link has the name that its sender gave it."""
    plain, _, method = kind.rpartition("_")
    if method in HASHED and plain in KNOWN_BY:
        return f"{KNOWN_BY[plain]}, hashed"
    return KNOWN_BY.get(kind, f"the link {kind.removeprefix('link ')}")


def changes(before: Decision, after: Decision) -> list[str]:
    """What the second says that the first does not, in a machine's words."""
    found = []
    for name in ("outcome", "reason", "winner", "match", "path", "first", "reprocessed"):
        if getattr(before, name) != getattr(after, name):
            found.append(name)
    new = len(set(_places(after)) - set(_places(before)))
    return [*found, f"{new} more touchpoints"] if new else found


def _places(decision: Decision) -> Iterator[tuple[int, int]]:
    met = [each.touchpoint for each in decision.influencers] + ([decision.winner] if decision.winner else [])
    yield from ((each.seq, each.part) for each in met)


def _cause(made: Made) -> str:
    if made.cause == "closing":
        return "what was known when its time was over"
    return "the install" if made.cause == "install" else f"the event {made.cause_seq}"


def _at(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
