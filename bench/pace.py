"""Load at a fixed rate, whatever the answers take: `python -m bench.pace PORT RATE SECONDS` prints p50 and p99 in ms.

A request has its time, and its latency counts from then, also when it had to wait for a connection; a load that waits
for answers before it asks again would not see the waits that it causes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from typing import cast

import uvloop

from store.ids import uuid7

CONNECTIONS = 64
EVENT = (
    '{"sentAt":"%s","events":[{"messageId":"%s","name":"page_view","app":"com.example.bench0","occurredAt":"%s",'
    '"anonymousId":"%040x","url":"https://marketplace.example/apps/1219125/board-charts?hosting=cloud&tab=overview",'
    '"referrer":"https://www.google.com/","title":"Board charts for teams | Marketplace","version":"0.1.0"}]}'
)
HEAD = "POST /e HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
AT = "2026-11-22T03:00:00.000Z"


class Pacer:
    """The schedule, the connections that are free, and what every request took."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.free: list[Connection] = []
        self.due: deque[float] = deque()
        self.took: list[float] = []
        self.made = 0

    async def run(self, port: int, rate: float, seconds: float) -> None:
        for _ in range(CONNECTIONS):
            await self.loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
        began, asked = self.loop.time(), 0
        while (now := self.loop.time()) < began + seconds:
            while began + asked / rate <= now:
                self.due.append(began + asked / rate)
                asked += 1
            self.send()
            await asyncio.sleep(0.001)
        while len(self.took) < asked:  # noqa: ASYNC110 - the last answers of a measurement
            await asyncio.sleep(0.01)

    def send(self) -> None:
        while self.due and self.free:
            self.made += 1
            body = EVENT % (AT, uuid7(), AT, self.made % 5000)
            self.free.pop().ask(self.due.popleft(), (HEAD % (len(body), body)).encode())


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, pacer: Pacer) -> None:
        self.pacer = pacer
        self.asked = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.pacer.free.append(self)

    def ask(self, due: float, request: bytes) -> None:
        self.asked = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 204"):
            raise RuntimeError(f"refused: {data[:200]!r}")
        self.pacer.took.append(self.pacer.loop.time() - self.asked)
        self.pacer.free.append(self)
        self.pacer.send()


async def main(port: int, rate: float, seconds: float) -> None:
    pacer = Pacer()
    await pacer.run(port, rate, seconds)
    took = sorted(pacer.took)
    print(json.dumps({"p50_ms": took[len(took) // 2] * 1_000, "p99_ms": took[len(took) * 99 // 100] * 1_000}))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
