"""Waiting for what sets no event: what another thread does, a file, a row."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_SECONDS = 60.0  # longer than anything takes, on a machine that has much else to do
PAUSE_SECONDS = 0.001


def until(found: Callable[[], T]) -> T:
    """What it finds as soon as that is true of something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (it := found()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(PAUSE_SECONDS)
    return it


async def until_async(found: Callable[[], T]) -> T:
    """The same on an event loop, where others go on meanwhile."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (it := found()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(PAUSE_SECONDS)
    return it
