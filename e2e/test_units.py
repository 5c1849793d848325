"""What the program does is allowed by its units: its system calls, traced, against the filter that systemd would set.

The surprising thing: no unit is started, which would take a running systemd. A call that the filter forbids is found in
the trace instead, and so is memory that is asked to be writable and executable.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from processes import COMMAND, Footfall
from test_collector_durability import children_of

UNITS = Path(__file__).parents[1] / "deploy" / "systemd"
AS_ROOT = (
    {"fchown"} if os.geteuid() == 0 else set()
)  # SQLite gives its files to the owner of the database, as root only


def members(name: str) -> set[str]:
    """The system calls of one of systemd's sets, and of the sets in it."""
    analyze = shutil.which("systemd-analyze")
    assert analyze
    told = subprocess.run([analyze, "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    words = {line.strip() for line in told.splitlines()[1:] if line.strip() and not line.strip().startswith("#")}
    return {word for word in words if word[0] != "@"}.union(*(members(word) for word in words if word[0] == "@"))


def allowed(unit: str) -> set[str]:
    """What the unit's filter lets through."""
    granted: set[str] = set()
    for line in (UNITS / unit).read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            text = line.partition("=")[2]
            named = set().union(*(members(word) for word in text.removeprefix("~").split()))
            granted = granted - named if text.startswith("~") else granted | named
    return granted


@pytest.fixture
def footfall(tmp_path: Path) -> Footfall:
    footfall = Footfall(tmp_path / "data")
    footfall.seed(write_keys=True)
    return footfall


def tracing(trace: Path) -> tuple[str, ...]:
    return ("strace", "-f", "-qq", "-o", str(trace))


def collect(footfall: Footfall, trace: Path | None = None) -> None:
    """Run a collector that takes one event in."""
    event = {"messageId": str(uuid.uuid4()), "name": "page_view", "app": "com.owner.charts"}
    event |= {"occurredAt": datetime.now(UTC).isoformat(), "url": "https://marketplace.example/apps/1219125/charts"}
    event |= {"anonymousId": "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"}
    with footfall.collector(wrapper=tracing(trace) if trace else ()) as collector:
        assert collector.post("/e", content=json.dumps({"events": [event]})).status_code == 204
        for pid in children_of(collector.pid):
            os.kill(pid, signal.SIGTERM)
        assert collector.stop() == 0 if trace is None else collector.wait() == 0


def collector_calls(footfall: Footfall, trace: Path) -> str:
    collect(footfall, trace)
    return trace.read_text()


def exporter_calls(footfall: Footfall, trace: Path) -> str:
    collect(footfall)
    with footfall.fake_segment() as segment:
        command = [*tracing(trace), *COMMAND, "export"]
        done = subprocess.run(command, env=footfall.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len(segment.get("/_/received").json()) == 1
    return trace.read_text()


@pytest.mark.parametrize(
    ("unit", "trace_of"),
    [("footfall-collector.service", collector_calls), ("footfall-export.service", exporter_calls)],
    ids=["collector", "exporter"],
)
def test_the_program_does_nothing_that_its_unit_forbids(
    unit: str, trace_of: Callable[[Footfall, Path], str], footfall: Footfall, tmp_path: Path
) -> None:
    trace = trace_of(footfall, tmp_path / "trace")
    calls = set(re.findall(r"^\d+ +(\w+)\(", trace, re.MULTILINE))
    assert {"openat", "fdatasync", "mmap"} <= calls, "the trace is of the program"
    assert calls - allowed(unit) - AS_ROOT == set()
    assert re.findall(r"^.*(?:mmap|mprotect)\(.*PROT_WRITE\|PROT_EXEC.*$", trace, re.MULTILINE) == []
    assert set(re.findall(r"\bsocket\((AF_\w+)", trace)) <= {"AF_INET", "AF_INET6", "AF_UNIX"}


def test_the_filter_would_be_noticed() -> None:
    granted = allowed("footfall-collector.service")
    assert {"openat", "fdatasync", "accept4"} <= granted
    assert {"mount", "reboot", "setuid", "setpriority", "ptrace"} & granted == set()
