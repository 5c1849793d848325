"""The socket that systemd passes: taken when it is ours and good, refused with a reason when it is not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from collector.systemd import Manager, take_socket
from store.errors import ConfigError


def test_without_a_passed_socket_there_is_none() -> None:
    assert take_socket({}) is None
    assert take_socket({"LISTEN_FDS": "1"}) is None


def test_a_socket_for_another_process_is_not_taken_and_not_handed_on() -> None:
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x", "PATH": "/bin"}
    assert take_socket(environ) is None
    assert environ == {"PATH": "/bin"}


def test_several_sockets_are_refused() -> None:
    with pytest.raises(ConfigError, match="systemd passed 2 sockets; the collector listens on one"):
        take_socket({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())})


@pytest.mark.parametrize(
    ("opening", "told"),
    [
        ("os.open('/dev/null', os.O_RDONLY)", "file descriptor 3, passed by systemd, is no socket: "),
        ("socket.socketpair()[0].detach()", "file descriptor 3, passed by systemd, is no listening socket"),
    ],
)
def test_what_cannot_be_listened_on_is_told_in_one_line(opening: str, told: str, tmp_path: Path) -> None:
    program = f"""
import os, socket, sys
os.set_inheritable(os.dup2({opening}, 3), True)
os.environ |= {{"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}}
os.execv(sys.executable, [sys.executable, "-m", "footfall", "serve"])
"""
    env = {"PATH": os.environ["PATH"], "FOOTFALL_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr.startswith(f"footfall: {told}")
    assert done.stderr.count("\n") == 1


def test_signs_of_life_come_three_times_in_the_time_that_silence_is_borne(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        manager = Manager({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"})
        heard = []
        for tenth in range(1_000_000, 1_000_310):
            manager.beat(tenth / 10)
            while True:
                try:
                    heard.append((tenth - 1_000_000, ear.recv(100)))
                except BlockingIOError:
                    break
    alive = b"WATCHDOG=1"
    assert heard == [(0, b"READY=1"), (0, alive), (100, alive), (200, alive), (300, alive)]


def test_no_sign_of_life_comes_before_it_is_told_that_we_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though there is room for one where there was none for the other a moment before."""
    heard = []
    is_there_room = iter([False, True, True])

    def tell(_: Manager, state: bytes) -> bool:
        heard.append(state)
        return next(is_there_room)

    monkeypatch.setattr(Manager, "_tell", tell)
    manager = Manager({"NOTIFY_SOCKET": "anywhere", "WATCHDOG_USEC": "1000000"})
    manager.beat(0.0)
    manager.beat(0.1)
    assert heard == [b"READY=1", b"READY=1", b"WATCHDOG=1"]


def test_nobody_to_tell_is_no_failure(tmp_path: Path) -> None:
    Manager({}).beat(0.0)
    gone = Manager({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000000"})
    gone.beat(0.0)
    gone.stopping()
