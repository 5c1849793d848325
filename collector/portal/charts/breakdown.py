"""A table of where visitors came from, and the like, with a bar in each row.

The surprising thing: shares are of all visitors of the time, who are given, because a visitor can be in several rows;
the bars are by the largest row, so that rows can be told apart when all shares are small.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from collector.portal.charts.axis import place
from collector.portal.frame import number
from collector.portal.words import share


class Row(msgspec.Struct, frozen=True):
    """What the row is about, and its counts. `href`: the page filtered to it. `kind`: its colour, if it has one."""

    label: str
    visitors: int
    events: int
    href: str = ""
    kind: str = ""


class DrawnRow(msgspec.Struct, frozen=True):
    """A row as it is drawn and said; `width` in percent."""

    label: str
    href: str
    kind: str
    width: float
    visitors: str
    events: str
    share: str


class Breakdown(msgspec.Struct, frozen=True):
    """The table: what its caption and its first column say, a sentence, and the rows as they were given."""

    title: str
    what: str
    takeaway: str
    rows: tuple[DrawnRow, ...]


def breakdown(title: str, what: str, rows: Sequence[Row], visitors: int, takeaway: str = "") -> Breakdown:
    """Rows in their order, of so many `visitors` in all. `takeaway` replaces our own sentence."""
    most = max((row.visitors for row in rows), default=0)
    drawn = tuple(
        DrawnRow(
            row.label,
            row.href,
            row.kind,
            place(row.visitors, most),
            number(row.visitors),
            number(row.events),
            share(row.visitors, visitors),
        )
        for row in rows
    )
    return Breakdown(title, what, takeaway or _sentence(rows, visitors), drawn)


def _sentence(rows: Sequence[Row], visitors: int) -> str:
    if not rows or not visitors:
        return "There is nothing to show for this time."
    first = max(rows, key=lambda row: row.visitors)
    return f"{first.label} has the most: {share(first.visitors, visitors)} of {number(visitors)} visitors."
