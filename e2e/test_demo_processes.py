"""The demo is three processes that live and end together."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from processes import COMMAND, Footfall, Process, free_port, wait_until

ENDS = {
    "the exporter": ("export", signal.SIGKILL, 1, "footfall: the demo's exporter ended by itself, with exit code -9\n"),
    "the fake Segment": ("fake-segment", signal.SIGTERM, 1, "footfall: the demo's fake Segment ended by itself"),
    "by Ctrl-C": ("demo", signal.SIGINT, 0, "Ctrl-C ends the demo"),
}


def family(demo: Process) -> dict[str, int]:
    """The processes that the demo is, by their commands, with their numbers."""
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()
    return {"demo": demo.pid} | {command(int(number)): int(number) for number in children}


def command(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return next(word for word in words if word in ("export", "fake-segment"))


@pytest.mark.parametrize("end", ENDS)
def test_when_one_of_the_three_ends_all_do_and_it_is_told_which(
    tmp_path: Path, snippet: dict[str, Any], end: str
) -> None:
    whose, number, code, told = ENDS[end]
    port = free_port(and_next=1)
    arguments = [*COMMAND, "demo", "--port", str(port)]
    with Process(arguments, Footfall(tmp_path / "data").env, port, tmp_path / "log", "/healthz") as demo:
        members = family(demo)
        assert set(members) == {"demo", "export", "fake-segment"}
        os.kill(members[whose], number)
        assert demo.wait() == code
        assert told in demo.log()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in members.values()), "all have ended")
