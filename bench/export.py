"""How fast and in how much memory a backlog leaves: against the library's own client, and against a limit."""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from segment.analytics.client import Client

from bench.figure import Figure
from bench.stage import NOW_MS, WRITE_KEY, environment, fill_log, free_port, prepare, process
from store import destinations, log, registry
from store.engines import open_reader
from store.settings import Settings
from wire.mapping import Mapper

PAIRS = 3
EVENTS = 100_000
PEER_EVENTS = 20_000
MILLION = 1_000_000
MEMORY_LIMIT_MB = 120.0


def rate(scratch: Path) -> Iterator[Figure]:
    """Events a second from the log to the ledger, against the client's from memory: the same events, the same sink."""
    port = free_port()
    ours, peers = [], []
    with process("-m", "bench.sink", str(port), port=port):
        for pair in range(PAIRS):
            settings = prepare(scratch / str(pair), with_destinations=True)
            fill_log(settings.data_dir, EVENTS)
            peers.append(client_rate(settings, port))
            ours.append(EVENTS / float(exported(settings, port)[0]["seconds"]))
    ratios = [one / other for one, other in zip(ours, peers, strict=True)]
    middle = ratios.index(statistics.median_low(ratios))
    yield Figure("export", ours[middle], "events/s", peers[middle], "the library's Client", "at least", 5.0)


def memory(scratch: Path) -> Iterator[Figure]:
    """The peak resident size of an exporter that ships a million events."""
    port = free_port()
    settings = prepare(scratch, apps=10, with_destinations=True)
    fill_log(settings.data_dir, MILLION, apps=10)
    with process("-m", "bench.sink", str(port), port=port):
        report, peak_mb = exported(settings, port)
    if sum(item["accepted"] for item in report["destinations"]) != MILLION:
        raise RuntimeError("not every event was accepted")
    yield Figure("export peak memory", peak_mb, "MB", MEMORY_LIMIT_MB, "limit", "at most", 1.0)


def exported(settings: Settings, port: int) -> tuple[dict[str, Any], float]:
    """One run as an operator starts it: its report, and its peak resident size in MB."""
    env = environment(settings, FOOTFALL_SEGMENT_URL_US=f"http://127.0.0.1:{port}")
    with tempfile.TemporaryFile() as said:
        running = subprocess.Popen([sys.executable, "-m", "footfall", "export", "--json"], env=env, stdout=said)
        peak_kib = 0
        while running.poll() is None:
            peak_kib = max(peak_kib, _peak_kib(running.pid))
            time.sleep(0.02)
        if running.returncode != 0:
            raise RuntimeError(f"the export ended with {running.returncode}")
        said.seek(0)
        return msgspec.json.decode(said.read()), peak_kib / 1024


def _peak_kib(pid: int) -> int:
    """The kernel's own high-water mark; what `wait` reports would begin with the size of the process that forked."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+)", status)
    return int(found[1]) if found else 0


def client_rate(settings: Settings, port: int) -> float:
    """Events a second of the threaded client, which gets its events mapped and in memory."""
    calls = asyncio.run(_mapped(settings))
    client = Client(WRITE_KEY, host=f"http://127.0.0.1:{port}", max_queue_size=len(calls) + 1)
    began = time.perf_counter()
    for call in calls:
        client.track(**call)
    client.flush()
    took = time.perf_counter() - began
    client.join()
    return len(calls) / took


async def _mapped(settings: Settings) -> list[dict[str, Any]]:
    """Keyword arguments of `track` for the first events of the log."""
    from datetime import UTC, datetime

    async with await open_reader(settings.where, "registry") as db:
        app = await registry.app(db, "com.example.bench0")
        destination = await destinations.destination(db, app.app_key)
    assert destination is not None
    async with await open_reader(settings.where, "log") as db:
        events = await log.run(db, app.app_key, 0, PEER_EVENTS)
    at = datetime.fromtimestamp(NOW_MS / 1_000, UTC)
    mapper = Mapper(app, destination, "MPAC")
    calls = []
    for event in events:
        message = msgspec.json.decode(mapper.map(event).wire)
        calls.append(
            {
                "user_id": message["userId"],
                "event": message["event"],
                "properties": message["properties"],
                "timestamp": at,
            }
            | {"message_id": str(uuid4())}
        )
    return calls
