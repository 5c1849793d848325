"""What an event tells: somebody met a campaign (a touchpoint), or installed the app (a conversion).

The surprising thing is that nobody's id is kept: an identity is its kind and a hash of its value, which is enough to
find the same one again.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

Kind = Literal["click", "view"]
Origin = Literal["apple", "play", "partner", "listing"]  # who says so; the first two are platforms
Source = Literal["marketplace", "partner"]

NETWORK = "network"  # the kind of identity that address and agent make; all others are named as in store/subjects
PLATFORMS = frozenset({"apple", "play"})
MOST_KEY_CHARACTERS = 200


class Identity(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """One way to know somebody again; `mark` is 32 hex digits, the hash of kind and value."""

    kind: str
    mark: str


def identity(kind: str, value: str) -> Identity:
    """From an id as it came."""
    return Identity(kind, hashlib.blake2b(f"{kind}\n{value}".encode(), digest_size=16).hexdigest())


class Campaign(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """As Segment's spec for mobile names its parts; `click_id` is an advertising network's own, by which it knows the
    click."""

    source: str = ""
    name: str = ""
    medium: str = ""
    content: str = ""
    term: str = ""
    id: str = ""
    ad_creative: str = ""
    ad_group: str = ""
    ad_group_id: str = ""
    provider: str = ""
    click_id: str = ""

    @property
    def key(self) -> str:
        """What sums, rules and pages know it by: its source and its name, without regard to case."""
        name = self.name or self.id
        return f"{self.source}/{name}".casefold().strip("/")[:MOST_KEY_CHARACTERS] or "unnamed"


class Touchpoint(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Somebody met a campaign. `seq` and `part` say which event told of it and which of its touchpoints this is; times
    are epoch milliseconds. It is not `timed` when the claim does not say when the touch was: then it counts as just
    before the install."""

    seq: int
    message_id: str
    at: int
    received_at: int
    kind: Kind
    origin: Origin
    campaign: Campaign
    identities: tuple[Identity, ...]
    part: int = 0
    timed: bool = True


class Conversion(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An install as one event tells of it: the marketplace's `install` or the partner's Application Installed. With
    `identities` from the event and from the graph of identities."""

    seq: int
    message_id: str
    at: int
    received_at: int
    source: Source
    identities: tuple[Identity, ...]


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """All that one event tells."""

    touchpoints: tuple[Touchpoint, ...] = ()
    conversion: Conversion | None = None
    identities: tuple[Identity, ...] = ()  # more than one: they are the same person's
