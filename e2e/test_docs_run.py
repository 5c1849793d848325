"""The shell of the documentation, run as a reader would: the tutorial's blocks in one shell, in order, and in the shell
that it leaves behind those of the how-to guides and of the commands' reference. One guide stops what runs there: it has
a test of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS, agrees, blocks, runs
from processes import free_port

TUTORIAL = DOCS / "tutorial" / "first-partner.md"
GROW = DOCS / "how-to" / "grow.md"
PAGES = [TUTORIAL, *sorted({*(DOCS / "how-to").glob("*.md")} - {GROW}), DOCS / "reference" / "commands.md"]
SECONDS = 600  # for a machine that has much else to do


def script(out: Path) -> str:
    """One shell script of all pages; each block's output goes to a file named for the block."""
    *tutorial, stop = runs(TUTORIAL)
    lines = ["set -euo pipefail"]
    for block in [*tutorial, *(block for page in PAGES[1:] for block in runs(page)), stop]:
        lines.append(f"exec > {shlex.quote(str(out / block.name))} 2>&1")
        if block.kind == "python":
            program = out / f"{block.name}.py"
            program.write_text(block.text)
            lines.append(f"TOKEN=$TOKEN python3 {shlex.quote(str(program))}")
        else:
            lines.append(block.text)
    return "\n".join(lines)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with what every block printed. The shell has a process group of its own, which ends with it."""
    out = tmp_path_factory.mktemp("docs")
    (out / "work").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}
    environment |= {name: str(free_port()) for name in ("PORT", "SEGMENT_PORT", "PAGE_PORT")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", "TMPDIR": str(out / "work")}
    bash = shutil.which("bash")
    assert bash
    running = subprocess.Popen([bash, "-c", script(out)], env=environment, cwd=out, start_new_session=True)
    try:
        code = running.wait(SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it ended, with everything that it had started
            os.killpg(running.pid, signal.SIGKILL)
    printed = sorted(out.glob("*-[0-9]*"), key=lambda path: path.stat().st_mtime_ns)
    assert code == 0, f"{printed[-1].name} failed: {printed[-1].read_text()}"
    return out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_is_printed_is_printed(page: Path, said: Path) -> None:
    for block, shown in itertools.pairwise(blocks(page)):
        if block.kind in ("sh", "python") and shown.kind == "text":
            printed = (said / block.name).read_text()
            assert agrees(printed, shown.text), f"line {shown.line}: it prints\n{printed}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_query_of_a_page_runs(page: Path, said: Path) -> None:
    (data,) = (said / "work").glob("*/data")
    for block in blocks(page):
        if block.kind == "sql":
            connection = sqlite3.connect(f"{(data / block.word).as_uri()}?mode=ro", uri=True)
            try:
                connection.execute(block.text).fetchall()
            finally:
                connection.close()
