"""The collector's view of the events that partners' own systems send: their names, and what their partners say of them,
in memory, fresh within a second.

A name that is new is known here at once and elsewhere when it was counted, so that several collectors may take a few
names more than an app may have. A name that was deleted makes room.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import journal
from collector.task import Task
from store import event_rules, registry
from store.database import Database
from store.errors import Refused, Unavailable
from store.event_rules import MOST_EVENT_NAMES, Histories
from store.rollups import event_names, following
from store.rollups.facets import cut

POLL_SECONDS = 0.5


class Catalogue(Task):
    """`reader` is of the log."""

    def __init__(self, registry: Database, reader: Database) -> None:
        self._registry = registry
        self._reader = reader
        self._names: dict[str, set[str]] = {}
        self._rules: dict[str, Histories] = {}
        self._version = ""
        self._counted = (-1, -1)  # the rollups' seq and rebuild when they were read
        self._known_up_to = 0
        self._deleted_up_to: int | None = None

    async def _prepare(self) -> None:
        with suppress(Unavailable):  # as the directory: what cannot be read yet is read later
            await self.refresh()

    def admit(self, app_key: str, name: str) -> None:
        """See whether an event of this name may come in, and know the name from then on. Raises Refused."""
        name = cut(name)
        rules = self._rules.get(app_key)
        if rules and event_rules.now_for(rules, name).refused:
            raise Refused("disabled_event", "this event is disabled on the app's page Events - at `$.event`")
        known = self._names.setdefault(app_key, set())
        if name in known:
            return
        if len(known) >= MOST_EVENT_NAMES:
            raise Refused(
                "too_many_names",
                f"the app has {MOST_EVENT_NAMES} events already and takes no new one: what varies belongs in a"
                " property, and what is not needed can be deleted on the app's page Events - at `$.event`",
            )
        known.add(name)

    async def refresh(self) -> None:
        """Read what changed."""
        at = await following.standing(self._reader)
        if (at.seq, at.rebuild_id) != self._counted:
            await self._read_names(anew=at.rebuild_id != self._counted[1])
            self._counted = at.seq, at.rebuild_id
        version = await registry.version(self._registry)
        if version != self._version:
            if self._deleted_up_to is None:
                self._deleted_up_to = at.deletion_id
            await self._read_rules(self._deleted_up_to)
            self._version = version

    async def _read_names(self, anew: bool) -> None:
        for app_key, name, seq in await event_names.known(self._reader, 0 if anew else self._known_up_to):
            self._names.setdefault(app_key, set()).add(name)
            self._known_up_to = max(self._known_up_to, seq)

    async def _read_rules(self, deleted_up_to: int) -> None:
        self._rules = await event_rules.rules(self._registry)
        for deletion in await event_names.asked_deletions(self._registry, deleted_up_to):
            self._names.get(deletion.app_key, set()).discard(deletion.name)
            self._deleted_up_to = deletion.deletion_id
        for app_key, histories in self._rules.items():
            self._names.setdefault(app_key, set()).update(event_rules.prepared(histories))

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
            except Exception as error:  # the last good view serves on; the next poll tries again
                journal.note("the names of events cannot be read", level="warning", **journal.failure(error))
