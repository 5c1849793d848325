"""A facet's values beside each other: who came under each, what they did, and how many there were in the time before.

The surprising thing: a visitor can come under several values, so that the rows of a breakdown add up to more than the
visitors there were; every share is of those.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from collector.portal.frame import number
from collector.portal.numbers.table import Column, Table
from collector.portal.view import View
from collector.portal.words import FACETS, share
from store.database import Database
from store.rollups import reading
from store.rollups.facets import CTA, LINKED, QUERY, REFERRER, REST, TAB, UTM
from store.rollups.reading import Row
from store.rollups.stored import Scope

HEADINGS = {
    TAB: "Tabs",
    CTA: "Calls to action",
    REFERRER: "Where visitors came from",
    **dict.fromkeys(UTM, "Campaigns"),
    QUERY: "Other parameters",
}
FEW = 8  # rows, where several facets share a page
MANY = reading.MOST_ROWS


class Total(msgspec.Struct, frozen=True):
    """Who viewed the listings in a time, how often (None with filters), and how many there were in the time before
    (None: it is not compared)."""

    visitors: int
    views: int | None
    before: int | None


class Line(msgspec.Struct, frozen=True):
    """One value: `of` is how many visitors there were in all, `before` how many of this value in the time before;
    `width` is a share of the largest row, in percent."""

    value: str
    label: str
    visitors: int
    of: int
    events: int | None
    cta: int
    installs: int
    before: int | None
    width: float
    links: bool

    @property
    def share(self) -> str:
        return share(self.visitors, self.of)

    @property
    def cta_rate(self) -> str:
        return share(self.cta, self.visitors)

    @property
    def install_rate(self) -> str:
        return share(self.installs, self.visitors)

    @property
    def change(self) -> str:
        return "" if self.before is None else change(self.visitors, self.before)


class Section(msgspec.Struct, frozen=True):
    """A facet's breakdown: `further` is how many values there are besides."""

    facet: str
    lines: Sequence[Line]
    further: int
    compared: bool

    @property
    def title(self) -> str:
        return FACETS[self.facet]

    @property
    def heading(self) -> str:
        return HEADINGS.get(self.facet, self.title)

    @property
    def takeaway(self) -> str:
        """What there is to see, in a sentence."""
        known = [line for line in self.lines if line.value != REST]
        if not known:
            return ""
        first = known[0]
        led = f"{self._named(first)} has most of them, {first.share} of {number(first.of)} visitors"
        installed = max(known, key=lambda line: line.installs)
        if not installed.installs:
            return f"{led}; none of any row installed."
        many = f"{number(installed.installs)} of its {number(installed.visitors)}"
        return f"{led}; most installs are of {self._named(installed)}, {many}."

    def _named(self, line: Line) -> str:
        return line.value if self.facet == QUERY else line.label

    @property
    def events(self) -> str:
        """What its events are called."""
        return "Clicks" if self.facet in (TAB, CTA) else "Page views"

    @property
    def groups(self) -> list[tuple[str, list[Line]]]:
        """The lines by what is before "=" in their values, the largest group first."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.value.partition("=")[0], []).append(line)
        return sorted(found.items(), key=lambda each: each[0] == REST)


async def total(db: Database, scope: Scope, view: View) -> Total:
    """See Total."""
    now = (await reading.overview(db, scope, [view.span])).total
    earlier = view.earlier()
    before = (await reading.overview(db, scope, [earlier.span])).total.visitors if earlier else None
    return Total(now.visitors, None if now.events is None else now.events.get("page_view", 0), before)


async def section(db: Database, scope: Scope, view: View, facet: str, of: int, most: int) -> Section:
    """A facet's breakdown, `of` so many visitors in all."""
    found = await reading.breakdown(db, scope, facet, view.span, most)
    earlier = view.earlier()
    before: dict[str, int] = {}
    if earlier:
        before = await reading.visitors(db, scope, facet, earlier.span, [row.value for row in found.rows])
    largest = max((row.visitors for row in found.rows), default=0)
    rows = sorted(found.rows, key=lambda row: row.value == REST)  # what stands for many comes last
    lines = [_line(facet, row, of, before.get(row.value), largest) for row in rows]
    return Section(facet, lines, found.further, earlier is not None)


def thinned(section: Section, most: int) -> Section:
    """At most so many lines of each group."""
    kept = {id(line) for _, lines in section.groups for line in lines[:most]}
    lines = [line for line in section.lines if id(line) in kept]
    return Section(section.facet, lines, section.further + len(section.lines) - len(lines), section.compared)


def _line(facet: str, row: Row, of: int, before: int | None, largest: int) -> Line:
    return Line(
        row.value,
        label(facet, row.value),
        row.visitors,
        of,
        row.events,
        row.did["cta_click"],
        row.did["install"],
        before,
        round(100 * row.visitors / largest, 1),
        row.value != REST and row.value.isprintable(),
    )


def label(facet: str, value: str) -> str:
    """A value as people read it."""
    if value == REST:
        return "All others"
    if facet == LINKED:
        return "Carries a partner anonymous id"
    if facet == QUERY:
        return value.partition("=")[2] or "(empty)"
    if not value:
        return "No referrer" if facet == REFERRER else "No label"
    return value


def change(now: int, before: int) -> str:
    """How much more or less than before: for a narrow column."""
    if not before:
        return "new" if now else "as before"
    percent = round(100 * (now - before) / before)
    if not percent:
        return "as before"
    sign = "+" if percent > 0 else "\u2212"
    return f"{sign}{abs(percent)}\u202f%"


def table(section: Section) -> Table:
    """The breakdown for people's own tools."""
    columns = [
        Column("value", section.title, "text"),
        Column("visitors", "Visitors", "number"),
        Column("share", "Share of visitors", "share"),
        Column("events", section.events, "number"),
        Column("cta_visitors", "Visitors with a call to action", "number"),
        Column("cta_rate", "Rate of calls to action", "share"),
        Column("install_visitors", "Visitors with an install", "number"),
        Column("install_rate", "Rate of installs", "share"),
        Column("visitors_before", "Visitors, the time before", "number"),
    ]
    rows = [
        [
            line.value,
            line.visitors,
            _part(line.visitors, line.of),
            line.events,
            line.cta,
            _part(line.cta, line.visitors),
            line.installs,
            _part(line.installs, line.visitors),
            line.before,
        ]
        for line in section.lines
    ]
    return Table(section.facet, section.title, columns, rows)


def _part(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None
