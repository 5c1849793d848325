"""What one request body says, and what each message in it would land as. Pure: no clock, no state, no socket.

The surprising thing is how little is refused. Only a body that is too large, is not JSON or carries no usable write
key gets a 400; everything else wrong with a message is a silent drop behind a 200, named here by the code that
Segment shows the owner of the source in Delivery Overview. Facts: segment.com/docs, HTTP API, sections "Errors" and
"Batch"; where the documentation leaves a choice, docs/reference/fake-segment.md says which one is made here.
"""

import base64
import binascii
import zlib
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import uuid4

import msgspec

from exporter.fake_segment.clock import instant, iso

MAX_EVENT_BYTES: Final = 32 * 1024
MAX_BODY_BYTES: Final = 500 * 1024
MAX_KEY_REFUSED: Final = 6
MAX_MESSAGE_ID: Final = 99

# The last part of the path, and what it carries. The browser SDK uses the one-letter forms, Ruby and Java `import`.
CALLS: Final = {
    "track": "track",
    "identify": "identify",
    "page": "page",
    "screen": "screen",
    "group": "group",
    "alias": "alias",
    "t": "track",
    "i": "identify",
    "p": "page",
    "s": "screen",
    "g": "group",
    "a": "alias",
    "batch": "batch",
    "b": "batch",
    "import": "batch",
    "m": "metrics",
}
TYPES: Final = ("track", "identify", "page", "screen", "group", "alias")

Message = dict[str, Any]
T = TypeVar("T")


class BadRequest(Exception):
    """The body gets a 400; the text says why, for `/_/requests`. Segment itself never says."""


class Post(msgspec.Struct, frozen=True):
    """One readable request: its key, its messages as decoded, and what holds for all of them."""

    write_key: str
    items: list[Any]
    sent_at: object
    context: Message
    integrations: Message

    def message_ids(self) -> list[str]:
        """Return the ids as the sender gave them; messages without a usable one are left out."""
        return [found for item in self.items if isinstance(item, dict) and (found := text(item.get("messageId")))]


class Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a body that are not a message's own."""

    write_key: str | None = None
    sent_at: object = None
    context: object = None
    integrations: object = None


class BatchEnvelope(Envelope, frozen=True, rename="camel"):
    """A batch's body. Items stay raw, because their size counts as it was sent."""

    batch: list[msgspec.Raw] | None = None


def read(call: str, body: bytes, *, encoding: str = "", authorization: str = "") -> Post:
    """Read one body of the given call (a value of CALLS). Raises BadRequest."""
    data = unpack(body, encoding)
    envelope = decode(data, BatchEnvelope if call == "batch" else Envelope)
    raws = [bytes(raw) for raw in envelope.batch or ()] if isinstance(envelope, BatchEnvelope) else [data]
    if any(len(raw) > MAX_EVENT_BYTES for raw in raws):
        raise BadRequest(f"an event is over {MAX_EVENT_BYTES} bytes")
    write_key = envelope.write_key or header_key(authorization)
    if len(write_key) <= MAX_KEY_REFUSED:
        raise BadRequest("the write key is missing or very short")
    items: list[Any] = [decode(raw, object) for raw in raws]
    if not isinstance(envelope, BatchEnvelope):
        # The body of a single call is message and envelope at once, and the path says the type.
        return Post(write_key, [items[0] | {"type": call}], envelope.sent_at, {}, {})
    return Post(write_key, items, envelope.sent_at, an_object(envelope.context), an_object(envelope.integrations))


def unpack(body: bytes, encoding: str) -> bytes:
    """Undo gzip, stopping at the limit, so that a small body cannot grow without bound."""
    if encoding.lower() == "gzip":
        unzip = zlib.decompressobj(wbits=31)
        try:
            body = unzip.decompress(body, MAX_BODY_BYTES + 1)
        except zlib.error as error:
            raise BadRequest("the body is not gzip") from error
    if len(body) > MAX_BODY_BYTES:
        raise BadRequest(f"the body is over {MAX_BODY_BYTES} bytes")
    return body


def decode(data: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"not the JSON of a call: {error}") from error


def header_key(authorization: str) -> str:
    """Return the key of a Basic header, with or without the colon; empty for Bearer and for anything unreadable."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def why_dropped(item: object, write_key: str) -> str | None:
    """Return the ingest code of a message that would vanish behind the 200, or None for one that lands."""
    if not isinstance(item, dict) or item.get("type") not in TYPES:
        return "bad_request"
    if item.get("writeKey") not in (None, write_key):
        return "item_write_key"
    if len(text(item.get("messageId")) or "") > MAX_MESSAGE_ID:
        return "message_id_too_long"
    return why_unidentified(item) or why_misshapen(item)


def why_unidentified(item: Message) -> str | None:
    ids = [value for key in ("userId", "anonymousId") if (value := item.get(key)) is not None]
    if any(text(value) is None for value in ids):
        return "id_not_string"
    return None if ids else "no_user_anon_id"


def why_misshapen(item: Message) -> str | None:
    if item["type"] == "track":
        return why_nameless(item.get("event")) or not_object(item, "properties")
    if item["type"] in ("page", "screen"):
        return not_string(item, "name") or not_string(item, "category") or not_object(item, "properties")
    return not_object(item, "traits")


def why_nameless(event: object) -> str | None:
    if event is None or event == "":
        return "event_not_defined"
    return None if isinstance(event, str) else "event_not_string"


def not_string(item: Message, field: str) -> str | None:
    value = item.get(field)
    return f"{field}_not_string" if value is not None and text(value) is None else None


def not_object(item: Message, field: str) -> str | None:
    value = item.get(field)
    return f"{field}_not_object" if value is not None and not isinstance(value, dict) else None


def land(item: Message, post: Post, received_at: datetime) -> Message:
    """Return the landed form of a message: what the owner of the source sees in the raw view of the debugger."""
    sent_at = instant(post.sent_at) or received_at
    original = instant(item.get("timestamp")) or sent_at
    return item | {
        "context": post.context | an_object(item.get("context")),
        "integrations": post.integrations | an_object(item.get("integrations")),
        "messageId": text(item.get("messageId")) or f"api-{uuid4()}",
        "originalTimestamp": iso(original),
        "receivedAt": iso(received_at),
        "sentAt": iso(sent_at),
        "timestamp": iso(received_at - (sent_at - original)),
        "writeKey": post.write_key,
    }


def text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def an_object(value: object) -> Message:
    return value if isinstance(value, dict) else {}
