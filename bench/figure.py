"""One measured figure with what it is held against."""

from __future__ import annotations

import msgspec


class Figure(msgspec.Struct):
    """`ratio` is figure / against. `wanted` says which side of `bound` the ratio has to be on; '' when nothing is."""

    name: str
    figure: float
    unit: str
    against: float
    peer: str
    wanted: str = ""
    bound: float = 0.0

    @property
    def ratio(self) -> float:
        return self.figure / self.against

    @property
    def reached(self) -> bool:
        if self.wanted == "at least":
            return self.ratio >= self.bound
        return self.wanted != "at most" or self.ratio <= self.bound

    def line(self) -> str:
        verdict = f"{self.wanted} {self.bound:g}: {'reached' if self.reached else 'MISSED'}" if self.wanted else ""
        return (
            f"{self.name:<22} {self.figure:>12,.1f} {self.unit:<11} {self.peer} {self.against:,.1f}"
            f"   ratio {self.ratio:.2f}   {verdict}"
        )
