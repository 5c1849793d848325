"""Running the collector under uvicorn, with the settings that its promises rest on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import uvicorn
from starlette.routing import BaseRoute

from collector.app import Collector
from collector.quick_lane import QuickLane
from store.settings import Settings

DRAIN_SECONDS = 10


def server(settings: Settings, host: str, port: int, extra: Sequence[BaseRoute] = ()) -> uvicorn.Server:
    """A server that is ready to run. Access logging is off: it halves the rate, and the tallies say more."""
    config = uvicorn.Config(
        Collector(settings, extra),
        host=host,
        port=port,
        http=QuickLane,
        ws="none",
        loop="uvloop",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    return uvicorn.Server(config)


def serve(settings: Settings, host: str, port: int) -> bool:
    """Run until told to stop; True when it came up and ended cleanly."""
    running = server(settings, host, port)
    running.run()
    return running.started and not running.force_exit


async def serve_in(settings: Settings, host: str, port: int, extra: Sequence[BaseRoute]) -> None:
    """The same inside a running loop."""
    await asyncio.shield(server(settings, host, port, extra).serve())
