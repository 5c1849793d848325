"""What may be removed from the event log, and how: in small steps, with a count left behind for every event."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from store.errors import StoreUnavailable

LOCK = "removal.lock"
WAIT_SECONDS = 0.05


@asynccontextmanager
async def undisturbed(data_dir: Path) -> AsyncIterator[None]:
    """Nothing is removed from the log meanwhile, by whichever process; waits until a step that is under way ends."""
    try:
        handle = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o660)
    except OSError as error:
        raise StoreUnavailable(f"{data_dir / LOCK}: {error.strerror}") from None
    try:
        while not _taken(handle):  # noqa: ASYNC110 - another process's lock sets no event
            await asyncio.sleep(WAIT_SECONDS)
        yield
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
