"""How often each token may ask: a bucket that fills again with time, and so lets a burst through.

Every collector counts for itself and in memory: who asks several of them is given as much by each.
"""

from __future__ import annotations

from store.errors import Unavailable

A_SECOND = 10
AT_ONCE = 30
KEPT = 1_000  # buckets, until those that are full again are thrown away


class TooOften(Unavailable):
    """This token has asked as often as it may for now."""


class Pace:
    """The buckets by name. `a_second` of requests come back, `at_once` are there at most."""

    def __init__(self, a_second: float = A_SECOND, at_once: int = AT_ONCE) -> None:
        self._a_second = a_second
        self._at_once = at_once
        self._full_at: dict[str, float] = {}  # when each will be full again; one that is full is not kept

    def spend(self, name: str, now: float) -> None:
        """Count a request; `now` in seconds by any clock that only goes forward. Raises TooOften, and then the request
        costs nothing."""
        full_at = max(self._full_at.get(name, now), now) + 1 / self._a_second
        wait = full_at - now - self._at_once / self._a_second
        if wait > 1e-9:  # sums of fractions
            raise TooOften("too_often", wait)
        if len(self._full_at) >= KEPT:
            self._full_at = {name: at for name, at in self._full_at.items() if at > now}
        self._full_at[name] = full_at
