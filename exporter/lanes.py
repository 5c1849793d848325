"""How many requests are under way at once: more while they are answered well, half as many when they are not.

A run begins with few, because it does not know what the network and the destinations bear today.
"""

from __future__ import annotations

import asyncio
from collections import deque

FIRST = 4
LEAST = 2


class Lanes:
    """Up to `limit` at once, and never more than `most`; given out strictly in the order of asking."""

    def __init__(self, most: int, first: int = FIRST) -> None:
        self._most = most
        self.limit = min(first, most)
        self._taken = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    def locked(self) -> bool:
        """Whether there is no lane to spare."""
        return self._taken >= self.limit

    def went(self, well: bool) -> None:
        """One request was answered, well or not. One more lane opens only when all are in use."""
        if not well:
            self.limit = max(LEAST, self.limit // 2)
        elif self.locked():
            self.limit = min(self._most, self.limit + 1)
            self._give()

    async def __aenter__(self) -> None:
        if not self.locked():
            self._taken += 1
            return
        given = asyncio.get_running_loop().create_future()
        self._queue.append(given)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._put_back()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._put_back()

    def _put_back(self) -> None:
        self._taken -= 1
        self._give()

    def _give(self) -> None:
        while self._queue and self._taken < self.limit:
            given = self._queue.popleft()
            if not given.done():
                self._taken += 1
                given.set_result(None)
