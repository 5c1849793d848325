"""The doctor: each fault is found, said in one line, and told from what can wait; a sound installation is left be."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from shipping_cast import KEYS, NOON, OWNER, SECRET_KEY, STRANGER, Installation, an_event

from store.doctor import diagnosing
from store.doctor.checks import Check, Level, Volume, clock, exporter, modes, rollups, room
from store.doctor.diagnosing import Diagnosis
from store.errors import ConfigError, StoreUnavailable
from store.runs import Run
from store.settings import secret_origin

pytestmark = pytest.mark.only("sqlite", "it looks into the files")

HOUR = 3_600_000
SOUND = [
    "settings",
    "modes",
    "databases",
    "databases",
    "databases",
    "secret",
    "disk",
    "clock",
    "rollups",
    "exporter",
    "attribution",
    "doors",
]


def diagnosed(installation: Installation, now: int = NOON + HOUR, **options: Any) -> Diagnosis:
    installation.data_dir.chmod(0o750)
    return asyncio.run(diagnosing.diagnose(installation.settings, "FOOTFALL_SECRET_KEY", now, **options))


def wrong(found: Diagnosis) -> list[tuple[str, str]]:
    """(level, name) of what is not ok; the write keys of the cast were never verified, which is not told each time."""
    return [(check.level, check.name) for check in found.checks if check.level != "ok" and check.name != "keys"]


def line(found: Diagnosis, name: str) -> str:
    (check,) = [check for check in found.checks if check.name == name and check.level != "ok"]
    return check.text


def test_a_sound_installation_is_healthy(installation: Installation) -> None:
    installation.views(3)
    installation.export()
    found = diagnosed(installation)
    assert found.healthy
    assert found.balanced
    assert [check.name for check in found.checks] == [*SOUND, "balance", "balance", "pending", "keys"]
    assert found.lines()[0].startswith("ok    settings: readable, data in ")


def test_quiet_says_only_what_is_wrong(installation: Installation) -> None:
    installation.views(3)
    assert diagnosed(installation, NOON).lines(quiet=True) == [
        "warn  exporter: it has not run yet",
        f"warn  write keys: never verified: {OWNER}, {STRANGER}",
    ]


def test_an_event_that_waits_too_long_is_a_failure(installation: Installation) -> None:
    installation.export()
    installation.views(1)
    assert diagnosed(installation, NOON + 2 * HOUR).healthy
    late = diagnosed(installation, NOON + 5 * HOUR)
    assert ("FAIL", "pending") in wrong(late)
    assert not late.healthy
    assert line(late, "pending") == f"oldest pending event: 5 h, over 3 h: {OWNER}"
    assert diagnosed(installation, NOON + 5 * HOUR, max_age_hours=6).healthy
    assert diagnosed(installation, NOON + 500 * HOUR, max_age_hours=0).healthy


def test_a_sum_that_is_off_is_a_failure(installation: Installation) -> None:
    installation.views(3)
    installation.export()
    installation.ledger("update tallies set n = n - 1")
    found = diagnosed(installation)
    assert ("FAIL", "balance") in wrong(found)
    assert line(found, "balance").endswith("; OFF BY 1")
    assert not found.balanced


def test_hours_that_make_up_for_each_other_are_a_failure_when_hours_are_counted(installation: Installation) -> None:
    installation.collect(an_event(received_at=NOON - HOUR), an_event())
    installation.export()
    installation.ledger(f"update tallies set n = n + 1 where hour = {NOON // HOUR}")
    installation.ledger(f"update tallies set n = n - 1 where hour = {NOON // HOUR - 1}")
    assert diagnosed(installation).balanced
    found = diagnosed(installation, hours=True)
    assert line(found, "balance").endswith("; OFF BY 2 in its hours")
    (owner,) = [item for item in found.destinations if item.app == OWNER]
    assert [(hour.at, hour.difference) for hour in owner.hours] == [("2026-02-16T11:00Z", 1), ("2026-02-16T12:00Z", -1)]
    assert (
        "  2026-02-16T11:00Z  1 = accepted 0 + pending 0 + parked 0 + suppressed 0 + expired 0; OFF BY 1"
        in found.lines(hours=True)
    )


def test_a_paused_destination_can_wait_for_daylight(installation: Installation) -> None:
    installation.views(1)
    installation.fault(status=403)
    installation.export()
    found = diagnosed(installation)
    assert found.healthy
    assert line(found, "balance").endswith("; paused: the endpoint answers 403")


@pytest.mark.parametrize("broken", ["events.db", "ledger.db", "registry.db"])
def test_a_broken_database_is_named(installation: Installation, broken: str) -> None:
    installation.views(200)
    installation.export()
    path = installation.data_dir / broken
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\xa5" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    found = diagnosed(installation)
    assert wrong(found) == [("FAIL", "databases")]
    assert line(found, "databases").startswith(f"{broken}: ")
    assert not found.healthy
    assert found.destinations == []


def test_a_database_of_an_older_version_is_named(installation: Installation) -> None:
    connection = sqlite3.connect(installation.data_dir / "events.db")
    with connection:
        connection.execute("delete from schema_migrations where number = 2")
    connection.close()
    assert line(diagnosed(installation), "databases") == (
        "events.db: is not of this version yet: run `footfall migrate`"
    )


def test_without_a_log_there_is_nobody_to_examine(installation: Installation) -> None:
    (installation.data_dir / "events.db").unlink()
    with pytest.raises(StoreUnavailable):
        diagnosed(installation)


def test_files_that_others_can_read_are_told(installation: Installation) -> None:
    key = installation.data_dir / "secret-key"
    key.write_text(SECRET_KEY)
    key.chmod(0o640)
    installation.data_dir.chmod(0o755)
    checks = list(modes(installation.data_dir))
    assert [check.level for check in checks] == ["warn", "FAIL"]
    assert checks[1].text == f"{key}: mode 0640, and others may read it: chmod 600"


def test_another_secret_key_than_before_is_a_failure(installation: Installation) -> None:
    installation.settings = msgspec.structs.replace(installation.settings, secret_key="0" + SECRET_KEY[1:])
    found = diagnosed(installation)
    assert ("FAIL", "secret") in wrong(found)
    assert line(found, "secret").endswith(f"the write keys of {OWNER}, {STRANGER} were stored")


def test_no_key_is_told(installation: Installation) -> None:
    installation.views(1)
    said = str(diagnosed(installation))
    assert not any(key in said for key in (*KEYS.values(), SECRET_KEY))


def test_where_the_secret_key_comes_from(tmp_path: Path) -> None:
    data = {"FOOTFALL_DATA_DIR": str(tmp_path)}
    assert secret_origin(data) is None
    (tmp_path / "secret-key").write_text(SECRET_KEY)
    assert secret_origin(data) == str(tmp_path / "secret-key")
    assert secret_origin(data | {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "the systemd credential"
    assert secret_origin(data | {"FOOTFALL_SECRET_KEY_FILE": "x"}) == "FOOTFALL_SECRET_KEY_FILE"
    assert secret_origin(data | {"FOOTFALL_SECRET_KEY": "x"}) == "FOOTFALL_SECRET_KEY"
    with pytest.raises(ConfigError):
        secret_origin({"FOOTFALL_DATA_DIR_FILE": str(tmp_path / "nowhere")})


# --- answers that need no installation


@pytest.mark.parametrize(
    ("volume", "level", "text"),
    [
        (Volume(0, 0, 10**10), "ok", "disk: 10000 MB free"),
        (Volume(10**6, 500, 10**10), "ok", "disk: 10000 MB free, 20 days at 1000000 events a day"),
        (Volume(10**6, 1_000, 10**10), "warn", "disk: 10000 MB free, 10 days at 1000000 events a day"),
        (Volume(10**7, 1_000, 10**10), "FAIL", "disk: 10000 MB free, 1 days at 10000000 events a day"),
        (Volume(0, 0, 10**6), "FAIL", "disk: 1 MB free"),
        (Volume(1, 500, 10**10), "ok", "disk: 10000 MB free, over 10 years at 1 events a day"),
    ],
)
def test_how_long_the_disk_lasts(volume: Volume, level: Level, text: str) -> None:
    assert room(volume) == Check(level, "disk", text)


def test_rollups_that_are_behind_are_told() -> None:
    assert rollups(None, NOON) == rollups(NOON - 60_000, NOON) == Check("ok", "rollups", "rollups: up with the log")
    late = Check("warn", "rollups", "rollups: 3 h behind; a collector keeps them up")
    assert rollups(NOON - 3 * HOUR, NOON) == late


def test_a_clock_that_went_back_is_a_failure() -> None:
    assert clock(NOON + 30_000, NOON).level == "ok"
    assert clock(None, NOON).level == "ok"
    assert clock(NOON + 5 * HOUR, NOON) == Check("FAIL", "clock", "clock: 5 h behind the newest event")


@pytest.mark.parametrize(
    ("last", "level", "text"),
    [
        (None, "warn", "exporter: it has not run yet"),
        (Run("r", NOON - HOUR, NOON - HOUR + 2_500, 1), "ok", "exporter: last run 60 min ago, took 2 s, 1 deferred"),
        (Run("r", NOON - 3 * HOUR, NOON - 3 * HOUR, 0), "warn", "exporter: last run 3 h ago, took 0 s, 0 deferred"),
        (Run("r", NOON - HOUR // 2, None, 0), "ok", "exporter: a run began 30 min ago and has not ended"),
        (Run("r", NOON - 72 * HOUR, None, 0), "warn", "exporter: a run began 3 days ago and has not ended"),
    ],
)
def test_an_exporter_that_does_not_run_is_told(last: Run | None, level: Level, text: str) -> None:
    assert exporter(last, True, NOON) == Check(level, "exporter", text)
    assert exporter(last, False, NOON).level == "ok"
