"""A server that is slow, silent or a standby: how long a call waits, and what whoever asked is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from collector.directory import Directory
from selftest.cluster import Databases
from store.database import Server
from store.engines import migrate_all, open_reader, open_writer
from store.errors import StoreUnavailable, Unavailable
from store.settings import load

NOWHERE = Server("postgresql://postgres@127.0.0.1:1/none")


@pytest.fixture(scope="module")
def server(cluster: Databases) -> Iterator[Server]:
    """A database with the store's schemas."""
    url = cluster.database()
    asyncio.run(migrate_all(Server(url)))
    yield Server(url)
    cluster.drop(url)


def test_a_call_that_is_not_answered_in_time_fails_and_the_next_one_finds_the_server(server: Server) -> None:
    async def work() -> None:
        async with await open_writer(server, "log", patience=1.5) as db:
            with pytest.raises(StoreUnavailable, match="the server does not answer"):
                await db.value("select pg_sleep(60)")
            assert await db.value("select 1") == 1

    asyncio.run(work())


def test_those_who_waited_behind_it_are_not_kept_for_as_long_again(server: Server) -> None:
    async def work() -> float:
        async with await open_reader(server, "log", patience=2) as db:
            began = time.monotonic()
            sleepers = [db.value("select pg_sleep(60)") for _ in range(30)]
            ended = await asyncio.gather(*sleepers, return_exceptions=True)
            assert {type(error) for error in ended} == {StoreUnavailable}
            assert {str(error) for error in ended} == {f"{server}: the server does not answer"}
            return time.monotonic() - began

    assert asyncio.run(work()) < 30  # one after another it would be 60


def test_with_patience_a_server_need_not_be_there_yet() -> None:
    async def work() -> None:
        async with await open_writer(NOWHERE, "log", patience=5) as db:
            with pytest.raises(StoreUnavailable, match="Connection refused"):
                await db.value("select 1")

    asyncio.run(work())


def test_of_several_servers_each_is_told_and_no_password() -> None:
    servers = Server("postgresql://somebody:secret@127.0.0.1:1,127.0.0.1:2/none")
    settings = {"FOOTFALL_DATABASE_URL": servers.url, "FOOTFALL_SECRET_KEY": "b1d8a2c47f603e95d2b8e6a1c3f5079d"}
    assert load(settings).where == servers
    assert str(servers) == "PostgreSQL at 127.0.0.1:1,127.0.0.1:2/none"
    with pytest.raises(StoreUnavailable) as failed:
        asyncio.run(open_reader(servers, "log"))
    told = str(failed.value)
    assert told.count("Connection refused") == 2
    assert "127.0.0.1:1: " in told
    assert "127.0.0.1:2: " in told
    assert "secret" not in told
    assert "\n" not in told


def test_whoever_asked_while_the_registry_could_not_be_read_is_not_told_that_there_is_no_such_app() -> None:
    async def work() -> list[object]:
        async with await open_reader(NOWHERE, "registry", patience=5) as db:
            directory = Directory(db)
            await directory.start()
            asked = time.monotonic()
            looks = [directory.find_app("com.owner.charts", asked) for _ in range(3)]
            try:
                return await asyncio.gather(*looks, return_exceptions=True)
            finally:
                await directory.stop()

    assert [isinstance(found, Unavailable) for found in asyncio.run(work())] == [True, True, True]
