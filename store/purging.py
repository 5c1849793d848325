"""How `footfall purge` and the collector agree on who removes what is old: whoever may write the log.

While no collector runs, the command takes the writer's lock and does it itself. While one runs, the command asks for it
with a file in the data directory, which the collector sees within a second, and gets its answer in another. On a server
the command does it at any time: see store/postgres/purging.py.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from store import ids, removal
from store.database import Database, Server
from store.engines import open_reader, open_writer
from store.errors import Busy, StoreUnavailable
from store.removal import Removed
from store.rollups import following
from store.settings import Settings

T = TypeVar("T")
ASKED, ANSWERED = "purge-asked.json", "purge-answered.json"
POLL_SECONDS = 0.1
LOOK_AGAIN_SECONDS = 2.0


class Asked(msgspec.Struct, frozen=True):
    id: str


class Answered(msgspec.Struct, frozen=True):
    """`failed` says why it could not be done, or is empty."""

    id: str
    removed: Removed
    failed: str = ""


async def purge(settings: Settings, now: int, patience: float) -> Removed:
    """Remove what is old by the settings (a running collector's own), `now` in epoch milliseconds, and wait for it.

    Raises Busy when the collector has not done it after `patience` seconds, StoreUnavailable when the log fails.
    """
    if isinstance(settings.where, Server):
        from store.postgres import purging as postgres

        return await postgres.purge(settings.where, removal.ages(settings, now), patience)
    asked = Asked(str(ids.uuid7(now)))
    deadline = time.monotonic() + patience
    try:
        while time.monotonic() < deadline:
            removed = await _by_ourselves(settings, now)
            if removed is not None:
                return removed
            if wanted(settings.data_dir) is None:
                _put(settings.data_dir / ASKED, asked)
            answered = await _answer(settings.data_dir, asked, min(deadline, time.monotonic() + LOOK_AGAIN_SECONDS))
            if answered is not None and answered.failed:
                raise StoreUnavailable(f"the collector could not do it: {answered.failed}")
            if answered is not None:
                return answered.removed
    finally:
        if wanted(settings.data_dir) == asked:
            (settings.data_dir / ASKED).unlink(missing_ok=True)
    raise Busy(f"the collector has not done it within {patience:.0f} s, and may still be at it")


async def _by_ourselves(settings: Settings, now: int) -> Removed | None:
    """None while another process has the log."""
    try:
        async with await open_writer(settings.data_dir, "log") as db:
            async with await open_reader(settings.data_dir, "registry") as registry_db:
                await following.catch_up(registry_db, db, db, now)
            return await removal.remove_old(settings.data_dir, db, removal.ages(settings, now), _at_once)
    except Busy:
        return None


async def _at_once() -> None:
    """Nobody else waits for the log."""


async def _answer(data_dir: Path, asked: Asked, deadline: float) -> Answered | None:
    while time.monotonic() < deadline:
        answered = _read(data_dir / ANSWERED, Answered)
        if answered is not None and answered.id == asked.id:
            return answered
        await asyncio.sleep(POLL_SECONDS)
    return None


def wanted(data_dir: Path) -> Asked | None:
    """What somebody waits for."""
    return _read(data_dir / ASKED, Asked)


async def carry_out(
    settings: Settings, writer: Database, asked: Asked, now: int, breathe: Callable[[], Awaitable[None]]
) -> Answered:
    """Do what was asked with the log's own writing connection, and answer, also when it fails."""
    try:
        removed = await removal.remove_old(settings.data_dir, writer, removal.ages(settings, now), breathe)
        answered = Answered(asked.id, removed)
    except StoreUnavailable as error:
        answered = Answered(asked.id, Removed(), str(error))
    _put(settings.data_dir / ANSWERED, answered)
    (settings.data_dir / ASKED).unlink(missing_ok=True)
    return answered


def _put(path: Path, content: Asked | Answered) -> None:
    """As a whole, or not at all."""
    whole = path.with_suffix(f".{os.getpid()}")
    whole.write_bytes(msgspec.json.encode(content))
    whole.replace(path)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
