"""Segment's HTTP API as its clients speak it: a partner's own systems send here what they send to Segment.

It is a plain ASGI application that is asked before the router. No cookie is authority here, so pages of any origin may
send, and every answer is a JSON object, because some clients read each as one. docs/reference/segment-api.md has what
is answered otherwise than Segment does.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from functools import partial

from starlette.types import Receive, Scope, Send

from collector.directory import Directory
from collector.doors import authentication
from collector.doors.authentication import Gate, Request, Unproven, is_open
from collector.doors.body import ClientGone, Headers, read_body, respond, retry_after
from collector.doors.partner import Means
from collector.doors.quick import Answer, Quick, has_failed
from collector.doors.segment_request import (
    SUCCESS,
    UNAVAILABLE,
    Content,
    Proof,
    answer,
    judge,
    read_batch,
    read_one,
    refusal,
    stored_size,
)
from collector.doors.unzip import encoded, unzipped
from collector.ingest import Arrival, Intake, Parked, Receipt, Turned, receipt_of
from collector.writer import Stored
from store.entry import Held
from store.errors import Refused, Unavailable
from store.registry import App

DOOR = "segment"
MAX_BODY = 512 * 1024  # some clients fill theirs to 512,000 bytes before they put the rest around it

LETTERS = {"t": "track", "p": "page", "i": "identify", "g": "group", "a": "alias", "s": "screen", "b": "batch"}
CALLS = (*LETTERS.values(), "import", *LETTERS)
SEVERAL = ("batch", "import")
OWN_NUMBERS = "m"  # what the browser's client tells of itself
PATHS = {f"/v1/{name}{end}": LETTERS.get(name, name) for name in (*CALLS, OWN_NUMBERS) for end in ("", "/")}

STATUS = {
    "unknown_key": 401,
    "no_such_call": 404,
    "too_large": 413,
    "too_many": 413,
    "encoding": 415,
    **authentication.STATUS,
}
ANY_PAGE: Headers = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"Retry-After")]
PREFLIGHT: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", b"authorization, content-type, x-retry-count"),
    (b"access-control-max-age", b"86400"),
]
QUICK_PATHS = {path.encode(): MAX_BODY for path, call in PATHS.items() if call != OWN_NUMBERS}


def _whole(status: bytes, body: bytes) -> Answer:
    told = f"content-length: {len(body)}\r\ncontent-type: application/json\r\n".encode()
    return Answer(b"HTTP/1.1 " + status + b"\r\n" + told, body)


_STORED = _whole(b"200 OK", SUCCESS)
_UNAVAILABLE = _whole(b"503 Service Unavailable\r\nretry-after: 3", UNAVAILABLE)


class SegmentDoor:
    """The ASGI application behind PATHS. `pretend`: an unknown key is answered as Segment does."""

    def __init__(self, intake: Intake, directory: Directory, means: Means, gate: Gate, pretend: bool) -> None:
        self._intake = intake
        self._directory = directory
        self._means = means
        self._gate = gate
        self._pretend = pretend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = PATHS.get(scope["path"], "")
        if scope["method"] == "OPTIONS":
            await respond(send, 204, PREFLIGHT)
            return
        if scope["method"] != "POST":
            refused = Refused("no_such_call", "POST it")
            await respond(send, 405, [*ANY_PAGE, (b"allow", b"POST, OPTIONS")], refusal(refused))
            return
        if call == OWN_NUMBERS:
            await respond(send, 200, ANY_PAGE, SUCCESS)
            return
        received_at = time.time_ns() // 1_000_000
        try:
            self._intake.writer.check_open()
            receipt = await self._take(scope["path"], scope["headers"], receive, received_at)
        except ClientGone:
            return
        except Refused as refused:
            await self._refuse(send, refused, received_at)
        except Unavailable as error:
            self._intake.writer.shed(DOOR, received_at)
            await respond(send, 503, [*ANY_PAGE, retry_after(error)], UNAVAILABLE)
        else:
            status, body = answer(receipt)
            await respond(send, status, ANY_PAGE, body)

    def quick(self, path: str, named: Headers, body: bytes) -> Quick | None:
        """The same for a request that is whole and plainly good; None when it needs the ordinary way."""
        headers, call, received_at = dict(named), PATHS[path], time.time_ns() // 1_000_000
        if b"content-encoding" in headers:
            return None
        try:
            content = read_batch(body) if call in SEVERAL else read_one(body)
            key = _key(headers, content)
            app = self._directory.app_by("ingest_key", key)
            if app is None or not is_open(app):
                return None
            judged = judge(content, "" if call in SEVERAL else call, DOOR, app, received_at, self._means)
            arrivals = [item for item in judged if isinstance(item, Arrival)]
            if len(arrivals) < len(judged):
                return None
            stored = self._intake.take(DOOR, received_at, arrivals, stored_size(judged, body))
        except (Refused, Unavailable):
            return None
        return Quick(stored, ANY_PAGE, partial(self._quick_answer, len(arrivals)))

    def _quick_answer(self, messages: int, stored: asyncio.Future[Stored]) -> Answer:
        if has_failed(stored):
            self._intake.writer.shed(DOOR, time.time_ns() // 1_000_000)
            return _UNAVAILABLE
        done = stored.result()
        if not done.unstorable:
            return _STORED
        status, body = answer(receipt_of(done, range(messages)))
        return _whole(b"200 OK" if status == 200 else b"400 Bad Request", body)

    async def _take(self, path: str, named: Headers, receive: Receive, received_at: int) -> Receipt:
        """Store what a request carries. Raises Refused when it is refused as a whole."""
        call = PATHS.get(path, "")
        if not call:
            hint = ": the client's host goes without /v1" if path.startswith("/v1/v1/") else ""
            raise Refused("no_such_call", f"Segment's API has no call of this name{hint}")
        asked, headers = time.monotonic(), dict(named)
        packed = await read_body(headers, receive, MAX_BODY)
        body = unzipped(packed, MAX_BODY) if encoded(named) else packed
        content = read_batch(body) if call in SEVERAL else read_one(body)
        app = await self._app(headers, content, asked)
        act = await self._gate.admit(app, Request(DOOR, path, headers, packed, received_at), body)
        if isinstance(act, Parked):
            return await self._intake.ingest(DOOR, received_at, [act], len(body))
        proof = Proof(act, self._gate.oldest(act, received_at))
        judged = judge(content, "" if call in SEVERAL else call, DOOR, app, received_at, self._means, proof)
        return await self._intake.ingest(DOOR, received_at, judged, stored_size(judged, body))

    async def judge_held(self, app: App, held: Held, received_at: int) -> list[Arrival | Turned]:
        """What the quarantine releases, judged as it would have been when it came."""
        call = PATHS[held.path]
        content = read_batch(held.body) if call in SEVERAL else read_one(held.body)
        kind, proof = "" if call in SEVERAL else call, Proof(held.quarantine_id, stored_at=received_at)
        return judge(content, kind, DOOR, app, held.received_at, self._means, proof)

    async def _app(self, headers: dict[bytes, bytes], content: Content, asked: float) -> App:
        """Whose key it is. Raises Refused."""
        key = _key(headers, content)
        app = await self._directory.find_app_by("ingest_key", key, asked) if key else None
        if app is None:
            raise Refused("unknown_key", "no app has this write key: it is the ingest key on the app's Details page")
        return app

    async def _refuse(self, send: Send, refused: Refused, received_at: int) -> None:
        """Nothing is kept of the body: nobody knows whose it is, and it may hold the key of another's source."""
        app_key = refused.app_key if isinstance(refused, Unproven) else ""
        await self._intake.keep_refused(DOOR, received_at, Turned(refused, app_key, b""))
        if refused.reason == "unknown_key" and self._pretend:
            await respond(send, 200, ANY_PAGE, SUCCESS)
            return
        status = STATUS.get(refused.reason, 400)
        headers = [*ANY_PAGE, (b"retry-after", b"3600")] if status == 429 else ANY_PAGE
        await respond(send, status, headers, refusal(refused))


def _key(headers: dict[bytes, bytes], content: Content) -> str:
    """The one in the header, or in the body; '' when there is none. Raises Refused when they are two."""
    key = basic_key(headers[b"authorization"]) if b"authorization" in headers else ""
    if key and content.write_key and key != content.write_key:
        raise Refused("unknown_key", "the key in the header and the one in the body are not the same")
    return key or content.write_key


def basic_key(authorization: bytes) -> str:
    """The key in `Authorization: Basic`, with or without the colon behind it; '' when there is none."""
    kind, _, text = authorization.partition(b" ")
    if kind.lower() != b"basic":
        return ""
    try:
        return base64.b64decode(text.strip() + b"==").decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""
