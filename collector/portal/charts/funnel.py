"""How many went how far: a bar for each step.

The surprising things: a step may be larger than the one before it, because somebody can come to it without the others;
and a step has two rates, of the first step and from the step before, which are never given without saying which.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import msgspec

from collector.portal.charts.axis import place
from collector.portal.charts.lettering import cut
from collector.portal.frame import number
from collector.portal.words import share

ROW = 78  # pixels from a step to the next
FIRST = 56  # from the first one, which has no rates
NAME_WIDTH = 190  # pixels for a name beside its numbers on a narrow screen


class Step(msgspec.Struct, frozen=True):
    """A step: its name, its colour (a kind of event, or "visitors") and how many visitors came to it. `both` is how
    many of them came to the step `after` too, out of its `after_visitors`; None: all came by the step above."""

    name: str
    kind: str
    visitors: int
    after: str = ""
    after_visitors: int = 0
    both: int | None = None


class DrawnStep(msgspec.Struct, frozen=True):
    """A step as it is drawn and said: `y` in pixels, `width` in percent. The first is from nothing before."""

    name: str
    shown: str
    kind: str
    y: int
    width: float
    visitors: str
    of_first: str
    after: str
    from_before: str


class Funnel(msgspec.Struct, frozen=True):
    """All of it; the picture is `height` pixels high."""

    title: str
    takeaway: str
    height: int
    steps: tuple[DrawnStep, ...]


def funnel(title: str, steps: Sequence[Step], takeaway: str = "") -> Funnel:
    """Steps in their order. `takeaway` replaces our own sentence."""
    most = max((step.visitors for step in steps), default=0)
    drawn = []
    for nth, step in enumerate(steps):
        before = steps[nth - 1] if nth else Step("", "", 0)
        by_both = step.both is not None
        drawn.append(
            DrawnStep(
                step.name,
                cut(step.name, NAME_WIDTH),
                step.kind,
                _y(nth),
                place(step.visitors, most),
                number(step.visitors),
                share(step.visitors, steps[0].visitors),
                step.after if by_both else before.name,
                (share(step.both or 0, step.after_visitors) if by_both else share(step.visitors, before.visitors))
                if nth
                else "",
            )
        )
    return Funnel(title, takeaway or _sentence(steps), _y(len(steps)), tuple(drawn))


def _y(nth: int) -> int:
    return FIRST + (nth - 1) * ROW if nth else 0


def _sentence(steps: Sequence[Step]) -> str:
    if not steps or not steps[0].visitors:
        return "Nobody came to the first step in this time."
    first, last = steps[0], steps[-1]
    if len(steps) == 1:
        return f"{number(first.visitors)} visitors came to “{first.name}”."
    rate = share(last.visitors, first.visitors)
    reached = f"{rate} came as far as “{last.name}”: {number(last.visitors)} of {number(first.visitors)} visitors"
    lost, step = max(
        ((one.visitors - other.visitors, other) for one, other in pairwise(steps)), key=lambda loss: loss[0]
    )
    return f"{reached}." if lost <= 0 else f"{reached}; the most, {number(lost)}, are lost before “{step.name}”."
