"""The ledger's statements: cursors that only move forward, leases, attempts, and fates that are counted once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from engines import Stores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import ledger, tallies
from store.database import Database, Where
from store.engines import open_reader, open_writer
from store.errors import Busy, Conflict, StoreUnavailable
from store.ledger import Answer, Batch, Cursor, Health, LeaseLost, Passage
from store.parked import Parked
from store.tallies import Fate

APP, DESTINATION = "com.owner.charts", "6f1d2c3a-8b4e-5f60-9a7b-1c2d3e4f5061"
HELD = Cursor(APP, DESTINATION, 0, 0)
NOW = 1_771_243_200_123
HOUR = 492_012


def in_a_ledger(where: Where, work: Callable[[Database], Awaitable[Any]]) -> Any:
    """Do something with a new ledger in which the owner's cursor has begun at 10."""

    async def run() -> Any:
        async with await open_writer(where, "ledger") as db:
            await ledger.begin(db, [(APP, DESTINATION, 10)])
            return await work(db)

    return asyncio.run(run())


def accepted(seq: int, n: int = 1) -> Passage:
    return Passage(seq, Counter({Fate(HOUR, "accepted"): n}))


async def cursor(db: Database) -> Cursor:
    return (await ledger.cursors(db))[APP, DESTINATION]


def test_a_cursor_begins_once_and_where_it_was_told(where: Where) -> None:
    async def work(db: Database) -> None:
        await ledger.begin(db, [(APP, DESTINATION, 99), ("com.stranger.notes", DESTINATION, 5)])
        assert await ledger.cursors(db) == {
            (APP, DESTINATION): Cursor(APP, DESTINATION, 10, 10),
            ("com.stranger.notes", DESTINATION): Cursor("com.stranger.notes", DESTINATION, 5, 5),
        }

    in_a_ledger(where, work)


def test_a_lease_keeps_others_away_until_it_runs_out(where: Where) -> None:
    async def work(db: Database) -> None:
        async def lease(owner: str, now: int) -> bool:
            return await ledger.lease(db, APP, DESTINATION, owner, now, now + 100)

        assert await lease("one", NOW)
        assert not await lease("other", NOW + 50)
        assert await lease("one", NOW + 50)
        assert not await lease("other", NOW + 150)
        assert await lease("other", NOW + 151)
        assert not await lease("one", NOW + 152)
        await ledger.release(db, "other")
        assert await lease("one", NOW + 153)

    in_a_ledger(where, work)


def test_nobody_can_lease_a_cursor_that_has_not_begun(where: Where) -> None:
    async def work(db: Database) -> None:
        assert not await ledger.lease(db, "com.nobody", DESTINATION, "one", NOW, NOW + 100)

    in_a_ledger(where, work)


def test_releasing_gives_back_every_lease_of_one_run_and_none_of_anothers(where: Where) -> None:
    async def work(db: Database) -> None:
        await ledger.begin(db, [("a", "d", 0), ("b", "d", 0), ("c", "d", 0)])
        for app, owner in (("a", "one"), ("b", "one"), ("c", "other")):
            await ledger.lease(db, app, "d", owner, NOW, NOW + 100)
        await ledger.release(db, "one")
        rows = await db.all("select app_key, lease_owner from cursors where destination_id = 'd' order by app_key")
        assert rows == [("a", ""), ("b", ""), ("c", "other")]

    in_a_ledger(where, work)


@pytest.mark.parametrize("seq", [10, 9, 0])
def test_a_cursor_never_goes_back_and_never_passes_the_same_event_twice(where: Where, seq: int) -> None:
    async def work(db: Database) -> None:
        await ledger.lease(db, APP, DESTINATION, "one", NOW, NOW + 100)
        with pytest.raises(LeaseLost):
            await ledger.move(db, HELD, "one", accepted(seq), NOW)
        assert (await cursor(db)).seq == 10
        assert await tallies.fates(db, APP, DESTINATION) == {"accepted": 0, "suppressed": 0, "parked": 0, "expired": 0}

    in_a_ledger(where, work)


def test_only_the_run_that_holds_the_lease_moves_the_cursor(where: Where) -> None:
    async def work(db: Database) -> None:
        await ledger.lease(db, APP, DESTINATION, "one", NOW, NOW + 100)
        with pytest.raises(LeaseLost):
            await ledger.move(db, HELD, "other", accepted(11), NOW)
        await ledger.move(db, HELD, "one", accepted(11), NOW)
        assert (await cursor(db)).seq == 11

    in_a_ledger(where, work)


def an_attempt(number: int, run: str = "one") -> Batch:
    return Batch(f"batch-{number}", run, number, 11, 12, 2, 1_400)


def test_a_lost_lease_leaves_the_attempt_open_because_nothing_of_its_end_is_written(where: Where) -> None:
    """Together or not at all: a closed attempt without the cursor's move would count as sent what is sent again."""

    async def work(db: Database) -> None:
        await ledger.lease(db, APP, DESTINATION, "other", NOW, NOW + 100)
        await ledger.open_batch(db, APP, DESTINATION, an_attempt(1), NOW)
        with pytest.raises(LeaseLost):
            await ledger.close_batch(db, HELD, "one", "batch-1", Answer("accepted", 200), NOW, accepted(12, 2))
        assert await db.all("select outcome, status, closed_at from batches") == [("open", None, None)]
        assert await db.all("select count(*) from tallies") == [(0,)]

    in_a_ledger(where, work)


def test_an_attempts_end_the_fates_and_the_move_are_written_together(where: Where) -> None:
    async def work(db: Database) -> None:
        await ledger.lease(db, APP, DESTINATION, "one", NOW, NOW + 100)
        await ledger.open_batch(db, APP, DESTINATION, an_attempt(1), NOW)
        passed = Passage(
            12,
            Counter({Fate(HOUR, "accepted"): 1, Fate(HOUR, "parked", "too_large"): 1}),
            [Parked(11, "id-11", "too_large", "40000 bytes", HOUR)],
        )
        await ledger.close_batch(db, HELD, "one", "batch-1", Answer("accepted", 200), NOW + 7, passed)
        assert await db.all("select outcome, status, opened_at, closed_at from batches") == [
            ("accepted", 200, NOW, NOW + 7)
        ]
        assert await db.all("select seq, message_id, reason, detail, parked_at from parked") == [
            (11, "id-11", "too_large", "40000 bytes", NOW + 7)
        ]
        assert (await cursor(db)).seq == 12
        assert await tallies.fates(db, APP, DESTINATION) == {"accepted": 1, "suppressed": 0, "parked": 1, "expired": 0}

    in_a_ledger(where, work)


def test_an_attempt_ends_once(where: Where) -> None:
    async def work(db: Database) -> None:
        await ledger.open_batch(db, APP, DESTINATION, an_attempt(1), NOW)
        await ledger.close_batch(db, HELD, "one", "batch-1", Answer("deferred", 503, "busy"), NOW + 1)
        await ledger.close_batch(db, HELD, "one", "batch-1", Answer("accepted", 200), NOW + 2)
        assert await db.all("select outcome, status, detail, closed_at from batches") == [
            ("deferred", 503, "busy", NOW + 1)
        ]

    in_a_ledger(where, work)


def test_what_is_passed_in_one_hour_adds_up(where: Where) -> None:
    async def work(db: Database) -> None:
        await ledger.lease(db, APP, DESTINATION, "one", NOW, NOW + 100)
        for seq in (11, 15, 16):
            await ledger.move(db, HELD, "one", accepted(seq, 3), NOW)
        assert await db.all("select hour, fate, reason, n from tallies") == [(HOUR, "accepted", "", 9)]

    in_a_ledger(where, work)


@pytest.mark.only("sqlite", "whoever has a lease while another holds the file is dead")
def test_recovering_marks_what_was_left_open_and_takes_the_leases_back(where: Where) -> None:
    async def work(db: Database) -> None:
        await ledger.lease(db, APP, DESTINATION, "dead", NOW, NOW + 300_000)
        for number in (1, 2, 3):
            await ledger.open_batch(db, APP, DESTINATION, an_attempt(number), NOW)
        await ledger.close_batch(db, HELD, "dead", "batch-1", Answer("accepted", 200), NOW)
        assert await ledger.recover(db, NOW + 1) == 2
        assert await ledger.recover(db, NOW + 2) == 0
        assert await db.all("select outcome, closed_at from batches order by batch_id") == [
            ("accepted", NOW),
            ("ambiguous", NOW + 1),
            ("ambiguous", NOW + 1),
        ]
        assert await ledger.lease(db, APP, DESTINATION, "one", NOW, NOW + 100)

    in_a_ledger(where, work)


def test_recovering_marks_what_runs_left_open_whose_lease_has_run_out(where: Where) -> None:
    async def work(db: Database) -> None:
        await ledger.lease(db, APP, DESTINATION, "dead", NOW, NOW + 100)
        await ledger.open_batch(db, APP, DESTINATION, an_attempt(1, "dead"), NOW)
        assert await ledger.recover(db, NOW + 101) == 1
        assert await ledger.recover(db, NOW + 101) == 0
        assert await db.all("select outcome, closed_at from batches") == [("ambiguous", NOW + 101)]
        assert await ledger.lease(db, APP, DESTINATION, "one", NOW + 101, NOW + 200)
        assert (await cursor(db)).health == Health(ambiguous_since=NOW, ambiguous_seq=12)

    in_a_ledger(where, work)


@pytest.mark.only("postgresql", "there may be another run beside this one")
def test_recovering_leaves_alone_what_a_living_run_has_open(where: Where) -> None:
    async def work(db: Database) -> None:
        await ledger.lease(db, APP, DESTINATION, "living", NOW, NOW + 100)
        await ledger.open_batch(db, APP, DESTINATION, an_attempt(1, "living"), NOW)
        assert await ledger.recover(db, NOW + 50) == 0
        assert await db.all("select outcome from batches") == [("open",)]
        assert not await ledger.lease(db, APP, DESTINATION, "one", NOW + 50, NOW + 200)

    in_a_ledger(where, work)


def test_what_a_destination_asked_for_is_remembered_until_it_is_taken_back(where: Where) -> None:
    async def work(db: Database) -> None:
        health = Health(not_before=NOW, tripped="it is at fault", trips=2, failures=5, recent="+-----")
        await ledger.lease(db, APP, DESTINATION, "one", NOW, NOW + 100)
        await ledger.open_batch(db, APP, DESTINATION, an_attempt(1), NOW)
        held = msgspec.structs.replace(HELD, health=health)
        await ledger.close_batch(db, held, "one", "batch-1", Answer("deferred", 503), NOW)
        assert await cursor(db) == Cursor(APP, DESTINATION, 10, 10, health)
        await ledger.move(db, HELD, "one", accepted(11), NOW)
        assert await cursor(db) == Cursor(APP, DESTINATION, 10, 11)

    in_a_ledger(where, work)


@pytest.mark.parametrize(
    "statement",
    [
        "update cursors set seq = 9",
        "insert into tallies values ('a', 'd', 1, 'delivered', '', 1)",
        "insert into batches (app_key, batch_id, destination_id, run_id, attempt, first_seq, last_seq, events, bytes,"
        " opened_at, outcome) values ('a', 'b', 'd', 'r', 1, 1, 1, 1, 1, 1, 'sent')",
    ],
)
def test_the_schema_itself_refuses_what_has_no_meaning(where: Where, statement: str) -> None:
    async def work(db: Database) -> None:
        with pytest.raises(Conflict, match=r"(?i)check"):
            await db.execute(statement)

    in_a_ledger(where, work)


def test_a_ledger_has_any_number_of_readers_that_cannot_write(where: Where) -> None:
    async def work(db: Database) -> None:
        async with await open_reader(where, "ledger") as reader:
            assert len(await ledger.cursors(reader)) == 1
            with pytest.raises(StoreUnavailable, match=r"read-?only"):
                await ledger.begin(reader, [("a", "d", 0)])

    in_a_ledger(where, work)


@pytest.mark.only("sqlite", "a server's ledger has as many as there are runs")
def test_a_ledger_has_one_writer(where: Where) -> None:
    async def work(db: Database) -> None:
        with pytest.raises(Busy):
            await open_writer(where, "ledger")

    in_a_ledger(where, work)


moves = st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["one", "other"]), st.integers(1, 5)), max_size=30)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tried=moves)
def test_the_tallies_are_the_sum_of_the_moves_that_were_made(
    stores: Stores, tmp_path_factory: pytest.TempPathFactory, tried: list[tuple[int, str, int]]
) -> None:
    async def work(db: Database) -> None:
        await ledger.lease(db, APP, DESTINATION, "one", NOW, NOW + 100)
        at, counted = 10, 0
        for seq, owner, n in tried:
            try:
                await ledger.move(db, HELD, owner, accepted(seq, n), NOW)
            except LeaseLost:
                assert seq <= at or owner == "other"
            else:
                assert seq > at
                at, counted = seq, counted + n
        assert (await cursor(db)).seq == at
        assert (await tallies.fates(db, APP, DESTINATION))["accepted"] == counted

    in_a_ledger(stores.new(tmp_path_factory.mktemp("ledger")), work)
