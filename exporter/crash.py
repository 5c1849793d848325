"""Named points at which a test makes this process die as by `kill -9`: FOOTFALL_TEST_CRASH_AT names one."""

from __future__ import annotations

import os
import signal

_AT = os.environ.get("FOOTFALL_TEST_CRASH_AT") if os.environ.get("FOOTFALL_TEST") == "1" else None


def point(name: str) -> None:
    if name == _AT:
        os.kill(os.getpid(), signal.SIGKILL)
