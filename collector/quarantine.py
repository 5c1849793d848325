"""Releasing and dropping what waits in the quarantine.

A release goes the way of every request: its door judges it again, and `ingest` stores it, under the door's own name.
The request leaves the quarantine in the transaction that stores its events, and the events have the same ids however
often they are judged; so a release is done once, also when somebody is killed over it or two ask for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from collector.ingest import Arrival, Intake, Parked, Turned
from store import quarantine
from store.database import Database
from store.entry import Entry, Held
from store.errors import Refused
from store.registry import App

TOGETHER = 100  # requests that one commit may release

Judged = Sequence[Arrival | Turned | Parked]
Judge = Callable[[App, Held, int], Awaitable[Judged]]


class Quarantine:
    """What the portal asks. `judges` are the doors' own, by the door's name: each judges what it once parked."""

    def __init__(self, intake: Intake, reader: Database, judges: Mapping[str, Judge]) -> None:
        self._intake = intake
        self._reader = reader
        self._judges = judges
        self._alone = asyncio.Lock()

    async def release(self, app: App, quarantine_ids: Sequence[str], now: int) -> Counter[str]:
        """Judge these and store them; `now` in epoch milliseconds. How many were `released`, and what became of their
        messages: `stored`, `duplicate`, `rejected`. What has left already is passed over.

        Raises Unavailable when the log cannot be written; what was not stored is still there.
        """
        done: Counter[str] = Counter()
        async with self._alone:
            for at in range(0, len(quarantine_ids), TOGETHER):
                some = quarantine_ids[at : at + TOGETHER]
                for counts in await asyncio.gather(*(self._release(app, each, now) for each in some)):
                    done += counts
        return done

    async def release_all(self, app: App, now: int) -> Counter[str]:
        """Everything of an app that was there when this began."""
        return await self.release(app, await self._all(app), now)

    async def drop(self, app: App, quarantine_ids: Sequence[str], now: int) -> int:
        """Remove these unread. How many were there."""
        async with self._alone:
            there = [each for each in quarantine_ids if await quarantine.find(self._reader, app.app_key, each)]
            leaving = [(app.app_key, each) for each in there]
            if leaving:
                await self._intake.writer.append(Entry("", now, [], [], [], [], leaving), 0)
        return len(there)

    async def drop_all(self, app: App, now: int) -> int:
        """Everything of an app that was there when this began."""
        return await self.drop(app, await self._all(app), now)

    async def _all(self, app: App) -> list[str]:
        there = await quarantine.amount(self._reader, app.app_key)
        return await quarantine.ids(self._reader, app.app_key, there.requests)

    async def _release(self, app: App, quarantine_id: str, now: int) -> Counter[str]:
        held = await quarantine.find(self._reader, app.app_key, quarantine_id)
        judge = self._judges.get(held.door) if held is not None else None
        if held is None or judge is None:
            return Counter()
        try:
            judged: Judged = await judge(app, held, now)
        except Refused as refused:
            judged = [Turned(refused, app.app_key, held.body)]
        leaving = [(app.app_key, quarantine_id)]
        receipt = await self._intake.ingest(held.door, now, judged, held.size, leaving)
        return Counter(released=1, stored=receipt.stored, duplicate=receipt.duplicate, rejected=len(receipt.rejected))
