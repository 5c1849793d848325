"""Funnel: of the visitors of a listing, how many came how far, and how long that took them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from collector.portal.charts import funnel as drawn
from collector.portal.charts.histogram import Bucket, Histogram, histogram
from collector.portal.frame import number
from collector.portal.numbers.page import Asked, Numbers, pages
from collector.portal.numbers.table import Cell, Column, Table
from collector.portal.numbers.wording import earlier_words, time_words
from collector.portal.view import View
from collector.portal.words import COUNTED, EVENTS, KINDS, share
from store.database import Database
from store.rollups import reading
from store.rollups.journeys import CONVERSIONS
from store.rollups.reading import Overview, Step
from store.rollups.stored import Scope

# As store.rollups.journeys.BUCKETS has them, and how long a time that is in one of them is at most.
TOOK = (
    ("under 1 min", "a minute"),
    ("1 to 5 min", "5 minutes"),
    ("5 to 15 min", "15 minutes"),
    ("15 to 60 min", "an hour"),
    ("1 to 6 hours", "6 hours"),
    ("6 to 24 hours", "a day"),
    ("1 to 3 days", "3 days"),
    ("3 to 7 days", "7 days"),
    ("7 to 14 days", "14 days"),
    ("14 to 30 days", "30 days"),
    ("over 30 days", ""),
)


class Values(msgspec.Struct, frozen=True):
    """`before` is the time to compare with, where there is one; `times` are, by what was done, how many visitors took
    how long for it."""

    view: View
    now: Overview
    before: Overview | None
    times: Mapping[str, Sequence[int]]


async def read(db: Database, scope: Scope, view: View, more: Mapping[str, str]) -> Values:
    """See Values."""
    earlier = view.earlier()
    return Values(
        view,
        await reading.overview(db, scope, [view.span]),
        await reading.overview(db, scope, [earlier.span]) if earlier else None,
        {name: await reading.times(db, scope, name, view.span) for name in CONVERSIONS},
    )


# --- tables


def tables(values: Values) -> list[Table]:
    """The steps, and how long they took."""
    return [_steps(values), _took(values)]


def _steps(values: Values) -> Table:
    columns = [
        Column("step", "Step", "text"),
        Column("visitors", "Visitors", "number"),
        Column("of_first", "Of the first step", "share"),
        Column("after", "Step before", "text"),
        Column("of_after", "Of the step before", "share"),
        Column("visitors_before", "Visitors, the time before", "number"),
        Column("of_first_before", "Of the first step, the time before", "share"),
    ]
    then = values.before.funnel if values.before else []
    rows: list[list[Cell]] = []
    for nth, step in enumerate(values.now.funnel):
        after = step.after if nth else None
        row: list[Cell] = [step.name, step.visitors, _of_first(values.now, step), after]
        row.append(_part(step.both, _visitors(values.now, step.after)) if nth else None)
        row += [then[nth].visitors, _of_first(values.before, then[nth])] if values.before else [None, None]
        rows.append(row)
    return Table("steps", "Steps", columns, rows)


def _visitors(overview: Overview, name: str) -> int:
    return next(step.visitors for step in overview.funnel if step.name == name)


def _of_first(overview: Overview | None, step: Step) -> float | None:
    return _part(step.visitors, overview.funnel[0].visitors) if overview else None


def _part(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _took(values: Values) -> Table:
    columns = [Column("took", "Took", "text")]
    columns += [Column(name, COUNTED[name], "number") for name in CONVERSIONS]
    rows: list[list[Cell]] = [
        [label, *(values.times[name][nth] for name in CONVERSIONS)] for nth, (label, _) in enumerate(TOOK)
    ]
    return Table("time-taken", "Time taken", columns, rows)


# --- what the page says of them


def told(values: Values, asked: Asked) -> Mapping[str, Any]:
    """Pictures and sentences."""
    return {
        "funnel": _picture(values),
        "earlier": earlier_words(values.view),
        "steps": EVENTS,
        "before_rates": [share(step.visitors, values.before.funnel[0].visitors) for step in values.before.funnel]
        if values.before
        else [],
        "rates": [share(step.visitors, values.now.funnel[0].visitors) for step in values.now.funnel],
        "after_rates": [share(step.both, _visitors(values.now, step.after)) for step in values.now.funnel],
        "times_taken": [_taken(values, name) for name in CONVERSIONS if any(values.times[name])],
    }


def _picture(values: Values) -> drawn.Funnel:
    steps = [
        drawn.Step(
            EVENTS[step.name],
            KINDS[step.name],
            step.visitors,
            EVENTS[step.after],
            _visitors(values.now, step.after),
            step.both,
        )
        for step in values.now.funnel
    ]
    return drawn.funnel(f"From page view to install, {time_words(values.view)}", steps, _sentence(values))


def _sentence(values: Values) -> str:
    viewed, installed = values.now.funnel[0].visitors, values.now.funnel[-1].visitors
    if not viewed:
        return "Nobody viewed the listing in this time."
    said = f"{share(installed, viewed)} of {number(viewed)} visitors installed"
    if values.before and values.before.funnel[0].visitors:
        before = values.before.funnel
        said += f"; it was {share(before[-1].visitors, before[0].visitors)} in {earlier_words(values.view)}"
    return f"{said}."


def _taken(values: Values, name: str) -> Histogram:
    counts = values.times[name]
    buckets = [Bucket(label, n) for (label, _), n in zip(TOOK, counts, strict=True)]
    return histogram(f"From the first page view to {EVENTS[name].lower()}", buckets, takeaway=middle(counts))


def middle(counts: Sequence[int]) -> str:
    """Within which time half of them did it, in words."""
    total, through = sum(counts), 0
    for n, (_, most) in zip(counts, TOOK, strict=True):
        through += n
        if most and 2 * through >= total:
            return f"Half of {number(total)} visitors took {most} or less."
    return f"More than half of {number(total)} visitors took over 30 days."


PAGES = pages(Numbers("funnel", read, tables, told=told))
