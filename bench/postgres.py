"""The same on PostgreSQL, on a server that waits for its disk: in, out, several of each, and a run with nothing to do.

The server has its share of the same cores, so what several processes reach here shows what they cost each other, not
what they would reach on machines of their own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import repeat
from pathlib import Path

from bench.broken import idle_run
from bench.export import client_rate, exported
from bench.figure import Figure
from bench.ingest import BATCH, CONNECTIONS, PAIRS, SECONDS, paired
from bench.server import Watch, bare, durable, fill_log, on
from bench.stage import FIRST_APP, collector, environment, free_port, process, row, wrk
from selftest.cluster import Cluster
from store.event import COLUMNS
from store.postgres.connection import Bytes, Numbers, Texts
from store.settings import Settings

BARE_ROWS = 60_000
STORED = 2_000_000
EVENTS = 100_000
EXPORT_PAIRS = 3
MILLION = 1_000_000
MEMORY_LIMIT_MB = 120.0
IDLE_APPS = 100_000
MANY = (2, 4)
MANY_APPS, MANY_EVENTS = 1_000, 100_000
READ = 1_000  # events in one bare read: about what one request to Segment holds


def single(scratch: Path) -> Iterator[Figure]:
    """Requests a second of one event each, every one on disk before its answer, against uvicorn answering nothing."""
    port = free_port()
    ours, peers = [], []
    with (
        durable() as cluster,
        process("-m", "bench.bare", str(port), port=port),
        collector(on(cluster, scratch)) as door,
    ):
        for _ in range(PAIRS):
            peers.append(wrk(f"http://127.0.0.1:{port}/e", 1, SECONDS, CONNECTIONS))
            ours.append(wrk(door, 1, SECONDS, CONNECTIONS))
    yield paired("pg ingest single", ours, peers, "requests/s", "bare uvicorn", 0.3)


def batch(scratch: Path) -> Iterator[Figure]:
    """Rows a second from requests of twenty events, against PostgreSQL alone: the same rows, twenty a commit."""
    ours, peers = [], []
    with durable() as cluster, collector(on(cluster, scratch)) as door:
        for _ in range(PAIRS):
            peers.append(_bare_rows(on(cluster, scratch)))
            ours.append(wrk(door, BATCH, SECONDS, 32) * BATCH)
    yield paired("pg ingest batch of 20", ours, peers, "rows/s", "bare PostgreSQL", 0.5)


_ARRAYS = (Texts, Bytes, Texts, Texts, Texts, Numbers, Numbers, *(Texts,) * 6)
_APPEND = f"""
    insert into events ({COLUMNS})
    select nextval('events_seq'), * from unnest({", ".join("?" * len(_ARRAYS))})"""


def _bare_rows(settings: Settings) -> float:
    """Rows a second of a prepared insert into the same table, one journey to the server for a commit of twenty."""
    connection = bare(settings)
    rows = [row(number) for number in range(BARE_ROWS)]
    began = time.perf_counter()
    for at in range(0, len(rows), BATCH):
        columns = zip(*rows[at : at + BATCH], strict=True)
        connection.execute(_APPEND, [kind(column) for kind, column in zip(_ARRAYS, columns, strict=True)])
    took = time.perf_counter() - began
    connection.close()
    return len(rows) / took


def full(scratch: Path) -> Iterator[Figure]:
    """The rate into a log of two million events, against the rate into an empty one."""
    ours, peers = [], []
    with durable() as cluster:
        empty, filled = on(cluster, scratch), on(cluster, scratch)
        fill_log(filled, STORED)
        with collector(empty) as small, collector(filled) as large:
            for _ in range(PAIRS):
                peers.append(wrk(small, 1, SECONDS, CONNECTIONS))
                ours.append(wrk(large, 1, SECONDS, CONNECTIONS))
    yield paired("pg ingest at 2 million", ours, peers, "requests/s", "empty log", 0.85)


def rate(scratch: Path) -> Iterator[Figure]:
    """Events a second from the log to the ledger, against bare reads of the same rows, and against the library's client
    from memory."""
    port = free_port()
    ours, reads, clients = [], [], []
    with durable() as cluster, process("-m", "bench.sink", str(port), port=port):
        for _ in range(EXPORT_PAIRS):
            settings = on(cluster, scratch, with_destinations=True)
            fill_log(settings, EVENTS)
            reads.append(_bare_reads(settings))
            clients.append(client_rate(settings, port))
            ours.append(EVENTS / float(exported(settings, port)[0]["seconds"]))
    yield paired("pg export", ours, reads, "events/s", "bare reads", 0.08)
    yield paired("pg export", ours, clients, "events/s", "the library's Client", 2.5)


def _bare_reads(settings: Settings) -> float:
    """Rows a second, decoded to tuples."""
    sql = f"select {COLUMNS} from events where app_key = ? and seq > ? order by seq limit ?"
    connection = bare(settings)
    began, after = time.perf_counter(), 0
    while rows := connection.execute(sql, (FIRST_APP, after, READ)).fetchall():
        after = rows[-1][0]
    took = time.perf_counter() - began
    connection.close()
    return EVENTS / took


def memory(scratch: Path) -> Iterator[Figure]:
    """The peak resident size of an exporter that ships a million events."""
    port = free_port()
    with durable() as cluster, process("-m", "bench.sink", str(port), port=port):
        settings = on(cluster, scratch, apps=10, with_destinations=True)
        fill_log(settings, MILLION, apps=10)
        report, peak_mb = exported(settings, port)
    if sum(item["accepted"] for item in report["destinations"]) != MILLION:
        raise RuntimeError("not every event was accepted")
    yield Figure("pg export peak memory", peak_mb, "MB", MEMORY_LIMIT_MB, "limit", "at most", 1.0)


def many(scratch: Path) -> Iterator[Figure]:
    """What several collectors take in together, and several exporters ship together, against one of them."""
    with durable() as cluster:
        for count in MANY:
            pairs = [(_taken_in(cluster, scratch, count), _taken_in(cluster, scratch, 1)) for _ in range(EXPORT_PAIRS)]
            yield from _told(f"pg {count} collectors", "rows/s", "one collector", pairs)
        port = free_port()
        with process("-m", "bench.sink", str(port), port=port):
            for count in MANY:
                pairs = [
                    (_shipped(cluster, scratch, count, port), _shipped(cluster, scratch, 1, port))
                    for _ in range(EXPORT_PAIRS)
                ]
                yield from _told(f"pg {count} exporters", "events/s", "one exporter", pairs)


Seen = tuple[float, Watch]


def _told(name: str, unit: str, peer: str, pairs: Sequence[tuple[Seen, Seen]]) -> Iterator[Figure]:
    """The rates, and how many of the connections that were at work were seen waiting for a lock."""
    yield paired(name, [rate for (rate, _), _ in pairs], [rate for _, (rate, _) in pairs], unit, peer, 0.7)
    waiting = sum(watch.waiting for (_, watch), _ in pairs)
    busy = sum(watch.busy for (_, watch), _ in pairs)
    yield Figure(f"{name}, waiting", waiting, "looks", max(busy, 1), "at work")


def _taken_in(cluster: Cluster, scratch: Path, count: int) -> Seen:
    """Rows a second of batches, all for one app, by that many collectors on one database."""
    settings = on(cluster, scratch)
    with ExitStack() as stack, ThreadPoolExecutor(count) as threads:
        doors = [stack.enter_context(collector(settings)) for _ in range(count)]
        watch = stack.enter_context(Watch(cluster))
        rates = threads.map(wrk, doors, repeat(BATCH), repeat(SECONDS), repeat(64 // count))
        return sum(rates) * BATCH, watch


def _shipped(cluster: Cluster, scratch: Path, count: int, port: int) -> Seen:
    """Events a second by that many exporters that begin at once, from their start to the end of the last."""
    settings = on(cluster, scratch, MANY_APPS, with_destinations=True)
    fill_log(settings, MANY_EVENTS, MANY_APPS)
    env = environment(settings, FOOTFALL_SEGMENT_URL_US=f"http://127.0.0.1:{port}")
    command = [sys.executable, "-m", "footfall", "export", "--json"]
    with Watch(cluster) as watch:
        began = time.perf_counter()
        running = [subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) for _ in range(count)]
        codes = [each.wait() for each in running]
        took = time.perf_counter() - began
    if any(codes):
        raise RuntimeError(f"exporters ended with {codes}")
    _all_shipped(settings)
    return MANY_EVENTS / took, watch


def _all_shipped(settings: Settings) -> None:
    connection = bare(settings)
    accepted = connection.execute("select sum(n)::bigint from ledger.tallies where fate = 'accepted'").fetchone()[0]
    connection.close()
    if accepted != MANY_EVENTS:
        raise RuntimeError(f"{accepted} events were accepted instead of {MANY_EVENTS}")


def idle(scratch: Path) -> Iterator[Figure]:
    """A whole process of the exporter when nothing is pending for any of many apps."""
    with durable() as cluster:
        settings = on(cluster, scratch, IDLE_APPS, with_destinations=True, start_seq=IDLE_APPS)
        fill_log(settings, IDLE_APPS, IDLE_APPS)
        yield idle_run(f"pg-idle {IDLE_APPS:,}", settings)
