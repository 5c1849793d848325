"""Where the stops of a flow stand: in which order, so that few flows cross, and how high, so that they run level. Pure.

The surprising thing: a stop takes the room of its label even when it is thin, and all thicknesses follow one scale,
the largest with which every column fits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from collector.portal.charts.flows import Flow, Place

SLOT = 36.0  # pixels for the two lines of a label
GAP = 8.0
LOWEST = 320.0  # of the picture
THINNEST = 3.0  # of a stop
SWEEPS = 4
SWAPS = 20

Columns = list[list[Place]]
Neighbours = Mapping[Place, Sequence[tuple[Place, int]]]


def columns(weights: Mapping[Place, int]) -> Columns:
    """The stops by column, the heaviest first."""
    found: dict[int, list[Place]] = defaultdict(list)
    for place in sorted(weights, key=lambda place: -weights[place]):
        found[place[0]].append(place)
    return [found[position] for position in sorted(found)]


def height(columns: Columns) -> float:
    """Of a picture in which every label has room."""
    return max([LOWEST, *(len(column) * (SLOT + GAP) - GAP for column in columns)])


def thickness(columns: Columns, weights: Mapping[Place, int], room: float) -> float:
    """Pixels for one of what flows: as many as let every column fit into the room."""

    def fits(scale: float) -> bool:
        return all(
            sum(slot(weights[place], scale) + GAP for place in column) - GAP <= room + 1e-6 for column in columns
        )

    low, high = 0.0, room / max([1, *weights.values()])
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def slot(weight: int, scale: float) -> float:
    """The room that a stop takes."""
    return max(SLOT, weight * scale)


# --- order


def ordered(columns: Columns, flows: Sequence[Flow]) -> Columns:
    """The same columns with fewer crossings: by the middle of the neighbours, there and back, then by pairs."""
    after, before = neighbours(flows)
    best, now = columns, [list(column) for column in columns]
    for _ in range(SWEEPS):
        for these, those in ((now[1:], before), (now[-2::-1], after)):
            for column in these:
                _sort(column, those, _ranks(now))
        _swap(now, before, after)
        if crossings(now, flows) < crossings(best, flows):
            best = [list(column) for column in now]
    return best


def neighbours(flows: Sequence[Flow]) -> tuple[Neighbours, Neighbours]:
    """For each stop where one goes next, and where one came from, with the weights."""
    after: dict[Place, list[tuple[Place, int]]] = defaultdict(list)
    before: dict[Place, list[tuple[Place, int]]] = defaultdict(list)
    for flow in flows:
        source, target = (flow.position, flow.source), (flow.position + 1, flow.target)
        after[source].append((target, flow.weight))
        before[target].append((source, flow.weight))
    return after, before


def crossings(columns: Columns, flows: Sequence[Flow]) -> int:
    """How much crosses: for any two flows that do, the product of their weights."""
    ranks = _ranks(columns)
    total = 0
    for nth, one in enumerate(flows):
        for other in flows[nth + 1 :]:
            if one.position == other.position:
                at_source = ranks[one.position, one.source] - ranks[other.position, other.source]
                at_target = ranks[one.position + 1, one.target] - ranks[other.position + 1, other.target]
                total += one.weight * other.weight if at_source * at_target < 0 else 0
    return total


def _ranks(columns: Columns) -> dict[Place, int]:
    return {place: rank for column in columns for rank, place in enumerate(column)}


def _sort(column: list[Place], neighbours: Neighbours, ranks: Mapping[Place, int]) -> None:
    """By the middle of the neighbours; who has none stays about where it was."""
    here = {place: float(rank) for rank, place in enumerate(column)}
    column.sort(key=lambda place: middle(neighbours.get(place, ()), lambda other: ranks[other], here[place]))


def middle(neighbours: Sequence[tuple[Place, int]], at: Callable[[Place], float], otherwise: float) -> float:
    """Where the neighbours are on average, by weight."""
    total = sum(weight for _, weight in neighbours)
    return sum(at(place) * weight for place, weight in neighbours) / total if total else otherwise


def _swap(columns: Columns, before: Neighbours, after: Neighbours) -> None:
    """Swap two that stand together while that leaves fewer crossings."""
    for _ in range(SWAPS):
        swapped = False
        for column in columns:
            ranks = _ranks(columns)
            for nth in range(len(column) - 1):
                upper, lower = column[nth], column[nth + 1]
                gain = sum(
                    _crossing(side.get(upper, ()), side.get(lower, ()), ranks)
                    - _crossing(side.get(lower, ()), side.get(upper, ()), ranks)
                    for side in (before, after)
                )
                if gain > 0:
                    column[nth], column[nth + 1] = lower, upper
                    swapped = True
        if not swapped:
            return


def _crossing(
    upper: Sequence[tuple[Place, int]], lower: Sequence[tuple[Place, int]], ranks: Mapping[Place, int]
) -> int:
    """How much crosses between two stops of which the first stands above."""
    return sum(a * b for one, a in upper for other, b in lower if ranks[one] > ranks[other])


# --- height


def tops(
    columns: Columns, flows: Sequence[Flow], weights: Mapping[Place, int], scale: float, room: float
) -> dict[Place, float]:
    """Where the room of each stop begins: near its neighbours, in its order, over no other, inside the picture."""
    after, before = neighbours(flows)
    sizes = {place: slot(weight, scale) for place, weight in weights.items()}
    found: dict[Place, float] = {}
    for column in columns:
        free = room - sum(sizes[place] for place in column)
        found |= _apart(column, dict.fromkeys(column, 0.0), sizes, room, free / (len(column) + 1))
    for _ in range(SWEEPS):
        for these, those in ((columns[1:], before), (columns[-2::-1], after)):
            for column in these:
                wanted = {place: _beside(place, those, found, sizes) for place in column}
                found |= _apart(column, wanted, sizes, room)
    return found


def _beside(place: Place, neighbours: Neighbours, tops: Mapping[Place, float], sizes: Mapping[Place, float]) -> float:
    """Where a stop would begin if it stood level with its neighbours."""
    here = tops[place] + sizes[place] / 2
    return middle(neighbours.get(place, ()), lambda other: tops[other] + sizes[other] / 2, here) - sizes[place] / 2


def _apart(
    column: Sequence[Place], wanted: Mapping[Place, float], sizes: Mapping[Place, float], room: float, gap: float = GAP
) -> dict[Place, float]:
    """The wanted places, moved down and then up until none lies on another."""
    found, free = {}, 0.0
    for place in column:
        found[place] = max(wanted[place], free)
        free = found[place] + sizes[place] + max(gap, GAP)
    free = room
    for place in reversed(column):
        found[place] = max(0.0, min(found[place], free - sizes[place]))
        free = found[place] - GAP
    return found
