"""Who went from where to where, as columns of stops: the largest by name, the others together. Pure.

The surprising thing: a stop may have more that arrives than leaves, or the other way round. Its weight is the larger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

MOST_STOPS = 8


class Stop(msgspec.Struct, frozen=True):
    """A place on the way: its name, its colour, and the page filtered to it, if there is one."""

    name: str
    kind: str = "other"
    href: str = ""


class Flow(msgspec.Struct, frozen=True):
    """So many who went from a stop in a column to one in the next; columns are counted from where reading begins."""

    position: int
    source: Stop
    target: Stop
    weight: int


Place = tuple[int, Stop]  # a stop in its column


def weights(flows: Sequence[Flow]) -> dict[Place, int]:
    """What came to or left each stop, whichever is more."""
    leaving: dict[Place, int] = defaultdict(int)
    arriving: dict[Place, int] = defaultdict(int)
    for flow in flows:
        leaving[flow.position, flow.source] += flow.weight
        arriving[flow.position + 1, flow.target] += flow.weight
    return {place: max(leaving[place], arriving[place]) for place in sorted({*leaving, *arriving}, key=_rank)}


def fold(flows: Sequence[Flow], most: int = MOST_STOPS) -> tuple[Flow, ...]:
    """The same flows with so many stops by name in each column, the largest, and one stop for all others.

    Columns in which nothing stands are left out.
    """
    flows = [flow for flow in flows if flow.weight > 0]
    shown = _shown(weights(flows), most)
    column = {position: nth for nth, position in enumerate(sorted({position for position, _ in shown}))}
    together: dict[tuple[int, Stop, Stop], int] = defaultdict(int)
    for flow in flows:
        source, target = shown[flow.position, flow.source], shown[flow.position + 1, flow.target]
        together[column[flow.position], source, target] += flow.weight
    folded = [Flow(*key, weight) for key, weight in together.items()]
    return tuple(sorted(folded, key=lambda flow: (flow.position, -flow.weight, flow.source.name, flow.target.name)))


def _shown(weights: dict[Place, int], most: int) -> dict[Place, Stop]:
    """By which stop each is shown. One alone is not folded: its own name says more."""
    columns: dict[int, list[Place]] = defaultdict(list)
    for place in sorted(weights, key=lambda place: (-weights[place], *_rank(place))):
        columns[place[0]].append(place)
    shown: dict[Place, Stop] = {}
    for places in columns.values():
        kept = len(places) if len(places) <= most + 1 else most
        others = Stop(f"{len(places) - kept} others")
        shown |= {place: place[1] if nth < kept else others for nth, place in enumerate(places)}
    return shown


def _rank(place: Place) -> tuple[int, str, str, str]:
    return place[0], place[1].name, place[1].kind, place[1].href
