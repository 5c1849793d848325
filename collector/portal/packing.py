"""Packing a page on its way out, only when nobody else can have had a part in what it holds.

How long a packed page is tells of what is in it: who can put text into a page, have it asked for again and again, and
see the length each time, finds out a secret that stands in it too, letter by letter (BREACH). So a page is packed when
the browser says that no other site had it asked for; and never the answer to a form, which is where secrets are shown.
"""

from __future__ import annotations

import gzip

import brotli
from starlette.requests import Request
from starlette.responses import Response

from collector.assets import chosen

LEAST = 1_000  # bytes; less fits into one packet as it is
QUALITY = 4  # about a millisecond for 60 kB


def packed(request: Request, response: Response) -> Response:
    """The answer, packed if that is safe and asked for."""
    if not may_be_packed(request) or len(response.body) < LEAST or response.status_code != 200:
        return response
    coding = chosen(request.headers.get("accept-encoding", "").encode("latin-1"), (b"br", b"gzip"))
    if coding:
        plain = bytes(response.body)
        response.body = brotli.compress(plain, quality=QUALITY) if coding == b"br" else gzip.compress(plain, 5)
        response.headers["Content-Encoding"] = coding.decode()
        response.headers["Content-Length"] = str(len(response.body))
    return response


def may_be_packed(request: Request) -> bool:
    """Whether it was asked for by a page of ours, or by a person at the address bar."""
    return request.method in ("GET", "HEAD") and request.headers.get("sec-fetch-site") in ("same-origin", "none")
