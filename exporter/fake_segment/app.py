"""The fake's routes, and the two ways to have it: `create_app()` in a test, `serve(port)` as a process.

The Dublin host is the same application under `/eu`, so that one process stands for both regions.
"""

import socket
from collections.abc import Callable
from typing import Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from exporter.fake_segment import control, replies, tracking
from exporter.fake_segment.fake import FakeSegment
from exporter.fake_segment.wire import Connection, Server

TRACKING: Final = [
    Route("/v1/projects/{write_key}/settings", tracking.settings),
    Route("/v1/{call}", tracking.call, methods=["POST"]),
    Route("/v1/{call}/", tracking.call, methods=["POST"]),
]

ROUTES: Final = [
    *TRACKING,
    Mount("/eu", routes=TRACKING),
    Route("/_/received", control.received),
    Route("/_/dropped", control.dropped),
    Route("/_/requests", control.requests),
    Route("/_/counts", control.counts),
    Route("/_/fault", control.add_fault, methods=["POST"]),
    Route("/_/faults", control.faults, methods=["GET", "DELETE"]),
    Route("/_/keys", control.add_key, methods=["POST"]),
    Route("/_/mode", control.change_mode, methods=["POST"]),
    Route("/_/clock", control.move_clock, methods=["POST"]),
    Route("/_/reset", control.reset, methods=["POST"]),
    Route("/_/page", replies.page, methods=["GET", "POST"]),
]

# The browser SDK sends Authorization, so each of its calls from a page is preflighted.
CORS: Final = Middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["GET", "POST", "OPTIONS"],
    allow_headers=["Authorization", "Content-Type", "X-Retry-Count"],
    max_age=600,
)


async def gone(_request: Request, _error: Exception) -> Response:
    """Let a client go that died while it was sending. Half a request never happened."""
    return Response(status_code=400)


def create_app() -> Starlette:
    """Return a fake Segment with nothing in it."""
    handlers = {ClientDisconnect: gone, msgspec.DecodeError: control.misread}
    app = Starlette(routes=ROUTES, middleware=[CORS], exception_handlers=handlers)
    app.state.fake = FakeSegment()
    app.state.server = None
    return app


def serve(port: int, host: str = "127.0.0.1", announce: Callable[[str], object] = lambda url: None) -> None:
    """Run a fake Segment until SIGINT or SIGTERM. `announce` gets its URL once it can be reached; port 0 picks one."""
    app = create_app()
    config = uvicorn.Config(
        app,
        http=Connection,
        loop="uvloop",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="error",
        timeout_graceful_shutdown=1,
    )
    app.state.server = Server(config)
    with socket.socket() as place:  # holds the port, so that nobody has taken it when a refusing fake comes back
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((host, port))
        listener = socket.create_server(place.getsockname(), backlog=config.backlog)
        announce(f"http://{host}:{listener.getsockname()[1]}")
        app.state.server.run(sockets=[listener])
