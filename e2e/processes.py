"""The product as real processes on loopback: one installation with its own data directory, started, stopped and killed.

    with Footfall(tmp_path / "data") as footfall:
        cast = footfall.seed()
        with footfall.collector() as collector, footfall.fake_segment() as segment:
            httpx2.post(collector.url + "/e", ...)
            footfall.export().returncode
            segment.get("/_/received").json()

The surprising thing is where ports come from: below the range from which the system takes the ports of outgoing
connections, so that nobody else gets one between its choice and its use.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

COMMAND = [sys.executable, "-m", "footfall"]
SECRET_KEY = "b1d8a2c47f603e95d2b8e6a1c3f5079d"  # noqa: S105 - of tests only
READY_SECONDS = 20.0


@dataclass(frozen=True)
class Cast:
    """Who is there after `seed`: an owner's two apps (a sibling each to the other), and a stranger's one.

    `token` has every scope. The write keys are those of the three apps when `seed(write_keys=True)` was asked for.
    """

    token: str
    owner_app: str = "com.owner.charts"
    sibling_app: str = "com.owner.boards"
    stranger_app: str = "com.stranger.notes"
    owner_key: str = "WRITEKEYOFTHEOWNERSCHARTS0000001"
    sibling_key: str = "WRITEKEYOFTHEOWNERSBOARDS0000002"
    stranger_key: str = "WRITEKEYOFTHESTRANGERSNOTES00003"


class Process:
    """One running process of ours. As a context manager it is stopped at the end, killed if it will not."""

    def __init__(
        self,
        arguments: list[str],
        env: dict[str, str],
        port: int,
        output: Path,
        ready: str,
        passed: tuple[int, ...] = (),
    ) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.output = output
        with output.open("ab") as file:
            self._running = subprocess.Popen(
                arguments, env=env, cwd=output.parent, stdout=file, stderr=file, pass_fds=passed
            )
        self.pid = self._running.pid
        self._http = httpx2.Client(base_url=self.url, trust_env=False, timeout=15)
        self._wait_until_ready(ready)

    def _wait_until_ready(self, path: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._http.get(path)
            except httpx2.TransportError:
                assert self._running.poll() is None, f"it ended at once: {self.log()}"
                assert time.monotonic() < deadline, f"not ready within {READY_SECONDS} s: {self.log()}"
                time.sleep(0.02)
            else:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def get(self, path: str, **more: Any) -> httpx2.Response:
        return self._http.get(path, **more)

    def post(self, path: str, **more: Any) -> httpx2.Response:
        return self._http.post(path, **more)

    def connect(self, timeout: float = 10) -> socket.socket:
        """A raw connection, for what an HTTP client would not send."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def signal(self, number: signal.Signals) -> None:
        self._running.send_signal(number)

    def stop(self, seconds: float = 15) -> int:
        """Ask it to end (SIGTERM) and wait; its exit code. Killed, and -9, when it does not end in time."""
        self._http.close()  # a connection that stays open is waited for a moment
        if self._running.poll() is None:
            self._running.terminate()
        try:
            return self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it as a power cut would (SIGKILL); always -9."""
        self._running.kill()
        self._http.close()
        return self._running.wait()

    def wait(self, seconds: float = 15) -> int:
        """Wait until it ends by itself; its exit code."""
        code = self._running.wait(seconds)
        self._http.close()
        return code

    @property
    def running(self) -> bool:
        return self._running.poll() is None

    def log(self) -> str:
        """All that it wrote to standard output and standard error, from this and earlier starts."""
        return self.output.read_text(errors="replace")

    def resident_kib(self) -> int:
        """Its resident memory."""
        return self._status("VmRSS")

    def peak_kib(self) -> int:
        """The most resident memory that it ever had, or had since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, field: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
        raise AssertionError(f"no {field}: the process has ended")


class Footfall:
    """One installation: a data directory and an environment. `env` are settings, e.g. FOOTFALL_CONSENT="required".

    Settings of the surrounding shell are not inherited. As a context manager it kills what it started and still runs.
    """

    def __init__(self, data_dir: Path, **env: str) -> None:
        self.data_dir = data_dir
        self._home = data_dir.parent
        self._home.mkdir(parents=True, exist_ok=True)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}
        self.env |= {"FOOTFALL_DATA_DIR": str(data_dir), "FOOTFALL_SECRET_KEY": SECRET_KEY, **env}
        self._started: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._started:
            if process.running:
                process.kill()

    def cli(
        self, *arguments: str, stdin: str = "", check: bool = False, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; output as text. With `check`, an exit code but 0 fails the test."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.env | env,
            cwd=self._home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}: {done.stderr}"
        return done

    def say(self, *arguments: str, stdin: str = "") -> Any:
        """Run one command with --json; what it printed."""
        return json.loads(self.cli(*arguments, "--json", stdin=stdin, check=True).stdout)

    def seed(self, write_keys: bool = False, region: str = "us") -> Cast:
        """Fill the registry: see Cast. With `write_keys`, each app also has a destination, from the log's beginning."""
        self.cli("partner", "add", "owner", "--partner-id", "1211971", "--name", "Owner", check=True)
        self.cli("partner", "add", "stranger", "--partner-id", "1213333", "--name", "Stranger", check=True)
        scopes = ("--scope", "installs", "app-requests", "uninstalls")
        cast = Cast(token=self.say("token", "add", "back-end", *scopes)["token"])
        apps = [
            ("owner", cast.owner_app, "1219125", cast.owner_key),
            ("owner", cast.sibling_app, "1219126", cast.sibling_key),
            ("stranger", cast.stranger_app, "1219127", cast.stranger_key),
        ]
        for partner, app, plugin_id, key in apps:
            self.cli("app", "add", app, "--partner", partner, "--plugin-id", plugin_id, "--name", app, check=True)
            if write_keys:
                options = ("--segment-write-key-file", "-", "--region", region, "--start", "beginning")
                self.cli("app", "set", app, *options, stdin=key, check=True)
        return cast

    def collector(
        self, port: int | None = None, wrapper: tuple[str, ...] = (), passed: tuple[int, ...] = (), **env: str
    ) -> Process:
        """Start `footfall serve` and wait until it answers. `wrapper` is put before the command, e.g. strace; `passed`
        are file descriptors that it inherits."""
        port = port or free_port()
        command = [*wrapper, *COMMAND, "serve", "--port", str(port)]
        return self._start(command, port, "collector", "/healthz", env, passed)

    def fake_segment(self, port: int | None = None) -> Process:
        """Start `footfall fake-segment`; from now on this installation's exporter sends there, both regions."""
        port = port or free_port()
        fake = self._start([*COMMAND, "fake-segment", "--port", str(port)], port, "fake-segment", "/_/received", {})
        self.env["FOOTFALL_SEGMENT_URL_US"] = fake.url
        self.env["FOOTFALL_SEGMENT_URL_EU"] = fake.url + "/eu"
        return fake

    def export(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """One run of `footfall export`, to its end."""
        return self.cli("export", *arguments, **env)

    def start_export(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        """Begin a run of `footfall export` and return at once, for killing it in the middle."""
        with (self._home / "export.log").open("ab") as file:
            command = [*COMMAND, "export", *arguments]
            return subprocess.Popen(command, env=self.env | env, cwd=self._home, stdout=file, stderr=file)

    def exports_said(self) -> str:
        """What the runs that were begun with `start_export` have printed."""
        return (self._home / "export.log").read_text()

    def rows(self, nature: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read a database as it is on disk now: `nature` is registry, events or ledger."""
        path = self.data_dir / f"{nature}.db"
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def value(self, nature: str, sql: str, *values: Any) -> Any:
        """The first column of the first row."""
        return self.rows(nature, sql, *values)[0][0]

    def change(self, nature: str, sql: str, *values: Any) -> None:
        """Change a database behind the product's back."""
        with sqlite3.connect(self.data_dir / f"{nature}.db", timeout=10) as connection:
            connection.execute(sql, values)
        connection.close()

    def _start(
        self, command: list[str], port: int, name: str, ready: str, env: dict[str, str], passed: tuple[int, ...] = ()
    ) -> Process:
        process = Process(command, self.env | env, port, self._home / f"{name}.log", ready, passed)
        self._started.append(process)
        return process


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    while True:
        port = random.randrange(12_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until(condition: Callable[[], object], what: str, seconds: float = 15) -> None:
    """Poll until it holds; fails the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
