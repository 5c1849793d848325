"""How fast, and in how much memory, the exporter finds out which campaign brought each install, at growing sizes.

There are ten touchpoints to an install, over ninety days and in no order of people. BENCH_INSTALLS names one size to be
measured instead: 1000000 is the largest that is promised, and takes its time.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.figure import Figure
from bench.stage import FIRST_APP, NOW_MS, connect, environment, prepare
from store.event import Details, NewRow, encode_details
from store.ids import uuid7
from store.sqlite.append import insert_statement

SIZES = (1_000, 10_000, 100_000)
TOUCHES = 10  # to an install
VISITS = 3  # of a person, on average
DAYS_MS = 90 * 86_400_000
MEMORY_LIMIT_MB = 300.0
LEAST = 0.5  # of the rate at a tenth of the size, or it is not linear


class Run(NamedTuple):
    """Events a second by the clock, and of the processor's time; the peak resident size in MB."""

    by_clock: float
    by_processor: float
    peak_mb: float


def attribution(scratch: Path) -> Iterator[Figure]:
    """Events a second at each size, against those at a tenth of it, and the peak resident size at the largest.

    What is held against the smaller size is the rate in the processor's own seconds, which others on the machine do not
    change.
    """
    asked = os.environ.get("BENCH_INSTALLS")
    before: Run | None = None
    for installs in (int(asked),) if asked else SIZES:
        run = _measured(scratch / str(installs), installs)
        name = f"attribution {installs:,}"
        yield Figure(name, run.by_clock, "events/s", run.by_processor, "of processor time")
        if before:
            smaller = f"with {installs // 10:,}"
            yield Figure(name, run.by_processor, "events/cpu s", before.by_processor, smaller, "at least", LEAST)
        before = run
        yield Figure(f"{name} memory", run.peak_mb, "MB", MEMORY_LIMIT_MB, "limit", "at most", 1.0)


def _measured(scratch: Path, installs: int) -> Run:
    """One run of the exporter over a log that it has not seen."""
    settings = prepare(scratch)
    _fill(settings.data_dir, installs)
    measured = subprocess.run(
        [sys.executable, "-c", _MEASURED], env=environment(settings), capture_output=True, check=True
    )
    report = msgspec.json.decode(measured.stdout)
    told, (seconds, peak_kib) = report["attribution"], msgspec.json.decode(measured.stderr.splitlines()[-1])
    if (told["installs"], told["attributed"] + told["organic"]) != (installs, installs):
        raise RuntimeError(f"not every install was decided once: {told}")
    return Run(told["events"] / report["seconds"], told["events"] / seconds, peak_kib / 1024)


# A process of its own starts the exporter, and tells what its only child took.
_MEASURED = """
import json, resource, subprocess, sys
subprocess.run([sys.executable, "-m", "footfall", "export", "--json"], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]), file=sys.stderr)
"""


def _fill(data_dir: Path, installs: int) -> None:
    events, each = installs * (TOUCHES + 1), 500
    connection = connect(data_dir / "events.db")
    statements = {n: insert_statement(n) for n in (each, events % each) if n}
    connection.execute("begin immediate")
    for start in range(0, events, each):
        rows = [_row(number, installs) for number in range(start, min(start + each, events))]
        connection.execute(statements[len(rows)], tuple(chain.from_iterable(rows)))
        if start % 50_000 == 0:
            connection.execute("commit")
            connection.execute("begin immediate")
    connection.execute("commit")
    connection.execute("update rollups set seq = (select max(seq) from events)")  # as if they had been counted
    connection.close()


def _row(number: int, installs: int) -> NewRow:
    """Every eleventh event is an install of somebody who has none, every other a visit of somebody."""
    people = installs * TOUCHES // VISITS
    at = NOW_MS - DAYS_MS + number * DAYS_MS // (installs * (TOUCHES + 1))
    turn, place = divmod(number, TOUCHES + 1)
    if place == TOUCHES:
        return _of(turn * (people // installs), at, "install", "server", "{}")
    chance = int.from_bytes(hashlib.blake2b(number.to_bytes(8), digest_size=8).digest())
    campaign = chance >> 40
    details = Details(
        url="https://marketplace.example/apps/1219125/board-charts?utm_source=mail",
        query={"utm_source": f"source{campaign % 7}", "utm_medium": "cpc", "utm_campaign": f"campaign{campaign % 50}"},
        title="Board charts for teams | Marketplace",
        locale="en-GB",
    )
    return _of(chance % people, at, "page_view", "browser", encode_details(details).decode())


def _of(person: int, at: int, name: str, source: str, details: str) -> NewRow:
    anonymous_id = hashlib.sha1(person.to_bytes(8), usedforsecurity=False).hexdigest()
    message_id = uuid7(at).bytes
    return (FIRST_APP, message_id, "track", name, source, at, at, "bench", anonymous_id, None, None, None, details)
