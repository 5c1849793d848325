"""Where it happens: a data directory of its own, on a tiny file system where one can be mounted, or a PostgreSQL server
of its own; a collector, exporters and a Segment that does much wrong. Whoever holds the scene kills, starts and mends;
when it closes, nothing runs on.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from selftest.cast import Cast, Place, resume, set_up
from selftest.cluster import Cluster
from selftest.plan import Plan
from selftest.processes import COMMAND, Installation, Process, Server, free_port, wait_until

EVERY_SECONDS = "0.2"
LEASE_SECONDS = "2"  # so that whoever is killed is soon replaced
MOST_MIB = 1_024  # a disk in memory is to be tiny
PAGE = 5_000


class Scene:
    """One installation with a fake Segment. As a context manager it ends every process and leaves nothing behind."""

    def __init__(self, plan: Plan) -> None:
        with ExitStack() as stack:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="footfall-selftest-")))
            self.data_dir = home / "data"
            self.data_dir.mkdir()
            self.server = stack.enter_context(Cluster(durable=True)) if plan.postgresql else None
            self.tiny_disk = not plan.postgresql and _mount(self.data_dir, plan.disk_mib, stack)
            secret_key = secrets.token_hex(32)
            self.installation = stack.enter_context(Installation(self.data_dir, secret_key))
            if self.server:
                self.installation.env |= {"FOOTFALL_DATABASE_URL": self.server.database(), "FOOTFALL_TEST": "1"}
                self.installation.env["FOOTFALL_TEST_LEASE_SECONDS"] = LEASE_SECONDS
            self.where = self.installation.where
            self.cast: Cast = set_up(self.where, secret_key)
            self.segment = Segment(self.installation)
            for place in self.cast.places:
                self.segment.control("POST", "/_/keys", {"writeKey": place.write_key, "region": place.region})
            self.segment.control("POST", "/_/mode", {"strict": True})
            self.port = free_port()
            self.collector: Process = self._collect()
            self.exporters: list[Process] = []
            self._close = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close.close()

    @property
    def sound(self) -> list[Place]:
        return [place for place in self.cast.places if not place.broken]

    def _collect(self) -> Process:
        command = [*COMMAND, "serve", "--port", str(self.port)]
        log = self.installation.home / "serve.log"
        collector = Server(command, self.installation.env, self.port, log, "/readyz")
        self.installation.started.append(collector)
        return collector

    def kill_collector(self) -> None:
        self.collector.kill()

    def start_collector(self) -> None:
        self.collector = self._collect()

    def start_exporter(self, point: str = "") -> None:
        """One more, which exports again and again; with a point, it dies there."""
        crash = {"FOOTFALL_TEST": "1", "FOOTFALL_TEST_CRASH_AT": point} if point else {}
        self.exporters.append(self.installation.begin("export", "--every", EVERY_SECONDS, **crash))

    def kill_exporter(self) -> bool:
        """The oldest of those that run; False when it had ended by itself."""
        return self.exporters.pop(0).kill() == -9

    def stop_exporters(self) -> None:
        while self.exporters:
            self.exporters.pop().stop(2)

    def export_once(self) -> None:
        """One run to its end, whatever it leaves."""
        self.installation.cli("export")

    def resume(self) -> None:
        resume(self.where, self.sound)

    def fill_disk(self) -> None:
        """Leave nothing of the tiny disk; what is written meanwhile may take a piece of it first."""
        with (self.data_dir / "ballast").open("wb") as file:
            for spare in (0, 1 << 16, 1 << 20):
                with contextlib.suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(self.data_dir).free - spare)
                    return

    def empty_disk(self) -> None:
        (self.data_dir / "ballast").unlink(missing_ok=True)


class Segment:
    """The fake Segment of one installation, and its control routes."""

    def __init__(self, installation: Installation) -> None:
        port = free_port()
        command = [*COMMAND, "fake-segment", "--port", str(port)]
        log = installation.home / "fake-segment.log"
        self.process = Server(command, installation.env, port, log, "/_/counts")
        installation.started.append(self.process)
        installation.env["FOOTFALL_SEGMENT_URL_US"] = self.process.url
        installation.env["FOOTFALL_SEGMENT_URL_EU"] = self.process.url + "/eu"
        self._port = port
        self._read = 0
        self._standing: list[dict[str, Any]] = []

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask it for something, or for what it knows; when it refuses connections, once it takes them again."""
        answers: list[Any] = []

        def asked() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                answers.append(self._ask(method, path, body))
            return bool(answers)

        wait_until(asked, "the fake Segment is there again")
        return answers[0]

    def _ask(self, method: str, path: str, body: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise ValueError(f"{path}: {text[:200]!r}")
        return json.loads(text)

    def requests(self) -> int:
        count: int = self.control("GET", "/_/counts")["requests"]
        return count

    def always(self, fault: dict[str, Any]) -> None:
        """A fault that stays when the others are mended."""
        self._standing.append(fault | {"times": "always"})
        self.control("POST", "/_/fault", self._standing[-1])

    def pending(self) -> int:
        """How many faults wait for a request, but for those that stay."""
        return len(self.control("GET", "/_/faults")) - len(self._standing)

    def mend(self) -> None:
        """Take away every fault but those that stay. No exporter may run meanwhile: what stays is gone for a moment."""
        self.control("DELETE", "/_/faults")
        for fault in self._standing:
            self.control("POST", "/_/fault", fault)

    def landed(self) -> list[dict[str, Any]]:
        """What landed since this was asked last."""
        found: list[dict[str, Any]] = []
        while True:
            query = urlencode({"since": self._read, "limit": PAGE})
            page = self.control("GET", f"/_/received?{query}")
            found += page
            self._read += len(page)
            if len(page) < PAGE:
                return found


def _mount(data_dir: Path, mib: int, stack: ExitStack) -> bool:
    """Put a small file system in memory there; False where that is not allowed, or it would not be small."""
    if mib > MOST_MIB:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0750", "footfall-selftest", str(data_dir)]
    try:
        subprocess.run(command, check=True, capture_output=True)  # the system's own
    except (OSError, subprocess.CalledProcessError):
        return False
    stack.callback(subprocess.run, ["umount", "--lazy", str(data_dir)], check=False)
    return True
