"""What the tests of all directories share: PostgreSQL, one server for all of them and a database for each.

The surprising thing: the tests in tests/ use it although they have no network. What forbids that sits in Python's
socket module, and PostgreSQL's client does not come by there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from selftest.cluster import Cluster, Databases
from store.database import Server, migrate_all
from store.postgres import roles


class Citus(Databases):
    """Databases on every node of a Citus, made by a superuser of all; the URL is of one that knows its nodes.

    A new database has its tables, distributed. The roles may log in, so that processes can take them.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        with psycopg.connect(url) as connection:
            sql = "select nodename, nodeport from pg_dist_node where noderole = 'primary' order by groupid"
            self._nodes: list[tuple[str, int]] = connection.execute(sql).fetchall()

    def database(self, name: str | None = None) -> str:
        url = super().database(name)
        for node in self._nodes[1:]:
            Databases(self._at(node)).database(str(conninfo_to_dict(url)["dbname"]))
        for node in self._nodes:
            with psycopg.connect(self._at(node, url), autocommit=True) as connection:
                connection.execute("create extension citus")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("select citus_set_coordinator_host(%s, %s)", self._nodes[0])
            for node in self._nodes[1:]:
                connection.execute("select citus_add_node(%s, %s)", node)
            connection.execute("select citus_set_node_property(%s, %s, 'shouldhaveshards', true)", self._nodes[0])
            asyncio.run(migrate_all(Server(url), distribute=True))
            for role in roles.ALL:
                connection.execute(f"alter role {role} login")
        return url

    def drop(self, url: str) -> None:
        for node in self._nodes:
            Databases(self._at(node)).drop(url)

    def _at(self, node: tuple[str, int], url: str | None = None) -> str:
        parts = urlsplit(url or self.url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@{node[0]}:{node[1]}"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Databases]:
    """The server that all tests share: the one that TEST_POSTGRES_URL names, as a superuser of it, else one of ours.

    With TEST_CITUS_URL, the URL of a database on a coordinator, all of them run on Citus. A test that stops or kills
    a server makes its own Cluster.
    """
    on_citus = os.environ.get("TEST_CITUS_URL")
    if on_citus:
        yield Citus(on_citus)
        return
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield Databases(given)
        return
    with Cluster() as ours:
        yield ours


@pytest.fixture
def postgres_url(cluster: Databases) -> Iterator[str]:
    """The URL of an empty database, dropped after the test."""
    url = cluster.database()
    yield url
    cluster.drop(url)
