"""Finding what has a backlog: nothing that waits is overlooked, wherever the runs before have been ended."""

import asyncio

from shipping_cast import NOON, OWNER, STRANGER, Installation

from exporter import finding
from store import destinations, ledger, log, registry
from store.engines import open_reader, open_writer


def found(installation: Installation) -> set[str]:
    """The apps in which a run would find something."""

    async def work() -> set[str]:
        async with (
            await open_reader(installation.where, "registry") as registry_db,
            await open_reader(installation.where, "log") as log_db,
            await open_writer(installation.where, "ledger") as ledger_db,
        ):
            settled = await log.settled(log_db)
            return {each.app.app_key for each in await finding.find(registry_db, log_db, ledger_db, settled, 0)}

    return asyncio.run(work())


def test_what_came_before_a_destination_was_begun_is_found_once_it_is_owed(installation: Installation) -> None:
    installation.views(2)
    installation.views(1, STRANGER)
    assert found(installation) == {OWNER, STRANGER}


def test_what_was_found_is_found_again_until_it_is_shipped(installation: Installation) -> None:
    installation.views(2)
    assert found(installation) == found(installation) == {OWNER}
    installation.export()
    assert found(installation) == set()
    installation.views(1, STRANGER)
    assert found(installation) == {STRANGER}


def test_a_run_that_ended_after_it_had_begun_a_cursor_leaves_nothing_overlooked(installation: Installation) -> None:
    """Killed at that very moment: the log was looked at long ago, and the cursor that is new has been begun."""
    (late,) = installation.add_apps(1, with_keys=False)
    installation.views(2, late)
    assert found(installation) == set()
    installation.set(late, segment_write_key="WRITEKEYOFTHEAPPTHATCAMELATE0001")

    async def begin() -> None:
        async with (
            await open_reader(installation.where, "registry") as registry_db,
            await open_reader(installation.where, "log") as log_db,
            await open_writer(installation.where, "ledger") as ledger_db,
        ):
            await finding._begin_new(registry_db, log_db, ledger_db, await log.settled(log_db), 0)

    asyncio.run(begin())
    assert found(installation) == {late}


def test_an_older_log_that_was_put_back_is_looked_at_anew(installation: Installation) -> None:
    installation.views(3)
    installation.export()
    installation.ledger("update seen set value = '1000' where name = 'log'")
    installation.ledger("update cursors set seq = 1, start_seq = 1, newest_seq = 1")
    assert found(installation) == {OWNER}


def test_an_app_whose_destination_was_replaced_is_not_found(installation: Installation) -> None:
    installation.views(1)
    found(installation)

    async def remove() -> None:
        async with await open_writer(installation.where, "registry") as db:
            await destinations.remove_destination(db, 0, OWNER, "main")

    asyncio.run(remove())
    assert found(installation) == set()


def test_the_registrys_version_is_another_after_every_change_and_after_a_restore(installation: Installation) -> None:
    async def work() -> None:
        async with await open_writer(installation.where, "registry") as db:
            before = await registry.version(db)
            await registry.add_partner(db, NOON + 1, "a", "77", "A")
            after = await registry.version(db)
            assert before != after
            await db.execute("update revision set n = n - 1")  # as when a backup of before was put back …
            await registry.add_partner(db, NOON + 2, "b", "78", "B")  # … and another change made to it
            assert await registry.version(db) != after

    asyncio.run(work())


def test_looks_at_what_is_idle_change_nothing_but_how_far_was_looked(installation: Installation) -> None:
    installation.views(2)
    installation.export()
    before = installation.ledger("select * from cursors order by app_key")
    for _ in range(3):
        assert found(installation) == set()
    assert installation.ledger("select * from cursors order by app_key") == before
    assert asyncio.run(seen(installation))["log"] == "2"


async def seen(installation: Installation) -> dict[str, str]:
    async with await open_reader(installation.where, "ledger") as db:
        return await ledger.seen(db)
