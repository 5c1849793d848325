"""The HTTP protocol with the limits that uvicorn lacks: bytes of a head, time to receive a request, requests in a row.

httptools takes heads of any size into memory, and nothing in uvicorn ends a request that never arrives whole; so the
bytes are counted here before the parser sees them, and a deadline runs from a request's first byte to its last.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_TESTED = os.environ.get("FOOTFALL_TEST_RECEIVE_SECONDS") if os.environ.get("FOOTFALL_TEST") == "1" else None
MAX_HEAD_BYTES = 32 * 1024
MAX_PIPELINED = 16  # requests that wait behind one that is being answered; each takes far more memory than bytes
RECEIVE_SECONDS = float(_TESTED or 20)
LAST_SECONDS = 0.5  # how long a silent connection stays open when the process ends

_UPGRADE = re.compile(rb"(?<=\r\n)upgrade(?=[ \t]*:)", re.IGNORECASE)
_HEADS_END = b"\r\n\r\n"
_LETTERS = b"upgradeUPGRADE"  # where a piece of a head ends in one, it may end within that name


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._overhead = 0  # bytes of this head, or since the last piece of a body: chunk extensions, trailers
        self._in_head = True
        self._whole = True
        self._tail = b""  # the end of the last piece of a head
        self._cut = b""  # the beginning of a header's name at that end, held back
        self._deadline: asyncio.TimerHandle | None = None
        self._served: RequestResponseCycle | None = None
        self._ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # uvicorn ends an idle connection after its first request only.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        self._overhead += len(data)
        if self._in_head:
            if self._overhead > MAX_HEAD_BYTES and not self._ends_head(data):
                self.transport.close()
                return
            end = data.find(_HEADS_END)
            if data.find(b"pgrade", 0, end if end >= 0 else None) >= 0 or self._cut or data[-1] in _LETTERS:
                data = self._without_upgrade(data)
        self._whole = False
        super().data_received(data)
        # Nearly every request comes whole, and then needs no timer.
        if self._whole:
            self._disarm()
            return
        if self._deadline is None:
            self._deadline = self.loop.call_later(RECEIVE_SECONDS, self._too_slow)
        if self._in_head:
            self._tail = (self._tail + data + self._cut)[-3:]
        elif self._overhead > MAX_HEAD_BYTES:
            self.transport.close()

    def _ends_head(self, data: bytes) -> bool:
        """A body that came with its head in one piece is no long head."""
        end = (self._tail + data).find(_HEADS_END)
        return end >= 0 and self._overhead - len(data) + end - len(self._tail) <= MAX_HEAD_BYTES

    def _without_upgrade(self, data: bytes) -> bytes:
        """A wish to change the protocol, which some HTTP clients add to every request, is ignored as the standard
        allows; the parser would not read the body of such a request. A name that the network cut waits for its rest."""
        line_end = b"\r\n" if self._cut or self._tail.endswith(b"\n") else b""
        head, end, body = (line_end + self._cut + data).partition(_HEADS_END)
        head = _UPGRADE.sub(b"ignored", head)
        before, newline, line = head.rpartition(b"\n")
        self._cut = line if newline and not end and b"upgrade".startswith(line.lower()) else b""
        head = before + newline if self._cut else head
        return (head + end + body)[len(line_end) :]

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.pipeline) >= MAX_PIPELINED:
            self.transport.abort()
            return
        super().on_headers_complete()
        if self._ending:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        super()._start_asgi_task(cycle, app)

    def _unsupported_upgrade_warning(self) -> None:
        """A tunnel (CONNECT) is answered like any method that is none of ours, and nothing behind it is read; uvicorn
        would log two lines of advice on WebSockets each time."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = self._whole = True
        self._overhead = 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        # uvicorn tells the newest request only; the one that is being answered would write on.
        self.pipeline.clear()
        if self._served is not None:
            self._served.disconnected = True
            self._served.message_event.set()
            self._served = None
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The process ends: what comes within a moment is answered and told that it was the last on its connection."""
        self._ending = True
        if self.is_free():
            self.loop.call_later(LAST_SECONDS, self._end_silence)
        else:
            self.cycle.keep_alive = False

    def is_free(self) -> bool:
        """Nothing is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _end_silence(self) -> None:
        if self.is_free():
            self.transport.close()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()
