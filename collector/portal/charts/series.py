"""Counts over time: lines for many bins, bars for few, each with the same bin of the time before as a dashed line.

The surprising thing: an incomplete last bin is apart from the others, for its low count is no fall. Its piece of the
line is broken, its bar is pale, and no sentence compares it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from collector.portal.charts.axis import WHOLE, Label, Tick, labels, place, scale
from collector.portal.frame import number
from collector.portal.words import share

FEW = 8  # bins up to which bars are clearer than a line
MOST_BARS = 24  # of all series together
SIDE = 1_000  # the picture's own width and height; it is stretched to any other
GAP = 0.3  # of a bin, between its bars and the next bin's


class Point(msgspec.Struct, frozen=True):
    """A bin: its label, when it begins (ISO 8601), its count, and the count of the same bin of the time before."""

    label: str
    start: str
    value: int
    before: int | None = None


class Series(msgspec.Struct, frozen=True):
    """One count over time. `kind` is the colour: a kind of event, or "visitors".

    `total` is of the whole time; it is given, because visitors who came in two bins are one visitor.
    """

    name: str
    kind: str
    points: Sequence[Point]
    total: int | None = None
    total_before: int | None = None


class Bar(msgspec.Struct, frozen=True):
    """Places in percent. `before_y`: where the count of the time before is, if there is one."""

    x: float
    right: float
    y: float
    width: float
    height: float
    before_y: float | None
    partial: bool
    title: str


class Drawn(msgspec.Struct, frozen=True):
    """A series as it is drawn: paths in a square of SIDE, or bars; `tail` is the broken piece, `dot` the last point."""

    name: str
    kind: str
    line: str
    area: str
    tail: str
    before: str
    dot: str
    bars: tuple[Bar, ...]


class Row(msgspec.Struct, frozen=True):
    """A bin in the table: a value, how it is said, and both of the time before, for each series."""

    label: str
    start: str
    cells: tuple[tuple[int, str, int | None, str], ...]
    partial: bool


class TimeSeries(msgspec.Struct, frozen=True):
    """Everything that is drawn and said. `before` names the time before; empty when nothing is compared."""

    title: str
    takeaway: str
    before: str
    drawn: tuple[Drawn, ...]
    ticks: tuple[Tick, ...]
    labels: tuple[Label, ...]
    rows: tuple[Row, ...]
    has_bars: bool
    is_partial: bool


def time_series(
    title: str,
    series: Sequence[Series],
    before: str = "the time before",
    partial: bool = False,
    takeaway: str = "",
) -> TimeSeries:
    """Series with the same bins. `partial`: the last bin is not over yet. `takeaway` replaces our own sentence."""
    bins = len(series[0].points) if series else 0
    ticks = scale(max((count for one in series for point in one.points for count in _counts(point)), default=0))
    bars = bins < 2 or (bins <= FEW and bins * len(series) <= MOST_BARS)
    places = [_place(nth, bins, bars) for nth in range(bins)]
    compared = any(point.before is not None for one in series for point in one.points)
    draw = _bars if bars else _lines
    return TimeSeries(
        title,
        takeaway or sentence(series, before),
        before if compared else "",
        tuple(draw(one, nth, len(series), places, ticks[-1].value, partial) for nth, one in enumerate(series)),
        ticks,
        labels([point.label for point in series[0].points] if series else [], places),
        _rows(series, partial),
        bars,
        partial and bins > 0,
    )


def _counts(point: Point) -> list[int]:
    return [point.value] if point.before is None else [point.value, point.before]


def _place(nth: int, bins: int, bars: bool) -> float:
    """Where a bin is: lines go from side to side, bars stand in the middle of their bins."""
    return place(nth + 0.5, bins) if bars else place(nth, bins - 1)


# --- lines


def _lines(one: Series, nth: int, of: int, places: Sequence[float], top: int, partial: bool) -> Drawn:
    spots = [_spot(x, point.value, top) for x, point in zip(places, one.points, strict=True)]
    whole = spots[:-1] if partial else spots
    before = [(x, point.before) for x, point in zip(places, one.points, strict=True)]
    area = f"M{_text(spots[0][0])} {SIDE}L{_joined(spots)}L{_text(spots[-1][0])} {SIDE}Z" if of == 1 else ""
    return Drawn(
        one.name,
        one.kind,
        f"M{_joined(whole)}",
        area,
        f"M{_joined(spots[-2:])}" if partial else "",
        _pieces([None if count is None else _spot(x, count, top) for x, count in before]),
        f"M{_joined(spots[-1:])}h0",
        (),
    )


def _spot(x: float, count: int, top: int) -> tuple[float, float]:
    return x * SIDE / WHOLE, place(top - count, top) * SIDE / WHOLE


def _joined(spots: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{_text(x)} {_text(y)}" for x, y in spots)


def _text(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _pieces(spots: Sequence[tuple[float, float] | None]) -> str:
    """A path that leaves out what there is no count for."""
    path, pen_is_down = "", False
    for spot in spots:
        if spot is not None:
            path += ("L" if pen_is_down else "M") + _joined([spot])
        pen_is_down = spot is not None
    return path


# --- bars


def _bars(one: Series, nth: int, of: int, places: Sequence[float], top: int, partial: bool) -> Drawn:
    slot = WHOLE / max(1, len(places))
    width = min(slot * (1 - GAP), WHOLE / FEW) / of
    bars = []
    for middle, point in zip(places, one.points, strict=True):
        height = place(point.value, top)
        bars.append(
            Bar(
                round(middle + (nth - of / 2) * width, 2),
                round(middle + (nth + 1 - of / 2) * width, 2),
                round(WHOLE - height, 2),
                round(width, 2),
                height,
                None if point.before is None else place(top - point.before, top),
                partial and point is one.points[-1],
                f"{point.label}: {number(point.value)} {one.name.lower()}",
            )
        )
    return Drawn(one.name, one.kind, "", "", "", "", "", tuple(bars))


# --- words


def _rows(series: Sequence[Series], partial: bool) -> tuple[Row, ...]:
    bins = list(zip(*(one.points for one in series), strict=True))
    return tuple(
        Row(
            points[0].label,
            points[0].start,
            tuple((p.value, number(p.value), p.before, "" if p.before is None else number(p.before)) for p in points),
            partial and points is bins[-1],
        )
        for points in bins
    )


def sentence(series: Sequence[Series], before: str) -> str:
    """What there is to see, of the first series: how many, how that compares, and when they were most."""
    if not series or not series[0].points:
        return "There is nothing to show for this time."
    one = series[0]
    name = one.name.lower()
    peak = max(one.points, key=lambda point: point.value)
    if peak.value == 0:
        return f"No {name} in this time."
    most = f"{peak.label} had the most, {number(peak.value)}"
    if one.total is None:
        return f"{one.name}: {most}."
    compared = "" if one.total_before is None else f", {change(one.total, one.total_before)} {before}"
    return f"{number(one.total)} {name}{compared}" + (f"; {most}." if len(one.points) > 1 else ".")


def change(now: int, before: int) -> str:
    """How a count compares, as the beginning of a phrase that a time ends."""
    if now == before:
        return "as many as in"
    if not before:
        return "up from none in"
    return f"{share(abs(now - before), before)} {'more' if now > before else 'fewer'} than in"
