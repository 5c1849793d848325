"""The quick lane of the browser's door and Segment's: a whole, plainly good request is stored without an ASGI task of
its own.

Everything else (another path, a body in pieces that is too long, one event amiss, an origin that is not allowed, a
store that is unwell) takes the ordinary way, with the bytes that were held back handed on; so the door's rules live in
one place and this only skips the machinery. It leans on uvicorn's protocol class, which is why uvicorn is pinned to one
minor version; docs/decisions/0004 has the figures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from collector.doors.body import Headers
from collector.doors.quick import Quick
from collector.guard import GuardedProtocol
from collector.writer import Stored


class QuickDoor(Protocol):
    """What the lane needs of the application behind it."""

    quick_paths: Mapping[bytes, int]  # with the most bytes of a body

    def quick(self, path: bytes, headers: Headers, body: bytes) -> Quick | None:
        """Hand a request to the writer; None: it needs the ordinary way."""


class QuickLane(GuardedProtocol):
    """One connection."""

    app: Any  # uvicorn types it as any ASGI application; ours is a QuickDoor too

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door: QuickDoor = self.app
        self._held: list[bytes] | None = None
        self._held_bytes = 0
        self._answering = False
        self._closing = False

    def on_headers_complete(self) -> None:
        if self.url in self._door.quick_paths and self.is_free() and self._is_plain() and not self._ending:
            self._in_head = False
            self._held, self._held_bytes = [], 0
            if self.flow.write_paused:  # its sender does not read the answers, which must not pile up here
                self._held, self._closing = None, True
                self.transport.abort()
        elif self._answering:
            self._closing = True  # a second request before the first is answered: answer that one, then close
        else:
            super().on_headers_complete()

    def is_free(self) -> bool:
        return not self._answering and super().is_free()

    def _is_plain(self) -> bool:
        parser = self.parser
        plain = parser.get_method() == b"POST" and parser.get_http_version() == "1.1"
        return plain and parser.should_keep_alive() and not parser.should_upgrade() and not self.expect_100_continue

    def on_body(self, body: bytes) -> None:
        if self._closing:
            return
        if self._held is None:
            super().on_body(body)
            return
        self._overhead = 0
        self._held.append(body)
        self._held_bytes += len(body)
        if len(self._held) > 64 or self._held_bytes > self._door.quick_paths[self.url]:
            self._go_ordinary()  # which counts, and refuses in time

    def on_message_complete(self) -> None:
        if self._held is None:
            if not self._closing:
                super().on_message_complete()
            return
        lane = None if self._ending else self._door.quick(self.url, self.headers, b"".join(self._held))
        if lane is None:
            self._go_ordinary()
            super().on_message_complete()
            return
        self._held = None
        self._in_head = self._whole = True
        self._overhead = 0
        self._answering = True
        lane.stored.add_done_callback(lambda done: self._answer(done, lane))

    def _go_ordinary(self) -> None:
        """Hand on what was held back."""
        held, self._held = self._held or [], None
        super().on_headers_complete()
        for piece in held:
            super().on_body(piece)

    def _answer(self, stored: asyncio.Future[Stored], lane: Quick) -> None:
        self._answering = False
        answer = lane.answer(stored)
        if self.transport.is_closing():
            return
        lines = [answer.head]
        for name, value in (*self.server_state.default_headers, *lane.headers):
            lines += (name, b": ", value, b"\r\n")
        lines += (b"connection: close\r\n\r\n" if self._closing else b"\r\n", answer.body)
        self.transport.write(b"".join(lines))
        self.on_response_complete()
        if self._closing:
            self.transport.close()

    def shutdown(self) -> None:
        if self._answering:
            self._ending = self._closing = True
        else:
            super().shutdown()
