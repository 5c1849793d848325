"""What one request of Segment's clients carries, judged message by message, and how it is answered.

Shared by the door at which they send and by the one at which Segment itself does. A body is decoded once; only when
something in it is amiss is each message looked at alone, so that a bad one does not sink the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from collector.doors.authentication import check_age
from collector.doors.body import text_of
from collector.doors.partner import Means, Told, arrival
from collector.doors.segment_message import NETWORK_ADDRESSES, Facts, Message, moment, told
from collector.doors.wire import decoded, mended
from collector.ingest import Arrival, Receipt, Turned
from store.errors import Refused
from store.registry import App

MAX_MESSAGES = 2_500
MAX_SHARED_CONTEXT = 8 * 1024  # of a batch, since every message of it is stored with it
SUCCESS = b'{"success":true}'
UNAVAILABLE = b'{"success":false,"code":"unavailable","message":"come back later","error":"unavailable"}'


class Envelope(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """What stands around the messages of a request. What cannot be read of it counts as missing."""

    write_key: Any = None
    sent_at: Any = None


class One(Message, frozen=True, rename="camel", gc=False):
    """A request of one message."""

    write_key: Any = None
    sent_at: Any = None


class Batch(Envelope, frozen=True, rename="camel", gc=False, kw_only=True):
    """A request of several."""

    batch: list[Message]
    context: dict[str, Any] | None = None


class RawBatch(Envelope, frozen=True, rename="camel", gc=False, kw_only=True):
    """The same with messages left as they came."""

    batch: list[msgspec.Raw]
    context: Any = None


class Content(msgspec.Struct, frozen=True, gc=False):
    """A request's messages, each read or as it came, and what is said of all of them. `passed_on`: by Segment."""

    messages: Sequence[Message | msgspec.Raw]
    write_key: str = ""
    sent_at: int | None = None
    context: dict[str, Any] | None = None
    passed_on: bool = False


_decode_one = msgspec.json.Decoder(One).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_batch = msgspec.json.Decoder(Batch).decode
_decode_raw_batch = msgspec.json.Decoder(RawBatch).decode
_decode_messages = msgspec.json.Decoder(list[Message]).decode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_message = msgspec.json.Decoder(Message).decode


# --- reading


def read_one(body: bytes) -> Content:
    """A body that is a message. Raises Refused when it cannot be read at all."""
    body, whole = _text(body)
    if whole:
        try:
            one = _decode_one(body)
            return Content([one], _text_in(one.write_key), _sent_at(one.sent_at))
        except (ValueError, RecursionError):
            pass  # what is amiss is said where it is
    envelope = decoded(_decode_envelope, body)
    return Content([msgspec.Raw(body)], _text_in(envelope.write_key), _sent_at(envelope.sent_at))


def read_batch(body: bytes) -> Content:
    """A body that holds a batch. Raises Refused when it cannot be read as a whole."""
    body, whole = _text(body)
    batch: Batch | RawBatch | None = None
    if whole:
        with suppress(ValueError, RecursionError):
            batch = _decode_batch(body)
    batch = batch or decoded(_decode_raw_batch, body)
    check_number(batch.batch, MAX_MESSAGES)
    context = batch.context if isinstance(batch.context, dict) else None
    if context and len(msgspec.json.encode(context)) > MAX_SHARED_CONTEXT:
        raise Refused("too_large", f"the context of a batch has at most {MAX_SHARED_CONTEXT} bytes - at `$.context`")
    return Content(batch.batch, _text_in(batch.write_key), _sent_at(batch.sent_at), context)


def read_list(body: bytes, most: int) -> Content:
    """A body that is a message, or a list of them, as Segment passes them on. Raises Refused."""
    body, whole = _text(body)
    if not body.lstrip().startswith(b"["):
        return msgspec.structs.replace(read_one(body), passed_on=True)
    messages: Sequence[Message | msgspec.Raw] = []
    if whole:
        with suppress(ValueError, RecursionError):
            messages = _decode_messages(body)
    messages = messages or decoded(_decode_raws, body)
    check_number(messages, most)
    return Content(messages, passed_on=True)


def check_number(messages: Sequence[Any], most: int) -> None:
    """Raises Refused when there are none, or too many."""
    if not messages:
        raise Refused("invalid", f"a batch has 1 to {most} messages - at `$.batch`")
    if len(messages) > most:
        raise Refused("too_many", f"a batch has at most {most} messages")


def _text(body: bytes) -> tuple[bytes, bool]:
    """The body as what may be decoded, and whether no text of it is half a character or holds NUL. Raises Refused."""
    text_of(body)
    if b"\\" not in body:
        return body, True
    body = mended(body)
    return body, b"\\u0000" not in body


def _text_in(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _sent_at(stated: Any) -> int | None:
    try:
        return moment(stated, "sentAt") if isinstance(stated, (str, int)) else None
    except Refused:
        return None


# --- judging


class Proof(NamedTuple):
    """What was proved of a request: what messages get ids of that have none of their own, '' where each is an act of
    its own; and before when none may have happened. `stored_at` is when they are stored, if not when they came."""

    act: str = ""
    oldest: int = 0
    stored_at: int | None = None


UNASKED = Proof()


def judge(
    content: Content,
    kind: str,
    door: str,
    app: App,
    received_at: int,
    means: Means,
    proof: Proof = UNASKED,
) -> list[Arrival | Turned]:
    """Each message as a row, or with why not. `kind` is the type that all of them have, '' when each says its own."""
    facts = Facts(door, received_at, kind, content.sent_at, content.context or {}, content.passed_on)
    stored_at = proof.stored_at or received_at
    judged: list[Arrival | Turned] = []
    for place, message in enumerate(content.messages):
        try:
            said = told(_read(message) if isinstance(message, msgspec.Raw) else message, facts)
            if proof is not UNASKED:
                said = _proved(said, proof, place, content.sent_at)
            judged.append(arrival(app, said, stored_at, means))
        except Refused as refused:
            judged.append(Turned(refused, app.app_key, redacted(message, app.ingest_key)))
    return judged


def _proved(said: Told, proof: Proof, place: int, sent_at: int | None) -> Told:
    """What was sent long ago and comes again would happen now by the corrected clock. Raises Refused."""
    check_age(said.occurred_at if sent_at is None else min(said.occurred_at, sent_at), proof.oldest)
    if proof.act and said.message_id is None:
        return msgspec.structs.replace(said, message_id=f"{proof.act}:{place}")
    return said


def _read(raw: msgspec.Raw) -> Message:
    message = _without_empty_lists(raw) or decoded(_decode_message, raw)
    if b"\\u0000" in bytes(raw) and _holds_nul(msgspec.to_builtins(message)):
        raise Refused("invalid", "a text holds NUL or half a character - at `$`")
    return message


def _without_empty_lists(raw: msgspec.Raw) -> Message | None:
    """What PHP writes for an object that has nothing in it counts as missing. None: that is not all that is amiss."""
    with suppress(ValueError, RecursionError):
        plain = msgspec.json.decode(raw)
        if isinstance(plain, dict):
            return msgspec.convert({name: None if part == [] else part for name, part in plain.items()}, Message)
    return None


def _holds_nul(part: Any) -> bool:
    if isinstance(part, dict):
        return any(_holds_nul(name) or _holds_nul(value) for name, value in part.items())
    return any(map(_holds_nul, part)) if isinstance(part, list) else isinstance(part, str) and "\0" in part


def redacted(message: Message | msgspec.Raw, key: str) -> bytes:
    """What of a refused message may be kept: no network address, and its app's key nowhere."""
    try:
        plain = msgspec.json.decode(message) if isinstance(message, msgspec.Raw) else msgspec.to_builtins(message)
        kept = msgspec.json.encode(_without_secrets(plain))
    except (ValueError, RecursionError):
        return b""  # nobody can say what is what in it
    return kept.replace(key.encode(), b"[taken out]")


_TAKEN_OUT = NETWORK_ADDRESSES | {"writeKey"}


def _without_secrets(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _without_secrets(value) for name, value in part.items() if name not in _TAKEN_OUT}
    return [_without_secrets(item) for item in part] if isinstance(part, list) else part


def stored_size(judged: Sequence[Arrival | Turned], body: bytes) -> int:
    """Bytes that wait for the disk: what a batch says of all its messages is stored with each."""
    if len(judged) == 1:
        return len(body)
    return max(len(body), sum(len(item.row[-1]) for item in judged if isinstance(item, Arrival)))


# --- answering


def answer(receipt: Receipt) -> tuple[int, bytes]:
    """The status, and a JSON object: 400 when nothing of the request is on disk."""
    if not receipt.rejected:
        return 200, SUCCESS
    rejected = [
        {"index": index, "reason": f"{reason}: {detail}" if detail else reason}
        for index, reason, detail in receipt.rejected
    ]
    told = {"stored": receipt.stored, "duplicate": receipt.duplicate, "rejected": rejected}
    if receipt.stored or receipt.duplicate:
        return 200, msgspec.json.encode({"success": True, **told})
    _, reason, detail = receipt.rejected[0]
    return 400, msgspec.json.encode({**_failure(reason, detail), **told})


def refusal(refused: Refused) -> bytes:
    """A request refused as a whole."""
    return msgspec.json.encode(_failure(refused.reason, refused.detail))


def _failure(reason: str, detail: str) -> dict[str, Any]:
    """The Python client reads `code` and `message`, the Ruby one `error`, the Java one `success`."""
    return {"success": False, "code": reason, "message": detail, "error": f"{reason}: {detail}"}
