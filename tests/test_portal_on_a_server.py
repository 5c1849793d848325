"""The portal on PostgreSQL: the same pages, and the rules that rest on what happens at once."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import requests
from conftest import SECRET_KEY
from openid_cast import CLIENT_ID, CLIENT_SECRET, Provider, path_of
from portal_cast import NEW_PASSWORD, NOW, PASSWORD, SITE, email, move_in
from pytest_socket import enable_socket
from starlette.testclient import TestClient

from collector.app import Collector
from collector.portal.pages import PAGES
from store import registry
from store.database import Database, Server
from store.engines import migrate_all, open_reader, open_writer
from store.errors import FootfallError
from store.people import roster
from store.people.links import Links
from store.people.totp import code
from store.settings import Settings


@pytest.fixture
def settings(postgres_url: str, tmp_path: Path) -> Settings:
    """An installation on a server, with the portal's people."""
    enable_socket()
    asyncio.run(_move_in(Server(postgres_url)))
    return Settings(data_dir=tmp_path, database_url=postgres_url, secret_key=SECRET_KEY)


async def _move_in(server: Server) -> None:
    await migrate_all(server)
    async with await open_writer(server, "registry") as db:
        await registry.add_partner(db, NOW, "owner", "1211971", "Owner")
        await registry.add_partner(db, NOW, "stranger", "1213333", "Stranger")
        await registry.add_app(db, NOW, "com.owner.charts", "owner", "1219125", "Charts")
        await move_in(db)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(Collector(settings), base_url=SITE, follow_redirects=False) as found:
        yield found


def sign_in(client: TestClient, name: str, password: str = PASSWORD) -> Any:
    client.cookies.clear()
    return client.post("/sign-in", data={"email": email(name), "password": password})


def test_every_page_can_be_opened_there(client: TestClient) -> None:
    assert sign_in(client, "operator").status_code == 303
    for page in PAGES:
        if page.method == "GET":
            linked = page.path in ("/invitation", "/reset") or "{" in page.path or "openid" in page.path
            expected = 404 if linked else 303 if page.path == "/sign-in" else 200
            assert client.get(page.path).status_code == expected, page.path
    assert client.get("/people/%00").status_code == 404


def test_what_is_changed_there_is_changed(client: TestClient) -> None:
    sign_in(client, "owner")
    made = client.post("/people", data={"email": "new@new.example", "role": "viewer"})
    link = re.search(r"/invitation\?token=([^\"]+)", made.text)
    assert link
    token = re.search(r'readonly value="(fft_[^"]+)"', client.post("/tokens", data={"name": "t", "days": ""}).text)
    assert token
    answer = client.get("/api/v1/apps", headers={"Authorization": f"Bearer {token[1]}"})
    assert [app["app"] for app in answer.json()["apps"]] == ["com.owner.charts"]
    page = client.get("/account/second-step").text
    secret, ticket = re.search(r'secret">([^<]+)<', page), re.search(r'name="ticket" value="([^"]+)"', page)
    assert secret
    assert ticket
    now = time.time_ns() // 1_000_000
    fields = {"ticket": ticket[1], "code": code(secret[1].replace(" ", ""), now // 30_000)}
    assert "Recovery codes" in client.post("/account/second-step", data=fields).text
    client.cookies.clear()
    used = client.post("/invitation", data={"token": link[1], "password": NEW_PASSWORD})
    assert used.status_code == 303
    sign_in(client, "operator")
    rows = client.get("/operator/audit").text
    assert rows.count("owner@owner.example") >= 4


def test_an_owner_reads_their_own_audit_there(client: TestClient) -> None:
    """Through the wall: the question is of one partner besides."""
    for name in ("stranger", "viewer", "owner"):
        assert sign_in(client, name).status_code == 303
    text = client.get("/audit?action=person.sign-in").text.partition("<tbody>")[2]
    assert (text.count(email("viewer")), text.count(email("owner")), "stranger" in text) == (2, 2, False)
    assert client.get("/audit?person=%00&from=2026-01-01&until=x&before=y").status_code == 200


def test_the_audit_behind_the_wall_is_one_partners(settings: Settings) -> None:
    async def work() -> set[Any]:
        async with await open_reader(settings.where, "registry", "owner") as db:
            return {row[0] for row in await db.all("select partner_key from audit")}

    assert asyncio.run(work()) == {"owner"}


def test_who_is_known_to_a_provider_is_in_there(settings: Settings) -> None:
    provider = Provider()
    provider.now = lambda: time.time_ns() // 1_000_000
    provider.claims = {"sub": "u-17", "email": email("owner"), "email_verified": True}
    given = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET}
    with TestClient(
        Collector(msgspec.structs.replace(settings, public_url=SITE, **given)), base_url=SITE, follow_redirects=False
    ) as client:
        for _ in range(2):
            away = client.get("/sign-in/openid").headers["location"]
            there = requests.get(away, allow_redirects=False, timeout=10).headers["location"]
            assert client.get(path_of(there)).status_code == 303
            assert email("owner") in client.get("/account").text
            client.post("/sign-out")
            provider.claims = {"sub": "u-17"}
    provider.close()


def test_tries_are_counted_there(client: TestClient) -> None:
    assert [sign_in(client, "owner", "wrong").status_code for _ in range(6)] == [403] * 5 + [429]


@pytest.mark.parametrize("table", ["people", "tokens", "sessions", "links", "recovery_codes"])
def test_who_sees_a_partners_data_there_sees_no_hash(settings: Settings, table: str) -> None:
    async def work() -> Any:
        async with await open_reader(settings.where, "registry", "owner") as db:
            assert await db.value("select count(*) from apps") == 1
            return await db.all(f"select * from {table}")

    with pytest.raises((FootfallError, psycopg.errors.InsufficientPrivilege)):
        asyncio.run(work())


async def _both(server: Server, first: Any, second: Any) -> list[Any]:
    """Two at once, each on a connection of its own."""
    async with await open_writer(server, "registry") as one, await open_writer(server, "registry") as other:
        return await asyncio.gather(first(one), second(other), return_exceptions=True)


def test_of_two_owners_who_leave_at_once_one_stays_there(settings: Settings) -> None:
    server = settings.where
    assert isinstance(server, Server)

    async def work() -> list[Any]:
        async with await open_reader(server, "registry") as db:
            owner, editor = await roster.by_email(db, email("owner")), await roster.by_email(db, email("editor"))
        assert owner
        assert editor
        async with await open_writer(server, "registry") as db:
            await roster.change_role(db, NOW, editor, "owner", "test")
            left: list[Any] = []
            for _ in range(10):
                left.append(
                    await _both(
                        server,
                        lambda one: roster.disable(one, NOW, owner, "test"),
                        lambda two: roster.disable(two, NOW, editor, "test"),
                    )
                )
                await roster.enable(db, NOW, owner, "test")
                await roster.enable(db, NOW, editor, "test")
        return left

    for both in asyncio.run(work()):
        assert sum(result is None for result in both) == 1


def test_of_two_who_use_a_link_at_once_one_gets_it_there(settings: Settings) -> None:
    server = settings.where
    assert isinstance(server, Server)
    links = Links(SECRET_KEY)

    async def work() -> list[Any]:
        async with await open_writer(server, "registry") as db:
            person = await roster.by_email(db, email("invited"))
            assert person
            token = await links.make(db, NOW, person, "invitation", "test")

        async def use(db: Database) -> Any:
            return await links.use(db, NOW, token, "invitation", "hash")

        return await _both(server, use, use)

    assert sum(found is not None for found in asyncio.run(work())) == 1


def test_many_who_ask_at_once_are_all_answered_there(client: TestClient) -> None:
    sign_in(client, "operator")
    cookie = {"Cookie": f"__Host-footfall={client.cookies['__Host-footfall']}"}
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: client.get("/people", headers=cookie).status_code, range(12)))
    assert answers == [200] * 12
