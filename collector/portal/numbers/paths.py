"""Journeys as columns of steps: the links of the rollups, folded so that a picture of them stays readable. Pure.

A column is a place in journeys: the first step, the second and so on, or back from an install. The most travelled steps
of a column are kept apart, the others are one. Where a journey ended is a step of its own, told from how many came to a
step and how many went on, but for an install, which is no loss; backwards, it is where a journey began.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from collector.portal.numbers.steps import END, FURTHER, START
from store.rollups.journeys import MOST_STEPS
from store.rollups.reading import Flow

GOAL = "install"  # with which a journey is over, and nobody is lost
KEPT = 5  # steps of a column that are shown apart


class Strand(NamedTuple):
    """How many went from a step in one column to a step in the next, whose number is `column`."""

    column: int
    near: str
    far: str
    weight: int


class Node(NamedTuple):
    """A step in a column: how many came to it, and how many of them went no further; None where that is not known, or
    there is nothing further."""

    column: int
    step: str
    came: int
    ended: int | None


class Paths(msgspec.Struct, frozen=True):
    """Columns of nodes, the largest first and then what is no step, and the strands between them, the largest first.

    Near to far is how journeys are told: from their first step on, or `back` from an install."""

    columns: Sequence[Sequence[Node]]
    strands: Sequence[Strand]
    back: bool

    @property
    def total(self) -> int:
        return sum(node.came for node in self.columns[0]) if self.columns else 0


def onward(flows: Iterable[Flow], columns: int, kept: int = KEPT) -> Paths:
    """From the first step on. The links reach one place further than the columns, so that the last tell who ended;
    past MOST_STEPS nobody is followed."""
    strands = [Strand(flow.link.place, flow.link.from_step, flow.link.to_step, flow.n) for flow in flows]
    return _folded([*strands, *_ends(strands)], columns, kept, back=False)


def backward(flows: Iterable[Flow], columns: int, kept: int = KEPT) -> Paths:
    """Back from the installs, the first column."""
    strands = [Strand(flow.link.place + 1, flow.link.to_step, flow.link.from_step, flow.n) for flow in flows]
    installs = sum(strand.weight for strand in strands if strand.column == 1)
    first = [Strand(0, START, strand.near, installs) for strand in strands if strand.column == 1][:1]
    return _folded([*first, *strands], columns, kept, back=True)


def _ends(strands: Sequence[Strand]) -> list[Strand]:
    """Who came to a step and did not go on."""
    staying: Counter[tuple[int, str]] = Counter()
    for strand in strands:
        staying[strand.column, strand.far] += strand.weight
        if strand.column:
            staying[strand.column - 1, strand.near] -= strand.weight
    return [
        Strand(column + 1, step, END, count)
        for (column, step), count in staying.items()
        if count > 0 and step != GOAL and column + 1 < MOST_STEPS
    ]


def _folded(strands: Sequence[Strand], columns: int, kept: int, back: bool) -> Paths:
    apart = _apart(strands, kept)
    folded: Counter[tuple[int, str, str]] = Counter()
    for column, near, far, weight in strands:
        if column == 0 or near in apart[column - 1]:
            folded[column, _shown(near, apart[column - 1]), _shown(far, apart[column])] += weight
    came: dict[int, Counter[str]] = defaultdict(Counter)
    ended: Counter[tuple[int, str]] = Counter()
    for (column, near, far), count in folded.items():
        came[column][far] += count
        if far in NO_STEPS:
            ended[column - 1, near] += count
    shown = [
        [Node(column, step, came[column][step], _ended(ended, column, step, back)) for step in _ordered(came[column])]
        for column in range(columns)
        if came[column]
    ]
    between = [Strand(*key, count) for key, count in _largest(folded) if 0 < key[0] < columns]
    return Paths(shown, between, back)


def _shown(step: str, apart: Mapping[str, bool]) -> str:
    return step if apart.get(step, True) else FURTHER


def _ended(ended: Counter[tuple[int, str]], column: int, step: str, back: bool) -> int | None:
    if step in NO_STEPS or (step == GOAL and not back) or column + 1 == MOST_STEPS:
        return None
    return ended[column, step]


NO_STEPS = (START, END)
ALWAYS = (GOAL, *NO_STEPS)  # are shown apart, however few


def _apart(strands: Sequence[Strand], kept: int) -> dict[int, dict[str, bool]]:
    """Of the steps that anybody came to, by column: whether each is shown apart."""
    came: dict[int, Counter[str]] = defaultdict(Counter)
    for strand in strands:
        came[strand.column][strand.far] += strand.weight
    apart: dict[int, dict[str, bool]] = defaultdict(dict)
    for column, counts in came.items():
        steps = sorted((step for step in counts if step not in ALWAYS), key=lambda step: (-counts[step], step))
        few = len(steps) <= kept + 1  # one step more takes no more room than the word for others
        apart[column] = {step: few or place < kept for place, step in enumerate(steps)}
        apart[column] |= dict.fromkeys(ALWAYS, True)
    return apart


def _ordered(came: Counter[str]) -> list[str]:
    last = (FURTHER, *NO_STEPS)
    return sorted(came, key=lambda step: (last.index(step) + 1 if step in last else 0, -came[step], step))


def _largest(folded: Counter[tuple[int, str, str]]) -> list[tuple[tuple[int, str, str], int]]:
    return sorted(folded.items(), key=lambda each: (each[0][0], -each[1], each[0]))
