"""Every route of the collector in reading order, and the life of what stands behind them.

The browser's door is asked before the router: it is one path, exactly matched, and takes nearly every request.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.assets import load_snippet, load_static
from collector.directory import Directory
from collector.doors.apps import Apps
from collector.doors.backend import BackendDoor
from collector.doors.body import Headers
from collector.doors.browser import BrowserDoor
from collector.doors.events import Events
from collector.doors.listing import Judge
from collector.doors.numbers import PageNumbers
from collector.doors.read import Answer, Callers, ReadDoor
from collector.health import Health
from collector.ingest import Intake
from collector.openapi import load_document
from collector.origins import Origins
from collector.portal.frame import Portal, compile_templates, routes
from collector.portal.openid import provider_of
from collector.portal.pages import PAGES
from collector.roller import Roller
from collector.sweeper import Sweeper
from collector.writer import Stored, Writer
from store.database import Database, make_ready, open_reader, open_writer
from store.secrets import Vault
from store.settings import Settings

WITHOUT_ROLLUPS = os.environ.get("FOOTFALL_TEST") == "1" and "FOOTFALL_TEST_NO_ROLLUPS" in os.environ
PATIENCE_SECONDS = 10.0  # for a server's answer: senders wait twice that for ours, or longer


@dataclass(frozen=True)
class Parts:
    """What stands behind the routes while the collector runs."""

    directory: Directory
    writer: Writer
    log_reader: Database
    intake: Intake
    vault: Vault
    portal: Portal


class Collector:
    """The ASGI application. Its parts exist between the start and the stop of the server's lifespan.

    `extra` are more routes, `templates` more templates for the portal, by name. Raises ConfigError when people are to
    sign in by OpenID Connect and cannot.
    """

    def __init__(
        self, settings: Settings, extra: Sequence[BaseRoute] = (), templates: Mapping[str, str] | None = None
    ) -> None:
        self._settings = settings
        self._extra = extra
        self._templates = templates
        self._provider = provider_of(settings)
        starlette = Starlette(lifespan=self._life)
        starlette.router.redirect_slashes = False  # it would redirect to whatever host the request names
        self._router: ASGIApp = starlette
        self._browser: BrowserDoor | None = None
        self.quick_path = settings.ingest_path.encode()

    def quick(self, headers: Headers, body: bytes) -> tuple[asyncio.Future[Stored], Headers] | None:
        """The quick lane into the browser's door: see collector/quick_lane.py."""
        return None if self._browser is None else self._browser.quick(headers, body)

    def quick_shed(self) -> None:
        """Count a request of the quick lane whose commit failed."""
        if self._browser is not None:
            self._browser.shed()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == self._settings.ingest_path and self._browser is not None:
            await self._browser(scope, receive, send)
        else:
            await self._router(scope, receive, send)

    @asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        """Open the store, begin to take in; at the end finish what was begun, in the opposite order."""
        async with AsyncExitStack() as stack:
            parts = await self._begin(stack)
            judge = Judge(parts.directory, parts.vault, self._settings.consent)
            self._browser = BrowserDoor(parts.intake, judge, Origins(self._settings))
            app.router.routes[:] = self._routes(parts)
            gc.freeze()  # what lives as long as the process need not be looked at again
            gc.set_threshold(50_000, 20, 50)  # requests make many short-lived containers and no cycles
            yield

    async def _begin(self, stack: AsyncExitStack) -> Parts:
        """Open the store and start the tasks; what has an end is left to the stack."""
        settings = self._settings
        enter, where = stack.enter_async_context, settings.where
        await make_ready(where)
        log_writer = await enter(await open_writer(where, "log", patience=PATIENCE_SECONDS))
        log_reader = await enter(await open_reader(where, "log", patience=PATIENCE_SECONDS))
        registry_reader = await enter(await open_reader(where, "registry", patience=PATIENCE_SECONDS))
        registry_writer = await enter(await open_writer(where, "registry", patience=PATIENCE_SECONDS))
        directory = Directory(registry_reader, registry_writer)
        await directory.start()
        stack.push_async_callback(directory.stop)
        writer = Writer(log_writer, settings.data_dir if settings.database_url is None else None)
        writer.start()
        stack.push_async_callback(writer.stop)
        if not WITHOUT_ROLLUPS:
            roller = Roller(registry_reader, log_reader, log_writer, writer)
            roller.start()
            stack.push_async_callback(roller.stop)
        if settings.database_url is None:  # on a server `footfall purge` has no need to ask
            sweeper = Sweeper(settings, log_writer)
            sweeper.start()
            stack.push_async_callback(sweeper.stop)
        portal = Portal(settings, registry_reader, registry_writer, self._provider, self._templates)
        stack.push_async_callback(portal.readers.close)
        compiling = asyncio.create_task(asyncio.to_thread(compile_templates))  # beside what is asked meanwhile
        stack.push_async_callback(asyncio.wait, [compiling])
        return Parts(directory, writer, log_reader, Intake(writer), Vault(settings.secret_key), portal)

    def _routes(self, parts: Parts) -> list[BaseRoute]:
        settings, intake, portal = self._settings, parts.intake, parts.portal
        health, callers = Health(parts.writer, settings.where), Callers(parts.directory)
        numbers = PageNumbers(callers, portal)

        def door(path: str, name: str) -> Route:
            scope, vault = path.rpartition("/")[2], parts.vault
            answer = BackendDoor(name, scope, intake, parts.directory, vault, parts.log_reader, settings.consent)
            return Route(path, answer, methods=["POST"])

        def read(path: str, answer: Answer) -> Route:
            return Route(f"/api/v1{path}", ReadDoor(callers, answer), methods=["GET"])

        return [
            *(Route(path, asset, methods=["GET"]) for path, asset in load_snippet().routes.items()),
            *(Route(path, asset, methods=["GET"]) for path, asset in load_static().items()),
            door("/api/v1/installs", "install"),
            door("/api/v1/app-requests", "app_request"),
            door("/api/v1/uninstalls", "uninstall"),
            read("/apps", Apps(callers)),
            read("/apps/{app_key}/events", Events(callers, portal.readers)),
            read("/apps/{app_key}/numbers/{page}", numbers),
            read("/apps/{app_key}/audiences", PageNumbers(callers, portal, "audiences")),
            read("/partners/{partner_key}/numbers/{page}", numbers),
            Route("/healthz", health.healthz),
            Route("/readyz", health.readyz),
            Route("/metrics", health.metrics),
            Route("/openapi.json", load_document(settings.ingest_path), methods=["GET"]),
            *self._extra,
            *routes(portal, PAGES),
        ]
