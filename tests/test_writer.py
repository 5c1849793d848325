"""The one writer: what is answered is stored, what cannot be stored is told at once, and it heals by itself."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conftest import Cast
from test_log import entry, rejection, row
from waiting import PATIENCE_SECONDS

from collector import writer as module
from collector.writer import Stored, Writer
from store.database import Database
from store.engines import open_writer
from store.entry import HOUR_MS, Visitor
from store.errors import Unavailable

ALL = Stored(frozenset(), frozenset())
NOW = 1_700_000_000_000


def with_writer(cast: Cast, work: Callable[[Writer, Database], Coroutine[Any, Any, Any]]) -> Any:
    """Run `work` with a writer that is not started yet; end it as the collector does."""

    async def opened() -> Any:
        async with await open_writer(cast.where, "log") as db:
            writer = Writer(db, cast.data_dir)
            result = await work(writer, db)
            await writer.stop()
            return result

    return asyncio.run(opened())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - only the event loop's turn is waited for
            await asyncio.sleep(0)


@pytest.fixture
def probing_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.001)


def test_an_entry_is_on_disk_when_its_future_is_done(cast: Cast) -> None:
    async def work(writer: Writer, db: Database) -> None:
        writer.start()
        assert await writer.append(entry(row(1), row(2)), 100) == ALL
        assert cast.balance()["stored"] == 2
        assert writer.queued == (0, 0)

    with_writer(cast, work)


def test_everyone_who_waits_is_told_of_its_own_rows(cast: Cast) -> None:
    async def work(writer: Writer, db: Database) -> None:
        futures = [
            writer.append(entry(row(1), row(2)), 1),
            writer.append(entry(), 1),
            writer.append(entry(row(3), row(2), row(4, source="pigeon")), 1),
            writer.append(entry(row(5)), 1),
            writer.append(entry(row(1), rejections=[rejection("invalid")]), 1),
        ]
        writer.start()
        assert await asyncio.gather(*futures) == [
            ALL,
            ALL,
            Stored(frozenset({1}), frozenset({2})),
            ALL,
            Stored(frozenset({0}), frozenset()),
        ]

    with_writer(cast, work)
    assert cast.balance() == {"received": 8, "stored": 4, "duplicate": 2, "rejected": 2, "shed": 0}


@pytest.mark.parametrize(("limit", "value"), [("MAX_QUEUED_ROWS", 6), ("MAX_QUEUED_BYTES", 300)])
def test_when_too_much_waits_the_next_is_shed_and_nothing_that_waits_is_lost(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(module, limit, value)

    async def work(writer: Writer, db: Database) -> None:
        waiting = [writer.append(entry(row(2 * n), row(2 * n + 1)), 100) for n in range(3)]
        with pytest.raises(Unavailable, match="too many events are waiting to be stored") as shed:
            writer.append(entry(row(99)), 100)
        assert 1 <= shed.value.retry_after <= 5
        writer.shed("browser", NOW)
        writer.start()
        await asyncio.gather(*waiting)
        assert await writer.append(entry(row(99)), 100) == ALL

    with_writer(cast, work)
    assert cast.balance() == {"received": 8, "stored": 7, "duplicate": 0, "rejected": 0, "shed": 1}
    assert cast.rows("select hour from door_tallies where outcome = 'shed'") == [(NOW // HOUR_MS,)]


def test_rejections_fill_the_queue_as_events_do(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_QUEUED_ROWS", 2)

    async def work(writer: Writer, db: Database) -> None:
        writer.append(entry(rejections=[rejection("invalid")] * 2), 1)
        with pytest.raises(Unavailable):
            writer.check_open()

    with_writer(cast, work)


def test_a_large_queue_is_committed_in_several_steps(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_PER_COMMIT", 3)

    async def work(writer: Writer, db: Database) -> None:
        futures = [writer.append(entry(row(n)), 10) for n in range(10)]
        writer.start()
        assert await asyncio.gather(*futures) == [ALL] * 10
        assert writer.queued == (0, 0)

    with_writer(cast, work)


@pytest.mark.only("sqlite", "the file is given no more pages")
def test_a_full_disk_is_told_to_everyone_who_waits_and_heals_by_itself(cast: Cast, probing_often: None) -> None:
    async def work(writer: Writer, db: Database) -> None:
        writer.start()
        await writer.append(entry(row(1)), 1)
        pages = await db.value("pragma page_count")
        await db.all(f"pragma max_page_count = {pages}")
        waiting = [writer.append(entry(row(n, details="x" * 9_000)), 1) for n in range(2, 9)]
        failures = await asyncio.gather(*waiting, return_exceptions=True)
        assert {str(failure) for failure in failures} == {"the event log cannot be written now"}
        assert writer.unwell == "a database fails: database or disk is full"
        with pytest.raises(Unavailable) as refused:
            writer.append(entry(row(9)), 1)
        assert 2 <= refused.value.retry_after <= 5
        assert writer.queued == (0, 0)
        await db.all("pragma max_page_count = 1073741823")
        await until(lambda: writer.unwell is None)
        assert await writer.append(entry(row(2)), 1) == ALL

    with_writer(cast, work)
    assert cast.balance()["stored"] == 2


@pytest.mark.only("sqlite", "a server's disk is its own to watch")
def test_with_too_little_free_space_nothing_is_taken_until_there_is_more(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, probing_often: None
) -> None:
    monkeypatch.setattr(module, "DISK_FLOOR_SHARE", 2.0)
    monkeypatch.setattr(module, "DISK_FLOOR_BYTES", 2**62)

    async def work(writer: Writer, db: Database) -> None:
        writer.start()
        with pytest.raises(Unavailable):
            await writer.append(entry(row(1)), 1)
        assert writer.unwell is not None
        assert writer.unwell.startswith("the disk is full: ")
        monkeypatch.setattr(module, "DISK_FLOOR_SHARE", 0.0)
        await until(lambda: writer.unwell is None)
        assert await writer.append(entry(row(1)), 1) == ALL

    with_writer(cast, work)
    assert cast.balance() == {"received": 1, "stored": 1, "duplicate": 0, "rejected": 0, "shed": 0}


@pytest.mark.only("sqlite", "it locks the file")
def test_another_who_locks_the_file_makes_it_wait_or_fail_and_never_lie(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, probing_often: None
) -> None:
    async def work(writer: Writer, db: Database) -> None:
        await db.all("pragma busy_timeout = 0")
        intruder = sqlite3.connect(cast.data_dir / "events.db", isolation_level=None)
        intruder.execute("begin immediate")
        writer.start()
        with pytest.raises(Unavailable):
            await writer.append(entry(row(1)), 1)
        assert writer.unwell == "a database fails: database is locked"
        intruder.execute("rollback")
        intruder.close()
        await until(lambda: writer.unwell is None)
        assert await writer.append(entry(row(1)), 1) == ALL

    with_writer(cast, work)
    assert cast.balance()["stored"] == 1


def test_an_entry_that_breaks_a_whole_commit_does_not_end_the_writer(cast: Cast, probing_often: None) -> None:
    """Nobody else would answer those who wait."""
    broken = Visitor("com.owner.charts", "a", None, object(), None, NOW)  # type: ignore[arg-type]

    async def work(writer: Writer, db: Database) -> None:
        writer.start()
        with pytest.raises(Unavailable):
            await writer.append(entry(row(1), visitors=[broken]), 1)
        await until(lambda: writer.unwell is None)
        assert await writer.append(entry(row(2)), 1) == ALL

    with_writer(cast, work)
    assert cast.balance()["stored"] == 1


def test_a_sender_that_has_gone_changes_nothing(cast: Cast) -> None:
    async def work(writer: Writer, db: Database) -> None:
        one, two = writer.append(entry(row(1)), 1), writer.append(entry(row(2)), 1)
        one.cancel()
        writer.start()
        assert await two == ALL

    with_writer(cast, work)
    assert cast.balance()["stored"] == 2


def test_what_waits_at_the_end_is_committed_first(cast: Cast) -> None:
    async def work(writer: Writer, db: Database) -> list[Any]:
        futures = [writer.append(entry(row(n)), 1) for n in range(5)]
        writer.shed("browser", NOW)
        writer.start()
        return futures

    futures = with_writer(cast, work)
    assert [future.result() for future in futures] == [ALL] * 5
    assert cast.balance() == {"received": 6, "stored": 5, "duplicate": 0, "rejected": 0, "shed": 1}


def test_what_was_shed_is_counted_even_when_nothing_else_comes(cast: Cast) -> None:
    async def work(writer: Writer, db: Database) -> None:
        writer.start()
        writer.shed("installs", NOW)
        assert writer.totals["installs", "shed", ""] == 1

    with_writer(cast, work)
    assert cast.balance() == {"received": 1, "stored": 0, "duplicate": 0, "rejected": 0, "shed": 1}


def test_the_totals_since_the_start_are_those_of_the_log(cast: Cast, probing_often: None) -> None:
    async def work(writer: Writer, db: Database) -> None:
        writer.start()
        await writer.append(entry(row(1), row(1), rejections=[rejection("invalid")]), 1)
        writer.shed("browser", NOW)
        await writer.append(entry(row(2)), 1)
        assert writer.totals == {
            ("browser", "received", ""): 5,
            ("browser", "stored", ""): 2,
            ("browser", "duplicate", ""): 1,
            ("browser", "rejected", "invalid"): 1,
            ("browser", "shed", ""): 1,
        }

    with_writer(cast, work)
    assert cast.balance() == {"received": 5, "stored": 2, "duplicate": 1, "rejected": 1, "shed": 1}
