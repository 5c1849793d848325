"""How fast events are taken in, durably: against bare uvicorn, against bare SQLite, and against an empty log."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import msgspec

from bench.figure import Figure
from bench.stage import collector, connect, fill_log, free_port, prepare, process, row, wrk
from store.event import NewRow
from store.sqlite.append import insert_statement

PAIRS = 5
SECONDS = 4.0
CONNECTIONS = 256
BATCH = 20
STORED = 5_000_000


def single(scratch: Path) -> Iterator[Figure]:
    """Requests a second of one event each, every one on disk before its answer, against uvicorn answering nothing."""
    settings = prepare(scratch)
    port = free_port()
    ours, peers = [], []
    with process("-m", "bench.bare", str(port), port=port), collector(settings) as door:
        for _ in range(PAIRS):
            peers.append(wrk(f"http://127.0.0.1:{port}/e", 1, SECONDS, CONNECTIONS))
            ours.append(wrk(door, 1, SECONDS, CONNECTIONS))
    yield paired("ingest single", ours, peers, "requests/s", "bare uvicorn", 0.45)


def batch(scratch: Path) -> Iterator[Figure]:
    """Rows a second from requests of twenty events, against SQLite alone: the same rows, twenty a commit."""
    settings = prepare(scratch / "ours")
    ours, peers = [], []
    with collector(settings) as door:
        for pair in range(PAIRS):
            peers.append(bare_rows(scratch / f"bare{pair}", row, BATCH))
            ours.append(wrk(door, BATCH, SECONDS, 32) * BATCH)
    yield paired("ingest batch of 20", ours, peers, "rows/s", "bare SQLite", 0.5)


def bare_rows(directory: Path, row: Callable[[int], NewRow], batch: int) -> float:
    """Rows a second of bare inserts into the same schema, made beforehand, so many a commit."""
    prepare(directory)
    connection = connect(directory / "events.db")
    statement = insert_statement(1)
    rows = [row(number) for number in range(60_000)]
    began = time.perf_counter()
    for at in range(0, len(rows), batch):
        connection.execute("begin immediate")
        connection.executemany(statement, rows[at : at + batch])
        connection.execute("commit")
    took = time.perf_counter() - began
    connection.close()
    return len(rows) / took


def latency(scratch: Path) -> Iterator[Figure]:
    """The 99th percentile of a single event's answer at half of the highest rate, asked for at fixed times."""
    with collector(prepare(scratch)) as door:
        half = wrk(door, 1, SECONDS, CONNECTIONS) / 2
        port = door.rpartition(":")[2].removesuffix("/e")
        command = [sys.executable, "-m", "bench.pace", port, str(half), str(SECONDS * 2)]
        took = msgspec.json.decode(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    yield Figure(f"ingest p50 at {half:,.0f}/s", took["p50_ms"], "ms", 50.0, "limit of p99")
    yield Figure(f"ingest p99 at {half:,.0f}/s", took["p99_ms"], "ms", 50.0, "limit", "at most", 1.0)


def full(scratch: Path) -> Iterator[Figure]:
    """The rate into a log of five million events, against the rate into an empty one."""
    empty, filled = prepare(scratch / "empty"), prepare(scratch / "full")
    fill_log(filled.data_dir, STORED)
    ours, peers = [], []
    with collector(empty) as small, collector(filled) as large:
        for _ in range(PAIRS):
            peers.append(wrk(small, 1, SECONDS, CONNECTIONS))
            ours.append(wrk(large, 1, SECONDS, CONNECTIONS))
    yield paired("ingest at 5 million", ours, peers, "requests/s", "empty log", 0.85)


def disk(scratch: Path) -> Iterator[Figure]:
    """Bytes on disk of one event, indexes included, against its own JSON."""
    settings = prepare(scratch, apps=10)
    fill_log(settings.data_dir, 100_000, apps=10)
    size = (settings.data_dir / "events.db").stat().st_size / 100_000
    yield Figure("disk per event", size, "bytes", len("".join(map(str, chain(row(0))))), "its values as text")


def paired(name: str, ours: list[float], peers: list[float], unit: str, peer: str, bound: float) -> Figure:
    """The pair whose ratio is the median."""
    ratios = [one / other for one, other in zip(ours, peers, strict=True)]
    middle = ratios.index(statistics.median_low(ratios))
    return Figure(name, ours[middle], unit, peers[middle], peer, "at least", bound)
