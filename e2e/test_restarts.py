"""A collector that is handed its socket is restarted under load, and nobody at its door notices; and what it tells the
one who started it: that it is ready, that it lives, that it ends.

The surprising thing: the test is systemd. It holds the listening socket over all restarts, and owns the socket that
the collector reports to.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import httpx2
import pytest
from processes import Footfall, Process, free_port, wait_until

RESTARTS = 4
VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_FDS"], os.environ["LISTEN_PID"] = "1", sys.argv[2] or str(os.getpid())
os.execv(sys.argv[3], sys.argv[3:])
"""


def body() -> tuple[str, str]:
    """A request with one event, and the event's id."""
    event = {
        "messageId": str(uuid.uuid4()),
        "name": "page_view",
        "app": "com.owner.charts",
        "occurredAt": datetime.now(UTC).isoformat(),
        "anonymousId": VISITOR,
        "url": "https://marketplace.example/apps/1219125/charts",
    }
    return json.dumps({"events": [event]}), event["messageId"]


@pytest.fixture
def footfall(tmp_path: Path) -> Iterator[Footfall]:
    with Footfall(tmp_path / "data") as footfall:
        footfall.seed()
        yield footfall


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", free_port()), backlog=1024) as listener:
        yield listener


def handed(footfall: Footfall, listener: socket.socket) -> Process:
    """A collector that was started with this socket."""
    wrapper = (sys.executable, "-c", HAND_OVER, str(listener.fileno()), "")
    return footfall.collector(listener.getsockname()[1], wrapper=wrapper, passed=(listener.fileno(),))


class Senders:
    """Threads that post one event after another, each request on its own connection or all on one kept open."""

    def __init__(self, url: str, keep: bool, number: int = 6) -> None:
        self.stored: list[str] = []
        self.failed: list[str] = []
        self._url, self._keep = url, keep
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(number)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        limits = httpx2.Limits(max_keepalive_connections=None if self._keep else 0)
        with httpx2.Client(base_url=self._url, trust_env=False, timeout=60, limits=limits) as client:
            while not self._stop.is_set():
                content, message_id = body()
                try:
                    status = client.post("/e", content=content).status_code
                except httpx2.TransportError as error:
                    self.failed.append(repr(error))
                    continue
                (self.stored if status == 204 else self.failed).append(message_id)

    def wait_for_more(self, answers: int) -> None:
        wanted = len(self.stored) + answers
        wait_until(lambda: len(self.stored) >= wanted, f"{answers} more answers", seconds=60)


def stored(footfall: Footfall) -> set[str]:
    return {str(uuid.UUID(text)) for (text,) in footfall.rows("events", "select lower(hex(message_id)) from events")}


@pytest.mark.parametrize("keep", [True, False], ids=["connections kept", "a connection each"])
def test_restarts_under_load_fail_no_request_and_lose_no_event(
    footfall: Footfall, listener: socket.socket, keep: bool
) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    collector = handed(footfall, listener)
    with Senders(url, keep) as senders:
        for _ in range(RESTARTS):
            senders.wait_for_more(200)
            assert collector.stop(seconds=30) == 0
            collector = handed(footfall, listener)
        senders.wait_for_more(200)
    assert collector.stop() == 0
    assert senders.failed == []
    assert set(senders.stored) == stored(footfall)
    assert footfall.say("doctor")["balanced"]


def test_what_was_connected_while_no_collector_ran_is_answered(footfall: Footfall, listener: socket.socket) -> None:
    with socket.create_connection(listener.getsockname(), timeout=30) as early:
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with handed(footfall, listener):
            assert early.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("method", "path"), [("POST", "/e"), ("GET", "/healthz")])
def test_a_kept_connection_is_told_which_answer_is_its_last(footfall: Footfall, method: str, path: str) -> None:
    """Every request that is sent until then has its answer, by the quick lane and by the ordinary way."""
    collector = footfall.collector()
    kept = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=30)
    with contextlib.closing(kept):
        kept.connect()
        kept.auto_open = 0
        ended = False
        answer = None
        while answer is None or answer.getheader("Connection") != "close":
            kept.request(method, path, body()[0] if method == "POST" else None)
            answer = kept.getresponse()
            answer.read()
            assert answer.status in (200, 204)
            if not ended:
                collector.signal(signal.SIGTERM)
                ended = True
    assert collector.wait() == 0


def test_which_socket_is_listened_on_is_said(footfall: Footfall, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with handed(footfall, listener) as collector:
        assert f'"on":"127.0.0.1 port {port}, a socket passed by systemd"' in collector.log()
    with footfall.collector() as collector:
        assert f'"on":"127.0.0.1 port {collector.port}"' in collector.log()


def test_a_socket_for_another_process_is_left_alone(footfall: Footfall) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        wrapper = (sys.executable, "-c", HAND_OVER, str(other.fileno()), "1")
        with footfall.collector(wrapper=wrapper, passed=(other.fileno(),)) as collector:
            assert "passed by systemd" not in collector.log()


# --- what the collector tells


STUCK = """
import pathlib, sys, time
from starlette.responses import Response
from starlette.routing import Route
from collector.server import serve
from store.settings import load

async def stuck(request):
    pathlib.Path("stuck").touch()
    while not pathlib.Path("released").exists():
        time.sleep(0.01)
    return Response()

serve(load(), "127.0.0.1", int(sys.argv[-1]), [Route("/stuck", stuck)])
"""


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would listen on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(30)
        yield ear


def heard(ear: socket.socket, word: bytes) -> list[bytes]:
    """All that is said up to this word."""
    said = [ear.recv(4096)]
    while said[-1] != word:
        said.append(ear.recv(4096))
    return said


def test_ready_then_alive_then_stopping_is_told(footfall: Footfall, ear: socket.socket) -> None:
    with footfall.collector(NOTIFY_SOCKET=ear.getsockname(), WATCHDOG_USEC="600000") as collector:
        assert heard(ear, b"READY=1") == [b"READY=1"]
        assert heard(ear, b"WATCHDOG=1") + heard(ear, b"WATCHDOG=1") == [b"WATCHDOG=1", b"WATCHDOG=1"]
        collector.signal(signal.SIGTERM)
        assert set(heard(ear, b"STOPPING=1")) <= {b"WATCHDOG=1", b"STOPPING=1"}
        assert collector.wait() == 0
    ear.setblocking(False)
    with pytest.raises(BlockingIOError):
        ear.recv(4096)


def test_an_abstract_address_is_told_too(footfall: Footfall) -> None:
    name = f"footfall-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0{name}")
        ear.settimeout(30)
        with footfall.collector(NOTIFY_SOCKET=f"@{name}"):
            assert ear.recv(4096) == b"READY=1"


@pytest.mark.parametrize(
    "env", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}], ids=["unset", "0", "other"]
)
def test_no_sign_of_life_is_given_to_who_asked_for_none(
    footfall: Footfall, ear: socket.socket, env: dict[str, str]
) -> None:
    with footfall.collector(NOTIFY_SOCKET=ear.getsockname(), **env) as collector:
        collector.stop()
        assert heard(ear, b"STOPPING=1") == [b"READY=1", b"STOPPING=1"]


def test_a_stuck_event_loop_gives_no_sign_of_life(footfall: Footfall, ear: socket.socket, tmp_path: Path) -> None:
    port = free_port()
    env = footfall.env | {"NOTIFY_SOCKET": ear.getsockname(), "WATCHDOG_USEC": "600000"}
    command = [sys.executable, "-c", STUCK, str(port)]
    with Process(command, env, port, tmp_path / "stuck.log", "/healthz") as collector, collector.connect() as asking:
        heard(ear, b"WATCHDOG=1")
        asking.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until((tmp_path / "stuck").exists, "it is stuck")
        ear.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            heard(ear, b"STOPPING=1")  # empties the queue
        ear.settimeout(2)  # ten signs of life would come
        with pytest.raises(TimeoutError):
            ear.recv(4096)
        (tmp_path / "released").touch()
        ear.settimeout(30)
        assert ear.recv(4096) == b"WATCHDOG=1"


def test_a_full_queue_at_the_other_end_holds_nothing_up(footfall: Footfall, ear: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as noise:
        noise.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                noise.sendto(b"noise", ear.getsockname())
    with footfall.collector(NOTIFY_SOCKET=ear.getsockname(), WATCHDOG_USEC="600000") as collector:
        assert collector.post("/e", content=body()[0]).status_code == 204
        assert set(heard(ear, b"READY=1")) == {b"noise", b"READY=1"}
