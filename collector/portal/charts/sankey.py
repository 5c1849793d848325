"""The ways that visitors take, as bands from column to column; also backwards, from where the ways end.

The surprising thing: heights are pixels and widths are shares of the picture, so that it can be stretched to any width
while its letters stay as they are. Backwards, columns are read from right to left, and time runs to the right as ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from collector.portal.charts import layout
from collector.portal.charts.axis import WHOLE
from collector.portal.charts.flows import MOST_STOPS, Flow, Place, fold, weights
from collector.portal.charts.lettering import cut
from collector.portal.frame import number
from collector.portal.words import share

SIDE = 1_000  # the picture's own width; it is stretched to any other
COLUMN = 150  # pixels that a column has at least, as in static/css/charts.css
NODE = 10  # pixels, a stop's width
BESIDE = 8  # pixels between a stop and its label
HEAD = 28.0  # pixels above, for the columns' names


class Node(msgspec.Struct, frozen=True):
    """A stop as it is drawn: `x` in percent, the others in pixels. `shown` is its name, cut to its room."""

    name: str
    shown: str
    text: str
    title: str
    kind: str
    href: str
    x: float
    y: float
    height: float
    middle: float


class Band(msgspec.Struct, frozen=True):
    """A flow as it is drawn: where its upper edge begins and ends, how thick it is, and its outline."""

    path: str
    title: str
    kind: str
    left: float
    right: float
    thickness: float


class Heading(msgspec.Struct, frozen=True):
    """A column's name."""

    text: str
    x: float


class Row(msgspec.Struct, frozen=True):
    """A flow in the table, in the order of time."""

    column: str
    earlier: str
    later: str
    weight: str


class Sankey(msgspec.Struct, frozen=True):
    """All of it; the picture is `height` pixels high. `unit` is what is counted; `has_links`: some stop leads to a
    page."""

    title: str
    takeaway: str
    height: float
    columns: int
    headings: tuple[Heading, ...]
    nodes: tuple[Node, ...]
    bands: tuple[Band, ...]
    rows: tuple[Row, ...]
    has_links: bool
    unit: str


def sankey(
    title: str,
    flows: Sequence[Flow],
    most: int = MOST_STOPS,
    backwards: bool = False,
    headings: Sequence[str] = (),
    takeaway: str = "",
    unit: str = "visitors",
) -> Sankey:
    """Flows of visitors, or of another `unit`. `backwards`: position 0 is the end of the ways, and each further one is
    a step earlier.

    `headings` are the columns' names, position 0 first; `takeaway` replaces our own sentence.
    """
    folded = fold(flows, most)
    heavy = weights(folded)
    columns = layout.ordered(layout.columns(heavy), folded)
    room = layout.height(columns)
    scale = layout.thickness(columns, heavy, room)
    tops = layout.tops(columns, folded, heavy, scale, room)
    names = _headings(headings, len(columns), backwards)
    xs = {nth: _x(nth, len(columns), backwards) for nth in range(len(columns))}
    total = sum(heavy[place] for place in columns[0]) if columns else 0
    nodes = {place: _node(place, xs[place[0]], tops[place], heavy[place], scale, total, unit) for place in tops}
    return Sankey(
        title,
        takeaway or _sentence(folded, total, backwards, unit),
        room + HEAD,
        len(columns),
        tuple(Heading(name, xs[nth]) for nth, name in enumerate(names)),
        tuple(nodes.values()),
        _bands(folded, nodes, heavy, scale, backwards, unit),
        tuple(_row(flow, names, backwards) for flow in folded),
        any(node.href for node in nodes.values()),
        unit,
    )


def _headings(given: Sequence[str], columns: int, backwards: bool) -> list[str]:
    own = ["The end", *(f"{nth} before" for nth in range(1, columns))] if backwards else []
    own = own or [f"Step {nth}" for nth in range(1, columns + 1)]
    return [*given, *own[len(given) :]][:columns]


def _x(position: int, columns: int, backwards: bool) -> float:
    return round(WHOLE * (columns - 1 - position if backwards else position) / columns, 3)


def _node(place: Place, x: float, top: float, weight: int, scale: float, total: int, unit: str) -> Node:
    stop = place[1]
    middle = HEAD + top + layout.slot(weight, scale) / 2
    height = max(layout.THINNEST, weight * scale)
    return Node(
        stop.name,
        cut(stop.name, COLUMN - NODE - 2 * BESIDE),
        f"{number(weight)} · {share(weight, total)}",
        f"{stop.name}: {number(weight)} {unit}, {share(weight, total)}",
        stop.kind,
        stop.href,
        x,
        round(middle - height / 2, 2),
        round(height, 2),
        round(middle, 2),
    )


def _bands(
    flows: Sequence[Flow], nodes: dict[Place, Node], heavy: dict[Place, int], scale: float, backwards: bool, unit: str
) -> tuple[Band, ...]:
    """Each flow between its stops, those of one stop below each other in the order of where they go."""
    used: dict[tuple[Place, bool], float] = defaultdict(float)
    edges: dict[tuple[Flow, bool], float] = {}
    for at_source in (True, False):
        for flow in sorted(flows, key=lambda flow: nodes[_end(flow, not at_source)].middle):
            end = _end(flow, at_source)
            first = nodes[end].middle - heavy[end] * scale / 2
            edges[flow, at_source] = first + used[end, at_source]
            used[end, at_source] += flow.weight * scale
    return tuple(_band(flow, nodes, edges, scale, backwards, unit) for flow in flows)


def _end(flow: Flow, is_source: bool) -> Place:
    return (flow.position, flow.source) if is_source else (flow.position + 1, flow.target)


def _band(
    flow: Flow,
    nodes: dict[Place, Node],
    edges: dict[tuple[Flow, bool], float],
    scale: float,
    backwards: bool,
    unit: str,
) -> Band:
    left, right = edges[flow, not backwards], edges[flow, backwards]
    x0, x1 = (nodes[_end(flow, side)].x * SIDE / WHOLE for side in (not backwards, backwards))
    thick, turn = flow.weight * scale, (x0 + x1) / 2
    path = (
        f"M{x0:.1f} {left:.2f}C{turn:.1f} {left:.2f} {turn:.1f} {right:.2f} {x1:.1f} {right:.2f}v{thick:.2f}"
        f"C{turn:.1f} {right + thick:.2f} {turn:.1f} {left + thick:.2f} {x0:.1f} {left + thick:.2f}Z"
    )
    earlier, later = (flow.target, flow.source) if backwards else (flow.source, flow.target)
    title = f"{earlier.name} → {later.name}: {number(flow.weight)} {unit}"
    return Band(path, title, earlier.kind, round(left, 2), round(right, 2), round(thick, 2))


def _row(flow: Flow, names: Sequence[str], backwards: bool) -> Row:
    earlier, later = (flow.target, flow.source) if backwards else (flow.source, flow.target)
    column = names[flow.position + 1 if backwards else flow.position]
    return Row(column, earlier.name, later.name, number(flow.weight))


def _sentence(flows: Sequence[Flow], total: int, backwards: bool, unit: str) -> str:
    if not flows:
        return "There is nothing to show for this time."
    first = max(flows, key=lambda flow: flow.weight)
    earlier, later = (first.target, first.source) if backwards else (first.source, first.target)
    return f"Most went from {earlier.name} to {later.name}: {number(first.weight)} of {number(total)} {unit}."
