"""The snippet's door: `POST {INGEST_PATH}`, JSON as text/plain, so that browsers send no pre-flight.

It is a plain ASGI application outside the router, because it is the hot path. No cookie is authority here: ours are
only set again.
"""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache

from starlette.types import Receive, Scope, Send

from collector import cookies, sender
from collector.doors.body import ClientGone, Headers, read_body, respond, retry_after, text_of
from collector.doors.listing import Facts, Judge, redacted
from collector.doors.quick import Answer, Quick, has_failed
from collector.doors.wire import reason_header, receipt_json, refusal_json
from collector.ingest import Intake, Receipt, Turned
from collector.origins import Origins
from collector.writer import Stored
from store.errors import Refused, Unavailable

DOOR = "browser"
MAX_BODY = 64 * 1024

_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", b"content-type"),
    (b"access-control-max-age", b"86400"),
]
_STATUS = {"origin": 403, "too_large": 413}
_STORED = Answer(b"HTTP/1.1 204 No Content\r\n")
_UNAVAILABLE = Answer(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 3\r\ncontent-length: 0\r\n")


class BrowserDoor:
    """The ASGI application behind the ingest path."""

    def __init__(self, intake: Intake, judge: Judge, origins: Origins) -> None:
        self._intake = intake
        self._judge = judge
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        origin = self._origins.check(headers.get(b"origin"), headers.get(b"host"))
        cors = self._origins.headers(origin)
        if scope["method"] != "POST":
            allowed = scope["method"] == "OPTIONS"
            await respond(
                send, 204 if allowed else 405, [*cors, *_PREFLIGHT] if allowed else [(b"allow", b"POST, OPTIONS")]
            )
            return
        received_at = time.time_ns() // 1_000_000
        body = b""
        try:
            self._intake.writer.check_open()
            if origin is None:
                raise Refused("origin", "this page's origin is not in FOOTFALL_ALLOWED_ORIGINS")
            body = await read_body(headers, receive, MAX_BODY)
            text_of(body)
            judged = await self._judge.judge(body, _facts(headers, received_at, _address(scope)))
            receipt = await self._intake.ingest(DOOR, received_at, judged, len(body))
        except ClientGone:
            return
        except Refused as refused:
            await self._intake.keep_refused(DOOR, received_at, Turned(refused, "", redacted(body, refused.reason)))
            answer = refusal_json(refused)
            await respond(send, _STATUS.get(refused.reason, 400), [*cors, reason_header(refused.reason)], answer)
        except Unavailable as error:
            self._intake.writer.shed(DOOR, received_at)
            await respond(send, 503, [*cors, retry_after(error)], b'{"reason":"unavailable"}')
        else:
            # Who refuses measurement has just had our cookies deleted.
            refused_all = any(reason == "consent_refused" for _, reason, _ in receipt.rejected)
            await _answer(send, receipt, cors if refused_all else [*cors, *self._cookies(headers, received_at)])

    def quick(self, raw_headers: Headers, body: bytes) -> Quick | None:
        """The same for a request that is whole and plainly good; None when it needs the ordinary way, as it does where
        the visitor's address may count: here nobody knows it."""
        headers = dict(raw_headers)
        origin = self._origins.check(headers.get(b"origin"), headers.get(b"host"))
        received_at = time.time_ns() // 1_000_000
        if origin is None or len(body) > MAX_BODY or b"content-encoding" in headers:
            return None
        arrivals = self._judge.judge_clean(body, _facts(headers, received_at, None))
        if arrivals is None:
            return None
        try:
            stored = self._intake.take(DOOR, received_at, arrivals, len(body))
        except Unavailable:
            return None
        return Quick(stored, [*self._origins.headers(origin), *self._cookies(headers, received_at)], self._quick_answer)

    def _quick_answer(self, stored: asyncio.Future[Stored]) -> Answer:
        if not has_failed(stored):
            return _STORED
        self._intake.writer.shed(DOOR, time.time_ns() // 1_000_000)
        return _UNAVAILABLE

    def _cookies(self, headers: dict[bytes, bytes], received_at: int) -> Headers:
        if b"cookie" not in headers or headers.get(b"sec-fetch-site") not in (b"same-origin", b"same-site"):
            return []
        return cookies.set_again(
            headers[b"cookie"], received_at, self._origins.cookie_domain, headers.get(b"origin", b"")
        )


async def _answer(send: Send, receipt: Receipt, headers: Headers) -> None:
    """204 when all is stored or known; 400 when nothing is, so that the snippet does not send it again."""
    if not receipt.rejected:
        await respond(send, 204, headers)
        return
    status = 200 if receipt.stored or receipt.duplicate else 400
    await respond(send, status, [*headers, reason_header(receipt.rejected[0][1])], receipt_json(receipt))


def _address(scope: Scope) -> str:
    forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    peer = scope.get("client")  # a server need not say
    return sender.address(peer[0] if peer else "", forwarded)


def _facts(headers: dict[bytes, bytes], received_at: int, address: str | None) -> Facts:
    agent, locale = _reader(headers.get(b"user-agent", b"")[:512], headers.get(b"accept-language", b"")[:512])
    return Facts(received_at, agent, locale, headers.get(b"sec-gpc") == b"1", address)


@lru_cache(maxsize=2048)
def _reader(user_agent: bytes, accept_language: bytes) -> tuple[str | None, str | None]:
    """The agent's text, and the first language that the browser prefers when it looks like one."""
    agent = user_agent.decode("latin-1").replace("\0", "")
    first = accept_language.split(b",", 1)[0].split(b";", 1)[0].strip()
    shaped = 0 < len(first) <= 35 and first.isascii() and first.replace(b"-", b"").isalnum()
    return agent or None, first.decode() if shaped else None
