"""The doctor before a server, and what else an operator asks of it: each fault is found and said in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result
from shipping_cast import NOON, OWNER, SECRET_KEY, STRANGER
from test_server_retention import Stage

import footfall
from selftest.cluster import Cluster
from store.backup import back_up
from store.database import Server
from store.doctor import diagnosing
from store.doctor.checks import Check
from store.doctor.diagnosing import Diagnosis
from store.errors import ConfigError, StoreUnavailable
from store.migrations import steps
from store.postgres import partitions
from store.postgres.doctor import Open, clocks, durable, growth, open_transactions, rest, roles, schema, supported
from store.postgres.settled import BEGIN
from store.removal import Removed

HOUR = 3_600_000
GROUND = ["settings", "server", "durability", "roles", "clocks", "databases", "databases", "databases"]
STATE = [
    "secret",
    "disk",
    "partitions",
    "settled",
    "clock",
    "rollups",
    "exporter",
    "attribution",
    "doors",
    "balance",
    "balance",
    "pending",
    "keys",
]


@pytest.fixture(scope="module")
def durable_cluster() -> Iterator[Cluster]:
    with Cluster(durable=True) as cluster:
        yield cluster


@pytest.fixture
def url(durable_cluster: Cluster) -> Iterator[str]:
    """A database of an owner who is no superuser."""
    made = durable_cluster.database("footfall")
    with psycopg.connect(made, autocommit=True) as connection:
        if not connection.execute("select 1 from pg_roles where rolname = 'operator'").fetchone():
            connection.execute("create role operator login createrole")
        connection.execute("alter database footfall owner to operator")
    yield made.replace("postgres@", "operator@")
    durable_cluster.drop(made)


@pytest.fixture
def stage(url: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(partitions, "LEAST", 10)
    return Stage(url)


def diagnosed(stage: Stage, url: str = "", now: int = NOON + HOUR) -> Diagnosis:
    settings = msgspec.structs.replace(stage.settings, database_url=url or stage.url)
    return asyncio.run(diagnosing.diagnose(settings, "FOOTFALL_SECRET_KEY", now))


def wrong(found: Diagnosis) -> list[tuple[str, str]]:
    return [(check.level, check.name) for check in found.checks if check.level != "ok" and check.name != "keys"]


def line(found: Diagnosis, name: str) -> str:
    return next(check.text for check in found.checks if check.name == name)


def run(url: str, data: Path, *words: str) -> Result:
    env = {"FOOTFALL_DATABASE_URL": url, "FOOTFALL_DATA_DIR": str(data), "FOOTFALL_SECRET_KEY": SECRET_KEY}
    asyncio.set_event_loop(None)
    return CliRunner().invoke(footfall.main, words, env=env)


def test_a_sound_installation_is_healthy(stage: Stage) -> None:
    stage.collect(5, NOON)
    stage.export()
    found = diagnosed(stage)
    assert found.healthy, found.lines()
    assert [check.name for check in found.checks] == [*GROUND, *STATE]
    assert (found.engine, found.sqlite, found.balanced) == ("postgresql", None, True)
    assert line(found, "server") == f"server: PostgreSQL {found.postgresql}"
    assert line(found, "roles").startswith("roles: this user may take footfall_collector, footfall_exporter,")
    assert line(found, "partitions") == "partitions: 7 ahead, for 75 events"
    assert line(found, "settled") == "settled: up to the newest event"
    assert line(found, "disk").startswith("database: ")


def test_the_sums_are_those_of_the_server(stage: Stage) -> None:
    stage.collect(5, NOON)
    stage.export()
    stage.collect(2, NOON, STRANGER)
    stage.sql("update ledger.tallies set n = n - 1 where app_key = %s", OWNER)
    found = diagnosed(stage)
    assert ("FAIL", "balance") in wrong(found)
    assert [(o.app, o.collected, o.pending, o.difference) for o in found.destinations] == [
        (OWNER, 5, 0, 1),
        (STRANGER, 2, 2, 0),
    ]


def test_a_schema_of_an_older_version_is_named(stage: Stage) -> None:
    stage.sql("delete from log.schema_migrations where number = 2")
    found = diagnosed(stage)
    assert wrong(found) == [("FAIL", "databases")]
    assert "log: without 0002_removed: run `footfall migrate`" in [check.text for check in found.checks]
    assert found.destinations == []


def test_events_that_go_to_the_rest_are_told(stage: Stage) -> None:
    stage.collect(100, NOON)
    found = diagnosed(stage, now=NOON)
    assert ("warn", "partitions") in wrong(found)
    assert line(found, "partitions").endswith("run `footfall purge`")


def test_a_transaction_that_holds_the_exporter_back_is_told(stage: Stage) -> None:
    with stage.holding(BEGIN.partition(";")[2]):
        stage.collect(5, NOON)
        said = line(diagnosed(stage), "settled")
    assert said.startswith("settled: all but the newest 5 numbers, for a transaction that writes, open for ")


def test_a_user_that_may_not_look_is_told_what_it_needs(stage: Stage, durable_cluster: Cluster) -> None:
    with psycopg.connect(durable_cluster.url, autocommit=True) as connection:
        connection.execute("drop role if exists nobody")
        connection.execute("create role nobody login in role footfall_collector")
    found = diagnosed(stage, stage.url.replace("operator@", "nobody@"))
    assert wrong(found) == [("FAIL", "roles")]
    assert line(found, "roles") == "roles: this user may not take footfall_reader: see docs/how-to/grow.md"


def test_without_a_server_there_is_nobody_to_examine(stage: Stage) -> None:
    with pytest.raises(StoreUnavailable):
        diagnosed(stage, "postgresql://operator@127.0.0.1:1/footfall")


def test_the_owner_of_the_database_may_purge_and_others_may_not(
    stage: Stage, durable_cluster: Cluster, tmp_path: Path
) -> None:
    stage.collect(10)
    stage.export()
    with psycopg.connect(durable_cluster.url, autocommit=True) as connection:
        connection.execute("drop role if exists somebody")
        connection.execute("create role somebody login in role footfall_collector, footfall_reader")
    other = run(stage.url.replace("operator@", "somebody@"), tmp_path, "purge")
    assert (other.exit_code, stage.count("log.events")) == (78, 10), other.output
    assert stage.purge() == Removed(events=10)


def test_what_is_missing_is_told_and_not_changed(url: str, tmp_path: Path) -> None:
    missing = run(url, tmp_path, "migrate", "--check")
    assert missing.exit_code == 1
    assert (
        missing.stdout.splitlines()[0]
        == f"registry: missing {', '.join(step.name for step in steps('registry', 'postgresql'))}"
    )
    assert run(url, tmp_path, "migrate", "--check").stdout == missing.stdout
    assert run(url, tmp_path, "migrate").exit_code == 0
    done = run(url, tmp_path, "migrate", "--check")
    assert (done.exit_code, done.stdout) == (0, "registry: up to date\nlog: up to date\nledger: up to date\n")


def test_a_backup_of_a_server_is_refused_with_what_to_use_instead(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pg_dump.*pg_basebackup.*docs/how-to/grow\.md"):
        asyncio.run(back_up(Server("postgresql://operator@127.0.0.1/footfall"), tmp_path / "backups"))
    refused = run("postgresql://operator@127.0.0.1/footfall", tmp_path, "backup", str(tmp_path / "backups"))
    assert refused.exit_code == 78
    assert not (tmp_path / "backups").exists()


# --- answers that need no server


@pytest.mark.parametrize(
    ("check", "level", "text"),
    [
        (supported(14, "14.9"), "FAIL", "server: PostgreSQL 14.9, and 15 is needed at least"),
        (supported(18, "18.1"), "ok", "server: PostgreSQL 18.1"),
        (durable({"fsync": "on", "full_page_writes": "on"}), "ok", "durability: fsync, full_page_writes are on"),
        (durable({"fsync": "off"}), "FAIL", "durability: fsync is off: what was acknowledged may be lost"),
        (clocks(1_900), "ok", "clocks: this machine's and the server's differ by 1.9 s"),
        (clocks(-2_100), "warn", "clocks: this machine's and the server's differ by 2.1 s"),
        (schema("log", []), "ok", "log: of this version"),
        (growth(2_000_000, 0, 0), "ok", "database: 2 MB"),
        (growth(2_000_000, 1_000, 900), "ok", "database: 2 MB, 0.9 MB more a day at 1000 events"),
        (rest(0, 50), "warn", "partitions: 0 ahead, for 50 events: run `footfall purge`"),
        (rest(0, 0), "warn", "partitions: none for what comes, which goes to the rest: run `footfall purge`"),
        (
            open_transactions(Open(9, 7, None)),
            "ok",
            "settled: all but the newest 2 numbers, for a transaction that writes",
        ),
    ],
)
def test_each_answer_is_one_line(check: Check, level: str, text: str) -> None:
    assert (check.level, check.text) == (level, text)


def test_a_transaction_that_is_open_for_too_long_is_looked_at_in_daylight() -> None:
    assert open_transactions(Open(9, 7, 61_000)).level == "warn"
    assert open_transactions(Open(9, 7, 59_000)).level == "ok"
    assert open_transactions(Open(9, 9, None)).level == "ok"


def test_only_the_roles_that_may_be_taken_are_named() -> None:
    assert roles({"footfall_collector": False, "footfall_reader": True}).text == (
        "roles: this user may take footfall_reader"
    )
