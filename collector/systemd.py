"""What systemd hands to this process, and what it is told: the socket to listen on, that we are ready, that we live.

The protocols are those of sd_listen_fds(3) and sd_notify(3). The surprising thing: telling never waits. A full queue at
the other end would hold up the event loop, so what cannot be told now is told at a later beat.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, MutableMapping

from store.errors import ConfigError

FIRST_PASSED = 3


def take_socket(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The listening socket that this process was started with, or None; child processes do not get it.

    Raises ConfigError for anything but one listening stream socket.
    """
    addressee, number = environ.pop("LISTEN_PID", None), environ.pop("LISTEN_FDS", None)
    environ.pop("LISTEN_FDNAMES", None)
    if addressee != str(os.getpid()) or number is None:
        return None
    if number != "1":
        raise ConfigError(f"systemd passed {number} sockets; the collector listens on one")
    try:
        passed = socket.socket(fileno=FIRST_PASSED)
        listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigError(
            f"file descriptor {FIRST_PASSED}, passed by systemd, is no socket: {error.strerror}"
        ) from None
    if not listens:
        raise ConfigError(f"file descriptor {FIRST_PASSED}, passed by systemd, is no listening socket")
    passed.set_inheritable(False)
    return passed


class Manager:
    """Whoever started this process and asked to be told. Times are seconds of any clock that only goes forward."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._patience = _patience(environ)
        self._knows_of_start = False
        self._next_beat = 0.0

    def beat(self, now: float) -> None:
        """Say that we are ready, until that got through, and from then on, three times per patience, that we live."""
        if not self._knows_of_start:
            self._knows_of_start = self._tell(b"READY=1")
        if self._patience is None or not self._knows_of_start or now < self._next_beat:
            return
        if self._tell(b"WATCHDOG=1"):
            self._next_beat = now + self._patience / 3

    def stopping(self) -> None:
        self._tell(b"STOPPING=1")

    def _tell(self, state: bytes) -> bool:
        if not self._address:
            return True
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(state, self._address)
            return True
        return False


def _patience(environ: Mapping[str, str]) -> float | None:
    """Seconds of silence after which we are taken for stuck; None when nobody listens for us."""
    text = environ.get("WATCHDOG_USEC", "")
    if not text.isdigit() or int(text) == 0 or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 1_000_000
