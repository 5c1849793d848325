"""What landed at a fake Segment, read on from where it was read before: of the demo's past alone it is thousands."""

from __future__ import annotations

from typing import Any

import httpx2


class Landed:
    """The messages at the fake Segment on a port of loopback."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/_/received"
        self._known: list[dict[str, Any]] = []
        self._next = "0"

    def all(self) -> list[dict[str, Any]]:
        """All that landed until now, in order."""
        answer = httpx2.get(self._url, params={"since": self._next}, trust_env=False)
        self._known += answer.json()
        self._next = answer.headers["X-Next"]
        return self._known
