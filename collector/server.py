"""Running the collector under uvicorn, with the settings that its promises rest on.

The surprising thing is how it ends: a connection on which nothing is under way is closed only after a moment, because
its next request may have left the sender already, and would be lost with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.routing import BaseRoute

import journal
from collector.app import Collector
from collector.quick_lane import QuickLane
from collector.systemd import Manager, take_socket
from store import rotation
from store.engines import make_ready, open_reader
from store.errors import ConfigError
from store.secrets import Vault
from store.settings import Settings

DRAIN_SECONDS = 10


class Server(uvicorn.Server):
    """uvicorn's server, but being told to stop is a clean end: uvicorn would raise the signal again and die of it."""

    def __init__(self, config: uvicorn.Config, manager: Manager) -> None:
        super().__init__(config)
        self._manager = manager

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second, on the event loop. uvicorn's own hook goes by the wall clock, which may be set back."""
        self._manager.beat(time.monotonic())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._manager.stopping()
        for server in self.servers:
            server.close()
        await asyncio.sleep(0)  # what was accepted in this turn of the event loop becomes known as a connection
        await super().shutdown(sockets)

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


def serve(
    settings: Settings,
    host: str,
    port: int,
    extra: Sequence[BaseRoute] = (),
    announce: Callable[[str], None] = lambda where: None,
    templates: Mapping[str, str] | None = None,
) -> bool:
    """Run until told to stop; True when it came up. Access logging is off: it halves the rate, the tallies say more.

    A listening socket that systemd passed is used instead of `host` and `port`; `announce` is told which it is.
    Raises Busy, StoreUnavailable or ConfigError when the store cannot be opened or the port cannot be had.
    """
    journal.listen()
    collector = Collector(settings, extra, templates)
    passed = take_socket(os.environ)
    listener = passed or _listen(host, port)
    asyncio.run(_open_once(settings))  # inside the server a failure would be a traceback
    announce(f"{_address(listener)}{', a socket passed by systemd' if passed else ''}")
    config = uvicorn.Config(
        collector,
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
    server = Server(config, Manager(os.environ))
    server.run(sockets=[listener])
    if server.started:
        journal.note("collector ended")
    return server.started


async def _open_once(settings: Settings) -> None:
    await make_ready(settings.where)
    async with await open_reader(settings.where, "registry", standby=True) as db:
        await rotation.check(db, Vault(settings.secret_key))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(f"{host} port {port}: {error.strerror}") from None


def _address(listener: socket.socket) -> str:
    name = listener.getsockname()
    return f"{name[0]} port {name[1]}" if isinstance(name, tuple) else str(name)
