"""Collectors that are killed while they count, and asked to count anew: nothing is counted twice or left out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Footfall, run, wait_until

from store import log
from store.database import Server
from store.engines import open_writer
from store.entry import Entry
from store.event import Details, encode_details

seeded = random.Random
NOW = 1_780_000_000_000
EVENTS = 4_000
SECONDS = 90  # for a machine that has much else to do


@pytest.fixture(params=["sqlite", "postgresql"])
def footfall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Footfall]:
    """With a log that nobody has counted."""
    env = {}
    if request.param == "postgresql":
        env["FOOTFALL_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    with Footfall(tmp_path / "data", **env) as footfall:
        footfall.seed()
        run(fill(footfall))
        yield footfall


async def fill(footfall: Footfall, events: int = EVENTS, seed: int = 19) -> None:
    chance = seeded(seed)
    async with await open_writer(footfall.where, "log") as db:
        for at in range(0, events, 1_000):
            rows = [row(chance, at + n) for n in range(1_000)]
            await log.commit(db, [Entry("test", NOW, rows, [], [])], Counter())


def row(chance: random.Random, nth: int) -> Any:
    app_key, partner_key = chance.choice(
        [("com.owner.charts", "owner"), ("com.owner.boards", "owner"), ("com.stranger.notes", "stranger")]
    )
    name = chance.choice(["page_view", "page_view", "tab_click", "cta_click", "install"])
    details = Details(query={"utm_source": chance.choice("abc")}, label=chance.choice(["Reviews", "Pricing"]))
    happened = NOW + nth * 60_000
    who = f"{chance.randrange(2_000):040x}"
    told = encode_details(details).decode()
    return (
        app_key,
        chance.randbytes(16),
        "track",
        name,
        "browser",
        happened,
        NOW,
        partner_key,
        who,
        None,
        None,
        None,
        told,
    )


def counted(footfall: Footfall) -> int:
    return int(footfall.value("events", "select seq from rollups"))


def newest(footfall: Footfall) -> int:
    return int(footfall.value("events", "select max(seq) from events"))


def hand_over(footfall: Footfall) -> None:
    """As when the lease of who was killed has run out; on files, nobody waits for that."""
    if isinstance(footfall.where, Server):
        run(_hand_over(footfall))


async def _hand_over(footfall: Footfall) -> None:
    async with await open_writer(footfall.where, "log") as db:
        await db.change("update rollups set taken_until = 0")


def wait_until_counted(footfall: Footfall) -> None:
    wait_until(lambda: counted(footfall) == newest(footfall), "all is counted", SECONDS)


def assert_true(footfall: Footfall) -> None:
    done = footfall.cli("rollups", "check")
    events = footfall.value("events", "select count(*) from events")
    assert done.stdout == f"ok    the rollups say what {events} events say, up to seq {newest(footfall)}\n"


def test_a_collector_that_is_killed_while_it_counts_leaves_what_the_next_goes_on_from(footfall: Footfall) -> None:
    for seed in range(2):
        before = counted(footfall)
        collector = footfall.collector()
        wait_until(lambda: counted(footfall) > before, "it counts", SECONDS)  # noqa: B023
        collector.kill()
        hand_over(footfall)
        run(fill(footfall, 2_000, seed))  # there is something to count whatever the first of them came to
    with footfall.collector():
        wait_until_counted(footfall)
    assert_true(footfall)


def test_a_running_collector_counts_anew_when_it_is_asked_to_and_killed_meanwhile(footfall: Footfall) -> None:
    with footfall.collector():
        wait_until_counted(footfall)
        assert footfall.cli("rollups", "rebuild").stdout == f"every event is counted, up to seq {newest(footfall)}\n"
    assert_true(footfall)
    collector = footfall.collector()
    rebuilds = "select rebuild_id from rollups"
    before = footfall.value("events", rebuilds)
    asking = footfall.begin("rollups", "rebuild")
    wait_until(lambda: footfall.value("events", rebuilds) > before, "it begins", SECONDS)
    collector.kill()
    hand_over(footfall)
    with footfall.collector():
        assert asking.wait(SECONDS) == 0
    assert_true(footfall)


def test_of_two_collectors_the_other_goes_on_when_the_one_that_counts_is_killed(
    postgres_url: str, tmp_path: Path
) -> None:
    with Footfall(tmp_path / "data", FOOTFALL_DATABASE_URL=postgres_url) as footfall:
        footfall.seed()
        run(fill(footfall))
        collectors = {str(each.pid): each for each in (footfall.collector(), footfall.collector())}
        wait_until(lambda: counted(footfall) > 0, "one counts", SECONDS)
        counts = footfall.value("events", "select taken_by from rollups").partition("-")[0]
        collectors[counts].kill()
        hand_over(footfall)
        wait_until_counted(footfall)
        assert_true(footfall)
