"""`footfall selftest delivery` as an operator runs it: it holds, and it fails when it should."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx2
from processes import COMMAND, Footfall, wait_until

from selftest.plan import Plan
from selftest.play import Play
from selftest.proof import conclude
from selftest.scene import Scene
from store.sqlite.database import FILES


def test_thirty_kills_lose_nothing_leave_nothing_without_a_fate_and_double_nothing(tmp_path: Path) -> None:
    installation = Footfall(tmp_path / "data")
    done = installation.cli("selftest", "delivery", "--kills", "30", "--seed", "20260216", "--json", "--report", "r.md")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    assert (told["lost"], told["without_fate"], told["doubled_after"], told["misdirected"]) == (0, 0, 0, 0)
    assert sum(told["kills"].values()) >= 30
    assert {"exporter, after_open", "exporter, after_send", "exporter, after_close"} < told["kills"].keys()
    assert told["acknowledged"] > 300
    assert min(told["fates"]["accepted"], told["fates"]["suppressed"], told["doubled_before"]) > 0
    assert "None was lost" in (tmp_path / "r.md").read_text()
    assert not installation.data_dir.exists(), "the installation's own data directory was touched"


def test_on_a_server_that_is_killed_as_well_nothing_is_lost_either(tmp_path: Path) -> None:
    installation = Footfall(tmp_path / "data")
    done = installation.cli("selftest", "delivery", "--postgresql", "--kills", "14", "--seed", "20260216", "--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert (told["wrong"], told["lost"], told["without_fate"], told["doubled_after"]) == ([], 0, 0, 0)
    assert told["kills"]["PostgreSQL server, at any instant"] >= 2
    assert told["database"].startswith("PostgreSQL ")
    assert told["acknowledged"] > 100
    assert min(told["fates"]["accepted"], told["fates"]["suppressed"]) > 0
    assert not installation.data_dir.exists(), "the installation's own data directory was touched"


def test_a_segment_that_says_success_and_drops_the_batch_makes_it_exit_1(tmp_path: Path) -> None:
    """The one lie that no sender can see through; here it shows, because the fake tells what landed."""
    command = [*COMMAND, "selftest", "delivery", "--kills", "3", "--seed", "2"]
    with subprocess.Popen(command, env=Footfall(tmp_path / "data").env, stdout=subprocess.PIPE, text=True) as running:
        try:
            wait_until(lambda: fake_segments_of(running.pid), "it has started its Segment")
            url = f"http://127.0.0.1:{fake_segments_of(running.pid)[0]}/_/fault"
            wait_until(lambda: lies(url), "the fake takes a fault")
            said, _ = running.communicate(timeout=600)
        finally:
            running.kill()
    assert running.returncode == 1
    assert "**It did not hold:**" in said
    assert re.search(r"^- \d+ events did not land at com\.", said, re.MULTILINE)


def fake_segments_of(pid: int) -> list[str]:
    """The ports of the fake Segments that a process has started."""
    ports = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with suppress(OSError):  # it has just ended
            words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            if "fake-segment" in words:
                ports.append(words[words.index("--port") + 1])
    return ports


def lies(url: str) -> bool:
    try:
        return httpx2.post(url, json={"status": 200, "times": 10}, trust_env=False).is_success
    except httpx2.TransportError:
        return False


def test_a_ledger_that_was_tampered_with_is_found_out() -> None:
    plan = Plan(kills=3, seed=3)
    with Scene(plan) as scene:
        play = Play(scene, plan)
        play.perform()
        assert conclude(play).holds
        ledger = scene.data_dir / FILES["ledger"]
        tamper(ledger, "update tallies set n = n + 1 where fate = 'accepted'")
        wrong = "\n".join(conclude(play).judgement.wrong)
        assert "sums do not balance" in wrong
        assert "sums of the ledger are off" in wrong
        tamper(ledger, "update tallies set n = n - 1 where fate = 'accepted'")
        assert conclude(play).holds
        tamper(ledger, "delete from batches where outcome = 'accepted'")
        assert "events are without a fate" in "\n".join(conclude(play).judgement.wrong)


def tamper(ledger: Path, sql: str) -> None:
    with sqlite3.connect(ledger) as connection:
        connection.execute(sql)
    connection.close()
