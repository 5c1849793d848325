"""Deciding about one install, from all that is known of it: the same whatever order the evidence came in.

First its window lets a touch count or not, then the better evidence wins (clicks before views, then by the level of the
match), then the later touch. What is still equal is told apart by message ids, which say nothing, and always the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from attribution.decision import LEVELS, Decision, Influencer, Level, Lost, Match, Reason, Step, Window
from attribution.evidence import NETWORK, PLATFORMS, Conversion, Identity, Touchpoint
from attribution.rules import Rules
from store.subjects.naming import ANONYMOUS, DEVICES, PARTNER_MADE, PREVIOUS

MOST_INFLUENCERS = 50
_VISITORS = frozenset({ANONYMOUS, PARTNER_MADE, PREVIOUS})
_BEST = {level: rank for rank, level in enumerate(LEVELS)}


# --- which installs are one


class Standing(NamedTuple):
    """What an install is among all that its person's ids name: `first` is the one that it repeats or that came before
    it, `reprocessed` says that it counts as new though there is one."""

    repeats: str = ""  # '', reinstall or told_again
    first: Conversion | None = None
    reprocessed: bool = False


FIRST = Standing()


def standings(installs: Iterable[Conversion], rules: Rules, closed: Collection[int] = ()) -> dict[int, Standing]:
    """By seq, of installs that have ids in common, directly or through others of them.

    The marketplace and the partner may both tell of one install; the second to tell is no install of its own. Of some
    nothing changes any more: those came first, whatever their times say.
    """
    found: dict[int, Standing] = {}
    current: Conversion | None = None
    told: set[str] = set()
    for install in sorted(installs, key=lambda each: (each.seq not in closed, each.at, each.message_id)):
        since = abs(install.at - current.at) if current else 0
        if current is None:
            found[install.seq] = Standing()
        elif install.source not in told and since <= rules.settle:
            told.add(install.source)
            found[install.seq] = Standing("told_again", current)
            continue
        elif rules.reprocess and since >= rules.reprocess:
            found[install.seq] = Standing("", current, reprocessed=True)
        else:
            found[install.seq] = Standing("reinstall", current)
            continue
        current, told = install, {install.source}
    return found


# --- which campaign


class _Candidate(NamedTuple):
    touchpoint: Touchpoint
    match: Match
    at: int  # of the touch, as far as it is told
    unfit: Lost | None


def decide(
    install: Conversion, touchpoints: Iterable[Touchpoint], rules: Rules, standing: Standing = FIRST
) -> Decision:
    """Which campaign brought this install, and why; `touchpoints` may hold what is nobody's or somebody else's."""
    if standing.repeats:
        first = standing.first or install
        reason = _in_common(install, first)
        repeats = "told_again" if standing.repeats == "told_again" else "reinstall"
        return Decision(repeats, reason, rules, first=first.message_id)  # type: ignore[arg-type] # one of two
    after = standing.first.at if standing.first else None
    candidates = _without_the_ambiguous(_candidates(install, touchpoints, rules, after))
    candidates.sort(key=_best_first)
    fit = [each for each in candidates if each.unfit is None]
    winner = fit[0] if fit else None
    lost = [Influencer(each.touchpoint, each.match, _lost(each, winner)) for each in candidates if each is not winner]
    return Decision(
        "attributed" if winner else "organic",
        winner.match.level if winner else lost[0].reason if lost else "no_touchpoint",
        rules,
        winner.touchpoint if winner else None,
        winner.match if winner else None,
        tuple(lost[:MOST_INFLUENCERS]),
        max(0, len(lost) - MOST_INFLUENCERS),
        tuple(_path(fit, winner)) if winner else (),
        standing.first.message_id if standing.first else "",
        standing.reprocessed,
    )


def _candidates(
    install: Conversion, touchpoints: Iterable[Touchpoint], rules: Rules, after: int | None
) -> Iterator[_Candidate]:
    for touchpoint in touchpoints:
        match = _match(install, touchpoint, rules)
        if match is None:
            continue
        at = touchpoint.at if touchpoint.timed else min(touchpoint.at, install.at)
        yield _Candidate(touchpoint, match, at, _unfit(install, touchpoint, match, at, after, rules))


def _match(install: Conversion, touchpoint: Touchpoint, rules: Rules) -> Match | None:
    """How a touch is known to be the same person's; None: it is not."""
    shared = set(install.identities) & set(touchpoint.identities)
    if not shared:
        return None
    best = min(shared, key=lambda each: (_BEST[level_of(each)], each))
    level = level_of(best)
    if touchpoint.origin in PLATFORMS and level != "probabilistic":
        level = "claim"
    window: Window = "view" if touchpoint.kind == "view" else "probabilistic" if level == "probabilistic" else "click"
    own = rules.campaigns.get(touchpoint.campaign.key)
    length = getattr(own, window) if own else None
    if length is not None:
        return Match(level, best.kind, window, length, "campaign")
    return Match(level, best.kind, window, getattr(rules, window), rules.set_by.get(window, "default"))


def level_of(identity: Identity) -> Level:
    """How much it says that two events name the same one. A link, which a partner's people name, is like an account."""
    if identity.kind == NETWORK:
        return "probabilistic"
    if identity.kind in DEVICES:
        return "device"
    return "visitor" if identity.kind in _VISITORS else "account"


def _unfit(
    install: Conversion, touchpoint: Touchpoint, match: Match, at: int, after: int | None, rules: Rules
) -> Lost | None:
    """Why a touch cannot win, whatever else there is; None: it can."""
    if at > install.at:
        return "after_conversion"
    if after is not None and at <= after:
        return "before_first_install"
    if install.at - at > match.length or not match.length:
        return "outside_window"
    if match.level != "probabilistic":
        return None
    if not rules.by_network:
        return "not_allowed"
    return "other_device" if _devices_differ(install, touchpoint) else None


def _devices_differ(install: Conversion, touchpoint: Touchpoint) -> bool:
    """Whether both name a device by the same kind of id, and not the same."""
    ours = {each.kind: each.mark for each in install.identities if each.kind in DEVICES}
    return any(each.kind in ours and ours[each.kind] != each.mark for each in touchpoint.identities)


def _without_the_ambiguous(candidates: Iterable[_Candidate]) -> list[_Candidate]:
    """Of those known by address and agent alone none fits when they are of more than one person."""
    found = list(candidates)
    guessed = [each.touchpoint for each in found if each.unfit is None and each.match.level == "probabilistic"]
    if _people(guessed) < 2:
        return found
    return [
        each._replace(unfit="ambiguous") if each.unfit is None and each.match.level == "probabilistic" else each
        for each in found
    ]


def _people(touchpoints: Sequence[Touchpoint]) -> int:
    """How many people there are for all we know."""
    people: list[set[Identity]] = []
    for touchpoint in touchpoints:
        own = {each for each in touchpoint.identities if each.kind != NETWORK}
        same = [one for one in people if one & own]
        people = [one for one in people if not one & own] + [own.union(*same)]
    return len(people)


def _best_first(each: _Candidate) -> tuple[bool, bool, int, int, str, int]:
    touch = each.touchpoint
    rank = _BEST[each.match.level]
    return each.unfit is not None, touch.kind == "view", rank, -each.at, touch.message_id, touch.part


def _lost(each: _Candidate, winner: _Candidate | None) -> Lost:
    if each.unfit is not None or winner is None:
        return each.unfit or "older"
    if each.touchpoint.campaign.key == winner.touchpoint.campaign.key:
        return "duplicate"
    if each.touchpoint.kind == "view" and winner.touchpoint.kind == "click":
        return "view"
    return "weaker_match" if each.match.level != winner.match.level else "older"


def _path(fit: Sequence[_Candidate], winner: _Candidate) -> Iterator[Step]:
    """The stays on the way, in order. A guess is none where somebody is known."""
    guessed = winner.match.level == "probabilistic"
    known = [each for each in fit if guessed or each.match.level != "probabilistic"]
    known.sort(key=lambda each: (each.at, each.touchpoint.message_id, each.touchpoint.part))
    for campaign_key, stay in groupby(known, key=lambda each: each.touchpoint.campaign.key):
        yield Step(campaign_key, list(stay)[-1].at)


def _in_common(install: Conversion, first: Conversion) -> Reason:
    """The best that says that two installs are the same one's."""
    shared = set(install.identities) & set(first.identities)
    known = [level_of(each) for each in shared if each.kind != NETWORK]
    return f"known_{min(known, key=_BEST.__getitem__)}" if known else "known_subject"
