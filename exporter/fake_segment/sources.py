"""Who may land: the write keys that the fake was told about, and why a key lets nothing through.

A key that nobody registered is known and open, so that a test needs no preparation; `strict` turns that round. None
of these reasons ever changes the answer: the sender gets its 200 all the same.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

UNATTENDED: Final = timedelta(days=14)


class Source(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One Segment source. `region` None means either host; `destinations` None means that there are some."""

    write_key: str
    region: Literal["us", "eu"] | None = None
    known: bool = True
    disabled: bool = False
    destinations: int | None = None


class Sources:
    """The registered sources, each with the time of its registration on the fake's clock."""

    def __init__(self) -> None:
        self.strict = False
        self.registered: dict[str, tuple[Source, datetime]] = {}

    def register(self, source: Source, now: datetime) -> None:
        self.registered[source.write_key] = (source, now)

    def is_known(self, write_key: str) -> bool:
        found = self.registered.get(write_key)
        return found[0].known if found else not self.strict

    def region(self, write_key: str) -> str:
        found = self.registered.get(write_key)
        return (found and found[0].region) or "us"

    def why_closed(self, write_key: str, region: str, now: datetime) -> str | None:
        """Return why nothing under this key lands at this host, or None."""
        if not self.is_known(write_key):
            return "unknown_source"
        if write_key not in self.registered:
            return None
        source, since = self.registered[write_key]
        if source.region not in (None, region):
            return "wrong_region"
        unattended = source.destinations == 0 and now - since >= UNATTENDED
        return "source_disabled" if source.disabled or unattended else None
