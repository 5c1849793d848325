"""One fake Segment: all that a reset forgets, and the one step that lets messages land.

The surprising thing is that only ids that landed are remembered for de-duplication: what a wrong key or a disabled
source swallowed may land later under the same id.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec

from exporter.fake_segment import intake
from exporter.fake_segment.clock import Clock, iso
from exporter.fake_segment.faults import Faults
from exporter.fake_segment.record import Drop, Record, Seen
from exporter.fake_segment.sources import Source, Sources

MAX_BATCH_EVENTS: Final = 2500


class Mode(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How the fake behaves as a whole. `too_many` is what a batch of over 2,500 events loses."""

    keep: bool = True
    strict: bool = False
    too_many: Literal["whole", "excess"] = "whole"


class FakeSegment:
    """The state behind the routes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sources = Sources()
        self.faults = Faults()
        self.record = Record()
        self.seen = Seen()
        self.mode = Mode()

    def set_mode(self, mode: Mode) -> None:
        self.mode = mode
        self.record.set_keep(mode.keep)
        self.sources.strict = mode.strict

    def register(self, source: Source) -> None:
        self.sources.register(source, self.clock.now())

    def take_in(self, post: intake.Post, region: str) -> int:
        """Land what lands of one request and record why the rest does not; returns the number landed."""
        now = self.clock.now()
        before = self.record.landed_count
        closed = self.sources.why_closed(post.write_key, region, now)
        for index, item in enumerate(post.items):
            reason = closed or self.why_too_many(index, len(post.items)) or intake.why_dropped(item, post.write_key)
            if reason:
                self.drop(reason, post, region, now, item)
            elif not self.admit(intake.land(item, post, now), now):
                self.drop("duplicate", post, region, now, item)
        if not post.items:
            self.drop("empty_batch", post, region, now, None)
        return self.record.landed_count - before

    def why_too_many(self, index: int, count: int) -> str | None:
        if count <= MAX_BATCH_EVENTS or (self.mode.too_many == "excess" and index < MAX_BATCH_EVENTS):
            return None
        return "too_many_events"

    def admit(self, message: intake.Message, now: datetime) -> bool:
        """Keep a message unless one with its id landed before."""
        if self.seen.is_repeat(message["messageId"], now):
            return False
        self.record.add_landed(message)
        return True

    def drop(self, reason: str, post: intake.Post, region: str, now: datetime, item: object) -> None:
        self.record.add_dropped(Drop(reason, post.write_key, region, iso(now), item))
