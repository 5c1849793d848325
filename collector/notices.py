"""The task that puts into the audit what the exporter found: it writes the ledger alone, and the audit is elsewhere.

Several collectors may see the same; the line is there once.
"""

from __future__ import annotations

import asyncio

import journal
from collector.task import Task
from store.database import Database
from store.errors import Unavailable
from store.postbacks import delivering, targets
from store.readers import Readers

LOOK_SECONDS = 10.0


class Notices(Task):
    def __init__(self, readers: Readers, registry: Database, writer: Database) -> None:
        self._readers = readers
        self._registry = registry
        self._writer = writer
        self._known: set[tuple[str, str, int]] = set()

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Unavailable as error:  # the next look tries again
                journal.note("looking for what the audit is to know failed", level="error", reason=str(error))

    async def look(self) -> None:
        """Note every target that was disabled since the last look."""
        async with self._readers.lend("ledger") as lent:
            found = await delivering.disabled(lent["ledger"]) if "ledger" in lent else {}
        disabled = {(*keys, health.disabled_at): health.disabled_why for keys, health in found.items()}
        new = {place: why for place, why in disabled.items() if place not in self._known}
        if not new:
            return
        there = {target.keys: target for target in await targets.of_apps(self._registry, removed=True)}
        for (app_key, target_id, at), why in new.items():
            if (app_key, target_id) in there:
                await targets.note_disabled(self._writer, there[app_key, target_id], at, why)
            self._known.add((app_key, target_id, at))
