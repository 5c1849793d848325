"""The processes that the demo has beside its collector: when one of them ends, all end, and whoever looks is told."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from store.errors import FootfallError
from store.settings import Settings


class Children:
    """As a context manager it ends them, the last one first; raises FootfallError should one have ended by itself."""

    def __init__(self, settings: Settings) -> None:
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")} | {
            "FOOTFALL_DATA_DIR": str(settings.data_dir.absolute()),
            "FOOTFALL_SECRET_KEY": settings.secret_key,
            "FOOTFALL_EVENT_PREFIX": settings.event_prefix,
            "FOOTFALL_SEGMENT_URL_US": settings.segment_url_us,
            "FOOTFALL_SEGMENT_URL_EU": settings.segment_url_eu,
        }
        if settings.database_url is not None:
            self._environment["FOOTFALL_DATABASE_URL"] = settings.database_url
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending = True
        codes = {name: process.poll() for name, process in self._running.items()}
        for process in reversed(self._running.values()):
            process.terminate()
            process.wait(timeout=20)
        for name, code in codes.items():
            if code is not None and not isinstance(error, FootfallError):
                raise FootfallError(f"the demo's {name} ended by itself, with exit code {code}")

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """A command of ours, which has its own session: Ctrl-C is for the demo alone, which ends it."""
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "footfall", *command],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,
            start_new_session=True,
        )
        self._running[name] = process
        return process

    def watch(self) -> None:
        """From now on, stop this process, as if it was told to, when one of them ends."""
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # until the collector listens to it
        for process in self._running.values():
            threading.Thread(target=self._see_its_end, args=(process.pid,), daemon=True).start()

    def _see_its_end(self, pid: int) -> None:
        with suppress(ChildProcessError):  # whoever ends it was quicker to notice
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        if not self._ending:
            os.kill(os.getpid(), signal.SIGTERM)


def _end_with_parent() -> None:
    """Ask the kernel to end this process when the demo dies, however it dies (prctl PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
