"""The rules: how long before an install a touch counts, and what else an app's people may set.

A rule for a campaign comes before the app's, and that before the marketplace's; what none of them sets is the default.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from store.attribution.rules import Kept

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SETTABLE = ("click", "probabilistic", "view", "settle", "reprocess", "by_network")


class Windows(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Lengths in milliseconds; None: not set here. 0: such touches never count."""

    click: int | None = None
    probabilistic: int | None = None
    view: int | None = None


class Rules(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """All that a decision about one app depends on. `settle` is how long after an install was received late evidence
    decides it anew; `reprocess` after how long a reinstall counts as a new install, 0: never."""

    click: int = 30 * DAY_MS
    probabilistic: int = 7 * DAY_MS
    view: int = 24 * HOUR_MS
    settle: int = 72 * HOUR_MS
    reprocess: int = 0
    by_network: bool = False  # matching by address and agent is allowed
    set_by: Mapping[str, str] = {}  # whose rule: app or marketplace, by name of what is set
    campaigns: Mapping[str, Windows] = {}  # by campaign key

    @property
    def longest(self) -> int:
        """The longest of all windows."""
        own = [length for w in self.campaigns.values() for length in (w.click, w.probabilistic, w.view) if length]
        return max([self.click, self.probabilistic, self.view, *own])


def resolved(wide: Iterable[Kept], campaigns: Iterable[Kept]) -> Rules:
    """The rules of an app out of what was set: the marketplace's first, then the app's, then its campaigns'."""
    values: dict[str, Any] = {}
    set_by: dict[str, str] = {}
    for row in wide:
        for name in SETTABLE:
            value = getattr(row, name)
            if value is not None:
                values[name], set_by[name] = value, "app" if row.app_key else "marketplace"
    own = {row.campaign_key: Windows(row.click, row.probabilistic, row.view) for row in campaigns}
    return Rules(**values, set_by=set_by, campaigns={key: found for key, found in own.items() if found != Windows()})
