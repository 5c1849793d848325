"""Ids: message ids as 16 bytes, the hashed user id, and the ids that leave for a destination.

A message id that is a UUID is stored as it is; any other text as its UUIDv5 under the app, because senders may use
any string of up to 100 characters and a fixed 16 bytes keeps the unique key small and time-ordered. A text that begins
with its time becomes a UUIDv8 that does, too: keys in no order cost the unique key several times the writing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
import uuid
from collections.abc import Callable

_VERSION_8 = 0x8 << 76 | 0x2 << 62  # the bits that say what kind of UUID it is
_FREE_BITS = (1 << 76) - 1 & ~(0x3 << 62)  # behind the time
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\Z")  # hyphens may be left out
_TIMED = re.compile(r"(?:ajs|node)-next-(1[0-9]{12})-")  # as Segment's clients for the browser and Node write theirs
_ANONYMOUS_ID = re.compile(r"[0-9a-f]{40}\Z")


def uuid7(now_ms: int | None = None) -> uuid.UUID:
    """A time-ordered UUID (RFC 9562): 48 bits of milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    value = milliseconds << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def is_uuid(text: str) -> bool:
    return _UUID.match(text) is not None


def canonical(text: str) -> str:
    """A UUID's text in its usual form."""
    return str(uuid.UUID(text))


def message_id(text: str, app_key: str) -> tuple[bytes, str | None]:
    """16 bytes that stand for a sender's message id within one app, and the text itself when they do not say it."""
    if _UUID.match(text):
        return bytes.fromhex(text.replace("-", "")), None
    if timed := _TIMED.match(text):
        digest = hashlib.blake2b(f"{app_key}\n{text}".encode(), digest_size=10).digest()
        value = int(timed[1]) << 80 | int.from_bytes(digest, "big") & _FREE_BITS | _VERSION_8
        return value.to_bytes(16, "big"), text
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{app_key}\n{text}").bytes, text


def is_anonymous_id(text: str) -> bool:
    """The shape that the snippet makes: 40 lower-case hex digits."""
    return _ANONYMOUS_ID.match(text) is not None


def is_partner_anonymous_id(text: str) -> bool:
    """A stranger's text: 1 to 200 printable ASCII characters."""
    return 0 < len(text) <= 200 and text.isascii() and text.isprintable()


def hashed(key: bytes, text: str) -> str:
    """40 hex digits of HMAC-SHA-256: the documented shape of a user id, constant and not reversible by enumeration."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:40]


def destination_message_ids(destination: uuid.UUID) -> Callable[[str], str]:
    """A function that gives the UUIDv5 under which one destination gets an event, from the event's 32 hex digits: the
    same on every attempt, different for every destination.

    Segment de-duplicates over all sources that it serves, so the sender's id must not be used for two of them. As
    `uuid.uuid5`, in a fifth of its time: the exporter makes one for every event.
    """
    begun = hashlib.sha1(destination.bytes, usedforsecurity=False).copy

    def message_id(e: str) -> str:
        digest = begun()
        digest.update(f"{e[:8]}-{e[8:12]}-{e[12:16]}-{e[16:20]}-{e[20:]}".encode())
        d = digest.hexdigest()
        return f"{d[:8]}-{d[8:12]}-5{d[13:16]}-{_VARIANT[d[16]]}{d[17:20]}-{d[20:32]}"

    return message_id


_VARIANT = {digit: f"{int(digit, 16) & 0x3 | 0x8:x}" for digit in "0123456789abcdef"}
