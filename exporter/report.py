"""What a run tells: a moving line on a terminal, one JSON line per event of note otherwise, and the sums at its end."""

from __future__ import annotations

import sys
import time
from typing import Any

import msgspec

import journal
from exporter.attributed import Attributed


class Shipped(msgspec.Struct):
    """One destination's part of a run. `deferred` says why something is left for a later run; `taken`: another run
    works on what is left."""

    app: str
    destination: str
    accepted: int = 0
    suppressed: int = 0
    parked: int = 0
    expired: int = 0
    batches: int = 0
    deferred: str = ""
    taken: bool = False


class Told(msgspec.Struct):
    """What a run told of the results of attribution: postbacks that were accepted, attempts that failed, and targets
    that were disabled."""

    accepted: int = 0
    failed: int = 0
    disabled: int = 0

    def summary(self) -> str:
        """The end of a line for a person; '' when nothing was told."""
        if not self.accepted and not self.failed:
            return ""
        return f"; {self.accepted} postbacks accepted, {self.failed} failed"


class Report(msgspec.Struct):
    """A whole run's sums; `exit_code` is 0 when everything went, 75 when something is deferred."""

    run: str
    dry_run: bool
    destinations: list[Shipped] = []
    postbacks: Told = msgspec.field(default_factory=Told)
    busy: str = ""
    seconds: float = 0.0
    attribution: Attributed | None = None

    @property
    def exit_code(self) -> int:
        return 75 if self.busy or any(shipped.deferred for shipped in self.destinations) else 0

    def sums(self) -> dict[str, int]:
        return {
            name: sum(getattr(shipped, name) for shipped in self.destinations)
            for name in ("accepted", "suppressed", "parked", "expired", "batches")
        }

    def summary(self) -> str:
        """One line for a person."""
        if self.busy:
            return f"another run is under way: {self.busy}"
        sums = self.sums()
        deferred = sum(1 for shipped in self.destinations if shipped.deferred)
        verb = "would be sent" if self.dry_run else "accepted"
        return (
            f"{sums['accepted']} events {verb} in {sums['batches']} batches, {sums['suppressed']} suppressed, "
            f"{sums['parked']} parked, {deferred} destinations deferred, {self.seconds:.1f} s"
            f"{self.attribution.summary() if self.attribution else ''}{self.postbacks.summary()}"
        )


class Voice:
    """Where a run speaks: standard error, as a moving line or as JSON lines. Never a key, never a payload."""

    def __init__(self, quiet: bool = False) -> None:
        self._terminal = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._last = 0.0

    def note(self, what: str, **fields: Any) -> None:
        """Something worth a line in the journal."""
        self._say(what, "info", fields)

    def complain(self, what: str, **fields: Any) -> None:
        """Something that somebody should look at."""
        self._say(what, "error", fields)

    def _say(self, what: str, level: journal.Level, fields: dict[str, Any]) -> None:
        if not self._quiet:
            self.end()
            journal.note(what, level, **fields)

    def progress(self, report: Report) -> None:
        """Five times a second at most, and only for somebody who looks."""
        if not self._terminal or time.monotonic() - self._last < 0.2:
            return
        self._last = time.monotonic()
        sums = report.sums()
        sys.stderr.write(f"\r\033[K{sums['accepted']} accepted in {sums['batches']} batches …")
        sys.stderr.flush()

    def end(self) -> None:
        if self._terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
