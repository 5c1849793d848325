"""The pool of readers: what is lent is as new, for one partner and no other, and current; and it is bounded."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from engines import Stores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from portal_cast import House, opened
from pytest_socket import enable_socket
from test_postgres_roles import APPS, fill
from waiting import until_async

from selftest.cluster import Databases
from store import registry
from store.database import Database, Server, Where
from store.engines import migrate_all, open_writer
from store.errors import StoreUnavailable, Unavailable
from store.readers import Readers

ENDLESS = """
    with recursive numbers (n) as (select cast(1 as bigint) union all select (n + 1) & 7 from numbers)
    select count(*) from numbers"""
LONG = """
    with recursive numbers (n) as (select cast(1 as bigint) union all select n + 1 from numbers where n < 300000)
    select count(*) from numbers"""
PARTNERS = "select count(*) from partners"


async def no_ledger(where: Where) -> None:
    """On SQLite; a server has every schema."""
    for nature in ("registry", "log"):
        async with await open_writer(where, nature):
            pass


@pytest.fixture
def where(stores: Stores, tmp_path: Path) -> Where:
    return stores.new(tmp_path / "data", no_ledger)


def working(where: Where, work: Callable[[Readers], Awaitable[Any]], **limits: Any) -> None:
    """Do something with readers, which are closed then."""

    async def with_readers() -> None:
        async with Readers(where, **limits) as readers:
            await work(readers)

    asyncio.run(with_readers())


async def one_more_partner(where: Where) -> None:
    async with await open_writer(where, "registry") as db:
        await registry.add_partner(db, 0, "owner", "1211971", "Owner")


def test_a_reader_is_lent_to_one_after_another_and_to_nobody_else_meanwhile(where: Where) -> None:
    async def work(readers: Readers) -> None:
        async with readers.lend("log") as first, readers.lend("log") as second:
            assert first["log"] is not second["log"]
            both = {first["log"], second["log"]}
        for _ in range(3):
            async with readers.lend("log") as again:
                assert again["log"] in both

    working(where, work)


def test_a_ledger_that_nobody_began_is_not_lent_until_it_is_there(where: Where) -> None:
    async def work(readers: Readers) -> None:
        async with readers.lend("log", "ledger") as lent:
            assert set(lent) == ({"log"} if isinstance(where, Path) else {"log", "ledger"})
        async with await open_writer(where, "ledger"):
            pass
        async with readers.lend("log", "ledger") as lent:
            assert await lent["ledger"].all("select * from cursors") == []

    working(where, work)


@pytest.mark.parametrize("sql", [PARTNERS, "select count(*) from nowhere"])
def test_who_held_still_or_failed_leaves_nothing_behind(where: Where, sql: str) -> None:
    async def work(readers: Readers) -> None:
        with suppress(Exception):
            async with readers.lend("registry") as lent:
                before = lent["registry"]
                await before.hold_still()
                await before.value(sql)
                raise ZeroDivisionError
        await one_more_partner(where)
        async with readers.lend("registry") as lent:
            assert lent["registry"] is before
            assert await before.value(PARTNERS) == 1

    working(where, work)


def test_a_statement_of_one_who_was_cut_off_is_stopped_and_its_reader_not_lent_again(where: Where) -> None:
    async def work(readers: Readers) -> None:
        used: list[Database] = []

        async def asking() -> None:
            async with readers.lend("registry") as lent:
                used.append(lent["registry"])
                await lent["registry"].hold_still()
                await lent["registry"].value(ENDLESS)

        asked = asyncio.create_task(asking())
        await until_async(lambda: bool(used))
        await asyncio.sleep(0.05)  # so that it is likely to be at work; what follows holds in any case
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        async with readers.lend("registry") as lent:
            assert lent["registry"] not in used
            assert await lent["registry"].value(PARTNERS) == 0

    async def in_time() -> None:
        async with asyncio.timeout(25):  # a server would end it by itself, later
            async with Readers(where, most=1) as readers:
                await work(readers)

    asyncio.run(in_time())


@pytest.mark.parametrize("turns", range(6))
def test_who_is_cut_off_while_a_reader_is_opened_leaves_none_open(where: Where, turns: int) -> None:
    async def asking(readers: Readers) -> None:
        async with readers.lend("log"):
            await asyncio.sleep(60)

    async def work() -> None:
        async with asyncio.timeout(25), Readers(where) as readers:
            asked = asyncio.create_task(asking(readers))
            for _ in range(turns):
                await asyncio.sleep(0)
            while not asked.done():
                asked.cancel()
                await asyncio.sleep(0)
        async with asyncio.timeout(25):
            await until_async(lambda: set(threading.enumerate()) <= before)

    before = set(threading.enumerate())  # of which some may be about to end
    asyncio.run(work())


def test_who_gave_up_waiting_for_an_answer_leaves_a_reader_that_the_next_can_use(where: Where) -> None:
    async def work(readers: Readers) -> None:
        with suppress(TimeoutError):
            async with readers.lend("registry") as lent:
                before = lent["registry"]
                await before.hold_still()
                async with asyncio.timeout(0.001):
                    await before.value(LONG)
        await one_more_partner(where)
        async with readers.lend("registry") as lent:
            assert lent["registry"] is before
            assert await before.value(PARTNERS) == 1

    working(where, work, most=1)


def test_those_who_come_when_all_readers_are_lent_wait_so_long_and_no_longer(where: Where) -> None:
    async def in_vain(readers: Readers) -> None:
        async with readers.lend("log"):
            with pytest.raises(Unavailable, match="too many read at once"):
                async with readers.lend("log"):
                    pass

    async def patiently(readers: Readers) -> None:
        async with readers.lend("log"):
            patient = asyncio.create_task(_lent(readers))
            await asyncio.sleep(0)
        assert await patient == 0

    async def _lent(readers: Readers) -> Any:
        async with readers.lend("registry") as lent:
            return await lent["registry"].value(PARTNERS)

    working(where, in_vain, most=1, wait_seconds=0.05)
    working(where, patiently, most=1, wait_seconds=30)


def test_who_reads_for_too_long_is_cut_off_for_those_who_wait(where: Where) -> None:
    async def work(readers: Readers) -> None:
        with pytest.raises(Unavailable, match="not read within"):
            async with readers.lend("registry") as lent:
                await lent["registry"].value(ENDLESS)
        async with readers.lend("registry") as lent:
            assert await lent["registry"].value(PARTNERS) == 0

    working(where, work, most=1, use_seconds=1)


def test_a_page_for_which_no_reader_is_free_asks_to_come_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collector.portal.frame.Readers", partial(Readers, most=0, wait_seconds=0.01))
    with opened(house) as browser:
        browser.enter("owner")
        answer = browser.get("/apps/com.owner.charts/live")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"


def test_a_reader_that_nobody_needs_is_closed(where: Where) -> None:
    async def work(readers: Readers) -> None:
        before = set(threading.enumerate())
        async with readers.lend("log", "registry"), readers.lend("log"):
            assert set(threading.enumerate()) - before
        async with readers.lend("log"):
            await until_async(lambda: not any(thread.is_alive() for thread in others(before)[1:]))
        await until_async(lambda: not any(thread.is_alive() for thread in others(before)))

    def others(before: set[threading.Thread]) -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread not in before and "asyncio" not in thread.name]

    working(where, work, idle_seconds=0.02)


def test_readers_that_are_closed_in_use_let_the_process_end(where: Where) -> None:
    async def work() -> None:
        readers = Readers(where)
        async with readers.lend("log"):
            await readers.close()
        with pytest.raises(StoreUnavailable):
            async with readers.lend("log"):
                pass
        await readers.close()
        await until_async(lambda: set(threading.enumerate()) <= before)

    before = set(threading.enumerate())  # of which some may be about to end
    asyncio.run(work())


@pytest.mark.only("sqlite", "it replaces files")
def test_a_file_that_took_anothers_place_is_the_one_that_is_read(where: Path) -> None:
    async def work(readers: Readers) -> None:
        async with readers.lend("registry") as lent:
            assert await lent["registry"].value(PARTNERS) == 0
            shutil.copy(where / "registry.db", where / "new")
            (where / "new").replace(where / "registry.db")
            await one_more_partner(where)
            assert await lent["registry"].value(PARTNERS) == 0
        async with readers.lend("registry") as lent:
            assert await lent["registry"].value(PARTNERS) == 1
        (where / "registry.db").unlink()
        with pytest.raises(StoreUnavailable, match="does not exist yet"):
            async with readers.lend("registry"):
                pass

    working(where, work)


# --- on a server, where the database shows a partner's rows alone


@pytest.fixture(scope="module")
def server(cluster: Databases) -> Iterator[Server]:
    """A database with rows of two partners in every table that can have any."""
    enable_socket()
    url = cluster.database()
    asyncio.run(migrate_all(Server(url)))
    fill(url)
    yield Server(url)
    cluster.drop(url)


async def seen(db: Database) -> set[str]:
    """Whose events, cursors and apps it shows."""
    sql = """
        select app_key from log.events
        union select app_key from ledger.cursors
        union select app_key from registry.apps"""
    return {app_key for (app_key,) in await db.all(sql)}


VISIBLE = {"owner": set(APPS["owner"]), "stranger": set(APPS["stranger"]), None: {*APPS["owner"], *APPS["stranger"]}}


async def visit(server: Server, readers: Readers, partner: str | None, ending: str = "well") -> None:
    """One use of a reader, which sees what it may from its first moment to its last, however it ends."""
    async with readers.lend("log", "ledger", partner_key=partner) as lent:
        db = lent["ledger"]
        if ending == "still":
            await db.hold_still()
        assert await seen(db) == VISIBLE[partner]
        await asyncio.sleep(0)  # the others go on
        assert await seen(db) == VISIBLE[partner]
        if ending == "cancelled":
            await db.value("select pg_sleep(60)")
        if ending == "refused":
            await db.value("select * from nowhere")
        if ending == "failed":
            raise ZeroDivisionError
        if ending == "lost":
            end(server, await db.value("select pg_backend_pid()"))
            await db.value("select 1")


def end(server: Server, backend: int | None = None) -> None:
    """End one connection, or all but ours, as a server that begins anew does."""
    with psycopg.connect(server.url, autocommit=True) as other:
        other.execute(
            """
            select pg_terminate_backend(pid, 5000)
            from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and pid = coalesce(%s::int, pid)""",
            (backend,),
        )


ENDINGS = ("well", "well", "still", "cancelled", "refused", "failed", "lost")
RAISED = {
    "cancelled": asyncio.CancelledError,
    "refused": psycopg.errors.UndefinedTable,
    "failed": ZeroDivisionError,
    "lost": StoreUnavailable,
}
VISITS = st.lists(st.tuples(st.sampled_from([*VISIBLE]), st.sampled_from(ENDINGS)), min_size=2, max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(visits=VISITS, most=st.integers(1, 3), pause=st.floats(0, 0.03))
def test_no_use_of_a_reader_sees_anything_of_the_one_before(
    server: Server, visits: list[tuple[str | None, str]], most: int, pause: float
) -> None:
    async def work(readers: Readers) -> None:
        tasks = [asyncio.create_task(visit(server, readers, *each)) for each in visits]
        while any(not task.done() for task in tasks):
            await asyncio.sleep(pause)
            for task, (_, ending) in zip(tasks, visits, strict=True):
                if ending == "cancelled":
                    task.cancel()  # anywhere: while it waits, is lent a reader, asks, or gives it back
        found = [asyncio.CancelledError if task.cancelled() else type(task.exception()) for task in tasks]
        assert found == [RAISED.get(ending, type(None)) for _, ending in visits]
        for partner in VISIBLE:
            await visit(server, readers, partner)

    working(server, work, most=most, wait_seconds=30)


def test_between_two_uses_a_reader_of_partners_shows_nothing(server: Server) -> None:
    async def work(readers: Readers) -> None:
        async with readers.lend("log", partner_key="owner") as lent:
            db = lent["log"]
            assert await seen(db) == VISIBLE["owner"]
        assert await seen(db) == set()

    working(server, work)


def test_a_server_that_began_anew_is_not_noticed_by_those_who_read(server: Server) -> None:
    async def work(readers: Readers) -> None:
        for partner in ("owner", None):
            async with readers.lend("log", partner_key=partner), readers.lend("log", partner_key=partner):
                pass
        end(server)
        for partner in VISIBLE:
            await visit(server, readers, partner)

    working(server, work)
