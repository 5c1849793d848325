"""The product as real processes on loopback: one installation with its own data directory, started, stopped and killed.

with Footfall(tmp_path / "data") as footfall:
    cast = footfall.seed()
    with footfall.collector() as collector, footfall.fake_segment() as segment:
        httpx2.post(collector.url + "/e", ...)
        footfall.export().returncode
        segment.get("/_/received").json()
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx2

from selftest.processes import COMMAND, PATIENCE_SECONDS, Installation, Server, free_port, wait_until

T = TypeVar("T")

__all__ = ["COMMAND", "PATIENCE_SECONDS", "SECRET_KEY", "Cast", "Footfall", "Process", "free_port", "wait_until"]

SECRET_KEY = "b1d8a2c47f603e95d2b8e6a1c3f5079d"  # noqa: S105 - of tests only


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run what waits, on a thread of its own: on ours a browser's loop may be running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


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


class Seeded(NamedTuple):
    """What `seed` left in an empty data directory, to be put into the next: that takes a tenth of the time."""

    cast: Cast
    files: dict[str, bytes]


SEEDED: dict[tuple[bool, str], Seeded] = {}


class Process(Server):
    """One running process of ours, and a client of it."""

    def __init__(
        self,
        arguments: list[str],
        env: dict[str, str],
        port: int,
        output: Path,
        ready: str,
        passed: tuple[int, ...] = (),
    ) -> None:
        self._http = httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_SECONDS)
        super().__init__(arguments, env, port, output, ready, passed)

    def get(self, path: str, **more: Any) -> httpx2.Response:
        return self._http.get(path, **more)

    def post(self, path: str, **more: Any) -> httpx2.Response:
        return self._http.post(path, **more)

    def connect(self, timeout: float = PATIENCE_SECONDS) -> socket.socket:
        """A raw connection, for what an HTTP client would not send."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def stop(self, seconds: float = PATIENCE_SECONDS) -> int:
        self._http.close()  # a connection that stays open is waited for a moment
        return super().stop(seconds)

    def wait(self, seconds: float | None = PATIENCE_SECONDS) -> int:
        code = super().wait(seconds)
        self._http.close()
        return code

    def resident_kib(self) -> int:
        """Its resident memory."""
        return self._status("VmRSS")

    def peak_kib(self) -> int:
        """The most resident memory that it ever had, or had since `forget_peak`."""
        return self._status("VmHWM")

    def processor_seconds(self) -> float:
        """For how long it has computed."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, field: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1])
        raise AssertionError(f"no {field}: the process has ended")


class Footfall(Installation):
    """One installation of the tests' own; see Installation."""

    def __init__(self, data_dir: Path, **env: str) -> None:
        super().__init__(data_dir, SECRET_KEY, **env)

    def seed(self, write_keys: bool = False, region: str = "us") -> Cast:
        """Fill the registry: see Cast. With `write_keys`, each app also has a destination, from the log's beginning."""
        is_empty = self.where == self.data_dir and not self.data_dir.exists()
        if is_empty and (write_keys, region) in SEEDED:
            seeded = SEEDED[write_keys, region]
            self.data_dir.mkdir(mode=0o700)
            for name, content in seeded.files.items():
                (self.data_dir / name).write_bytes(content)
            return seeded.cast
        cast = self._seed(write_keys, region)
        if is_empty:
            files = {path.name: path.read_bytes() for path in self.data_dir.glob("*.db")}
            SEEDED[write_keys, region] = Seeded(cast, files)
        return cast

    def _seed(self, write_keys: bool, region: str) -> Cast:
        if self.where != self.data_dir:
            self.cli("migrate", check=True)
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
        with (self.home / "export.log").open("ab") as file:
            command = [*COMMAND, "export", *arguments]
            return subprocess.Popen(command, env=self.env | env, cwd=self.home, stdout=file, stderr=file)

    def exports_said(self) -> str:
        """What the runs that were begun with `start_export` have printed."""
        return (self.home / "export.log").read_text()

    def change(self, nature: str, sql: str, *values: Any) -> None:
        """Change a database behind the product's back."""
        with sqlite3.connect(self.data_dir / f"{nature}.db", timeout=10) as connection:
            connection.execute(sql, values)
        connection.close()

    def _start(
        self, command: list[str], port: int, name: str, ready: str, env: dict[str, str], passed: tuple[int, ...] = ()
    ) -> Process:
        process = Process(command, self.env | env, port, self.home / f"{name}.log", ready, passed)
        self.started.append(process)
        return process
