"""Backups: every database at one instant, opened again before they get their name, and never half there."""

import asyncio
import hashlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from shipping_cast import KEYS, SECRET_KEY, Installation, an_event
from waiting import until_async

from store import balance
from store.backup import BackupFailed, Made, back_up, finished
from store.errors import Busy, StoreUnavailable
from store.removal import undisturbed

pytestmark = pytest.mark.only("sqlite", "a server has backups of its own")


def backed_up(installation: Installation, into: Path, keep: int | None = None) -> Made:
    return asyncio.run(back_up(installation.data_dir, into, keep))


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.fixture
def into(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups") / "below"


def test_a_backup_holds_what_the_databases_hold(installation: Installation, into: Path) -> None:
    installation.collect(*[an_event()] * 3, an_event(suppressed="gpc"))
    installation.export()
    installation.views(2)
    copy = Path(backed_up(installation, into).path)
    assert rows(copy / "events.db", "select count(*) from events") == [(6,)]
    assert rows(copy / "ledger.db", "select fate, n from tallies order by fate") == [("accepted", 3), ("suppressed", 1)]
    assert rows(copy / "registry.db", "select count(*) from apps") == [(2,)]
    assert sorted(path.name for path in copy.iterdir()) == ["events.db", "ledger.db", "manifest.json", "registry.db"]


def test_the_sums_hold_in_the_copy_alone(installation: Installation, into: Path) -> None:
    installation.views(3)
    installation.export()
    copy = Path(backed_up(installation, into).path)
    shutil.rmtree(installation.data_dir)
    assert asyncio.run(balance.examine(copy)).balanced


def test_the_manifest_says_what_is_there(installation: Installation, into: Path) -> None:
    installation.views(3)
    installation.export()
    copy = Path(backed_up(installation, into).path)
    manifest = json.loads((copy / "manifest.json").read_bytes())
    assert manifest["made_at"] == copy.name
    assert manifest["balanced"] is True
    assert [each["file"] for each in manifest["databases"]] == ["ledger.db", "events.db", "registry.db"]
    for each in manifest["databases"]:
        content = (copy / each["file"]).read_bytes()
        assert (each["bytes"], each["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert manifest["databases"][1]["rows"]["events"] == 3


def test_only_its_owner_can_read_a_backup(installation: Installation, into: Path) -> None:
    copy = Path(backed_up(installation, into).path)
    assert [oct(path.stat().st_mode & 0o777) for path in (into, copy)] == ["0o700", "0o700"]
    assert {oct(path.stat().st_mode & 0o777) for path in copy.iterdir()} == {"0o600"}


def test_no_key_is_in_a_backup(installation: Installation, into: Path) -> None:
    (installation.data_dir / "secret-key").write_text(SECRET_KEY)
    installation.views(1)
    installation.export()
    copy = Path(backed_up(installation, into).path)
    content = b"".join(path.read_bytes() for path in copy.iterdir())
    for secret in (SECRET_KEY, *KEYS.values()):
        assert secret.encode() not in content


def test_what_was_removed_from_the_log_is_not_in_a_backup(installation: Installation, into: Path) -> None:
    installation.collect(an_event(user_id="somebody that asked to be forgotten"))
    connection = sqlite3.connect(installation.data_dir / "events.db")
    connection.execute("pragma secure_delete = 0")
    with connection:
        connection.execute("delete from events")
    connection.close()
    assert b"asked to be forgotten" in (installation.data_dir / "events.db").read_bytes()
    copy = Path(backed_up(installation, into).path)
    assert b"asked to be forgotten" not in (copy / "events.db").read_bytes()


def test_before_the_first_run_there_is_no_ledger_to_copy(installation: Installation, into: Path) -> None:
    installation.views(1)
    made = backed_up(installation, into)
    assert [each.file for each in made.manifest.databases] == ["events.db", "registry.db"]
    assert made.manifest.balanced


def test_the_newest_are_kept(installation: Installation, into: Path) -> None:
    paths = [backed_up(installation, into).path for _ in range(3)]
    (into / "notes").mkdir()
    made = backed_up(installation, into, keep=2)
    assert made.removed == paths[:2]
    assert [str(path) for path in finished(into)] == [paths[2], made.path]
    assert (into / "notes").exists()


def test_without_room_nothing_is_begun(installation: Installation, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.backup.SPARE_BYTES", 2**60)
    with pytest.raises(BackupFailed, match="free"):
        backed_up(installation, into)
    assert list(into.iterdir()) == []


def test_a_database_that_is_broken_gives_no_backup(installation: Installation, into: Path) -> None:
    installation.views(200)
    path = installation.data_dir / "events.db"
    content = bytearray(path.read_bytes())
    end = len(content) // 6  # far from the tables that are read when it is opened
    content[-end:] = b"\xa5" * end
    path.write_bytes(content)
    with pytest.raises(BackupFailed, match=r"events\.db cannot be copied"):
        backed_up(installation, into)
    assert list(into.iterdir()) == []


def test_a_cursor_past_the_log_gives_no_backup(installation: Installation, into: Path) -> None:
    installation.views(3)
    installation.export()
    installation.ledger("update cursors set seq = 4 where seq = 3")
    with pytest.raises(BackupFailed, match="a cursor is at 4, and the log beside it ends at 3"):
        backed_up(installation, into)
    assert list(into.iterdir()) == []


def test_sums_that_are_off_are_told_and_the_copy_is_kept(installation: Installation, into: Path) -> None:
    installation.views(3)
    installation.export()
    installation.ledger("update tallies set n = n + 1")
    made = backed_up(installation, into)
    assert not made.manifest.balanced
    assert [str(path) for path in finished(into)] == [made.path]


def test_without_a_log_there_is_nothing_to_copy(installation: Installation, into: Path) -> None:
    (installation.data_dir / "events.db").unlink()
    with pytest.raises(StoreUnavailable):
        backed_up(installation, into)
    assert list(into.iterdir()) == []


def test_what_a_dead_backup_left_is_cleared_away(installation: Installation, into: Path) -> None:
    left = into / "20260216T120000.000Z.part"
    left.mkdir(parents=True)
    (left / "events.db").write_bytes(b"half of it")
    made = backed_up(installation, into)
    assert [str(path) for path in into.iterdir()] == [made.path]


def test_two_backups_do_not_go_to_one_place_at_once(installation: Installation, into: Path) -> None:
    async def both() -> None:
        async with undisturbed(installation.data_dir):
            first = asyncio.create_task(back_up(installation.data_dir, into))
            await until_async(lambda: into.exists() and list(into.iterdir()))
            with pytest.raises(Busy, match="another backup"):
                await back_up(installation.data_dir, into)
        await first

    asyncio.run(both())
    assert len(finished(into)) == 1
