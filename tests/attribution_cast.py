"""Evidence for tests of attribution, in few words."""

import zlib
from typing import Any

from attribution.evidence import Campaign, Conversion, Identity, Kind, Origin, Source, Touchpoint, identity
from store.event import PARTNER, Details, Event

HOUR = 3_600_000
DAY = 24 * HOUR
NOON = 1_781_524_800_000  # 2026-06-15T12:00:00Z
VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"
ACCOUNT = "2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"


def who(*ids: str) -> tuple[Identity, ...]:
    """From `kind:value`."""
    return tuple(identity(*each.split(":", 1)) for each in ids)


def touch(
    name: str,
    ago: int,
    *ids: str,
    kind: Kind = "click",
    origin: Origin = "listing",
    timed: bool = True,
    source: str = "mail",
    seq: int = 0,
    received_at: int = NOON,
) -> Touchpoint:
    """A campaign that was met so long before noon."""
    campaign = Campaign(source, name)
    message_id = f"{zlib.crc32(repr((name, ago, ids, kind, origin, timed)).encode()):032x}"
    return Touchpoint(
        seq, message_id, NOON - ago, received_at, kind, origin, campaign, who(*(ids or ("anonymous:a",))), 0, timed
    )


def install(
    *ids: str, at: int = NOON, source: Source = "marketplace", seq: int = 1, message_id: str = ""
) -> Conversion:
    return Conversion(seq, message_id or f"{seq:032x}", at, at, source, who(*(ids or ("anonymous:a",))))


def event(name: str = "page_view", source: str = "browser", **changed: Any) -> Event:
    """A stored event at noon; `details` as keywords of Details, all else as fields of Event."""
    details = Details(**{field: changed.pop(field) for field in list(changed) if field in Details.__struct_fields__})
    told: dict[str, Any] = {
        "seq": 7,
        "app_key": "com.owner.charts",
        "message_id": "00" * 16,
        "type": "track",
        "name": name,
        "source": source,
        "occurred_at": NOON,
        "received_at": NOON + 5,
        "partner_key": "owner",
        "anonymous_id": VISITOR,
        "user_id": None,
        "partner_anonymous_id": None,
        "suppressed": None,
        "details": details,
    }
    return Event(**(told | changed))


def sent(name: str = "Order Completed", **changed: Any) -> Event:
    """The same, by a partner's own systems."""
    return event(name, PARTNER, **changed)
