"""Events that are committed in another order than they are numbered in: none is passed over, and none sent twice."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import Cast
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shipping_cast import STRANGER, Installation, an_event
from test_log import entry, row
from waiting import PATIENCE_SECONDS

from store.database import Server, Where
from store.entry import Entry
from store.postgres import append
from store.postgres.connection import Connection, connect
from store.postgres.settled import BEGIN, settled

pytestmark = pytest.mark.only("postgresql", "with one writer the order of seqs is that of commits")


def opened(where: Where, role: str = "footfall_collector") -> Connection:
    assert isinstance(where, Server)
    return connect(where, "log", role, read_only=False)


class GivenUp(Exception):
    """The transaction does not come to its commit."""


class Late(Connection):
    """All that a commit consists of is done at the server; then it waits before the word itself."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.raw)
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.gives_up = False

    def execute(self, sql: str, values: Any = (), /) -> Any:
        if sql == "commit":
            super().execute("select 1").fetchone()  # what was sent before has been answered
            self.reached.set()
            assert self.go_on.wait(PATIENCE_SECONDS)
            if self.gives_up:
                raise GivenUp
        return super().execute(sql, values)


@contextmanager
def late(where: Where, *entries: Entry) -> Iterator[Late]:
    """A collector that is slow to commit these; when this ends, so has it."""
    connection = Late(opened(where))

    def commit() -> None:
        try:
            append.commit(connection, entries, Counter())
        except GivenUp:
            connection.rollback()

    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(commit)
        assert connection.reached.wait(PATIENCE_SECONDS)
        try:
            yield connection
        finally:
            connection.go_on.set()
            ended.result()
            connection.close()


def settled_now(where: Where) -> int:
    connection = opened(where, "footfall_reader")
    try:
        return settled(connection)
    finally:
        connection.close()


@pytest.mark.parametrize("gives_up", [False, True])
def test_an_event_that_is_committed_late_is_shipped_once_and_nothing_past_it_before(
    installation: Installation, gives_up: bool
) -> None:
    early = installation.views(2)
    slow, arrived = installation.arrived(*[an_event()] * 3)
    with late(installation.where, arrived) as collector:
        collector.gives_up = gives_up
        quick = installation.views(2)
        installation.views(1, STRANGER)
        for _ in range(2):
            assert settled_now(installation.where) == 2
            installation.export()
            assert [each["messageId"] for each in installation.landed()] == installation.sent_ids(early)
            assert installation.landed(STRANGER) == []
    assert settled_now(installation.where) == 8
    installation.export()
    expected = early + ([] if gives_up else slow) + quick
    assert [each["messageId"] for each in installation.landed()] == installation.sent_ids(expected)
    assert sum(len(messages) for _, _, messages in installation.sent) == len(expected) + 1
    assert len(installation.landed(STRANGER)) == 1
    assert installation.owed() == {"collected": len(expected), "accepted": len(expected)}
    assert installation.export().destinations == []


def test_the_first_events_of_all_that_are_committed_late_are_shipped(installation: Installation) -> None:
    """Before the first seq was taken there is no newest."""
    ids, arrived = installation.arrived(an_event())
    with late(installation.where, arrived):
        quick = installation.views(1)
        assert settled_now(installation.where) == 0
        assert installation.export().sums()["accepted"] == 0
    installation.export()
    assert [each["messageId"] for each in installation.landed()] == installation.sent_ids(ids + quick)


def test_a_replay_waits_for_what_is_committed_late(installation: Installation) -> None:
    installation.views(2)
    installation.export()
    _, arrived = installation.arrived(an_event())
    with late(installation.where, arrived):
        installation.views(1)
        installation.replay("com.owner.charts", 0, 4, new_ids=True)
        installation.export()
        assert len(installation.landed()) == 2 + 2
    installation.export()
    assert len(installation.landed()) == 4 + 4


STEPS = st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["begin", "number", "commit", "roll back"])), max_size=60)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_however_transactions_interleave_nothing_appears_at_or_below_what_is_settled(
    where: Where, steps: list[tuple[int, str]]
) -> None:
    """One statement at a time, of five collectors; `number` may come between their beginning and another's end."""
    writers = [opened(where) for _ in range(5)]
    reader = opened(where, "footfall_reader")
    taken: dict[int, list[int]] = {}
    highest = last = settled(reader)
    try:
        for writer, step in steps:
            raw = writers[writer].raw
            if step == "begin" and writer not in taken:
                raw.execute(BEGIN)
                taken[writer] = []
            elif step == "number" and writer in taken:
                last = raw.execute("select nextval('events_seq')").fetchone()[0]
                assert last > highest
                taken[writer].append(last)
            elif step in ("commit", "roll back") and writer in taken:
                raw.execute(step.replace(" ", ""))
                del taken[writer]
            now = settled(reader)
            assert now >= highest, "what is settled stays so"
            assert all(seq > now for seqs in taken.values() for seq in seqs)
            assert taken or now == last
            highest = now
    finally:
        for connection in (*writers, reader):
            connection.rollback()
            connection.close()


def test_what_was_read_up_to_what_is_settled_never_grows_while_many_write(cast: Cast) -> None:
    seen: list[tuple[int, int]] = []
    busy = threading.Event()

    def write(writer: int) -> None:
        chance = random.Random(writer)  # noqa: S311 - seeded on purpose
        connection = opened(cast.where)
        try:
            for turn in range(60):
                first = (writer * 60 + turn) * 4
                rows = [row(first + number) for number in range(chance.randint(1, 4))]
                if chance.random() < 0.3:
                    connection.raw.execute(BEGIN)
                    connection.raw.execute("select nextval('events_seq')")
                    connection.rollback()
                append.commit(connection, [entry(*rows)], Counter())
        finally:
            connection.close()

    def read() -> None:
        connection = opened(cast.where, "footfall_reader")
        try:
            while not busy.is_set():
                up_to = settled(connection)
                seen.append((up_to, connection.execute(COUNT, (up_to,)).fetchone()[0]))
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        reading = threads.submit(read)
        writing = [threads.submit(write, writer) for writer in range(5)]
        for each in writing:
            each.result()
        busy.set()
        reading.result()
    assert len(set(seen)) > 20
    for up_to, count in set(seen):
        assert cast.rows(COUNT, up_to) == [(count,)]


COUNT = "select count(*) from events where seq <= ?"
