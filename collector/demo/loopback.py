"""One JSON request from the demo to another server on this machine: the collector's back end door or the fake Segment.

It blocks, so handlers run it in a thread. The surprising thing: the marketplace's back end lives in the collector's own
process here and still goes over HTTP, so that the door, its token and its answer are the real ones.
"""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

_TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 16 * 1024 * 1024


class Unavailable(Exception):
    """Nobody answered, or the answer says to come back later."""


class Refused(Exception):
    """The other side understood and said no."""


class Answer(Struct, frozen=True):
    """The decoded JSON of a 200, and its headers with their names in lower case."""

    json: object
    headers: dict[str, str]


def exchange(method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    """Send one request and return the answer. Raises `Unavailable` or `Refused`."""
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, headers)
        answer = connection.getresponse()
        json = _read(answer.status, answer.read(_MOST_BYTES))
        return Answer(json, {name.lower(): value for name, value in answer.getheaders()})
    except (OSError, HTTPException) as problem:
        raise Unavailable(f"{parts.netloc} did not answer: {problem}") from problem
    finally:
        connection.close()


def _read(status: int, body: bytes) -> object:
    if status in (429, 502, 503, 504):
        raise Unavailable(f"the answer was {status}: try again shortly")
    if status != 200:
        raise Refused(f"the answer was {status}: {body[:200].decode('utf-8', 'replace')}")
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as problem:
        raise Refused(f"the answer is not JSON: {problem}") from problem
