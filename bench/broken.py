"""What broken destinations cost the others, and what an exporter costs that has nothing to do."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.figure import Figure
from bench.stage import NOW_MS, environment, fill_log, free_port, prepare, process
from store import destinations, ledger
from store.engines import open_reader, open_writer
from store.secrets import Vault
from store.settings import Settings

DESTINATIONS = 300
EVENTS_EACH = 200
PAIRS = 3
OPENING_RUNS = 6  # at most: fewer than pause a destination for a day
BROKEN = {"REFUSED": 8, "UNAVAILABLE": 8, "FORBIDDEN": 6, "BUSYFORSECONDS": 2, "BUSYFORMINUTES": 2, "SILENT": 4}
IDLE_APPS = (1_000, 100_000)
IDLE_RUNS = 5
IDLE_LIMIT_SECONDS = 2.0


def broken(scratch: Path) -> Iterator[Figure]:
    """The time of a run in which one destination in ten is broken, against one in which all are well.

    Each ships the same backlog to those that are well. In the steady state the breakers are open from earlier runs.
    """
    well = prepare(scratch / "well", apps=DESTINATIONS, with_destinations=True)
    ill = prepare(scratch / "ill", apps=DESTINATIONS, with_destinations=True)
    asyncio.run(_break(ill))
    port = free_port()
    with process("-m", "bench.moods", str(port), port=port):
        first_well, first_ill = _shipped(well, port), _shipped(ill, port)
        yield Figure("export-broken first run", first_ill, "s", first_well, "all are well")
        for _ in range(OPENING_RUNS):
            if asyncio.run(_open(ill)) == sum(BROKEN.values()):
                break
            _run(ill, port)
        pairs = [(_shipped(ill, port), _shipped(well, port)) for _ in range(PAIRS)]
    middle = sorted(pairs, key=lambda pair: pair[0] / pair[1])[PAIRS // 2]
    yield Figure("export-broken", middle[0], "s", middle[1], "all are well", "at most", 1.3)


def idle(scratch: Path) -> Iterator[Figure]:
    """A whole process of the exporter, from its start to its end, when nothing is pending for any of many apps."""
    for apps in IDLE_APPS:
        settings = prepare(scratch / str(apps), apps=apps, with_destinations=True, start_seq=apps)
        fill_log(settings.data_dir, apps, apps=apps)
        yield idle_run(f"export-idle {apps:,}", settings)


def idle_run(name: str, settings: Settings) -> Figure:
    """Of runs that have nothing to do, the one of median length; the first begins the cursors and is not counted."""
    port = free_port()  # nobody listens
    _run(settings, port)
    took = []
    for _ in range(IDLE_RUNS):
        began = time.perf_counter()
        report = _run(settings, port)
        took.append(time.perf_counter() - began)
        if report["destinations"]:
            raise RuntimeError("it was not idle")
    return Figure(name, statistics.median(took), "s", IDLE_LIMIT_SECONDS, "limit", "at most", 1.0)


def _moods() -> list[str]:
    """The mood of every broken destination, spread over the apps by their numbers."""
    return [mood for mood, count in BROKEN.items() for _ in range(count)]


def _broken_apps() -> dict[str, str]:
    """The broken destinations' apps: each with its mood."""
    step = DESTINATIONS // len(_moods())
    return {f"com.example.bench{number * step}": mood for number, mood in enumerate(_moods())}


async def _break(settings: Settings) -> None:
    """Give every tenth app a key of another mood; the European host is one at which nobody listens."""
    async with await open_writer(settings.data_dir, "registry") as db:
        for number, (app, mood) in enumerate(_broken_apps().items()):
            region = "eu" if mood == "REFUSED" else "us"
            change = destinations.Change(segment_write_key=f"{mood}{number:032}"[:32], region=region)
            await destinations.set_destination(db, Vault(settings.secret_key), NOW_MS, app, change, 0)


async def _open(settings: Settings) -> int:
    """How many destinations are known to be at fault: their breaker is open, or they asked to be left alone."""
    async with await open_reader(settings.data_dir, "ledger") as db:
        return sum(bool(c.health.tripped or c.health.not_before) for c in (await ledger.cursors(db)).values())


def _shipped(settings: Settings, port: int) -> float:
    """Seconds of one run with a new backlog, which has to leave for every destination that is well."""
    fill_log(settings.data_dir, DESTINATIONS * EVENTS_EACH, apps=DESTINATIONS)
    report = _run(settings, port)
    excused = set(_broken_apps()) if settings.data_dir.name == "ill" else set()
    left = [d["app"] for d in report["destinations"] if d["app"] not in excused and d["accepted"] < EVENTS_EACH]
    if left or len(report["destinations"]) != DESTINATIONS:
        raise RuntimeError(f"something is left for {', '.join(left)}")
    return float(report["seconds"])


def _run(settings: Settings, port: int) -> dict[str, Any]:
    """One run as an operator starts it; what it reports."""
    urls = {"FOOTFALL_SEGMENT_URL_US": f"http://127.0.0.1:{port}"}
    urls |= {"FOOTFALL_SEGMENT_URL_EU": f"http://127.0.0.1:{free_port()}"}
    done = subprocess.run(
        [sys.executable, "-m", "footfall", "export", "--json"],
        env=environment(settings, **urls),
        capture_output=True,
        check=False,
    )
    if done.returncode not in (0, 75):
        raise RuntimeError(f"the export ended with {done.returncode}: {done.stderr.decode()}")
    report: dict[str, Any] = msgspec.json.decode(done.stdout)
    return report
