"""A PostgreSQL server that ends connections, turns read-only, or changes its tables under prepared statements."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import psycopg
import pytest
from conftest import Cast
from engines import look
from shipping_cast import Installation
from test_log import entry, row
from test_writer import ALL, until

from collector import writer as module
from collector.writer import Writer
from store import log, registry
from store.database import Database, Server, Where
from store.engines import open_reader, open_writer
from store.errors import StoreUnavailable, Unavailable

pytestmark = pytest.mark.only("postgresql", "there is a server between")


def end_connections(where: Where, nature: str) -> None:
    """As an administrator does, or a failover; returns when the server's processes are gone."""
    mine = f"from pg_stat_activity where application_name = 'footfall {nature}' and datname = current_database()"
    ended = look(where, nature, f"select pg_terminate_backend(pid, 10000) {mine}")
    assert set(ended) == {(True,)}


def set_read_only(where: Where, switch: str) -> None:
    """For connections that are made from now on."""
    (name,) = look(where, "public", "select current_database()")[0]
    look(where, "public", f"alter database {name} set default_transaction_read_only = {switch}")


async def add(db: Database, key: str) -> None:
    await db.execute("insert into partners values (?, ?, '', 0)", (key, key))


async def partners(db: Database) -> set[str]:
    return {key for (key,) in await db.all("select partner_key from partners")}


def test_a_connection_lost_between_transactions_is_an_error_once(where: Where) -> None:
    async def work() -> None:
        async with await open_writer(where, "registry") as db:
            await add(db, "a")
            end_connections(where, "registry")
            with pytest.raises(StoreUnavailable, match="PostgreSQL at 127"):
                await add(db, "b")
            await add(db, "c")
            assert await partners(db) == {"a", "c"}

    asyncio.run(work())


def test_a_connection_lost_within_a_transaction_leaves_nothing_half_written(where: Where) -> None:
    async def work() -> None:
        async with await open_writer(where, "registry") as db:

            async def write() -> None:
                async with db.transaction():
                    await add(db, "a")
                    end_connections(where, "registry")
                    with pytest.raises(StoreUnavailable):
                        await add(db, "b")
                    await add(db, "c")

            with pytest.raises(StoreUnavailable, match="the connection was lost within a transaction"):
                await write()
            assert await partners(db) == set()
            async with db.transaction():
                await add(db, "d")
            assert await partners(db) == {"d"}

    asyncio.run(work())


def test_a_connection_lost_before_a_commit_is_an_error_of_it(where: Where) -> None:
    def write(connection: Any) -> None:
        connection.execute("insert into partners values (?, ?, '', 0)", ("a", "a"))
        end_connections(where, "registry")

    async def work() -> None:
        async with await open_writer(where, "registry") as db:
            with pytest.raises(StoreUnavailable):
                await db.atomic(write)
            assert await partners(db) == set()

    asyncio.run(work())


def test_a_commit_of_the_log_over_a_lost_connection_stores_nothing_and_the_next_one_all(cast: Cast) -> None:
    async def work() -> None:
        async with await open_writer(cast.where, "log") as db:
            await log.commit(db, [entry(row(1))], Counter())
            end_connections(cast.where, "log")
            with pytest.raises(StoreUnavailable):
                await log.commit(db, [entry(row(2), row(3))], Counter())
            done = await log.commit(db, [entry(row(1), row(2), row(3))], Counter())
            assert done.duplicates == {0}

    asyncio.run(work())
    assert cast.balance() == {"received": 4, "stored": 3, "duplicate": 1, "rejected": 0, "shed": 0}


def test_a_reader_that_holds_still_does_not_go_on_over_another_connection(where: Where) -> None:
    """It would see another moment."""

    async def work() -> None:
        async with await open_reader(where, "registry") as db:
            await db.hold_still()
            assert await partners(db) == set()
            end_connections(where, "registry")
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await partners(db)

    asyncio.run(work())


def test_a_statement_of_a_cancelled_task_leaves_no_transaction_open(where: Where) -> None:
    async def work() -> None:
        async with await open_writer(where, "registry") as db:
            begun = asyncio.Event()

            async def write() -> None:
                async with db.transaction():
                    await add(db, "a")
                    begun.set()
                    await db.all("select pg_sleep(0.2)::text")

            task = asyncio.create_task(write())
            await begun.wait()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert look(where, "registry", OPEN) == []
            await add(db, "b")
            assert await partners(db) == {"b"}

    asyncio.run(work())


OPEN = """
    select pid
    from pg_stat_activity
    where application_name = 'footfall registry' and datname = current_database() and state <> 'idle'"""


def test_a_server_that_turns_read_only_is_unavailable_and_heals(where: Where) -> None:
    async def work() -> None:
        async with await open_writer(where, "registry") as db, await open_reader(where, "registry") as reader:
            await add(db, "a")
            set_read_only(where, "on")
            end_connections(where, "registry")
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await add(db, "b")
            with pytest.raises(StoreUnavailable):
                await partners(reader)  # its connection was ended, too
            assert await partners(reader) == {"a"}
            with pytest.raises(StoreUnavailable, match="read-only"):
                await open_writer(where, "registry")
            set_read_only(where, "off")
            await add(db, "c")
            assert await partners(db) == {"a", "c"}

    asyncio.run(work())


def test_a_connection_that_turned_read_only_is_made_anew(where: Where) -> None:
    """As after a failover: the same address, another server."""

    async def work() -> None:
        async with await open_writer(where, "registry") as db:
            await db.execute("set default_transaction_read_only = on")
            with pytest.raises(StoreUnavailable, match="read-only"):
                await add(db, "a")
            await add(db, "b")
            assert await partners(db) == {"b"}

    asyncio.run(work())


def test_the_writer_tells_everyone_who_waits_and_heals_by_itself(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 0.001)

    async def work() -> None:
        async with await open_writer(cast.where, "log") as db:
            writer = Writer(db, None)
            writer.start()
            assert await writer.append(entry(row(1)), 1) == ALL
            set_read_only(cast.where, "on")
            end_connections(cast.where, "log")
            waiting = [writer.append(entry(row(number)), 1) for number in range(2, 6)]
            failures = await asyncio.gather(*waiting, return_exceptions=True)
            assert {str(failure) for failure in failures} == {"the event log cannot be written now"}
            with pytest.raises(Unavailable):
                writer.append(entry(row(9)), 1)
            set_read_only(cast.where, "off")
            await until(lambda: writer.unwell is None)
            assert await writer.append(entry(row(2)), 1) == ALL
            await writer.stop()

    asyncio.run(work())
    assert cast.balance()["stored"] == 2


def test_a_run_whose_ledger_is_lost_sends_again_under_the_same_ids(installation: Installation) -> None:
    ids = installation.views(3)

    def send(*request: Any) -> Any:
        end_connections(installation.where, "ledger")
        return installation.send(*request)

    with pytest.raises(StoreUnavailable):
        installation.export(send=send)
    installation.ledger("update cursors set lease_until = 1")
    installation.export()
    assert [each["messageId"] for each in installation.landed()] == installation.sent_ids(ids)
    assert [outcome for outcome, _, _ in installation.batches()] == ["ambiguous", "accepted"]
    assert installation.owed() == {"collected": 3, "accepted": 3}


def test_prepared_statements_survive_a_migration_that_adds_a_column(cast: Cast) -> None:
    async def work() -> None:
        async with (
            await open_writer(cast.where, "log") as log_db,
            await open_reader(cast.where, "log") as reader,
            await open_reader(cast.where, "registry") as registry_db,
        ):
            for number in range(1, 4):
                done = await log.commit(log_db, [entry(row(number), row(number))], Counter())
                assert done.duplicates == {1}
                assert len(await log.run(reader, cast.owner_app, 0, 10)) == number
                assert await log.heads(reader) == {cast.owner_app: (await log.head(reader))}
                assert len(await registry.apps(registry_db)) == 3
                for table in ("events", "message_ids", "visitors", "door_tallies"):
                    cast.rows(f"alter table {table} add column later_{number} bigint not null default 7")
                cast.rows(f"alter table apps add column later_{number} text", nature="registry")

    asyncio.run(work())
    assert cast.balance()["stored"] == 3


def test_a_server_that_is_not_there_is_unavailable(where: Where) -> None:
    assert isinstance(where, Server)
    port = psycopg.conninfo.conninfo_to_dict(where.url)["port"]
    nobody = Server(where.url.replace(f":{port}/", ":1/"))
    with pytest.raises(StoreUnavailable, match="PostgreSQL at 127"):
        asyncio.run(open_reader(nobody, "log"))
