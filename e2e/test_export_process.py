"""`footfall export` as a process: exit codes, two at once, being stopped, secrets, memory."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from processes import PATIENCE_SECONDS, wait_until
from shipping_stage import Stage

# --- exit codes


def test_a_run_that_ships_everything_exits_0_and_says_so_in_one_line(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 3)
    done = stage.footfall.export()
    assert done.returncode == 0
    assert done.stdout.startswith("3 events accepted in 1 batches, 0 suppressed, 0 parked, 0 destinations deferred, ")
    notes = [json.loads(line) for line in done.stderr.splitlines()]
    assert [note["event"] for note in notes] == ["run began", "run ended"]
    assert stage.landed(stage.cast.owner_key) == 3


def test_a_run_prints_its_report_as_json_and_nothing_else(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 3)
    report = stage.footfall.say("export")
    (shipped,) = report["destinations"]
    assert (shipped["app"], shipped["accepted"], shipped["deferred"]) == (stage.cast.owner_app, 3, "")
    assert stage.footfall.export("--json").stderr == ""


def test_a_run_that_leaves_something_exits_75_and_the_next_one_0(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 3)
    stage.collect(stage.cast.stranger_app, 2)
    stage.fault(status=401, match={"writeKey": stage.cast.owner_key})
    first = stage.footfall.export()
    assert first.returncode == 75
    assert "1 destinations deferred" in first.stdout
    assert (stage.landed(stage.cast.owner_key), stage.landed(stage.cast.stranger_key)) == (0, 2)
    assert stage.footfall.export().returncode == 0
    assert stage.landed(stage.cast.owner_key) == 3


@pytest.mark.parametrize("broken", ["events.db", "registry.db"])
def test_without_a_database_it_exits_69_with_one_line_and_no_traceback(stage: Stage, broken: str) -> None:
    (stage.footfall.data_dir / broken).unlink()
    done = stage.footfall.export()
    assert done.returncode == 69
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("footfall: ")
    assert broken in done.stderr


def test_a_ledger_that_is_no_database_is_69_too(stage: Stage) -> None:
    (stage.footfall.data_dir / "ledger.db").write_bytes(b"this is no database" * 1_000)
    done = stage.footfall.export()
    assert (done.returncode, done.stderr.count("\n")) == (69, 1)


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"FOOTFALL_SECRET_KEY": "00112233445566778899aabbccddeeff"}, "FOOTFALL_SECRET_KEY is not the one"),
        ({"FOOTFALL_SEGMENT_URL_US": "http://segment.example"}, "FOOTFALL_SEGMENT_URL_US must be"),
        ({"FOOTFALL_SEGMENT_HOST": "x"}, "FOOTFALL_SEGMENT_HOST is not a setting"),
        ({"FOOTFALL_TEST_CRASH_AT": "after_send"}, "refused without FOOTFALL_TEST=1"),
    ],
)
def test_a_wrong_setting_exits_78_and_names_it(stage: Stage, env: dict[str, str], word: str) -> None:
    stage.collect(stage.cast.owner_app, 1)
    done = stage.footfall.export(**env)
    assert done.returncode == 78
    assert word in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_app_that_nobody_knows_exits_78(stage: Stage) -> None:
    done = stage.footfall.export("--app", "com.nobody")
    assert (done.returncode, done.stderr.startswith("footfall: there is no app com.nobody")) == (78, True)


def test_only_the_app_that_was_asked_for_is_shipped(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 1)
    stage.collect(stage.cast.stranger_app, 1)
    assert stage.footfall.export("--app", stage.cast.stranger_app).returncode == 0
    assert (stage.landed(stage.cast.owner_key), stage.landed(stage.cast.stranger_key)) == (0, 1)


def test_a_dry_run_sends_nothing_and_leaves_no_ledger_behind(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 700)
    done = stage.footfall.export("--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith("700 events would be sent in 2 batches")
    assert stage.requests() == []
    (stage.footfall.data_dir / "ledger.db").unlink()  # which `footfall migrate` made
    assert stage.footfall.export("--dry-run").stdout.startswith("700 events would be sent in 2 batches")
    assert not (stage.footfall.data_dir / "ledger.db").exists()


# --- two at once, stopping


def hanging(stage: Stage, *arguments: str) -> subprocess.Popen[bytes]:
    """A run that waits for an answer."""
    stage.fault(hang=60, match={"writeKey": stage.cast.owner_key})
    running = stage.footfall.start_export(*arguments)
    wait_until(stage.requests, "the run made its request")
    return running


def test_a_second_run_at_once_exits_75_and_a_dry_one_may_look(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 2)
    running = hanging(stage)
    running.send_signal(signal.SIGSTOP)  # it holds what it has for as long as this takes
    try:
        second = stage.footfall.export()
        assert (second.returncode, second.stdout.startswith("another run is under way: ")) == (75, True)
        assert str(running.pid) in second.stdout
        assert stage.footfall.export("--dry-run").returncode == 0
        assert len(stage.requests()) == 1
    finally:
        running.kill()
        running.wait()


def test_told_to_stop_it_finishes_the_request_on_the_wire_and_gives_its_leases_back(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 10_000)
    stage.fault(hang=1, times="always")
    running = stage.footfall.start_export()
    wait_until(stage.requests, "the run made its request")
    running.send_signal(signal.SIGTERM)
    assert running.wait(PATIENCE_SECONDS) == 75
    requests = len(stage.requests())
    assert stage.footfall.rows("ledger", "select outcome, events from batches") == [("accepted", 500)] * requests
    assert stage.footfall.value("ledger", "select count(*) from cursors where lease_owner <> ''") == 0
    assert stage.balance()[stage.cast.owner_app]["pending"] == 10_000 - 500 * requests


def test_it_can_run_again_and_again_and_outlives_a_store_that_is_not_there_yet(stage: Stage) -> None:
    hidden = stage.footfall.data_dir / "events.db"
    hidden.rename(hidden.with_suffix(".away"))
    running = stage.footfall.start_export("--every", "0.2")
    log = stage.footfall.data_dir.parent / "export.log"
    wait_until(lambda: "run failed" in log.read_text(), "a run without a log failed")
    hidden.with_suffix(".away").rename(hidden)
    stage.collect(stage.cast.owner_app, 2)
    wait_until(lambda: stage.landed(stage.cast.owner_key) == 2, "the first events landed")
    stage.collect(stage.cast.owner_app, 3)
    wait_until(lambda: stage.landed(stage.cast.owner_key) == 5, "the next ones landed")
    running.send_signal(signal.SIGTERM)
    assert running.wait(PATIENCE_SECONDS) in (0, 75), "the run that it is told to end may have had more to look at"


# --- secrets


def test_no_write_key_is_said_shown_or_written_anywhere(stage: Stage) -> None:
    """Even where the other end echoes it: as text, and as it went in the header."""
    stage.collect(stage.cast.owner_app, 3)
    key = stage.cast.owner_key
    packed = base64.b64encode(f"{key}:".encode()).decode()
    stage.fault(status=503, body=f"you sent {key}, Authorization: Basic {packed}", match={"writeKey": key})
    stage.fault(status=400, body=f"bad: {key}", match={"writeKey": key}, times=2)
    stage.fault(hang=0.5, match={"writeKey": key})
    running = stage.footfall.start_export()
    shown = b""
    while running.poll() is None:
        with suppress(ProcessLookupError):  # it has just ended
            shown += b"".join(Path(f"/proc/{running.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        time.sleep(0.02)
    assert (running.returncode, len(stage.requests())) == (0, 4)
    assert b"FOOTFALL_SECRET_KEY" in shown
    details = stage.footfall.rows("ledger", "select detail from batches where detail <> '' order by batch_id")
    assert details[0] == ("you sent [write key], Authorization: Basic [write key]",)
    written = {
        path.name: path.read_bytes() for path in stage.footfall.data_dir.iterdir() if path.name.startswith("ledger")
    }
    said = (stage.footfall.data_dir.parent / "export.log").read_bytes() + json.dumps(stage.balance()).encode()
    for secret in (key.encode(), packed.encode(), packed[:40].encode()):
        assert secret not in shown
        assert secret not in said
        assert not [name for name, data in written.items() if secret in data]
    assert key.encode() not in (stage.footfall.data_dir / "registry.db").read_bytes()


# --- a long backlog


def test_a_hundred_thousand_events_of_many_apps_leave_in_little_memory(stage: Stage) -> None:
    """More apps than lanes, each with more than a batch; and one with large events, 40 MB of them."""
    for app in stage.add_apps(140):
        stage.collect(app, 700)
    stage.collect(stage.cast.sibling_app, 2_000, title="x" * 20_000)
    stage.segment.post("/_/mode", json={"keep": False}).raise_for_status()
    running = stage.footfall.start_export()
    peak = 0
    while running.poll() is None:
        status = Path(f"/proc/{running.pid}/status").read_text()
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.05)
    assert running.returncode == 0, stage.footfall.exports_said()
    assert peak < 120 * 1024, f"{peak} kB; {stage.footfall.exports_said()}"
    assert stage.segment.get("/_/counts").json()["landed"] == 100_000
    assert stage.footfall.value("ledger", "select max(bytes) from batches") <= 450_000
    assert {item["pending"] for item in stage.balance().values()} == {0}


def test_a_lost_exporter_leaves_nothing_that_keeps_the_next_one_out(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 2)
    running = hanging(stage)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert stage.footfall.export().returncode == 0
    assert stage.landed(stage.cast.owner_key) == 2
    assert stage.footfall.rows("ledger", "select outcome from batches order by batch_id") == [
        ("ambiguous",),
        ("accepted",),
    ]
