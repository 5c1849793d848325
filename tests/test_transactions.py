"""Transactions on either engine: all or nothing, one at a time on a connection, and none left open by anybody."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from store import registry
from store.database import Database, Where
from store.engines import open_writer


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def partners(db: Database) -> int:
    return await db.value("select count(*) from partners")


async def add(db: Database, key: str) -> None:
    await db.execute("insert into partners values (?, ?, '', 0)", (key, key))


def test_an_error_rolls_a_transaction_back(where: Where) -> None:
    async def work() -> None:
        async with await open_writer(where, "registry") as db:

            async def fail() -> None:
                async with db.transaction():
                    await add(db, "a")
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                await fail()
            assert await partners(db) == 0
            async with db.transaction():
                await add(db, "b")
            assert await partners(db) == 1

    run(work())


@pytest.mark.parametrize("turns", range(12))
def test_a_task_cancelled_at_any_moment_leaves_no_transaction_open(where: Where, turns: int) -> None:
    async def work() -> None:
        async with await open_writer(where, "registry") as db:

            async def write() -> None:
                async with db.transaction():
                    await add(db, "a")
                    await add(db, "b")

            task = asyncio.create_task(write())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            async with db.transaction():
                await add(db, "c")
            assert await partners(db) in (1, 3)

    run(work())


def test_a_task_cancelled_while_it_waits_for_another_process_leaves_no_transaction_open(where: Where) -> None:
    async def work() -> None:
        async with await open_writer(where, "registry") as one, await open_writer(where, "registry") as other:

            async def write() -> None:
                async with other.transaction():
                    await add(other, "a")

            async with one.transaction():
                await add(one, "b")
                task = asyncio.create_task(write())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            async with other.transaction():
                await add(other, "c")
            assert await partners(one) == 2

    run(work())


def test_transactions_on_one_connection_take_turns(where: Where) -> None:
    async def work() -> None:
        async with await open_writer(where, "registry") as db:

            async def write(key: str, fails: bool) -> None:
                async with db.transaction():
                    await add(db, key)
                    await asyncio.sleep(0)
                    if fails:
                        raise ZeroDivisionError

            await asyncio.gather(*(write(str(n), n % 2 == 0) for n in range(10)), return_exceptions=True)
            assert await partners(db) == 5

    run(work())


def test_the_registry_may_have_several_writers(where: Where) -> None:
    async def work() -> None:
        async with await open_writer(where, "registry") as one, await open_writer(where, "registry") as other:
            await registry.add_partner(one, 0, "a", "1", "A")
            await registry.add_partner(other, 0, "b", "2", "B")
            assert await one.value("select count(*) from partners") == 2

    run(work())
