"""A site and a collector's door in one small real server, for browser tests: it serves pages and the built snippet, and
keeps what the door is sent. One server answers to every name, so that a test chooses by URL what is same-origin,
same-site or foreign: see `Recorder.url`.

The surprising thing is the faults: they are real. `reset` aborts the TCP connection, `hang` never answers, and
`stop_listening` leaves nobody on the port, because a browser treats each of these differently from a polite error.
"""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from processes import PATIENCE_SECONDS, free_port
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

DIST = Path(__file__).parent.parent / "static" / "js" / "dist"

Json = dict[str, Any]


class AbortableProtocol(HttpToolsProtocol):
    """Lets the application reset its own connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {"transport": {"abort": self.transport.abort}}


@dataclass
class Post:
    """One request at the door, as it came."""

    method: str
    headers: dict[str, str]
    body: str
    received: float
    events: list[Json] = field(default_factory=list)


@dataclass
class Fault:
    """What the door does instead of answering 204, `times` times."""

    times: int = 1
    status: int = 0
    retry_after: int = 0
    hang: bool = False
    reset: bool = False


class Recorder:
    """Start it, point pages at it, read `posts` and `events`, write `faults`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pages: dict[str, tuple[str, dict[str, str]]] = {}
        self.posts: list[Post] = []
        self.faults: list[Fault] = []
        self.asked: list[tuple[str, float]] = []
        self.snippet_delay = 0.0
        self.port = free_port()  # on which it can begin to listen again
        self.start_listening()

    # what a test reads

    @property
    def events(self) -> list[Json]:
        """Each message id once, by the order of what happened."""
        with self.lock:
            seen = {event["messageId"]: event for post in self.posts for event in post.events}
        return [seen[message_id] for message_id in sorted(seen)]

    def named(self, name: str) -> list[Json]:
        return [event for event in self.events if event["name"] == name]

    def wait_for(self, name: str, count: int = 1) -> list[Json]:
        """The events of that name as soon as there are `count`; more than that is a failure."""
        self.wait_until(lambda: len(self.named(name)) >= count)
        found = self.named(name)
        assert len(found) == count, f"{count} {name} expected, got {[summary(event) for event in self.events]}"
        return found

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert condition(), f"not within {PATIENCE_SECONDS:g} s; got {[summary(event) for event in self.events]}"

    # what a test arranges

    def url(self, path: str = "/", host: str = "localhost") -> str:
        return f"http://{host}:{self.port}{path}"

    def page(self, path: str, html: str, headers: dict[str, str] | None = None) -> str:
        """Serves `html` at `path` and returns its URL on localhost."""
        self.pages[path] = (html, headers or {})
        return self.url(path)

    def listing(
        self, body: str = "", path: str = "/apps/1/example", head: str = "", src: str = "/js/footfall.js", **data: str
    ) -> str:
        """Serves a listing page with the snippet on it, `data` as its data- attributes, and returns its URL."""
        attributes = {"app": "com.example.app"} | data
        written = " ".join(f'data-{name.replace("_", "-")}="{value}"' for name, value in attributes.items())
        tag = f'<script async src="{src}" {written}></script>'
        return self.page(path, f"<!doctype html><title>Example</title>{head}{tag}<body>{body}")

    def fault(self, **kind: Any) -> None:
        with self.lock:
            self.faults.append(Fault(**kind))

    def start_listening(self) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", self.port))
        config = uvicorn.Config(
            self.application(),
            log_level="critical",
            http=AbortableProtocol,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=0,
            timeout_keep_alive=60,
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.005)

    def stop_listening(self) -> None:
        """From now on connections are refused, until `start_listening`."""
        self.close()
        self.thread.join()

    def close(self) -> None:
        """Like `stop_listening`, but waits for nothing."""
        self.server.should_exit = self.server.force_exit = True
        self.socket.close()

    # what the server does

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/e", self.door, methods=["POST", "OPTIONS"]),
                Route("/{prefix}/e", self.door, methods=["POST", "OPTIONS"]),
                Route("/js/{name}", self.script),
                Route("/{prefix}/js/{name}", self.script),
                Route("/{path:path}", self.serve),
            ]
        )

    async def door(self, request: Request) -> Response:
        body = (await request.body()).decode()
        post = Post(request.method, dict(request.headers), body, time.time())
        with self.lock:
            fault = self.next_fault() if request.method == "POST" else None
        cors = {
            "Access-Control-Allow-Origin": request.headers.get("origin", "null"),
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Expose-Headers": "Retry-After",
        }
        if fault is None or fault.hang:
            post.events = json.loads(body)["events"] if body else []
        with self.lock:
            self.posts.append(post)
        if fault is None:
            return Response(status_code=204, headers=cors)
        if fault.reset:
            request.scope["extensions"]["transport"]["abort"]()
            return Response()
        if fault.hang:
            await asyncio.sleep(600)
        if fault.retry_after:
            cors["Retry-After"] = str(fault.retry_after)
        return Response(status_code=fault.status, headers=cors)

    def next_fault(self) -> Fault | None:
        if not self.faults:
            return None
        fault = self.faults[0]
        fault.times -= 1
        if fault.times == 0:
            self.faults.pop(0)
        return fault

    async def script(self, request: Request) -> Response:
        await asyncio.sleep(self.snippet_delay)
        content = (DIST / request.path_params["name"]).read_bytes()
        headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=3600"}
        return Response(content, media_type="text/javascript; charset=utf-8", headers=headers)

    async def serve(self, request: Request) -> Response:
        path = request.url.path
        with self.lock:
            self.asked.append((path, time.time()))
        if path not in self.pages:
            return HTMLResponse("<!doctype html><title>Elsewhere</title>", status_code=200)
        html, headers = self.pages[path]
        return HTMLResponse(html, headers=headers)


def summary(event: Json) -> str:
    return f"{event['name']} {event.get('label', '')} {event.get('target', '')} {event['url']}"
