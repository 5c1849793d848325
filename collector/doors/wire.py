"""Decoding what senders write: limits, times and refusals that all doors share.

msgspec's own errors name the path of what is wrong, which is what a sender needs; three families of exception can come
out of a decode (its own, UnicodeDecodeError and RecursionError), and all of them end here as Refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import msgspec

from collector.ingest import Receipt
from store.errors import Refused

DAY_MS = 86_400_000
YEAR_2000_MS = 946_684_800_000

Key = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
MessageId = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Moment = Instant | Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]  # ISO 8601, or epoch milliseconds

T = TypeVar("T")


def decoded(decode: Callable[[bytes | msgspec.Raw], T], body: bytes | msgspec.Raw) -> T:
    """Decode, or raise Refused with the path of what is wrong."""
    try:
        return decode(body)
    except RecursionError:
        raise Refused("too_deep", "the JSON is nested too deeply") from None
    except ValueError as error:
        raise Refused("invalid", str(error)) from None


def mended(body: bytes) -> bytes:
    """Half a character, which browsers do send and no decoder takes, as NUL, which `refuse_nul` refuses where it
    stands: one bad text must not sink the other messages of its request."""
    return _SURROGATES.sub(lambda found: found[1] or b"\\u0000", body) if b"\\u" in body else body


_SURROGATES = re.compile(rb"(\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)|\\u[dD][89a-fA-F]..", re.DOTALL)


def refuse_nul(message: msgspec.Struct) -> None:
    """Raises Refused when a text holds NUL, which PostgreSQL cannot keep, or held half a character."""
    for name, wire_name in zip(message.__struct_fields__, message.__struct_encode_fields__, strict=True):
        value = getattr(message, name)
        if isinstance(value, str) and "\0" in value:
            raise Refused("invalid", f"the text holds NUL or half a character - at `$.{wire_name}`")


def occurred_at(stated: datetime | int, sent_at: int | None, received_at: int) -> int:
    """When it happened by our clock, in epoch ms: the sender's clock corrected by when it says it sent.

    Raises Refused for a time before 2000 or after tomorrow.
    """
    occurred = milliseconds(stated)
    if not YEAR_2000_MS <= occurred <= received_at + DAY_MS:
        raise Refused("invalid", "the time is not between the year 2000 and tomorrow - at `$.occurredAt`")
    corrected = occurred + (received_at - sent_at) if sent_at is not None else occurred
    return max(YEAR_2000_MS, min(corrected, received_at))


def milliseconds(instant: datetime | int) -> int:
    """Epoch milliseconds, cut, without the rounding of floating point."""
    if isinstance(instant, int):
        return instant
    return (instant - _EPOCH) // _MILLISECOND


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def receipt_json(receipt: Receipt) -> bytes:
    rejected = [
        {"index": index, "reason": f"{reason}: {detail}" if detail else reason}
        for index, reason, detail in receipt.rejected
    ]
    return msgspec.json.encode({"stored": receipt.stored, "duplicate": receipt.duplicate, "rejected": rejected})


def refusal_json(refused: Refused) -> bytes:
    return msgspec.json.encode({"reason": refused.reason, "detail": refused.detail})


def reason_header(reason: str) -> tuple[bytes, bytes]:
    """The reason for whoever has a console open; from a closed list, never from the input."""
    return b"x-footfall-reason", reason.encode()
