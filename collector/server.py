"""Running the collector under uvicorn, with the settings that its promises rest on."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.routing import BaseRoute

import journal
from collector.app import Collector
from collector.quick_lane import QuickLane
from store.database import open_writer
from store.errors import ConfigError
from store.settings import Settings

DRAIN_SECONDS = 10


class Server(uvicorn.Server):
    """uvicorn's server, but being told to stop is a clean end: uvicorn would raise the signal again and die of it."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            host, port = (sockets or self.servers[0].sockets)[0].getsockname()[:2]
            journal.note("collector began", host=host, port=port)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def serve(settings: Settings, host: str, port: int, extra: Sequence[BaseRoute] = ()) -> bool:
    """Run until told to stop; True when it came up. Access logging is off: it halves the rate, the tallies say more.

    Raises Busy, StoreUnavailable or ConfigError when the store cannot be opened or the port cannot be had.
    """
    journal.listen()
    listener = _listen(host, port)
    asyncio.run(_open_once(settings))  # inside the server a failure would be a traceback
    config = uvicorn.Config(
        Collector(settings, extra),
        http=QuickLane,
        ws="none",
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = Server(config)
    server.run(sockets=[listener])
    if server.started:
        journal.note("collector ended")
    return server.started


async def _open_once(settings: Settings) -> None:
    for nature in ("registry", "log"):
        async with await open_writer(settings.data_dir, nature):
            pass


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(f"{host} port {port}: {error.strerror}") from None
