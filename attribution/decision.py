"""A decision as it is kept and explained: outcome, winner, what lost and why, and the rules that were used.

Every reason is a machine's word; docs/reference/attribution.md says what each means.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from attribution.evidence import Touchpoint
from attribution.rules import Rules

Outcome = Literal["attributed", "organic", "reinstall", "told_again"]
Level = Literal["claim", "device", "account", "visitor", "probabilistic"]
Window = Literal["click", "probabilistic", "view"]
Lost = Literal[
    "outside_window",  # it was too long before the install
    "after_conversion",  # it was after the install
    "before_first_install",  # it was used up: the install before this one came after it
    "view",  # a click won
    "weaker_match",  # the winner is known to be the same person's by better evidence
    "older",  # the winner was later
    "duplicate",  # of the winner: the same campaign, met before
    "ambiguous",  # by address and agent alone, and somebody else fits, too
    "other_device",  # by address and agent alone, and their devices differ
    "not_allowed",  # by address and agent alone, which the app's rules do not allow
]
# Why an outcome is what it is. attributed: the level of the winner's match. organic: no_touchpoint, or the reason that
# the best of the losers has. reinstall and told_again: what it has in common with the install that came first.
Reason = str

LEVELS: tuple[Level, ...] = ("claim", "device", "account", "visitor", "probabilistic")  # the best first
WHOLE = 1_000_000  # an install's credit, in millionths


class Match(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How a touchpoint belongs to the install: the level, the kind of identity in common, the window that applied and
    how long it was in milliseconds, and whose rule set it."""

    level: Level
    by: str
    window: Window
    length: int
    set_by: str = "default"


class Influencer(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A touchpoint that did not win, and why."""

    touchpoint: Touchpoint
    match: Match
    reason: Lost


class Step(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A stay on the way to the install, for models that share its credit: repeats of a campaign are one, at the time of
    the last of them."""

    campaign_key: str
    at: int


class Decision(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Why this campaign. `left_out` counts influencers past the most that are kept. `first` is the message id of the
    install that came before a reinstall."""

    outcome: Outcome
    reason: Reason
    rules: Rules
    winner: Touchpoint | None = None
    match: Match | None = None
    influencers: tuple[Influencer, ...] = ()
    left_out: int = 0
    path: tuple[Step, ...] = ()
    first: str = ""
    reprocessed: bool = False  # it came so long after the first that it counts as new

    @property
    def campaign_key(self) -> str:
        """'' when no campaign won."""
        return self.winner.campaign.key if self.winner else ""


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Decision).decode  # of the text that the ledger keeps
