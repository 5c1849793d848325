"""The event: one row of the log, and the JSON that it carries.

The columns are what queries need; everything else a partner may get rides in `details`, so that a new field costs no
migration. Details are decoded only by whoever maps or shows the event.
"""

from __future__ import annotations

import msgspec


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
    details: str


# The columns of `events` in the order of Event's fields.
COLUMNS = ", ".join(Event.__struct_fields__)

# A row on its way into the log: Event's fields without seq.
NewRow = tuple[str, bytes, str, str, str, int, int, str, str, str | None, str | None, str | None, str]

decode_events = msgspec.json.Decoder(list[Event]).decode
decode_details = msgspec.json.Decoder(Details).decode
encode_details = msgspec.json.Encoder().encode
