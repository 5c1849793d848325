"""A moment as machines write it to each other."""

from __future__ import annotations

import time


def iso(at: int) -> str:
    """Epoch milliseconds in ISO 8601, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 1_000)) + f".{at % 1_000:03}Z"
