"""The server that the tests share, as a test without a network sees it, and where its programs are looked for."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import psycopg
import pytest
from pytest_socket import SocketBlockedError

from selftest.cluster import Databases, binaries
from selftest.processes import Failed


def test_a_test_gets_an_empty_database_of_its_own(cluster: Databases, postgres_url: str) -> None:
    other = cluster.database()
    try:
        for url in (postgres_url, other):
            with psycopg.connect(url) as connection:
                connection.execute("create table things (n integer)")
                assert connection.execute("select count(*) from things").fetchone() == (0,)
    finally:
        cluster.drop(other)


def test_it_orders_and_encodes_as_sqlite_does(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        words = connection.execute("select word from unnest(array['b', 'Z', 'ä', 'a']) word order by word").fetchall()
        assert connection.info.encoding == "utf-8"
    assert words == [("Z",), ("a",), ("b",), ("ä",)]


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_it_is_reached_from_an_event_loop_while_all_else_is_forbidden(postgres_url: str) -> None:
    async def ask() -> object:
        async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
            return await (await connection.execute("select 1")).fetchone()

    assert asyncio.run(ask()) == (1,)
    with pytest.raises(SocketBlockedError):
        socket.create_connection(("127.0.0.1", 9))


def test_the_newest_server_is_taken_and_a_client_is_none(tmp_path: Path) -> None:
    for version, program in (("9.6", "initdb"), ("15", "initdb"), ("17", "psql")):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / program).touch()
    assert binaries(tmp_path) == tmp_path / "15" / "bin"


def test_without_a_server_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failed, match=r"apt-get install postgresql$"):
        binaries(tmp_path)
