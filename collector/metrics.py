"""Metrics and the text in which Prometheus reads them: a few lines of joining, which need no library."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate

import msgspec

CONTENT_TYPE = "text/plain; version=0.0.4"
Labels = Mapping[str, str]


class Histogram:
    """How long something took, counted in buckets."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def samples(self, name: str) -> list[Sample]:
        below = list(accumulate(self._counts))
        bounds = [*map(str, self._bounds), "+Inf"]
        buckets = [Sample(f"{name}_bucket", {"le": le}, n) for le, n in zip(bounds, below, strict=True)]
        return [*buckets, Sample(f"{name}_sum", {}, self._sum), Sample(f"{name}_count", {}, below[-1])]


class Sample(msgspec.Struct, frozen=True):
    """One line: a name, its labels, a value."""

    name: str
    labels: Labels
    value: float

    def line(self) -> str:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in self.labels.items())
        return f"{self.name}{{{labels}}} {self.value}" if labels else f"{self.name} {self.value}"


class Metric(msgspec.Struct, frozen=True):
    """A name with what it means and its samples; `kind` is counter, gauge or histogram."""

    name: str
    kind: str
    help: str
    samples: list[Sample]

    def lines(self) -> Iterable[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for sample in self.samples:
            yield sample.line()


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def single(name: str, kind: str, meaning: str, value: float) -> Metric:
    """A metric without labels."""
    return Metric(name, kind, meaning, [Sample(name, {}, value)])


def text(metrics: Iterable[Metric]) -> str:
    """The page that Prometheus reads."""
    return "\n".join(line for metric in metrics for line in metric.lines()) + "\n"
