"""One SQLite file: one writer, settings that hold, and migrations that are applied once."""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from store.database import NATURES, Database
from store.engines import migrate_all, open_reader, open_writer
from store.errors import Busy, ConfigError, StoreUnavailable
from store.migrations import steps


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def pragmas(db: Database, *names: str) -> dict[str, Any]:
    return {name: await db.value(f"pragma {name}") for name in names}


@pytest.mark.parametrize("nature", ["log", "ledger"])
def test_a_second_writer_is_told_who_writes(tmp_path: Path, nature: str) -> None:
    async def work() -> None:
        async with await open_writer(tmp_path, nature):
            with pytest.raises(Busy, match=r"is being written by process \d+"):
                await open_writer(tmp_path, nature)
        async with await open_writer(tmp_path, nature):
            pass  # released when the first was closed

    run(work())


def test_a_writer_lets_go_of_its_lock_when_it_cannot_open_the_file(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"this is no database, it is a text of more than one hundred bytes" * 20)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"events\.db: file is not a database"):
            run(open_writer(tmp_path, "log"))


@pytest.mark.parametrize(("nature", "mode"), [("log", "wal"), ("ledger", "wal"), ("registry", "delete")])
def test_the_settings_that_durability_rests_on_hold(tmp_path: Path, nature: str, mode: str) -> None:
    async def work() -> None:
        async with await open_writer(tmp_path, nature) as db:
            assert await pragmas(
                db, "journal_mode", "synchronous", "foreign_keys", "auto_vacuum", "trusted_schema"
            ) == {
                "journal_mode": mode,
                "synchronous": 2,
                "foreign_keys": 1,
                "auto_vacuum": 2,
                "trusted_schema": 0,
            }

    run(work())


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async def work() -> None:
        await migrate_all(tmp_path)
        for nature in NATURES:
            async with await open_reader(tmp_path, nature) as db:
                with pytest.raises(StoreUnavailable, match="attempt to write a readonly database"):
                    await db.execute("create table mine (x)")

    run(work())


def test_a_reader_of_what_does_not_exist_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"events\.db does not exist yet: run `footfall migrate`"):
        run(open_reader(tmp_path, "log"))
    assert list(tmp_path.iterdir()) == []


def test_a_reader_of_something_else_says_that_it_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"this is no database, it is a text" * 50)

    with pytest.raises(StoreUnavailable, match="a database fails: file is not a database"):
        run(open_reader(tmp_path, "log"))


def test_a_reader_of_a_file_that_its_writer_has_only_begun_waits_for_the_writer(tmp_path: Path) -> None:
    (tmp_path / "events.db").touch()
    with pytest.raises(StoreUnavailable, match=r"events\.db is not of this version yet: run `footfall migrate`"):
        run(open_reader(tmp_path, "log"))


def test_a_data_directory_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    for nature in NATURES:
        with pytest.raises(StoreUnavailable, match=r"File exists|Not a directory"):
            run(open_writer(tmp_path / "data", nature))


def test_files_are_closed_to_everybody_else(tmp_path: Path) -> None:
    run(migrate_all(tmp_path / "data"))
    assert (tmp_path / "data").stat().st_mode & 0o007 == 0


def test_migrations_are_applied_once_and_named(tmp_path: Path) -> None:
    assert run(migrate_all(tmp_path)) == {nature: [step.name for step in steps(nature, "sqlite")] for nature in NATURES}
    assert run(migrate_all(tmp_path)) == {"registry": [], "log": [], "ledger": []}


def test_all_that_migrate_the_registry_at_once_succeed_and_each_step_is_done_once(tmp_path: Path) -> None:
    async def open_once(start: threading.Barrier, data_dir: Path) -> int:
        start.wait()
        async with await open_writer(data_dir, "registry") as db:
            return len(db.migrated)

    for attempt in range(10):
        start = threading.Barrier(4)
        with ThreadPoolExecutor(4) as threads:
            work = [threads.submit(run, open_once(start, tmp_path / str(attempt))) for _ in range(4)]
        assert sum(each.result() for each in work) == len(steps("registry", "sqlite"))


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    run(migrate_all(tmp_path))
    with contextlib.closing(sqlite3.connect(tmp_path / "events.db")) as connection:
        connection.execute("insert into schema_migrations values (9999, '9999_later')")
        connection.commit()
    with pytest.raises(ConfigError, match=r"events\.db was written by a newer Footfall: upgrade this one"):
        run(open_writer(tmp_path, "log"))


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "registry.db")) as connection:
        connection.executescript("pragma auto_vacuum = 2; create table tokens (x);")
    with pytest.raises(StoreUnavailable, match=r"migration 0001_registry of registry\.db failed: table tokens already"):
        run(open_writer(tmp_path, "registry"))
    with contextlib.closing(sqlite3.connect(tmp_path / "registry.db")) as connection:
        tables = connection.execute("select name from sqlite_schema where type = 'table' order by name").fetchall()
    assert tables == [("schema_migrations",), ("tokens",)]
