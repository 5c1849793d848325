"""The collector's view of the registry: apps by key and tokens by hash, in memory, fresh within a second.

A miss asks the registry whether it has changed, so that an app added a moment ago works at once; but once per request,
and those that ask meanwhile share the answer, so that made-up keys cannot turn into database load.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Literal

import journal
from collector.task import Task
from store import authentication, registry
from store.attribution import rules
from store.attribution.rules import MARKETPLACE
from store.authentication import KeyPair
from store.database import Database
from store.errors import Unavailable
from store.registry import App, Token
from store.secrets import token_hash

POLL_SECONDS = 0.5
USED_SECONDS = 60.0  # how often the registry is told which tokens were used

Naming = Literal["ingest_key", "guid"]


class Directory(Task):
    """With `writer`, the registry learns when tokens were used."""

    def __init__(self, db: Database, writer: Database | None = None) -> None:
        self._db = db
        self._writer = writer
        self._used: dict[str, int] = {}
        self._told_at = time.monotonic()
        self._apps: dict[str, App] = {}
        self._app_keys: dict[tuple[str, str], str] = {}
        self._tokens: dict[str, Token] = {}
        self._pairs: dict[str, list[KeyPair]] = {}
        self._by_network: dict[str, bool] = {}
        self._version = ""
        self._looked_at = 0.0
        self._unread: Unavailable | None = None  # why the last look saw nothing
        self._looking = asyncio.Lock()  # who asks while somebody looks waits for what that one sees

    async def _prepare(self) -> None:
        with suppress(Unavailable):  # a standby serves until it is promoted: whoever is unknown is told to come back
            await self.refresh()

    async def _end(self) -> None:
        await self._tell_used()

    def app(self, app_key: str) -> App | None:
        """What is known now; `find_app` also looks again."""
        return self._apps.get(app_key)

    def app_by(self, naming: Naming, value: str) -> App | None:
        """As `app`, by what else names it."""
        app_key = self._app_keys.get((naming, value))
        return self._apps.get(app_key) if app_key is not None else None

    async def find_app(self, app_key: str, asked: float) -> App | None:
        """`asked` is when the request came, by the monotonic clock: what was added before is found."""
        if app_key not in self._apps:
            await self._look_again(asked)
        return self._apps.get(app_key)

    async def find_app_by(self, naming: Naming, value: str, asked: float) -> App | None:
        """As `find_app`, by what else names an app: its ingest key, or its GUID."""
        if (naming, value) not in self._app_keys:
            await self._look_again(asked)
        return self.app_by(naming, value)

    async def find_token(self, token: str, asked: float) -> Token | None:
        digest = token_hash(token)
        if digest not in self._tokens:
            await self._look_again(asked)
        found, now = self._tokens.get(digest), time.time_ns() // 1_000_000
        if found is None or not found.is_valid(now):
            return None
        self._used[found.token_id] = now
        return found

    def pairs_of(self, app_key: str) -> list[KeyPair]:
        """The live key pairs of an app."""
        return self._pairs.get(app_key, [])

    def by_network(self, app_key: str) -> bool:
        """Whether the rule in force for an app lets address and agent be evidence: its own before the marketplace's."""
        return self._by_network.get(app_key, self._by_network.get(MARKETPLACE, False))

    def apps_of(self, partner_key: str) -> list[App]:
        """A partner's apps, by key."""
        return [app for app in self._apps.values() if app.partner_key == partner_key]

    async def refresh(self) -> None:
        """Read the registry if it has changed."""
        self._looked_at = time.monotonic()
        try:
            await self._read()
        except Unavailable as error:
            self._unread = error
            raise
        self._unread = None

    async def _read(self) -> None:
        version = await registry.version(self._db)
        if version == self._version:
            return
        apps, tokens = await registry.apps(self._db), await registry.tokens(self._db)
        pairs = await authentication.pairs(self._db)
        by_network = await rules.by_network(self._db)
        self._apps = {app.app_key: app for app in apps}
        self._app_keys = {
            named: app.app_key for app in apps for named in (("ingest_key", app.ingest_key), ("guid", app.guid))
        }
        self._tokens = {token.token_hash: token for token in tokens}
        self._pairs = {app.app_key: [pair for pair in pairs if pair.app_key == app.app_key] for app in apps}
        self._by_network = by_network
        self._version = version

    async def _look_again(self, asked: float) -> None:
        async with self._looking:
            if self._looked_at <= asked:
                await self.refresh()
            elif self._unread is not None:
                raise Unavailable(self._unread.reason, self._unread.retry_after)

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                async with self._looking:
                    await self.refresh()
            except Unavailable as error:  # the last good view serves on; the next poll tries again
                journal.note("the registry cannot be read", level="warning", reason=str(error))
            if time.monotonic() - self._told_at >= USED_SECONDS:
                await self._tell_used()

    async def _tell_used(self) -> None:
        """When it cannot be written it is left out: nothing but a page shows it."""
        used, self._used, self._told_at = self._used, {}, time.monotonic()
        if used and self._writer is not None:
            with suppress(Unavailable):
                await registry.used_tokens(self._writer, used)
