"""Parked events as people see them."""

from __future__ import annotations

import msgspec

from store import destinations, log
from store.database import Where
from store.engines import exists, open_reader
from store.errors import ConfigError
from store.event import Event
from store.parked import listed


class Parked(msgspec.Struct, frozen=True):
    """One parked event; `course` is the destination's id, or a replay's."""

    app: str
    destination: str
    course: str
    seq: int
    message_id: str
    reason: str
    detail: str
    parked_at: int
    released: bool


async def parked(where: Where, app_key: str | None = None) -> list[Parked]:
    """In order, by app and destination; only those of one app. None before the exporter's first run."""
    if not exists(where, "ledger"):
        return []
    async with await open_reader(where, "registry") as db:
        names = {course.course_id: course.destination.name for course in await destinations.courses(db, replaced=True)}
    async with await open_reader(where, "ledger") as db:
        return [
            Parked(
                held.app_key,
                names.get(held.destination_id, ""),
                held.destination_id,
                held.seq,
                held.message_id,
                held.reason,
                held.detail,
                held.parked_at,
                bool(held.released),
            )
            for held in await listed(db, app_key)
        ]


async def stored(where: Where, app_key: str, seq: int) -> Event:
    """The event itself. Raises ConfigError when it is not in the log (any more)."""
    async with await open_reader(where, "log") as db:
        for event in await log.some(db, app_key, [seq]):
            return event
    raise ConfigError(f"{app_key} has no stored event {seq}")
