"""Scripted faults: what to do wrong, to which requests, and how often. Pure; replies.py carries them out.

The first pending fault that matches a request is used. Whether the messages land is a question of its own: a fault
that leaves the true answer alone (hang, slowDrip, dropReply) lands them, any other loses them, and `land` overrides
both. What lands does so before any waiting, so that it shows at once.
"""

from typing import Annotated, Any, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Match(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Which requests a fault is for; all that is given must hold. No field at all matches every request."""

    write_key: str | None = None
    path: str | None = None
    message_id: str | None = None


class Fault(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One scripted fault. Times are in real seconds, `reset` in bytes of the request's body."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    times: Count | Literal["always"] = 1
    retry_after: int | str | None = None
    body: dict[str, Any] | str | None = None
    redirect: Literal[301, 302, 303, 307, 308] | None = None
    location: str = "/_/page"
    hang: Seconds = 0
    slow_drip: Seconds = 0
    drop_reply: bool = False
    reset: Count | None = None
    refuse: Seconds | None = None
    land: bool | None = None
    match: Match = Match()

    def __post_init__(self) -> None:
        if self.retry_after is not None and self.status is None:
            raise ValueError("retryAfter goes with a status")

    @property
    def lands(self) -> bool:
        if self.land is not None:
            return self.land
        return self.status is None and self.body is None and self.redirect is None and self.reset is None

    @property
    def is_cut(self) -> bool:
        return self.drop_reply or self.reset is not None

    def status_instead_of(self, true_status: int) -> int | None:
        """Return the status that this fault answers with, None for no answer at all."""
        if self.is_cut:
            return None
        return self.redirect or self.status or (true_status if self.body is None else 200)

    def matches(self, path: str, write_key: str, message_ids: list[str] | None) -> bool:
        """Hold this fault against a request; None for ids that are not known yet, which fits any."""
        wanted = self.match
        return (
            wanted.path in (None, path)
            and wanted.write_key in (None, write_key)
            and (wanted.message_id is None or message_ids is None or wanted.message_id in message_ids)
        )


class Faults:
    """The pending faults in the order they were asked for, each with the number of times left (None: always)."""

    def __init__(self) -> None:
        self.pending: list[tuple[Fault, int | None]] = []

    def add(self, fault: Fault) -> None:
        self.pending.append((fault, None if fault.times in (0, "always") else int(fault.times)))

    def find(self, path: str, write_key: str, message_ids: list[str] | None) -> Fault | None:
        """Return the first fault that fits, without using it up."""
        return next((fault for fault, _ in self.pending if fault.matches(path, write_key, message_ids)), None)

    def take(self, path: str, write_key: str, message_ids: list[str] | None) -> Fault | None:
        """Return the first fault that fits, and use it up by one."""
        for index, (fault, left) in enumerate(self.pending):
            if fault.matches(path, write_key, message_ids):
                self.pending[index : index + 1] = [] if left == 1 else [(fault, left and left - 1)]
                return fault
        return None
