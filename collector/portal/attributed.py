"""How the pages say what was decided of an install: outcomes, evidence, and why each campaign won or lost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from attribution.decision import Decision, Influencer, Match
from attribution.evidence import Campaign, Touchpoint
from attribution.explaining import known_by
from collector.portal.words import span

OUTCOMES = {
    "attributed": "Attributed",
    "organic": "Organic",
    "reinstall": "Reinstall",
    "told_again": "Told of again",
}
TOLD_BY = {"marketplace": "the marketplace", "partner": "the partner's own systems"}
ORIGINS = {
    "apple": "Apple",
    "play": "Google Play's install referrer",
    "partner": "the partner's own systems",
    "listing": "the listing",
}
KINDS = {"click": "Click", "view": "View"}
LEVELS = {
    "claim": "the platform says so",
    "device": "the same device",
    "account": "the same account",
    "visitor": "the same visitor",
    "probabilistic": "a guess, by address and agent",
}
WINDOWS = {"click": "a click", "probabilistic": "a click known by address and agent alone", "view": "a view"}
LOST = {
    "outside_window": "It was too long before the install",
    "after_conversion": "It was after the install",
    "before_first_install": "It was used up: an install before this one came after it",
    "view": "It was only seen, and a click won",
    "weaker_match": "The winner is known to be the same person's by better evidence",
    "older": "The winner was later",
    "duplicate": "It is the winner's own campaign, met once more",
    "ambiguous": "By address and agent alone somebody else fits, too",
    "other_device": "Address and agent are alike, and the devices differ",
    "not_allowed": "It fits by address and agent alone, which the rules do not allow",
}
REINSTALLED = {
    "known_device": ", on the same device",
    "known_account": ", by the same account",
    "known_visitor": ", the same visitor",
    "known_subject": ", by ids that other events named together",
}
CAUSES = {
    "install": "the install was told of",
    "evidence": "later evidence came in",
    "closing": "the time for later evidence ended",
}
SET_BY = {
    "default": "the default",
    "marketplace": "the marketplace's rule",
    "app": "the app's rule",
    "campaign": "the campaign's own rule",
}
PARTS = {
    "source": "Source",
    "name": "Campaign",
    "medium": "Medium",
    "content": "Content",
    "term": "Term",
    "id": "Campaign id",
    "ad_creative": "Creative",
    "ad_group": "Ad group",
    "ad_group_id": "Ad group id",
    "provider": "Told by",
    "click_id": "Click id",
}


class Moment(NamedTuple):
    """A piece of evidence in its place: `state` is won, lost or install; `why` says what became of it."""

    at: int
    state: str
    touchpoint: Touchpoint | None
    how: str
    why: str


def campaign_words(campaign: Campaign) -> str:
    """A campaign in one line: where it ran and what it is called."""
    told = [part for part in (campaign.source, campaign.name or campaign.id) if part]
    return " / ".join(told) or campaign.provider or "unnamed"


def parts_of(campaign: Campaign) -> list[tuple[str, str]]:
    """Each part that is known, with its words."""
    return [(words, getattr(campaign, part)) for part, words in PARTS.items() if getattr(campaign, part)]


def why(decision: Decision, at: int) -> str:
    """The outcome in a sentence or two, for an install of that moment."""
    winner, match = decision.winner, decision.match
    if winner is None or match is None:
        return _unattributed(decision)
    kind = "click" if winner.kind == "click" else "view"
    before = f"{span(at - winner.at)} before the install" if winner.timed else "before the install, nobody says when"
    counts = f"{span(match.length)} that {_window(match)} counts ({SET_BY[match.set_by]})"
    said = f"The {kind} was {before}, within the {counts}"
    said += f". {_same_person(match)}"
    lost = len(decision.influencers) + decision.left_out
    if not lost:
        return f"{said} There was nothing else to choose from."
    return f"{said} {lost} other {'piece' if lost == 1 else 'pieces'} of evidence lost, each for its own reason below."


def _unattributed(decision: Decision) -> str:
    if decision.outcome == "reinstall":
        known = REINSTALLED.get(decision.reason, "")
        return f"Somebody installed the app who has it already, or had it{known}: no campaign gets it."
    if decision.outcome == "told_again":
        return "The marketplace and the partner's systems both told of this install. It counts once, by the other."
    if decision.reason == "no_touchpoint":
        return "Nothing is known that led to it: no campaign was met by the same person before."
    reason = LOST.get(decision.reason, decision.reason)
    return f"There was evidence, and none of it counts. Of the best of it: {reason[0].lower()}{reason[1:]}."


def _same_person(match: Match) -> str:
    """How certain it is that both are of one person."""
    if match.level == "claim":
        return "The platform itself says that this install came by it."
    known = f"is known by {known_by(match.by)}"
    if match.level == "probabilistic":
        return f"That it was the same person {known} alone, which is a guess; nobody else fits."
    return f"That it was the same person {known}."


def _window(match: Match) -> str:
    return WINDOWS[match.window]


def how(match: Match) -> str:
    """How a touch is known to be of the same person."""
    known = f"known by {known_by(match.by)}"
    return known if match.level not in ("claim", "probabilistic") else f"{known}: {LEVELS[match.level]}"


def lost(each: Influencer, at: int) -> str:
    """Why a touch did not win, with the figures."""
    said = LOST.get(each.reason, each.reason)
    if each.reason == "outside_window":
        if not each.match.length:
            return f"Such a touch never counts ({SET_BY[each.match.set_by]})."
        gone, length = span(at - each.touchpoint.at), span(each.match.length)
        return f"{said}: {gone}, and {_window(each.match)} counts for {length} ({SET_BY[each.match.set_by]})."
    return f"{said}."


def in_order(decision: Decision, at: int) -> list[Moment]:
    """All evidence and the install, in order of time."""
    found = [
        Moment(each.touchpoint.at, "lost", each.touchpoint, how(each.match), lost(each, at))
        for each in decision.influencers
    ]
    if decision.winner is not None and decision.match is not None:
        winner = decision.winner
        moment = winner.at if winner.timed else min(winner.at, at)
        found.append(Moment(moment, "won", winner, how(decision.match), "It won."))
    found.append(Moment(at, "install", None, "", ""))
    return sorted(found, key=lambda each: (each.at, each.state == "install"))


def changed(decisions: Sequence[Decision]) -> list[str]:
    """What each decision changed of the one before it, the newest first as they are given."""
    said = []
    for nth, decision in enumerate(decisions):
        result = OUTCOMES[decision.outcome]
        if decision.winner is not None:
            result += f", by {campaign_words(decision.winner.campaign)}"
        before = decisions[nth + 1] if nth + 1 < len(decisions) else None
        same = before is not None and (before.outcome, before.campaign_key) == (decision.outcome, decision.campaign_key)
        said.append(f"{result}: as before" if same else result)
    return said
