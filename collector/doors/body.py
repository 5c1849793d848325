"""Reading a request's body under a limit, and answering; shared by all doors.

Bytes and pieces are counted as they come, because a chunked body has no length and a stated length is only a claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from starlette.types import Receive, Send

from store.errors import Refused, Unavailable

MAX_PIECES = 2_000

Headers = list[tuple[bytes, bytes]]


class ClientGone(Exception):
    """The sender left before its body was complete."""


async def read_body(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """The whole body. Raises Refused('too_large') as soon as it is over the limit, ClientGone when it ends early."""
    stated = headers.get(b"content-length", b"")
    if stated.isdigit() and int(stated) > limit:
        raise too_large(limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit or len(pieces) >= MAX_PIECES:
            raise too_large(limit)
        if piece:
            pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def too_large(limit: int) -> Refused:
    return Refused("too_large", f"a body has at most {limit} bytes")


def text_of(body: bytes) -> None:
    """Raises Refused when a body is not UTF-8, because what is not text cannot be passed on as JSON."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise Refused("not_utf8", f"byte {error.start} is not UTF-8") from None


async def respond(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
    fixed = [(b"content-length", str(len(body)).encode())] if status != 204 else []
    if body:
        fixed.append((b"content-type", b"application/json"))
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})


def retry_after(error: Unavailable) -> tuple[bytes, bytes]:
    """Whole seconds: browsers' clients read numbers only."""
    return b"retry-after", str(max(1, math.ceil(error.retry_after))).encode()
