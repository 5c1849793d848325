"""The replies of the tracking API, true ones and faulty ones.

Segment's 400 is padded plain text and not JSON; clients that parse every reply as JSON trip over it, so it stays so.
"""

import asyncio
from collections.abc import AsyncIterator
from http.client import responses
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from exporter.fake_segment.faults import Fault
from exporter.fake_segment.wire import Connection

PAGE: Final = "<!doctype html><title>Sign in</title><p>This network wants you to sign in first.</p>\n"


def accepted() -> Response:
    return Response(b'{"success": true}', media_type="application/json")


def bad_request() -> Response:
    return padded(400)


def padded(status: int) -> Response:
    return PlainTextResponse(f"  {responses.get(status, status)}  \n", status_code=status)


async def page(_: Request) -> Response:
    """Serve the page that a captive portal or a login proxy would: 200 to any method, and nothing of Segment's."""
    return HTMLResponse(PAGE)


async def play(request: Request, fault: Fault, true_reply: Response) -> Response:
    """Wait as long as the fault says, then return its reply, or the true one where it has none."""
    connection = getattr(request.state, "connection", None)
    await (connection.outlast(fault.hang) if connection else asyncio.sleep(fault.hang))
    if fault.is_cut:
        return Cut(connection, hard=fault.reset is not None)
    reply = faulty(fault, true_reply)
    return drip(reply, fault.slow_drip) if fault.slow_drip else reply


def faulty(fault: Fault, true_reply: Response) -> Response:
    if fault.redirect:
        return Response(status_code=fault.redirect, headers={"Location": fault.location})
    reply = body_of(fault, true_reply)
    reply.status_code = fault.status or reply.status_code
    if fault.retry_after is not None:
        reply.headers["Retry-After"] = str(fault.retry_after)
    if isinstance(fault.retry_after, int):
        reply.headers["X-RateLimit-Reset"] = str(fault.retry_after)
    return reply


def body_of(fault: Fault, true_reply: Response) -> Response:
    if fault.body == "html":
        return HTMLResponse(PAGE)
    if isinstance(fault.body, str):
        return PlainTextResponse(fault.body)
    if fault.body is not None:
        return JSONResponse(fault.body)
    if fault.status is None:
        return true_reply
    return accepted() if fault.status < 300 else padded(fault.status)


def drip(reply: Response, pause: float) -> Response:
    """Send the same reply one byte at a time, `pause` seconds apart: no read ever times out, the whole takes long."""

    async def drops() -> AsyncIterator[bytes]:
        for byte in bytes(reply.body):
            await asyncio.sleep(pause)
            yield bytes([byte])

    return StreamingResponse(drops(), status_code=reply.status_code, headers=dict(reply.headers))


class Cut(Response):
    """No reply: the connection goes. A `hard` cut is a TCP reset, a soft one an orderly end of stream."""

    def __init__(self, connection: Connection | None, *, hard: bool) -> None:
        super().__init__()
        self.connection = connection
        self.hard = hard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.connection is None:
            # In-process there is no connection; the caller gets what its HTTP client would have raised.
            raise ConnectionResetError("the fake Segment cut the connection")
        await self.connection.cut(hard=self.hard)
