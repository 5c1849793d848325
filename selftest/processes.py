"""The product as real processes on loopback: one installation with its own data directory, started, stopped and killed.

The surprising thing is where ports come from: below the range from which the system takes the ports of outgoing
connections, and each is claimed with a name of its own, so that nobody else gets one between its choice and its use.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from store.database import Server as DatabaseServer
from store.database import Where
from store.errors import FootfallError

COMMAND = [sys.executable, "-m", "footfall"]
READY_SECONDS = 180.0
PATIENCE_SECONDS = 60.0  # longer than anything takes, on a machine that has much else to do
CLAIMS = 64  # ports of ours that nobody may listen on yet
POLL_SECONDS = 0.02


class Failed(FootfallError):
    """A process of ours did not do in time what the proof needs it to do."""


class Process:
    """One running process of ours. As a context manager it is stopped at the end, killed if it will not."""

    def __init__(self, arguments: list[str], env: dict[str, str], output: Path, passed: tuple[int, ...] = ()) -> None:
        """`passed` are descriptors that it is to have, too."""
        self.output = output
        with output.open("ab") as file:
            self._running = subprocess.Popen(
                arguments, env=env, cwd=output.parent, stdout=file, stderr=file, pass_fds=passed
            )
        self.pid = self._running.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def signal(self, number: signal.Signals) -> None:
        self._running.send_signal(number)

    def stop(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Ask it to end (SIGTERM) and wait; its exit code. Killed, and -9, when it does not end in time."""
        if self._running.poll() is None:
            self._running.terminate()
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """End it as a power cut would (SIGKILL); -9 unless it had ended by itself."""
        self._running.kill()
        return self.wait()

    def wait(self, seconds: float | None = PATIENCE_SECONDS) -> int:
        """Wait until it ends by itself; its exit code."""
        return self._running.wait(seconds)

    @property
    def running(self) -> bool:
        return self._running.poll() is None

    def log(self) -> str:
        """All that it wrote to standard output and standard error, from this and earlier starts."""
        return self.output.read_text(errors="replace")


class Server(Process):
    """A process that answers on a port of loopback; ready when its constructor returns."""

    def __init__(
        self,
        arguments: list[str],
        env: dict[str, str],
        port: int,
        output: Path,
        ready: str,
        passed: tuple[int, ...] = (),
    ) -> None:
        super().__init__(arguments, env, output, passed)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: self._answers(ready), f"{output.stem} answers", READY_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _answers(self, path: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            if not self.running:
                raise Failed(f"{self.output.stem} ended at once: {self.log()[-2_000:]}") from None
            return False
        finally:
            connection.close()
        return True


class Installation:
    """A data directory and an environment; `env` are settings, e.g. FOOTFALL_CONSENT="required". With
    FOOTFALL_DATABASE_URL among them the databases are on that server.

    Settings of the surrounding shell are not inherited. As a context manager it kills what it started and still runs.
    """

    def __init__(self, data_dir: Path, secret_key: str, **env: str) -> None:
        self.data_dir = data_dir
        self.home = data_dir.parent
        self.home.mkdir(parents=True, exist_ok=True)
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}
        self.env |= {"FOOTFALL_DATA_DIR": str(data_dir), "FOOTFALL_SECRET_KEY": secret_key, **env}
        self.started: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.started:
            if process.running:
                process.kill()

    def cli(
        self, *arguments: str, stdin: str = "", check: bool = False, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; output as text. With `check`, raises Failed at an exit code but 0."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.env | env,
            cwd=self.home,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if check and done.returncode != 0:
            raise Failed(f"{arguments}: {done.returncode}: {done.stderr}")
        return done

    def say(self, *arguments: str, stdin: str = "") -> Any:
        """Run one command with --json; what it printed."""
        return json.loads(self.cli(*arguments, "--json", stdin=stdin, check=True).stdout)

    def begin(self, *arguments: str, **env: str) -> Process:
        """Begin a command and return at once; it writes to a file that is named for it."""
        process = Process([*COMMAND, *arguments], self.env | env, self.home / f"{arguments[0]}.log")
        self.started.append(process)
        return process

    @property
    def where(self) -> Where:
        """Where the databases are."""
        url = self.env.get("FOOTFALL_DATABASE_URL")
        return DatabaseServer(url) if url else self.data_dir

    def rows(self, nature: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read a database as it is on disk now: `nature` is registry, events or ledger."""
        if isinstance(self.where, DatabaseServer):
            schema = "log" if nature == "events" else nature
            with psycopg.connect(self.where.url, autocommit=True, options=f"-c search_path={schema}") as server:
                return server.execute(sql.replace("?", "%s"), values).fetchall()
        path = self.data_dir / f"{nature}.db"
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def value(self, nature: str, sql: str, *values: Any) -> Any:
        """The first column of the first row."""
        return self.rows(nature, sql, *values)[0][0]


_claims: deque[int] = deque()  # descriptors of sockets, which carry the names


def free_port(and_next: int = 0) -> int:
    """A port on loopback that nobody listens on, nor on so many next to it, and that no other process is given here."""
    while True:
        port = random.randrange(12_000, 32_000)
        if all(_claimed(each) for each in range(port, port + and_next + 1)):
            return port


def _claimed(port: int) -> bool:
    """Whether nobody listens on it, and nobody was given it before whoever was may have begun to listen."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0footfall port {port}")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    _claims.append(claim.detach())
    if len(_claims) > CLAIMS:
        os.close(_claims.popleft())
    return True


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Poll until it holds; raises Failed when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(POLL_SECONDS)
