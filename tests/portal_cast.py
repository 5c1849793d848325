"""The portal's people, and a browser for each: what the portal's tests share.

An operator, an owner with an editor and a viewer, a stranger who owns another partner and
has a guest, and somebody who was invited.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from httpx2 import Response
from starlette.testclient import TestClient

from collector.app import Collector
from collector.portal.frame import Portal
from store.database import Database
from store.engines import open_writer
from store.people import passwords, roster, sessions
from store.people.links import Links
from store.people.roster import Person, Role
from store.sqlite.database import FILES

if TYPE_CHECKING:
    import pytest
    from conftest import Cast

PASSWORD = "swan lantern gravel opera"  # noqa: S105 - of tests only
NEW_PASSWORD = "pebble umbrella tuesday forks"  # noqa: S105 - of tests only
HASH = passwords.hashed(PASSWORD)
PEOPLE: dict[str, tuple[Role, str | None]] = {
    "operator": ("operator", None),
    "owner": ("owner", "owner"),
    "editor": ("editor", "owner"),
    "viewer": ("viewer", "owner"),
    "stranger": ("owner", "stranger"),
    "guest": ("viewer", "stranger"),
}
NOW = 1_780_000_000_000
HOUR_MS = 3_600_000
SITE = "https://testserver"


async def move_in(db: Database) -> None:
    """Everybody who is there before a test begins."""
    for name, (role, partner_key) in PEOPLE.items():
        person = await roster.add(db, NOW, email(name), name.title(), role, partner_key, "test")
        async with db.transaction():
            await roster.set_password(db, NOW, person, HASH, "test")
    await roster.add(db, NOW, email("invited"), "", "viewer", "owner", "test")


class House:
    """A running portal with its people, and a clock that stands still until it is moved."""

    def __init__(self, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cast = cast
        self.now = NOW
        monkeypatch.setattr(Portal, "now", lambda portal: self.now)
        self.people = {who.email.partition("@")[0]: who for who in self.everybody()}

    def everybody(self) -> list[Person]:
        """As they are now; `people` is as they were before the test."""
        found: list[Person] = self.store(roster.people)
        return found

    def store(self, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
        """Do something in the registry, as another process would."""

        async def opened() -> Any:
            async with await open_writer(self.cast.where, "registry") as db:
                return await work(db)

        asyncio.set_event_loop(None)
        return asyncio.run(opened())

    def link(self, name: str, purpose: Any) -> str:
        """The token of a new link for somebody."""
        links = Links(self.cast.settings().secret_key)
        token: str = self.store(lambda db: links.make(db, self.now, self.people[name], purpose, "test"))
        return token

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.cast.rows(sql, *values, nature="registry")

    def audit(self) -> tuple[str, ...]:
        """The newest line: who, what, of what, in detail."""
        return self.rows("select actor, action, subject, detail from audit order by rowid desc limit 1")[0]

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that the registry holds, but for what a mere look may change: when somebody was seen."""
        assert isinstance(self.cast.where, Path)
        with closing(sqlite3.connect(f"file:{self.cast.where / FILES['registry']}?mode=ro", uri=True)) as file:
            tables = [name for (name,) in file.execute("select name from sqlite_master where type = 'table'")]
            state = {table: sorted(file.execute(f"select * from {table}"), key=repr) for table in tables}
            state["sessions"] = sorted(file.execute("select session_id, person_id, proved_at from sessions"))
        del state["patience"]
        return state


def email(name: str) -> str:
    return f"{name}@{name}.example"


class Browser:
    """One browser at the portal."""

    def __init__(self, client: TestClient, house: House) -> None:
        self.client = client
        self.house = house

    def get(self, path: str, **headers: str) -> Response:
        return self.client.get(path, headers=named(headers))

    def post(self, path: str, fields: dict[str, str] | None = None, **headers: str) -> Response:
        """Send a form as a page of the portal does; `headers` with _ for -."""
        content = urlencode(fields or {}, errors="surrogatepass").encode()
        sent = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"} | named(headers)
        return self.client.post(path, content=content, headers=sent)

    def sign_in(self, name: str, password: str = PASSWORD, then: str = "/", **headers: str) -> Response:
        return self.post("/sign-in", {"email": email(name), "password": password, "next": then}, **headers)

    def enter(self, name: str) -> Browser:
        """Signed in, without the time that a password takes."""
        who = self.house.people[name]
        token = self.house.store(lambda db: sessions.begin(db, self.house.now, who, "testclient", "Firefox/148.0"))
        host = self.client.base_url.host
        self.client.cookies.clear()
        self.client.cookies.set("__Host-footfall", token, domain=host if "." in host else f"{host}.local")
        return self

    @property
    def cookie(self) -> str | None:
        return self.client.cookies.get("__Host-footfall")


def named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def opened(house: House, **settings: Any) -> Iterator[Browser]:
    client = TestClient(
        Collector(house.cast.settings(**settings)),
        base_url=settings.get("public_url") or SITE,
        headers={"user-agent": "Firefox/148.0"},
        follow_redirects=False,
        raise_server_exceptions=False,
    )
    with client:
        yield Browser(client, house)


def another(browser: Browser, peer: str = "testclient") -> Browser:
    """A second browser at the same portal; at 127.0.0.1 it counts as a proxy on this machine."""
    client = TestClient(
        browser.client.app,
        base_url=SITE,
        headers={"user-agent": "Safari/26"},
        follow_redirects=False,
        client=(peer, 50_000),
    )
    client.portal = browser.client.portal
    return Browser(client, browser.house)


def field(answer: Response, name: str) -> str:
    """The value of a form's field on a page."""
    found = re.search(rf'name="{name}"[^>]* value="([^"]*)"', answer.text)
    assert found, f"no field {name}"
    return found[1]


def message(answer: Response) -> str:
    """What a page says is wrong."""
    found = re.search(r'role="alert"[^>]*>([^<]*)<', answer.text)
    return found[1] if found else ""
