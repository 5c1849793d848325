"""Our own encoding of columns: whatever goes to the server comes back, and is what psycopg's would have been."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from store.database import Server
from store.postgres.connection import Bytes, Connection, Numbers, Texts, connect

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
HOSTILE = st.sampled_from(
    ["", "NULL", "null", '"', "\\", '\\"', "{}", "{a,b}", ",", "'", "\U0001f642", " ", "\n", "%s?"]
)
LIMITS = st.sampled_from([0, -1, 2**15, 2**31 - 1, 2**31, -(2**31), 2**63 - 1, -(2**63)])

given_server = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)


@pytest.fixture
def server(postgres_url: str) -> Iterator[Connection]:
    connection = connect(Server(postgres_url), "public", None, read_only=False)
    yield connection
    connection.close()


@pytest.fixture
def plain(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """psycopg as it comes."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


def same(server: Connection, plain: psycopg.Connection[Any], column: tuple[Any, ...], kind: str) -> None:
    """The server has from us what it has from psycopg: equal, equally long, and equal in its own words."""
    told = f"coalesce(cardinality(given), -1), given::text, given from (select %s::{kind}[] as given) as asked"
    ours = server.execute(f"select {told.replace('%s', '?')}", (column,)).fetchone()
    assert ours == plain.execute(f"select {told}".encode(), (list(column),)).fetchone()
    assert ours[2] == list(column)


@given_server
@given(column=st.lists(st.one_of(TEXT, HOSTILE, st.none()), max_size=8))
@example(column=[])
@example(column=[None])
@example(column=["x" * 70_000, "", None])
def test_texts_arrive_as_they_were(
    server: Connection, plain: psycopg.Connection[Any], column: list[str | None]
) -> None:
    same(server, plain, Texts(column), "text")


@given_server
@given(column=st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), LIMITS), max_size=8))
@example(column=[])
def test_numbers_arrive_as_they_were(server: Connection, plain: psycopg.Connection[Any], column: list[int]) -> None:
    same(server, plain, Numbers(column), "bigint")


@given_server
@given(column=st.lists(st.one_of(st.binary(max_size=40), st.none()), max_size=8))
@example(column=[])
@example(column=[b"\0\\x00", b"", None])
def test_bytes_arrive_as_they_were(server: Connection, plain: psycopg.Connection[Any], column: list[bytes]) -> None:
    same(server, plain, Bytes(column), "bytea")


@given_server
@given(
    rows=st.lists(
        st.tuples(st.one_of(TEXT, HOSTILE, st.none()), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=8)),
        max_size=8,
    )
)
def test_columns_become_rows_again(server: Connection, rows: list[tuple[str | None, int, bytes]]) -> None:
    texts, numbers, blobs = ([row[at] for row in rows] for at in range(3))
    found = server.execute("select * from unnest(?, ?, ?)", (Texts(texts), Numbers(numbers), Bytes(blobs))).fetchall()
    assert found == rows


@given_server
@given(value=st.one_of(TEXT, HOSTILE, st.integers(-(2**63), 2**63 - 1), LIMITS, st.binary(), st.booleans(), st.none()))
def test_single_values_arrive_as_they_were(server: Connection, value: Any) -> None:
    kind = {bool: "bigint", int: "bigint", str: "text", bytes: "bytea", type(None): "text"}[type(value)]
    assert server.execute(f"select cast(? as {kind})", (value,)).fetchone() == (value,)
