"""Journeys: which step follows which on the listings, from the first, or back from the installs.

What is kept are the links between neighbouring steps, each at its place, and not whole paths: so it is said what most
did next, and never that one of them did all of it in this order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from collector.portal.charts.flows import Flow, Stop
from collector.portal.charts.sankey import Sankey, sankey
from collector.portal.frame import number
from collector.portal.numbers.page import Asked, Numbers, pages
from collector.portal.numbers.paths import KEPT, NO_STEPS, Node, Paths, Strand, backward, onward
from collector.portal.numbers.steps import FURTHER, filter_of, kind, said
from collector.portal.numbers.table import Column, Table
from collector.portal.view import View
from collector.portal.words import share
from store.database import Database
from store.rollups import reading
from store.rollups.journeys import MOST_STEPS, TRAIL
from store.rollups.stored import Scope

USUAL_STEPS, FEWEST_STEPS = 4, 2
MOST_STEPS_BACK = TRAIL + 1  # with the install itself


class Values(msgspec.Struct, frozen=True):
    """`left_out` is how often links were taken that are too rare to be read: some journeys seem to end that go on."""

    paths: Paths
    unit: Literal["journeys", "visitors"]
    steps: int
    most_steps: int
    further: int
    left_out: int


async def read(db: Database, scope: Scope, view: View, more: Mapping[str, str]) -> Values:
    """See Values."""
    back = more.get("back", "") == "install"
    most = MOST_STEPS_BACK if back else MOST_STEPS
    asked = more.get("steps", "")
    steps = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 3 else USUAL_STEPS
    steps = min(max(steps, FEWEST_STEPS), most)
    found = await reading.flows(db, scope, view.span, back, steps if back else steps + 1)
    paths = (backward if back else onward)(found.links, steps)
    unit: Literal["journeys", "visitors"] = "visitors" if scope.filters else "journeys"
    return Values(paths, unit, steps, most, found.further, found.left_out)


def told(values: Values, asked: Asked) -> Mapping[str, Any]:
    """The picture."""
    return {"chart": picture(values, asked), "said": said, "kind": kind}


def picture(values: Values, asked: Asked) -> Sankey:
    """Steps that can be filtered by lead to the same page for who did them."""
    paths = values.paths

    def stop(step: str) -> Stop:
        by = filter_of(step)
        return Stop(said(step), kind(step), asked.filtered(*by) if by and by not in asked.view.filters else "")

    return sankey(
        "Steps before an install" if paths.back else "Steps from the first on",
        [Flow(each.column - 1, stop(each.near), stop(each.far), each.weight) for each in paths.strands],
        most=KEPT + 1 + len(NO_STEPS),  # they are folded already
        backwards=paths.back,
        headings=["Install"] if paths.back else ["First step"],
        takeaway=takeaway(paths, values.unit),
        unit=values.unit,
    )


def takeaway(paths: Paths, unit: str) -> str:
    """What there is to see, in a sentence or two."""
    total = paths.total
    if not total:
        return f"No {'installs' if paths.back else unit} in this time."
    text = _back_from(paths, total) if paths.back else _on_from(paths, total, unit)
    return text[0].upper() + text[1:]


def _on_from(paths: Paths, total: int, unit: str) -> str:
    first = max(paths.columns[0], key=lambda node: node.came)
    part = "All" if first.came == total else f"{share(first.came, total)} of"
    begun = f"{part} {number(total)} {unit} begin with {said(first.step)}."
    if total == 1:
        begun = f"The only {unit.removesuffix('s')} begins with {said(first.step)}."
    nexts = [strand for strand in paths.strands if (strand.column, strand.near) == (1, first.step)]
    steps = [strand for strand in nexts if strand.far not in (*NO_STEPS, FURTHER)]
    ended = f"{share(first.ended, first.came)} of those end there" if first.ended else ""
    if not steps:
        return f"{begun} {ended}." if ended else begun
    after = f"{said(steps[0].far)} is what most do next, {share(steps[0].weight, first.came)}"
    return f"{begun} {ended}; {after}." if ended else f"{begun} {after}."


def _back_from(paths: Paths, total: int) -> str:
    before = [strand for strand in paths.strands if strand.column == 1]
    alone = sum(strand.weight for strand in before if strand.far in NO_STEPS)
    steps = [strand for strand in before if strand.far not in (*NO_STEPS, FURTHER)]
    installs = f"{number(total)} installs." if total > 1 else "1 install."
    part = share(alone, total)
    said_alone = f" {part[0].upper()}{part[1:]} came without a step on the listing before." if alone else ""
    if not steps:
        return installs + said_alone
    last = f"{said(steps[0].far)}, {share(steps[0].weight, total)}"
    return f"{installs} The last step before was most often {last}.{said_alone}"


def tables(values: Values) -> list[Table]:
    """The steps with how many journeys ended there, and the links between them."""
    steps = [
        Column("place", "Place", "number"),
        Column("step", "Step", "text"),
        Column(values.unit, values.unit.capitalize(), "number"),
        Column("ended", "Began here" if values.paths.back else "Ended here", "number"),
    ]
    links = [
        Column("place", "Place", "number"),
        Column("from", "From", "text"),
        Column("to", "To", "text"),
        Column(values.unit, values.unit.capitalize(), "number"),
    ]
    nodes = [_node(node) for column in values.paths.columns for node in column]
    strands = [_strand(strand, values.paths.back) for strand in values.paths.strands]
    return [Table("steps", "Steps", steps, nodes), Table("links", "Links between steps", links, strands)]


def _node(node: Node) -> list[str | int | None]:
    return [node.column + 1, said(node.step), node.came, node.ended]


def _strand(strand: Strand, back: bool) -> list[str | int]:
    first, then = (strand.far, strand.near) if back else (strand.near, strand.far)
    return [strand.column, said(first), said(then), strand.weight]


PAGES = pages(Numbers("journeys", read, tables, ("back", "steps"), told, {"back": ("install",)}))
