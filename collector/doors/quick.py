"""What a door hands to the quick lane (collector/quick_lane.py): a request on its way into the log, and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from collector.doors.body import Headers
from collector.writer import Stored


class Answer(msgspec.Struct, frozen=True, gc=False):
    """`head` is the status line and the headers that belong to the body, each line ended."""

    head: bytes
    body: bytes = b""


class Quick(msgspec.Struct, frozen=True):
    """`answer` is asked when `stored` is done, and `headers` go with whatever it says."""

    stored: asyncio.Future[Stored]
    headers: Headers
    answer: Callable[[asyncio.Future[Stored]], Answer]


def has_failed(stored: asyncio.Future[Stored]) -> bool:
    """Whether nothing was stored."""
    return stored.cancelled() or stored.exception() is not None
