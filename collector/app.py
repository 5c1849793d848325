"""Every route of the collector in reading order, and the life of what stands behind them.

The browser's door and Segment's are asked before the router: their paths are exactly matched, and take nearly every
request.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from collector.assets import load_snippet, load_static
from collector.catalogue import Catalogue
from collector.directory import Directory
from collector.doors.apps import Apps
from collector.doors.authentication import Gate
from collector.doors.backend import BackendDoor
from collector.doors.body import Headers
from collector.doors.browser import MAX_BODY, BrowserDoor
from collector.doors.calls import DOOR as KOCHAVA
from collector.doors.event_names import EventNames
from collector.doors.events import Events
from collector.doors.kochava import LINK_PATH, TRACK_PATH, KochavaDoor
from collector.doors.listing import Judge
from collector.doors.numbers import PageNumbers
from collector.doors.partner import Means
from collector.doors.quick import Quick
from collector.doors.read import Answer, Callers, ReadDoor
from collector.doors.segment import DOOR as SEGMENT
from collector.doors.segment import PATHS, QUICK_PATHS, SegmentDoor
from collector.doors.segment_settings import SegmentSettings
from collector.doors.webhook import WebhookDoor
from collector.health import Health
from collector.ingest import Intake
from collector.notices import Notices
from collector.openapi import load_document
from collector.origins import Origins
from collector.portal.frame import Portal, compile_templates, routes
from collector.portal.openid import provider_of
from collector.portal.pages import PAGES
from collector.quarantine import Judge as Release
from collector.quarantine import Quarantine
from collector.roller import Roller
from collector.sweeper import Sweeper
from collector.task import Task
from collector.writer import Writer
from store.database import Database
from store.engines import make_ready, open_reader, open_writer
from store.secrets import Vault
from store.settings import Settings

WITHOUT_ROLLUPS = os.environ.get("FOOTFALL_TEST") == "1" and "FOOTFALL_TEST_NO_ROLLUPS" in os.environ
PATIENCE_SECONDS = 10.0  # for a server's answer: senders wait twice that for ours, or longer
T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Parts:
    """What stands behind the routes while the collector runs."""

    directory: Directory
    writer: Writer
    log_reader: Database
    intake: Intake
    vault: Vault
    catalogue: Catalogue
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
        self._direct: dict[str, ASGIApp] = {}  # doors by path
        self.quick_paths = QUICK_PATHS | {settings.ingest_path.encode(): MAX_BODY}

    def quick(self, path: bytes, headers: Headers, body: bytes) -> Quick | None:
        """The quick lane into the doors that have one: see collector/quick_lane.py."""
        door = self._direct.get(path.decode())
        if isinstance(door, BrowserDoor):
            return door.quick(headers, body)
        return door.quick(path.decode(), headers, body) if isinstance(door, SegmentDoor) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = self._direct.get(scope.get("path", ""), self._router)
        await door(scope, receive, send)

    @asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        """Open the store, begin to take in; at the end finish what was begun, in the opposite order."""
        async with AsyncExitStack() as stack:
            parts = await self._begin(stack)
            judge = Judge(parts.directory, parts.vault, self._settings.consent)
            browser = BrowserDoor(parts.intake, judge, Origins(self._settings))
            gate = Gate(parts.directory, parts.vault, parts.log_reader, self._settings.retention_days)
            means = Means(parts.vault, parts.catalogue, parts.directory)
            pretend = self._settings.unknown_key == "pretend"
            segment = SegmentDoor(parts.intake, parts.directory, means, gate, pretend)
            kochava = KochavaDoor(parts.intake, parts.directory, means, gate)
            judges: dict[str, Release] = {SEGMENT: segment.judge_held, KOCHAVA: kochava.judge_held}
            parts.portal.quarantine = Quarantine(parts.intake, parts.log_reader, judges)
            self._direct = dict.fromkeys(PATHS, segment) | {self._settings.ingest_path: browser}
            app.router.routes[:] = self._routes(parts, segment, kochava)
            gc.freeze()  # what lives as long as the process need not be looked at again
            sys.setswitchinterval(0.000_2)  # a commit's thread goes on soon while requests are judged
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
        directory = await _started(Directory(registry_reader, registry_writer), stack)
        catalogue = await _started(Catalogue(registry_reader, log_reader), stack)
        writer = Writer(log_writer, settings.data_dir if settings.database_url is None else None)
        writer.start()
        stack.push_async_callback(writer.stop)
        if not WITHOUT_ROLLUPS:
            await _started(Roller(registry_reader, log_reader, log_writer, writer), stack)
        if settings.database_url is None:  # on a server `footfall purge` has no need to ask
            await _started(Sweeper(settings, log_writer), stack)
        portal = Portal(settings, registry_reader, registry_writer, self._provider, self._templates)
        stack.push_async_callback(portal.readers.close)
        await _started(Notices(portal.readers, registry_reader, registry_writer), stack)
        ended = threading.Event()
        compiling = asyncio.create_task(asyncio.to_thread(compile_templates, ended))
        stack.push_async_callback(asyncio.wait, [compiling])
        stack.callback(ended.set)
        return Parts(directory, writer, log_reader, Intake(writer), Vault(settings.secret_key), catalogue, portal)

    def _routes(self, parts: Parts, segment: SegmentDoor, kochava: KochavaDoor) -> list[BaseRoute]:
        settings, intake, portal = self._settings, parts.intake, parts.portal
        health, callers = Health(parts.writer, settings.where), Callers(parts.directory)
        numbers = PageNumbers(callers, portal)
        segment_settings = SegmentSettings(parts.directory, settings.public_url)
        webhook = WebhookDoor(intake, parts.directory, Means(parts.vault, parts.catalogue, parts.directory))

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
            *(Route(f"/v1/projects/{{key}}/settings{end}", segment_settings, methods=["GET"]) for end in ("", "/")),
            Route("/webhooks/segment/{guid}", webhook, methods=["POST"]),
            Route(TRACK_PATH, kochava, methods=["POST"]),
            Route(LINK_PATH, kochava, methods=["POST"]),
            Route("/v1/{call:path}", segment, methods=["POST", "OPTIONS"]),  # what no other route of /v1 takes
            read("/apps", Apps(callers)),
            read("/apps/{app_key}/events", Events(callers, portal.readers)),
            read("/apps/{app_key}/event-names", EventNames(callers, portal)),
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


async def _started(task: T, stack: AsyncExitStack) -> T:
    """Start it, and have the stack stop it."""
    await task.start()
    stack.push_async_callback(task.stop)
    return task
