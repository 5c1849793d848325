"""Somebody at the portal: signed in as whom a test says, on an installation in which the exporter runs, too."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
from httpx2 import Response
from shipping_cast import Installation
from starlette.testclient import TestClient

from collector.app import Collector
from store.engines import open_writer
from store.people import roster, sessions
from store.people.roster import Role

URL = "http://portal.example"
HOUR_MS = 3_600_000


class Visit:
    """One browser, and what it is shown. The collector begins with the first page that is asked for, and ends when
    `leave` is called: meanwhile it alone may write the log."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._token = ""
        self._stack = ExitStack()
        self._client: TestClient | None = None

    @property
    def client(self) -> TestClient:
        if self._client is None:
            settings = msgspec.structs.replace(self.installation.settings, public_url=URL)
            self._client = self._stack.enter_context(TestClient(Collector(settings), base_url=URL))
            self._client.cookies.set("footfall", self._token)
        return self._client

    def leave(self) -> None:
        self._client = None
        self._stack.close()

    def sign_in(self, partner: str | None = "owner", role: Role = "owner", ago: int = 0) -> None:
        """As somebody new whose password was given that long ago; an operator when there is no partner."""
        now = time.time_ns() // 1_000_000

        async def begin() -> str:
            async with await open_writer(self.installation.data_dir, "registry") as db:
                email = f"{role}{time.time_ns()}@{partner or 'market'}.example"
                who = await roster.add(db, now, email, "", role if partner else "operator", partner, "a test")
                return await sessions.begin(db, now - ago, who, "", "")

        self._token = asyncio.run(begin())
        if self._client is not None:
            self._client.cookies.set("footfall", self._token)

    def get(self, path: str) -> Response:
        return self.client.get(path, follow_redirects=False)

    def read(self, path: str) -> str:
        """A page's words, without its tags; it must be there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return words(answer)

    def post(self, path: str, **fields: Any) -> Response:
        return self.client.post(path, data=fields, follow_redirects=False)


def words(answer: Response) -> str:
    """What a person reads, one space between any two words."""
    bare = re.sub(r"<(script|style|head)\b.*?</\1>", " ", answer.text, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", " ", bare)
    return " ".join(text.replace("&#39;", "'").replace("&#34;", '"').replace("&amp;", "&").split())


@contextmanager
def visiting(installation: Installation) -> Iterator[Visit]:
    visit = Visit(installation)
    try:
        yield visit
    finally:
        visit.leave()
