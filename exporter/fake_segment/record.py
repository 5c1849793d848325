"""What the fake remembers: the messages that landed, those that did not, the requests, and the ids seen.

All of it is in memory and bounded, oldest out first; the counts go on beyond the bounds. An id is remembered across
all keys, as at Segment, so the same id sent to two sources lands in one of them only.
"""

from collections import Counter, deque
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

import msgspec

RECEIVED_KEPT: Final = 100_000
DROPPED_KEPT: Final = 10_000
REQUESTS_KEPT: Final = 10_000
IDS_KEPT: Final = 1_000_000
DEDUPE_WINDOW: Final = timedelta(hours=24)


class Drop(msgspec.Struct, frozen=True, rename="camel"):
    """A message that was answered 200 and did not land. `message` is null for a batch with nothing in it."""

    reason: str
    write_key: str
    region: str
    received_at: str
    message: object


class Request(msgspec.Struct, frozen=True, rename="camel"):
    """One request to the tracking API. `status` is null when the connection was cut instead of answered."""

    path: str
    status: int | None
    write_key: str
    bytes: int
    items: int
    landed: int
    refused: str | None
    fault: bool
    retry_count: int
    sent_at: object
    received_at: str
    message_ids: list[str]


class Seen:
    """The message ids of the last 24 hours, on the fake's clock."""

    def __init__(self, kept: int = IDS_KEPT) -> None:
        self.kept = kept
        self.times: dict[str, datetime] = {}

    def is_repeat(self, message_id: str, now: datetime) -> bool:
        """Remember the id, and say whether it was here within the window. A repeat does not prolong the window."""
        before = self.times.get(message_id)
        if before is not None and now - before < DEDUPE_WINDOW:
            return True
        self.times.pop(message_id, None)
        self.times[message_id] = now
        if len(self.times) > self.kept:
            del self.times[next(iter(self.times))]
        return False


class Record:
    """Everything that the control routes can show; without `keep` only the counts."""

    def __init__(self, received_kept: int = RECEIVED_KEPT) -> None:
        self.received: deque[dict[str, Any]] = deque(maxlen=received_kept)
        self.dropped: deque[Drop] = deque(maxlen=DROPPED_KEPT)
        self.requests: deque[Request] = deque(maxlen=REQUESTS_KEPT)
        self.landed_by_key: Counter[str] = Counter()
        self.dropped_by_reason: Counter[str] = Counter()
        self.request_count = 0
        self.landed_count = 0
        self.keep = True

    def set_keep(self, keep: bool) -> None:
        """Turn keeping on or off. Off lets go of what there is, or else the indexes would have a hole."""
        self.keep = keep
        if not keep:
            self.received.clear()
            self.dropped.clear()
            self.requests.clear()

    def add_landed(self, message: dict[str, Any]) -> None:
        self.landed_count += 1
        self.landed_by_key[message["writeKey"]] += 1
        if self.keep:
            self.received.append(message)

    def add_dropped(self, drop: Drop) -> None:
        self.dropped_by_reason[drop.reason] += 1
        if self.keep:
            self.dropped.append(drop)

    def add_request(self, request: Request) -> None:
        self.request_count += 1
        if self.keep:
            self.requests.append(request)

    def page(self, write_key: str | None, since: int, limit: int | None) -> tuple[list[dict[str, Any]], int]:
        """Return landed messages from index `since` on, oldest first, and the index to go on from.

        Indexes count from the last reset, over all keys, and stay true after the oldest messages were let go.
        """
        first = self.landed_count - len(self.received)
        found: list[dict[str, Any]] = []
        for index, message in enumerate(islice(self.received, max(since - first, 0), None), max(since, first)):
            if len(found) == limit:
                return found, index
            if write_key in (None, message["writeKey"]):
                found.append(message)
        return found, self.landed_count

    def counts(self) -> dict[str, object]:
        return {
            "requests": self.request_count,
            "landed": self.landed_count,
            "landedByKey": dict(self.landed_by_key),
            "dropped": dict(self.dropped_by_reason),
        }
