"""`footfall purge` beside a collector that takes events in, and without one."""

from __future__ import annotations

import json
import signal

from shipping_stage import Stage
from test_backup_restore import Visitors


def test_a_running_collector_removes_what_is_old_while_events_come_in(stage: Stage) -> None:
    footfall, app = stage.footfall, stage.cast.owner_app
    stage.collect(app, 3_000)
    assert footfall.export().returncode == 0
    footfall.env["FOOTFALL_RETENTION_DAYS"] = "90"
    with footfall.collector() as collector:
        visitors = Visitors(collector, app)
        visitors.start()
        removed = footfall.say("purge")
        visitors.stop()
        told = [json.loads(line) for line in collector.log().splitlines()]
    assert removed == {"events": 3_000, "rejections": 0, "visitors": 0, "quarantined": 0, "held_back": 0}
    assert [line["event"] for line in told] == ["collector began", "what is old was removed"]
    assert footfall.value("events", "select count(*) from events") == len(visitors.stored) > 0
    assert footfall.value("events", "select sum(n) from removed") == 3_000
    assert stage.balance()[app]["collected"] == 3_000 + len(visitors.stored)
    assert footfall.export().returncode == 0
    assert stage.balance()[app]["accepted"] == 3_000 + len(visitors.stored)


def test_without_a_collector_the_command_does_it(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 30)
    stage.footfall.env["FOOTFALL_RETENTION_DAYS"] = "90"
    done = stage.footfall.cli("purge")
    assert done.stdout == "removed 0 events, 0 rejections, 0 visitors\n"
    assert done.stderr == "footfall: 30 old events stay: a destination has not passed them yet\n"
    assert stage.footfall.export().returncode == 0
    assert stage.balance()[stage.cast.owner_app]["expired"] == 30
    assert stage.footfall.cli("purge").stdout == "removed 30 events, 0 rejections, 0 visitors\n"
    assert stage.balance()[stage.cast.owner_app]["expired"] == 30


def test_a_collector_that_does_not_answer_is_not_waited_for_for_ever(stage: Stage) -> None:
    with stage.footfall.collector() as collector:
        collector.signal(signal.SIGSTOP)
        done = stage.footfall.cli("purge", "--timeout", "0.5")
        collector.signal(signal.SIGCONT)
    assert done.returncode == 75
    assert "has not done it" in done.stderr
