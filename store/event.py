"""The event: one row of the log, and the JSON that it carries.

The columns are what queries need; everything else a partner may get rides in `details`, so that a new field costs no
migration. Details are decoded only by whoever maps or shows the event.
"""

from __future__ import annotations

from typing import Any

import msgspec

PARTNER = "partner"  # the source of what a partner's own systems sent, beside the listing's events


class Details(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an event carries beside its columns. An absent field is unknown; nothing is ever null."""

    url: str | None = None  # scrubbed: see collector/scrub.py
    query: dict[str, str] | None = None
    referrer: str | None = None
    title: str | None = None
    label: str | None = None
    target: str | None = None
    user_agent: str | None = None
    locale: str | None = None
    sharing: bool | None = None  # the visitor's own word on passing the event on
    automated: bool | None = None  # the browser says that a program drives it
    version: str | None = None  # of the snippet
    message_id: str | None = None  # the sender's, when it is not a UUID
    door: str | None = None  # of what a partner's own systems sent, as is all that follows
    ids: dict[str, str] | None = None  # of a device or by a link, by kind: see store/ids.py
    campaign: dict[str, str] | None = None  # as Segment's spec names its parts; of an install, its journey's
    properties: dict[str, Any] | None = None  # or traits
    context: dict[str, Any] | None = None  # what else the sender said of it
    flags: list[str] | None = None  # what is odd about it
    network: str | None = None  # the keyed hash of address and agent, where rules and consent allow it


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A stored event. Times are epoch milliseconds; `message_id` is the hexadecimal form of its 16 bytes."""

    seq: int
    app_key: str
    message_id: str
    type: str
    name: str
    source: str
    occurred_at: int
    received_at: int
    partner_key: str
    anonymous_id: str
    user_id: str | None
    partner_anonymous_id: str | None
    suppressed: str | None
    details: Details | None  # None: what is stored cannot be read


# The columns of `events` in the order of Event's fields.
COLUMNS = ", ".join(Event.__struct_fields__)

# A row on its way into the log: Event's fields without seq.
NewRow = tuple[str, bytes, str, str, str, int, int, str, str, str | None, str | None, str | None, str]

encode_details = msgspec.json.Encoder().encode
_decode_details = msgspec.json.Decoder(Details).decode
_decode_events = msgspec.json.Decoder(list[Event]).decode
_decode_rows = msgspec.json.Decoder(list[list[Any]]).decode


def decode_events(text: str) -> list[Event]:
    """A run of events from a JSON array of their rows; one whose details are none has None for them."""
    try:
        return _decode_events(text)
    except msgspec.ValidationError:
        return [_event(row) for row in _decode_rows(text)]


def event_of(row: tuple[Any, ...]) -> Event:
    """From a row of the columns as an engine gives them."""
    seq, app_key, message_id, *told, details = row
    read: Details | None
    try:
        read = _decode_details(details)
    except msgspec.DecodeError:
        read = None
    values: tuple[Any, ...] = (seq, app_key, message_id.hex(), *told, read)
    return Event(*values)


def _event(row: list[Any]) -> Event:
    try:
        return msgspec.convert(row, Event)
    except msgspec.ValidationError:
        return msgspec.convert([*row[:-1], None], Event)
