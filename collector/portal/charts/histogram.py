"""How long it took: a bar for each span of time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from collector.portal.charts.axis import WHOLE, Tick, place, scale
from collector.portal.frame import number
from collector.portal.words import share

GAP = 0.22  # of a bucket, between its bar and the next


class Bucket(msgspec.Struct, frozen=True):
    """A span, as "1 to 5 min", and how many took so long."""

    label: str
    n: int


class DrawnBucket(msgspec.Struct, frozen=True):
    """A bucket as it is drawn and said; places in percent. `lines` is the label in two, to fit below the bar."""

    label: str
    lines: tuple[str, ...]
    n: str
    share: str
    x: float
    y: float
    width: float
    height: float
    middle: float


class Histogram(msgspec.Struct, frozen=True):
    """All of it."""

    title: str
    takeaway: str
    what: str
    ticks: tuple[Tick, ...]
    buckets: tuple[DrawnBucket, ...]


def histogram(title: str, buckets: Sequence[Bucket], what: str = "Visitors", takeaway: str = "") -> Histogram:
    """Buckets in their order, of `what`. `takeaway` replaces our own sentence."""
    total = sum(bucket.n for bucket in buckets)
    ticks = scale(max((bucket.n for bucket in buckets), default=0))
    slot = WHOLE / max(1, len(buckets))
    drawn = []
    for nth, bucket in enumerate(buckets):
        height = place(bucket.n, ticks[-1].value)
        drawn.append(
            DrawnBucket(
                bucket.label,
                _lines(bucket.label),
                number(bucket.n),
                share(bucket.n, total),
                round(slot * (nth + GAP / 2), 2),
                round(WHOLE - height, 2),
                round(slot * (1 - GAP), 2),
                height,
                round(slot * (nth + 0.5), 2),
            )
        )
    return Histogram(title, takeaway or _sentence(buckets, total, what.lower()), what, ticks, tuple(drawn))


def _lines(label: str) -> tuple[str, ...]:
    """The last word, a unit as a rule, below the others."""
    first, _, last = label.rpartition(" ")
    return (first, last) if first else (last,)


def _sentence(buckets: Sequence[Bucket], total: int, what: str) -> str:
    """Within which span half of them are through."""
    if not total:
        return "There is nothing to show for this time."
    through, half = 0, buckets[-1]
    for bucket in buckets:
        through += bucket.n
        if 2 * through >= total:
            half = bucket
            break
    return f"Half of the {number(total)} {what} are in “{half.label}” or before it: {share(through, total)}."
