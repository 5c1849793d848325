"""What the rollups cost: the rate of what is taken in with them and without, and how fast a log is counted anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Figure
from bench.ingest import CONNECTIONS, PAIRS, paired
from bench.stage import collector, connect, fill_log, prepare, wrk
from store.engines import open_reader, open_writer
from store.rollups.following import Follower
from store.settings import Settings

SECONDS = 6.0
EVENTS = 200_000


def ingest(scratch: Path) -> Iterator[Figure]:
    """Requests a second of one event each, while they are counted, against the same with nobody who counts. How many
    events are behind when the last request is answered is told, and what a visitor of the portal would wait for."""
    counted, plain = prepare(scratch / "counted"), prepare(scratch / "plain")
    ours, peers, left, took = [], [], 0, 0.0
    with (
        collector(counted) as with_rollups,
        collector(plain, FOOTFALL_TEST="1", FOOTFALL_TEST_NO_ROLLUPS="1") as without,
    ):
        for _ in range(PAIRS):
            peers.append(wrk(without, 1, SECONDS, CONNECTIONS))
            ours.append(wrk(with_rollups, 1, SECONDS, CONNECTIONS))
            left = max(left, _behind(counted))
            began = time.monotonic()
            while _behind(counted):
                time.sleep(0.05)
            took = max(took, time.monotonic() - began)
    yield paired("ingest with rollups", ours, peers, "requests/s", "without", 0.9)
    yield Figure("rollups behind by", left, "events", max(ours) * SECONDS, "taken in")
    yield Figure("rollups caught up in", took, "s", SECONDS, "of the load", "at most", 1.0)


def _behind(settings: Settings) -> int:
    connection = connect(settings.data_dir / "events.db")
    newest, counted = connection.execute(
        "select (select coalesce(max(seq), 0) from events), (select seq from rollups)"
    ).fetchone()
    connection.close()
    return int(newest - counted)


def rebuild(scratch: Path) -> Iterator[Figure]:
    """Events a second that are counted when nothing else is done, against as many plain inserts of them."""
    settings = prepare(scratch)
    began = time.perf_counter()
    fill_log(settings.data_dir, EVENTS)
    peer = EVENTS / (time.perf_counter() - began)
    connection = connect(settings.data_dir / "events.db")
    connection.execute("update rollups set seq = 0")
    connection.close()
    yield Figure("rollups rebuild", asyncio.run(_rate(settings)), "events/s", peer, "bulk inserts")


async def _rate(settings: Settings) -> float:
    where = settings.where
    async with (
        await open_writer(where, "registry") as registry,
        await open_writer(where, "log") as writer,
        await open_reader(where, "log") as reader,
    ):
        follower, began, n = Follower(registry, reader, writer), time.perf_counter(), 0
        while counted := await follower.step(time.time_ns() // 1_000_000):
            n += counted
        return n / (time.perf_counter() - began)
