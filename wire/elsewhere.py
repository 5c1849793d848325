"""Destinations that are not Segment: whatever takes the same requests at an address that the partner gave.

The same request leaves on another way, one that connects to checked addresses alone (wire/adapters.py).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from store.endpoint import Allowed
from wire import segment
from wire.adapters import ANSWER_SECONDS, Guarded, Resolve
from wire.verdict import Reply

HOSTS = 64  # whose connections are kept
CONNECTIONS = 20  # to each; as many as there are lanes


class Elsewhere:
    """The sender for destinations with a URL."""

    def __init__(self, permitted: Allowed, resolve: Resolve = socket.getaddrinfo) -> None:
        self._adapter = Guarded(permitted, resolve, pool_connections=HOSTS, pool_maxsize=CONNECTIONS)

    def send(
        self, host: str, write_key: str, messages: Sequence[bytes], attempt: int, seconds: float = ANSWER_SECONDS
    ) -> Reply:
        """As segment.send."""
        reply = segment.send(host, write_key, messages, attempt, seconds, adapter=self._adapter)
        return msgspec.structs.replace(reply, elsewhere=True)


@lru_cache(maxsize=1)
def elsewhere(permitted: Allowed) -> Elsewhere:
    """One for the whole process, so that a later run finds its connections again."""
    return Elsewhere(permitted)
