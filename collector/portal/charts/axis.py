"""What the pictures share: the ticks of an axis of counts, short numbers, and shares of a whole as places."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import msgspec

WHOLE = 100.0  # places are percent of the picture's width or height
MOST_LABELS = 8
MOST_LABELS_NARROW = 4
EDGE = 6.0  # percent from a side within which a label would hang out of the picture


class Tick(msgspec.Struct, frozen=True):
    """A line across the picture: what it stands for, how that is said, and how far below the top, in percent."""

    value: int
    text: str
    y: float


class Label(msgspec.Struct, frozen=True):
    """Words under a point of the picture. `spare`: left out where there is little room. `anchor` is SVG's."""

    index: int
    text: str
    x: float
    anchor: str
    spare: bool


def short(n: int) -> str:
    """A number for an axis: at most three digits and a unit. 1500 is 1.5k."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if n >= size:
            return f"{n / size:.3g}{unit}" if n < 1_000 * size else f"{n // size}{unit}"
    return str(n)


def ticks(most: int, about: int = 4) -> list[int]:
    """Whole numbers from 0 by steps of 1, 2 or 5 times a power of ten, the last no smaller than the greatest value."""
    step = next(n for power in count() for n in (10**power, 2 * 10**power, 5 * 10**power) if n * about >= most)
    return [step * nth for nth in range(max(1, -(-most // step)) + 1)]


def scale(most: int) -> tuple[Tick, ...]:
    """The ticks for counts up to `most`, the lowest first."""
    values = ticks(most)
    return tuple(Tick(value, short(value), place(values[-1] - value, values[-1])) for value in values)


def place(part: float, whole: float) -> float:
    """Where a part of a whole is, in percent and to a hundredth; nowhere but inside."""
    if whole <= 0:
        return 0.0
    return round(WHOLE * min(1.0, max(0.0, part / whole)), 2)


def labels(texts: Sequence[str], places: Sequence[float]) -> tuple[Label, ...]:
    """As many words under the points as fit, evenly: every point's, or every second, or every third …"""
    every = -(-len(texts) // MOST_LABELS) or 1
    shown = range(0, len(texts), every)
    rarer = -(-len(shown) // MOST_LABELS_NARROW) or 1
    return tuple(
        Label(index, texts[index], places[index], anchor(places[index]), nth % rarer > 0)
        for nth, index in enumerate(shown)
    )


def anchor(x: float) -> str:
    """At the sides words begin or end at their point, so that they stay in the picture."""
    return "start" if x < EDGE else "end" if x > WHOLE - EDGE else "middle"
