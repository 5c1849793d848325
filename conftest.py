"""What the tests of all directories share: PostgreSQL, one server for all of them and a database for each.

The surprising thing: the tests in tests/ use it although they have no network. What forbids that sits in Python's
socket module, and PostgreSQL's client does not come by there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from selftest.citus import Citus
from selftest.cluster import Cluster, Databases


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
