"""Several collectors on one server, behind whatever sends each request to the next of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from insisting import Senders, assert_stored_once
from processes import run
from shipping_stage import Prepared, Stage

from store import balance

seeded = random.Random


@pytest.fixture
def stage(prepared_on_server: Prepared, tmp_path: Path) -> Iterator[Stage]:
    with prepared_on_server.stage(tmp_path) as stage:
        yield stage


def test_two_collectors_that_are_killed_in_turns_store_once_what_either_acknowledged(stage: Stage) -> None:
    """A third of the events goes to both of them, some at the same moment, each under one id."""
    chance = seeded(20_260_220)
    collectors = [stage.footfall.collector(), stage.footfall.collector()]
    urls = [collector.url for collector in collectors]
    with Senders(urls, [stage.cast.owner_app, stage.cast.stranger_app], mortal=True, doubles=True) as senders:
        for _ in range(6):
            senders.wait_for(chance.randrange(20, 120))
            at = chance.randrange(2)
            collectors[at].kill()
            collectors[at] = stage.footfall.collector(collectors[at].port)
        senders.wait_for(50)
    assert senders.wrong == []
    for collector in collectors:
        collector.stop()
    stored = assert_stored_once(stage.footfall, senders)
    doors = run(balance.examine(stage.footfall.where)).doors
    assert (doors.difference, doors.stored) == (0, len(stored))
    assert doors.duplicate > 50
    assert stage.footfall.export().returncode == 0
    assert stage.segment.get("/_/counts").json()["landed"] == len(stored)
    stage.balance()
