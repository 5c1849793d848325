"""The sums of a run's attribution, for its report."""

from __future__ import annotations

import msgspec


class Attributed(msgspec.Struct):
    """A run's sums. An outcome's is the difference that the run made: an install that was nobody's, and is now a
    campaign's, takes one away from `organic`. `again` counts decisions that are another than before, `taken` apps that
    another run works on, and `failed` apps where something went wrong that is no event's fault."""

    apps: int = 0
    events: int = 0
    touchpoints: int = 0
    installs: int = 0
    attributed: int = 0
    organic: int = 0
    reinstalls: int = 0
    told_again: int = 0
    again: int = 0
    closed: int = 0
    forgotten: int = 0
    parked: int = 0
    taken: int = 0
    failed: int = 0

    def summary(self) -> str:
        """The end of a line for a person; '' when there was nothing to do."""
        if not self.installs and not self.again:
            return ""
        outcomes = {"attributed": self.attributed, "organic": self.organic}
        outcomes |= {"reinstalls": self.reinstalls} if self.reinstalls else {}
        outcomes |= {"told again": self.told_again} if self.told_again else {}
        if not self.again:
            return f"; {self.installs} installs: " + ", ".join(f"{n} {name}" for name, n in outcomes.items())
        changed = ", ".join(f"{n:+} {name}" for name, n in outcomes.items())
        return f"; {self.installs} installs, {self.again} decided anew: {changed}"
