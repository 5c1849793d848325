"""What the collector has answered is on disk: by the order of system calls, after kill -9, after SIGTERM in mid-load,
and when the disk is full."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from processes import PATIENCE_SECONDS, Cast, Footfall, Process, free_port, wait_until

VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"


def event(**changed: Any) -> dict[str, Any]:
    return {
        "messageId": str(uuid.uuid4()),
        "name": "page_view",
        "app": "com.owner.charts",
        "occurredAt": datetime.now(UTC).isoformat(),
        "anonymousId": VISITOR,
        "url": "https://marketplace.example/apps/1219125/charts",
    } | changed


@pytest.fixture
def footfall(tmp_path: Path) -> Iterator[Footfall]:
    with Footfall(tmp_path / "data") as footfall:
        yield footfall


@pytest.fixture
def cast(footfall: Footfall) -> Cast:
    return footfall.seed()


def stored_ids(footfall: Footfall) -> set[str]:
    rows = footfall.rows("events", "select lower(hex(message_id)) from events")
    return {str(uuid.UUID(text)) for (text,) in rows}


def assert_balanced(footfall: Footfall) -> dict[str, int]:
    findings = json.loads(footfall.cli("doctor", "--json").stdout)  # a tiny disk is a finding too, and not this test's
    assert findings["balanced"], findings
    doors: dict[str, int] = findings["doors"]
    assert doors["stored"] == footfall.value("events", "select count(*) from events")
    return doors


class Load:
    """Senders that post events until told to stop, and a ledger of what each was answered."""

    def __init__(self, collector: Process, senders: int = 8, events: int = 3) -> None:
        self.answered: set[str] = set()  # with success
        self.turned_away: set[str] = set()  # with 503
        self.times_turned_away = 0
        self.unanswered: set[str] = set()
        self.surprises: list[str] = []
        self._events = events
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._collector = collector
        self._threads = [threading.Thread(target=self._send) for _ in range(senders)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with httpx2.Client(base_url=self._collector.url, trust_env=False, timeout=PATIENCE_SECONDS) as client:
            while not self._stop.is_set():
                events = [event() for _ in range(self._events)]
                ids = {each["messageId"] for each in events}
                try:
                    answer = client.post("/e", content=json.dumps({"events": events}))
                except httpx2.TransportError:
                    self.unanswered |= ids
                    self._stop.wait(0.01)
                    continue
                if answer.status_code == 204:
                    self.answered |= ids
                elif answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1:
                    with self._counting:
                        self.times_turned_away += 1
                    self.turned_away |= ids
                else:
                    self.surprises.append(f"{answer.status_code} {answer.text}")

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, answers: int) -> None:
        before = len(self.answered)
        wait_until(lambda: len(self.answered) >= before + answers, f"{answers} more answers")


def test_what_was_answered_before_kill_9_is_stored(footfall: Footfall, cast: Cast) -> None:
    for _ in range(3):
        collector = footfall.collector()
        load = Load(collector)
        load.wait_for(200)
        collector.kill()
        load.stop()
        assert load.surprises == []
        assert load.answered - stored_ids(footfall) == set()
    with footfall.collector() as collector:
        assert collector.get("/readyz").status_code == 200
        assert collector.post("/e", content=json.dumps({"events": [event()]})).status_code == 204
    assert_balanced(footfall)


def test_a_stop_in_the_middle_of_a_load_answers_what_was_begun(footfall: Footfall, cast: Cast) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        collector = footfall.collector()
        load = Load(collector)
        load.wait_for(300)
        collector.signal(number)
        assert collector.wait() == 0
        assert not list(footfall.data_dir.glob("*-wal")), "the log was closed properly"
        load.stop()
        assert load.surprises == []
        assert load.answered - stored_ids(footfall) == set()
        assert "Traceback" not in collector.log()
        assert stored_ids(footfall) & load.unanswered == set()
    assert_balanced(footfall)


def test_a_request_that_is_half_sent_at_the_stop_does_not_hold_it_up(footfall: Footfall, cast: Cast) -> None:
    collector = footfall.collector()
    halves = [collector.connect() for _ in range(5)]
    for half in halves:
        half.sendall(b"POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert collector.stop() == 0
    for half in halves:
        half.close()


# --- the order of system calls


@pytest.mark.parametrize("more", ["", "Connection: close\r\n"], ids=["quick lane", "ordinary way"])
def test_the_answer_is_written_after_the_disk_has_it(footfall: Footfall, cast: Cast, tmp_path: Path, more: str) -> None:
    """Killing the process cannot show this, because the page cache outlives it."""
    trace = tmp_path / "trace"
    calls = "trace=fdatasync,fsync,pwrite64,write,sendto,sendmsg,writev"
    with footfall.collector(wrapper=("strace", "-f", "-o", str(trace), "-y", "-s", "5000", "-e", calls)) as collector:
        for number in range(5):
            body = json.dumps({"events": [event(title=f"This is number {number}")]}).encode()
            with collector.connect() as connection:
                connection.sendall(
                    b"POST /e HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (more.encode(), len(body), body)
                )
                assert connection.recv(100).startswith(b"HTTP/1.1 204")
        for pid in children_of(collector.pid):
            os.kill(pid, signal.SIGTERM)
        assert collector.wait() == 0
    lines = trace.read_text().splitlines()
    answers = [at for at, line in enumerate(lines) if '"HTTP/1.1 204' in line]
    assert len(answers) == 5
    previous = 0
    for number, at in enumerate(answers):
        since = lines[previous:at]
        page = rf"pwrite64\(\d+<[^>]*events\.db-wal>, .*This is number {number}"  # whoever counts writes there, too
        written = [n for n, line in enumerate(since) if re.search(page, line)]
        synced = [n for n, line in enumerate(since) if re.search(r"fdatasync\(\d+<[^>]*events\.db-wal>\)\s+= 0", line)]
        synced += [n for n, line in enumerate(since) if re.search(r"<\.\.\. fdatasync resumed>\)\s+= 0", line)]
        assert written, since
        assert synced, since
        assert max(written) < max(synced), since
        previous = at + 1


def children_of(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# --- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 24 MiB; without the right to mount one, the test is of no use and says so."""
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(mount)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)  # noqa: S607


def fill(disk: Path) -> Path:
    """Take all space that is left."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 65_536)
    return filler


def test_a_disk_that_fills_up_under_load_loses_nothing_and_heals_by_itself(small_disk: Path) -> None:
    with Footfall(small_disk / "data") as footfall:
        footfall.seed()
        with footfall.collector() as collector:
            load = Load(collector, senders=4)
            for _ in range(2):
                load.wait_for(50)
                filler = fill(small_disk)
                wait_until(lambda: collector.get("/readyz").status_code == 503, "readiness says no")
                assert "full" in collector.get("/readyz").json()["reason"]
                assert collector.get("/healthz").status_code == 200
                seen = len(load.turned_away)
                wait_until(lambda seen=seen: len(load.turned_away) > seen, "senders are turned away")  # type: ignore[misc]
                filler.unlink()
                wait_until(lambda: collector.get("/readyz").status_code == 200, "readiness says yes again")
            load.wait_for(50)
            load.stop()
            assert load.surprises == []
            assert collector.running
        assert stored_ids(footfall) >= load.answered
        assert stored_ids(footfall) & load.turned_away == set()
        doors = assert_balanced(footfall)
        assert doors["shed"] == load.times_turned_away > 0


def test_a_full_disk_at_the_start_is_told_in_one_line(small_disk: Path) -> None:
    with Footfall(small_disk / "data") as footfall:
        (small_disk / "data").mkdir()
        fill(small_disk)
        done = footfall.cli("serve", "--port", str(free_port()))
        assert done.returncode == 69
        assert re.fullmatch(r"footfall: .*(full|No space left|I/O error).*\n", done.stderr), done.stderr


# --- starting


def test_a_second_collector_on_the_same_log_says_who_writes_it(footfall: Footfall, cast: Cast) -> None:
    with footfall.collector() as collector:
        done = footfall.cli("serve", "--port", str(free_port()))
        assert done.returncode == 75
        assert done.stderr == f"footfall: events.db is being written by process {collector.pid}\n"
    with footfall.collector():
        pass  # the lock went with the process


def test_a_collector_that_was_killed_leaves_no_lock_behind(footfall: Footfall, cast: Cast) -> None:
    footfall.collector().kill()
    with footfall.collector() as collector:
        assert collector.get("/readyz").status_code == 200


def test_a_taken_port_is_told(footfall: Footfall, cast: Cast, tmp_path: Path) -> None:
    with footfall.collector() as collector:
        done = footfall.cli("serve", "--port", str(collector.port), FOOTFALL_DATA_DIR=str(tmp_path / "other"))
        assert done.returncode not in (0, -9)
        assert "Address already in use" in done.stderr
        assert "Traceback" not in done.stderr


def test_many_commands_at_once_make_one_registry(footfall: Footfall) -> None:
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "footfall", "partner", "add", f"p{n}", "--partner-id", str(n), "--name", "P"],
            env=footfall.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(8)
    ]
    told = [command.communicate(timeout=60)[1] for command in commands]
    assert told == [""] * 8
    assert footfall.value("registry", "select count(*) from partners") == 8


# --- while it runs


def test_what_is_added_while_it_runs_is_known_at_once(footfall: Footfall, cast: Cast) -> None:
    with footfall.collector() as collector:
        footfall.cli("app", "add", "com.owner.new", "--partner", "owner", "--plugin-id", "9", "--name", "N", check=True)
        body = json.dumps({"events": [event(app="com.owner.new")]})
        assert collector.post("/e", content=body).status_code == 204
        token = footfall.say("token", "add", "late", "--scope", "installs")["token"]
        told = collector.post(
            "/api/v1/installs",
            json={"app": "com.owner.new", "accountId": "a"},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert told.json() == {"stored": 1, "duplicate": 0, "rejected": []}


def test_the_doctor_finds_no_fault_in_a_collector_at_work(footfall: Footfall) -> None:
    footfall.seed(write_keys=True)
    with footfall.collector() as collector:
        load = Load(collector, senders=4)
        load.wait_for(50)
        for _ in range(4):
            assert_balanced_while_it_grows(footfall)
        load.stop()
    assert_balanced(footfall)


def assert_balanced_while_it_grows(footfall: Footfall) -> None:
    findings = footfall.say("doctor")
    assert findings["balanced"], findings


def test_a_store_that_is_locked_away_for_a_while_is_waited_for(footfall: Footfall, cast: Cast) -> None:
    """Whoever writes the file from outside breaks the rule; even then nothing is answered that is not stored."""
    with footfall.collector() as collector:
        intruder = sqlite3.connect(footfall.data_dir / "events.db", isolation_level=None)
        intruder.execute("begin immediate")
        timer = threading.Timer(1.0, lambda: None)
        answers: list[int] = []
        body = json.dumps({"events": [event()]})
        sender = threading.Thread(target=lambda: answers.append(collector.post("/e", content=body).status_code))
        sender.start()
        timer.start()
        timer.join()
        assert answers == []
        intruder.execute("rollback")
        intruder.close()
        sender.join()
        assert answers == [204]


def test_memory_is_flat_under_a_load_of_good_and_bad(footfall: Footfall, cast: Cast) -> None:
    with footfall.collector() as collector:
        load = Load(collector, senders=6, events=20)
        load.wait_for(2_000)
        before = collector.resident_kib()
        load.wait_for(10_000)
        for _ in range(300):
            collector.post("/e", content=b"x" * 60_000)
            collector.post("/e", content=json.dumps({"events": [event(name="no", title="x" * 900)] * 50}))
        load.stop()
        # What SQLite keeps of the file grows with the file up to 64 MiB, and the allocator keeps some 10 MiB that were
        # freed. What was refused is 30 MiB: of that nothing may stay.
        grown = collector.resident_kib() - before
        file = (footfall.data_dir / "events.db").stat().st_size // 1024
        assert grown < file + 20 * 1024, f"{grown} KiB more, the file has {file}"
    assert assert_balanced(footfall)["rejected"] >= 300
