"""What goes on beside the doors for as long as the collector runs: how it begins, and how it ends.

The log's writer is none of these: it finishes what it was given before it ends.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod


class Task(ABC):
    """`start` and `stop` belong to the process's life."""

    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._prepare()
        self._task = asyncio.create_task(self._work(), name=type(self).__name__.lower())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._end()

    @abstractmethod
    async def _work(self) -> None:
        """What it does, until it is cancelled."""

    async def _prepare(self) -> None:  # noqa: B027 - most have nothing to prepare
        """What is done before anybody asks it anything."""

    async def _end(self) -> None:  # noqa: B027 - nor to leave behind
        """What is done when it has ended."""
