"""The database server goes: it crashes, it restarts, a standby takes its place, or it says nothing any more. Nobody
hangs, nobody is told an untruth, and everything heals by itself.

A crash of the server loses nothing that was committed, because a commit is flushed first. That the standby has it too
is the operator's choice: synchronous_standby_names, as set here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
import psycopg
import pytest
from insisting import Senders, assert_stored_once, retold, view
from processes import Process, run, wait_until
from shipping_stage import Prepared, Stage

from selftest.cluster import Cluster, Standby
from store.database import Server as DatabaseServer
from store.engines import open_reader
from store.errors import StoreUnavailable
from store.postgres.settled import settled

ONE_LINE = re.compile(r"footfall: PostgreSQL at [^\n]+\n")


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """One that writes as in production, and may be done anything to: the next test finds it running."""
    with Cluster(durable=True) as server:
        yield server


@pytest.fixture(scope="module")
def on_it(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    with Prepared(tmp_path_factory.mktemp("prepared"), server) as prepared:
        yield prepared


@pytest.fixture
def stage(server: Cluster, on_it: Prepared, tmp_path: Path) -> Iterator[Stage]:
    with on_it.stage(tmp_path) as stage:
        yield stage
        server.thaw()


@pytest.fixture
def standby(stage: Stage, server: Cluster) -> Iterator[Standby]:
    """A standby that every commit waits for."""
    with server.standby() as standby:
        alter(server, "alter system set synchronous_standby_names = '*'")
        in_step = "select count(*) from pg_stat_replication where sync_state = 'sync'"
        wait_until(lambda: server.value(in_step) == 1, "the standby is waited for")
        yield standby
    server.kill()
    server.start()
    alter(server, "alter system reset synchronous_standby_names")


def alter(server: Cluster, statement: LiteralString) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(statement)
        connection.execute("select pg_reload_conf()")


def assert_unready(collector: Process) -> None:
    told = collector.get("/readyz")
    assert (told.status_code, told.headers["retry-after"]) == (503, "2")


def assert_all_landed(stage: Stage, stored: set[tuple[str, str]]) -> None:
    """After a last run, everything that is stored was accepted once."""
    stage.outlive_leases()
    assert stage.footfall.export().returncode == 0
    assert stage.segment.get("/_/counts").json()["landed"] == len(stored)
    assert stage.footfall.value("ledger", "select count(*) from batches where outcome = 'open'") == 0
    assert sum(found["accepted"] for found in stage.balance().values()) == len(stored)


def crash(server: Cluster) -> None:
    server.kill()


def shut_down(server: Cluster) -> None:
    server.stop("fast")


@pytest.mark.parametrize("end", [crash, shut_down])
def test_while_the_server_is_away_senders_are_told_to_come_back_and_exports_end_in_one_line(
    stage: Stage, server: Cluster, end: Callable[[Cluster], None]
) -> None:
    footfall, cast = stage.footfall, stage.cast
    collector, exporter = footfall.collector(), footfall.begin("export", "--every", "0.3")
    with Senders([collector.url], [cast.owner_app, cast.stranger_app]) as senders:
        senders.wait_for(50)
        wait_until(lambda: stage.landed(cast.owner_key) > 0, "the exporter is at work")
        end(server)
        senders.wait_for_refusal()
        assert_unready(collector)
        done = footfall.export()
        assert done.returncode == 69
        assert ONE_LINE.fullmatch(done.stderr), done.stderr
        assert collector.get("/healthz").status_code == 200
        server.start()
        senders.wait_for(50)
        assert collector.get("/readyz").status_code == 200
        server.restart()
        senders.wait_for(50)
        landed = stage.landed(cast.owner_key)
        wait_until(lambda: stage.landed(cast.owner_key) > landed, "the exporter goes on")
        assert exporter.running
    assert senders.wrong == []
    assert senders.answers.keys() == {204, 503}
    assert exporter.stop() in (0, 75)
    assert "run failed" in {line["event"] for line in retold(exporter.log())}
    collector.stop()
    assert_all_landed(stage, assert_stored_once(footfall, senders))


def test_a_quiet_collector_is_unready_while_its_server_is_away(stage: Stage, server: Cluster) -> None:
    with stage.footfall.collector() as collector:
        assert collector.get("/readyz").status_code == 200
        server.kill()
        assert_unready(collector)
        server.start()
        assert collector.get("/readyz").status_code == 200


def test_a_server_that_says_nothing_any_more_is_given_up_before_a_sender_would(stage: Stage, server: Cluster) -> None:
    footfall, cast = stage.footfall, stage.cast
    collector = footfall.collector()
    with Senders([collector.url], [cast.owner_app, cast.stranger_app]) as senders:
        senders.wait_for(50)
        server.freeze()
        senders.wait_for_refusal(60)
        assert_unready(collector)
        done = footfall.export()
        assert done.returncode == 69
        assert ONE_LINE.fullmatch(done.stderr), done.stderr
        assert run(seconds_until_eight_give_up(footfall.env["FOOTFALL_DATABASE_URL"])) < 40
        server.thaw()
        senders.wait_for(50)
        assert collector.get("/readyz").status_code == 200
    assert senders.wrong == []
    print(f"the slowest answer took {senders.slowest:.1f} s")
    collector.stop()
    assert_all_landed(stage, assert_stored_once(footfall, senders))


def test_a_standby_that_is_promoted_has_everything_that_was_acknowledged(
    stage: Stage, server: Cluster, standby: Standby
) -> None:
    footfall, cast = stage.footfall, stage.cast
    first, second = (urlsplit(each.url).netloc for each in (standby, server))
    database = urlsplit(footfall.env["FOOTFALL_DATABASE_URL"]).path
    both = f"postgresql://{first},{second.rpartition('@')[2]}{database}"
    alone = f"postgresql://{first}{database}"
    assert not run(reads_from_a_standby(both))
    footfall.env["FOOTFALL_DATABASE_URL"] = both
    collector, exporter = footfall.collector(), footfall.begin("export", "--every", "0.3")
    beside = footfall.collector(FOOTFALL_DATABASE_URL=alone)
    assert told(beside, cast.owner_app) == 503
    assert_unready(beside)
    done = footfall.export(FOOTFALL_DATABASE_URL=alone)
    assert done.returncode == 69
    assert ONE_LINE.fullmatch(done.stderr), done.stderr
    with Senders([collector.url], [cast.owner_app, cast.stranger_app]) as senders:
        senders.wait_for(50)
        wait_until(lambda: stage.landed(cast.owner_key) > 0, "the exporter is at work")
        server.kill()
        senders.wait_for_refusal()
        standby.promote()
        senders.wait_for(50)
        landed = stage.landed(cast.owner_key)
        wait_until(lambda: stage.landed(cast.owner_key) > landed, "the exporter goes on")
        assert exporter.running
    assert senders.wrong == []
    wait_until(lambda: told(beside, cast.owner_app) == 204, "the one beside has healed")
    assert beside.get("/readyz").status_code == 200
    assert exporter.stop() in (0, 75)
    collector.stop()
    beside.stop()
    footfall.env["FOOTFALL_DATABASE_URL"] = alone
    assert_all_landed(stage, assert_stored_once(footfall, senders))


async def seconds_until_eight_give_up(url: str) -> float:
    """Eight who ask for a connection that nobody answers: they wait for it together, not one after another."""
    async with await open_reader(DatabaseServer(url), "log", patience=60) as db:
        began = time.monotonic()
        ended = await asyncio.gather(*(db.run(settled) for _ in range(8)), return_exceptions=True)
        assert {type(error) for error in ended} == {StoreUnavailable}
        return time.monotonic() - began


async def reads_from_a_standby(url: str) -> bool:
    async with await open_reader(DatabaseServer(url), "log") as db:
        return bool(await db.value("select pg_is_in_recovery()"))


def told(collector: Process, app: str) -> int:
    """What a collector answers to one page view more."""
    answer = httpx2.post(f"{collector.url}/e", json=view(app, str(uuid4())), headers={"Origin": collector.url})
    return answer.status_code
