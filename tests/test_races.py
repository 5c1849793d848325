"""Many at once, on either engine: a lease has one owner, an intent is carried out once, and counts stay exact."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from conftest import VISITOR, Cast
from engines import look
from shipping_cast import OWNER, Details, Installation, an_event
from test_log import NOW, entry, row

from store import ledger, log, parked, tallies
from store.database import Database, Server, Where
from store.engines import open_writer
from store.entry import Entry, Rejection, Visitor
from store.ledger import Cursor, Passage
from store.parked import Parked
from store.postgres import database as postgres
from store.postgres.connection import connect
from store.sqlite import database as sqlite
from store.sqlite.database import FILES
from store.tallies import Fate

WORKERS = 8
COURSES = [(f"com.owner.app{number % 20}", f"course-{number}") for number in range(400)]


@contextmanager
def ledger_transactions(where: Where) -> Iterator[Callable[..., Any]]:
    """Runs functions of a connection of its own, each in a transaction. The file's lock, which would let only one
    process write, is left aside."""
    if isinstance(where, Server):
        server = connect(where, "ledger", "footfall_exporter", read_only=False)
        try:
            yield lambda function, *args: postgres._in_transaction(server, "begin", function, *args)
        finally:
            server.close()
    else:
        file = sqlite3.connect(where / FILES["ledger"], isolation_level=None, timeout=30)
        try:
            yield lambda function, *args: sqlite._in_transaction(file, function, *args)
        finally:
            file.close()


def at_once(where: Where, work: Callable[[int, Callable[..., Any]], Any]) -> list[Any]:
    """What each of many workers returns that begin in one moment, each with a connection of its own."""
    start = threading.Barrier(WORKERS)

    def begin(worker: int) -> Any:
        with ledger_transactions(where) as transaction:
            start.wait(30)
            return work(worker, transaction)

    with ThreadPoolExecutor(WORKERS) as threads:
        return [each.result() for each in [threads.submit(begin, worker) for worker in range(WORKERS)]]


def in_ledger(where: Where, work: Callable[[Database], Any]) -> Any:
    async def opened() -> Any:
        async with await open_writer(where, "ledger") as db:
            return await work(db)

    return asyncio.run(opened())


@pytest.mark.parametrize("same_order", [True, False])
def test_of_many_that_ask_for_a_lease_at_once_one_gets_it(where: Where, same_order: bool) -> None:
    in_ledger(where, lambda db: ledger.begin(db, [(*keys, 0) for keys in COURSES]))

    def claim(worker: int, transaction: Callable[..., Any]) -> list[tuple[str, str]]:
        order = list(COURSES)
        if not same_order:
            random.Random(worker).shuffle(order)  # noqa: S311 - seeded on purpose
        return [keys for keys in order if transaction(ledger._lease, keys, f"run {worker}", NOW, NOW + 60_000)]

    claimed = at_once(where, claim)
    assert Counter(keys for each in claimed for keys in each) == Counter(COURSES)
    owners = {(app, course): owner for app, course, owner in look(where, "ledger", OWNERS)}
    assert owners == {keys: f"run {worker}" for worker, each in enumerate(claimed) for keys in each}


OWNERS = "select app_key, destination_id, lease_owner from cursors"


def test_a_lease_that_has_run_out_is_taken_over_by_one(where: Where) -> None:
    in_ledger(where, lambda db: ledger.begin(db, [(OWNER, "course", 0)]))
    for turn in range(20):
        now = NOW + turn * 1_000
        got = at_once(where, lambda worker, transaction, now=now: take(transaction, f"{now} {worker}", now))
        assert sum(got) == 1


def take(transaction: Callable[..., Any], owner: str, now: int) -> bool:
    return transaction(ledger._lease, (OWNER, "course"), owner, now, now + 500) is not None


def test_an_intent_is_carried_out_once_by_runs_that_find_it_at_once(where: Where) -> None:
    asked = [(f"intent-{seq}", OWNER, "course", "drop", seq) for seq in range(1, 41)]

    async def park(db: Database) -> None:
        await ledger.begin(db, [(OWNER, "course", 0)])
        await ledger.lease(db, OWNER, "course", "run", NOW, NOW + 1)
        parked = [Parked(seq, f"id-{seq}", "too_large", "", 7) for seq in range(1, 41)]
        passage = Passage(40, Counter({Fate(7, "parked", "too_large"): 40}), parked)
        await ledger.move(db, Cursor(OWNER, "course", 0, 0), "run", passage, NOW)

    in_ledger(where, park)
    told = at_once(where, lambda worker, transaction: transaction(parked._carry_out, asked, NOW))
    assert Counter(outcome for each in told for outcome in each) == {"dropped": 40}
    assert in_ledger(where, lambda db: tallies.fates(db, OWNER, "course")) == {
        "accepted": 0,
        "suppressed": 40,
        "parked": 0,
        "expired": 0,
    }


@pytest.mark.only("postgresql", "a file's ledger has one run at a time")
def test_two_runs_at_once_send_every_event_once_between_them(installation: Installation) -> None:
    apps = [OWNER, *installation.add_apps(8)]
    large = Details(url="https://market.example/", title="x" * 40_000)
    installation.views(1, details=large)
    installation.export()
    installation.ask(OWNER, "drop", 1)
    for app in apps:
        installation.collect(*[an_event()] * 700, app=app)
    start = threading.Barrier(2)

    def export() -> int:
        start.wait(30)
        return installation.export().sums()["accepted"]

    with ThreadPoolExecutor(2) as threads:
        accepted = [each.result() for each in [threads.submit(export) for _ in range(2)]]
    assert sum(accepted) == 700 * len(apps)
    assert sum(len(messages) for _, _, messages in installation.sent) == 700 * len(apps)
    assert [installation.owed(app)["accepted"] for app in apps] == [700] * len(apps)
    assert installation.ledger("select outcome from intents_done") == [("dropped",)]


# --- collectors


def the_same(chance: random.Random) -> Entry:
    """Thirty messages, ten visitors, and what was refused: always the same, each time in another order."""
    rows = [row(number, app=f"com.owner.app{number % 3}") for number in range(30)]
    visitors = [
        Visitor(f"com.owner.app{number % 3}", f"{VISITOR}{number}", "u", None, None, NOW) for number in range(10)
    ]
    chance.shuffle(rows)
    chance.shuffle(visitors)
    return entry(*rows, visitors=visitors, rejections=[Rejection("", "browser", NOW, "invalid", "why", b"x")])


@pytest.mark.only("postgresql", "a file's log has one collector")
def test_collectors_that_write_the_same_at_once_wait_for_each_other_and_count_exactly(cast: Cast) -> None:
    collectors, turns = 6, 15
    start = threading.Barrier(collectors)

    def collect(number: int) -> int:
        chance = random.Random(number)  # noqa: S311 - seeded on purpose

        async def work() -> int:
            async with await open_writer(cast.where, "log") as db:
                start.wait(30)
                done = [await log.commit(db, [the_same(chance)], Counter()) for _ in range(turns)]
                return sum(30 - len(each.duplicates) for each in done)

        return asyncio.run(work())

    with ThreadPoolExecutor(collectors) as threads:
        stored = [each.result() for each in [threads.submit(collect, number) for number in range(collectors)]]
    assert sum(stored) == 30
    times = collectors * turns
    assert cast.balance() == {
        "received": times * 31,
        "stored": 30,
        "duplicate": times * 30 - 30,
        "rejected": times,
        "shed": 0,
    }
    assert cast.rows("select count(*), count(distinct anonymous_id) from visitors") == [(10, 10)]
    assert len(cast.rejections()) == times
