"""Several exporters on one server: they share the work, they never do the same at once, and one that dies is replaced
when its lease has run out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet import Fleet, assert_each_landed_once, assert_one_at_a_time
from insisting import Senders, assert_stored_once
from processes import wait_until
from shipping_stage import Prepared, Stage

seeded = random.Random
APPS = 200
EVENTS = 40


@pytest.fixture
def stage(prepared_on_server: Prepared, tmp_path: Path) -> Iterator[Stage]:
    with prepared_on_server.stage(tmp_path) as stage:
        stage.footfall.env["FOOTFALL_TEST_LEASE_SECONDS"] = "3"
        yield stage
        stage.mend()


def backlogs(stage: Stage, apps: int, events: int, latency: float) -> list[str]:
    """Apps with as many events each, and a Segment that takes its time for every request."""
    stage.fault(hang=latency, times="always")
    found = stage.add_apps(apps)
    for app in found:
        stage.collect(app, events)
    return found


def landed(stage: Stage) -> int:
    return int(stage.segment.get("/_/counts").json()["landed"])


def test_exporters_that_are_killed_again_and_again_send_everything_once_and_nothing_at_the_same_time(
    stage: Stage,
) -> None:
    besieged(stage, APPS, EVENTS, kills=10, seed=20_260_219)


def besieged(stage: Stage, apps: int, events: int, kills: int, seed: int, latency: float = 0.4) -> Fleet:
    """Four exporters and a collector at work, each of them killed and replaced again and again."""
    chance, names = seeded(seed), backlogs(stage, apps, events, latency)
    collector = stage.footfall.collector()
    with Fleet(stage) as fleet, Senders([collector.url], names, count=2, mortal=True) as senders:
        fleet.start(4)
        for number in range(kills):
            wanted = min(landed(stage) + chance.randrange(1, apps * events // kills), apps * events)
            wait_until(lambda: landed(stage) >= wanted, "some more landed", 60)  # noqa: B023
            if number % 4 == 3:
                collector.kill()
                collector = stage.footfall.collector(collector.port)
            else:
                fleet.replace_one(chance)
        wait_until(lambda: landed(stage) >= apps * events, "the backlogs are gone", 600)
        senders.stop()
    assert senders.wrong == []
    stage.outlive_leases()
    assert stage.footfall.export().returncode == 0
    collector.kill()
    stored = assert_stored_once(stage.footfall, senders)
    assert len(stored) > apps * events
    assert assert_each_landed_once(stage) == len(stored)
    assert_one_at_a_time(stage, latency)
    return fleet


def test_four_exporters_share_the_work_and_one_that_comes_late_gets_some(stage: Stage) -> None:
    stage.footfall.env["FOOTFALL_TEST_LEASE_SECONDS"] = "60"  # nobody dies, and nobody's runs out on a busy machine
    backlogs(stage, 2 * APPS, 10, latency=1.0)
    with Fleet(stage) as fleet:
        fleet.start(4)
        wait_until(lambda: landed(stage) >= 1_000, "a quarter has landed", 60)
        late = fleet.start()[0]
        wait_until(lambda: landed(stage) >= 20 * APPS, "the backlogs are gone", 600)
    assert assert_each_landed_once(stage) == 20 * APPS
    assert assert_one_at_a_time(stage, 1.0) == 0
    accepted = fleet.accepted()
    assert sum(accepted.values()) == 20 * APPS
    assert max(accepted.values()) <= 10 * APPS, accepted
    assert accepted[late] > 0, accepted


def test_what_a_dead_exporter_held_is_taken_over_when_its_lease_ends_and_no_sooner(stage: Stage) -> None:
    stage.fault(hang=60, match={"path": "/v1/batch"})
    stage.collect(stage.cast.owner_app, 10)
    with Fleet(stage, every="0.1") as fleet:
        fleet.start()
        open_batches = "select count(*) from batches where outcome = 'open'"
        wait_until(lambda: stage.landed(stage.cast.owner_key) == 10, "it landed, and is not answered")
        assert stage.footfall.value("ledger", open_batches) == 1
        until = stage.footfall.value("ledger", "select lease_until from cursors where lease_owner <> ''")
        fleet.replace_one(seeded(1))
        taken_over = "select opened_at from batches where outcome = 'accepted'"
        wait_until(lambda: stage.footfall.rows("ledger", taken_over), "another had it accepted")
    assert stage.footfall.rows("ledger", taken_over)[0][0] >= until
    assert stage.footfall.value("ledger", open_batches) == 0
    assert stage.segment.get("/_/counts").json()["dropped"] == {"duplicate": 10}
