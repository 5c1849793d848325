"""Unpacking a body that its sender has packed with gzip, within bounds.

What it unpacks to is counted as it comes, so that a small body that would fill the memory is given up at the limit.
"""

from __future__ import annotations

import zlib

from collector.doors.body import Headers, too_large
from store.errors import Refused

MOST_TIMES = 300  # that a body may be larger unpacked; a hundred messages alike come to about 80
_FREE_BYTES = 64 * 1024  # up to which nobody asks how many times


def encoded(headers: Headers) -> bytes:
    """How a body is packed: `gzip`, or nothing. Raises Refused for any other way, and for more than one."""
    named = [value.strip().lower() for name, value in headers if name == b"content-encoding"]
    if named in ([], [b""], [b"identity"]):
        return b""
    if named in ([b"gzip"], [b"x-gzip"]):
        return b"gzip"
    raise Refused("encoding", "a body is plain, or packed with gzip, once")


def unzipped(body: bytes, limit: int) -> bytes:
    """Raises Refused when it is no gzip, or unpacks to more than `limit` bytes or MOST_TIMES its size."""
    most = min(limit, max(_FREE_BYTES, MOST_TIMES * len(body)))
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, most + 1)
    except zlib.error:
        raise Refused("encoding", "the body is not the gzip that its Content-Encoding says") from None
    if len(plain) > limit:
        raise too_large(limit)
    if len(plain) > most:
        raise Refused("too_large", f"a packed body unpacks to at most {MOST_TIMES} times its size")
    if not inflater.eof or inflater.unused_data:
        raise Refused("encoding", "the gzip ends early, or something follows it")
    return plain
