"""A Segment with a mood for every key: `python -m bench.moods PORT`. Keys that name no mood get their success.

What refuses connections is not here: nobody listens for that (see bench/broken.py).
"""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import cast

import httptools
import uvloop

from bench.sink import ANSWER

_EMPTY = b"HTTP/1.1 %b\r\n%bcontent-length: 0\r\n\r\n"
MOODS = {
    "UNAVAILABLE": _EMPTY % (b"503 Service Unavailable", b""),
    "FORBIDDEN": _EMPTY % (b"403 Forbidden", b""),
    "BUSYFORSECONDS": _EMPTY % (b"429 Too Many Requests", b"retry-after: 5\r\n"),
    "BUSYFORMINUTES": _EMPTY % (b"429 Too Many Requests", b"retry-after: 120\r\n"),
    "SILENT": b"",  # takes the request and never says anything
}


class Moody(asyncio.Protocol):
    """One connection; bodies are read and thrown away."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)
        self.answer = ANSWER

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            key = base64.b64decode(value.removeprefix(b"Basic ")).decode()
            self.answer = next((answer for mood, answer in MOODS.items() if key.startswith(mood)), ANSWER)

    def on_message_complete(self) -> None:
        if self.answer:
            self.transport.write(self.answer)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Moody, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
