"""A line as high as a word, for a card: how it went, without an axis."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from collector.portal.charts.axis import place
from collector.portal.frame import number

SIDE = 1_000  # the picture's own width and height; it is stretched to any other
LOW = 40  # below zero, so that a line at zero is whole


class Sparkline(msgspec.Struct, frozen=True):
    """The line, the surface below it, its last point, and what it says."""

    text: str
    kind: str
    line: str
    area: str
    dot: str


def sparkline(values: Sequence[int], what: str = "visitors per day", kind: str = "visitors") -> Sparkline:
    """Counts in the order of time; `what` they are."""
    if not values:
        return Sparkline(f"No {what} yet", kind, "", "", "")
    most = max(values)
    spots = [
        f"{place(nth, len(values) - 1) * SIDE / 100:.0f} {_height(value, most):.0f}" for nth, value in enumerate(values)
    ]
    line = "L".join(spots)
    right = spots[-1].partition(" ")[0]
    text = f"{number(values[-1])} {what} at last, {number(most)} at most"
    return Sparkline(text, kind, f"M{line}", f"M0 {SIDE}L{line}L{right} {SIDE}Z", f"M{spots[-1]}h0")


def _height(value: int, most: int) -> float:
    room = SIDE - 2 * LOW
    return SIDE - LOW - place(value, most) * room / 100
