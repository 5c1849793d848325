"""At the doors: events that are disabled, apps that have too many names, and keys that are somebody else's."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from conftest import Cast
from rollup_cast import NOW, count_up
from test_event_names import sent

from collector import catalogue as module
from collector.catalogue import Catalogue
from collector.directory import Directory
from collector.doors.partner import Means, Told, arrival
from store import event_rules, log, registry
from store.database import Database
from store.engines import open_reader, open_writer
from store.entry import Entry
from store.errors import Refused
from store.event import Details, NewRow
from store.event_rules import Rule
from store.secrets import Vault

APP = "com.owner.charts"
VAULT = Vault("x" * 32)


class Bench:
    """A catalogue, and the store beside it."""

    def __init__(self, catalogue: Catalogue, registry_db: Database, reader: Database, writer: Database) -> None:
        self.catalogue = catalogue
        self.registry = registry_db
        self.reader = reader
        self.writer = writer

    async def say(self, name: str, **rule: Any) -> None:
        await event_rules.say(self.registry, NOW, APP, name, Rule(**rule), "a test")
        await self.catalogue.refresh()

    async def count(self, *rows: NewRow) -> None:
        await log.commit(self.writer, [Entry("test", NOW, list(rows), [], [])], Counter())
        await count_up(self.registry, self.reader, self.writer)
        await self.catalogue.refresh()

    async def told(self, name: str = "Purchase", **changed: Any) -> NewRow:
        """What is stored of a message."""
        said = {"door": "test", "type": "track", "name": name, "user_id": "u", "occurred_at": NOW} | changed
        app = await registry.app(self.registry, APP)
        return arrival(app, Told(**said), NOW, Means(VAULT, self.catalogue, Directory(self.registry))).row


@asynccontextmanager
async def bench(cast: Cast) -> AsyncIterator[Bench]:
    async with (
        await open_writer(cast.where, "registry") as registry_db,
        await open_writer(cast.where, "log") as writer,
        await open_reader(cast.where, "log") as reader,
    ):
        catalogue = Catalogue(registry_db, reader)
        await catalogue.refresh()
        yield Bench(catalogue, registry_db, reader, writer)


def within(cast: Cast, work: Callable[[Bench], Awaitable[None]]) -> None:
    async def opened() -> None:
        async with bench(cast) as found:
            await work(found)

    asyncio.run(opened())


async def refusal(found: Bench, name: str = "Purchase", **changed: Any) -> str:
    with pytest.raises(Refused) as caught:
        await found.told(name, **changed)
    return caught.value.reason


def test_a_disabled_event_is_refused_until_it_is_enabled(cast: Cast) -> None:
    async def work(found: Bench) -> None:
        await found.told()
        await found.say("Purchase", refused=True)
        assert await refusal(found) == "disabled_event"
        await found.told("Sign Up")
        await found.told("Purchase", type="page")  # a page's name is no event's
        await found.say("Purchase")
        await found.told()

    within(cast, work)


def test_a_name_that_is_cut_is_disabled_by_what_is_kept_of_it(cast: Cast) -> None:
    async def work(found: Bench) -> None:
        await found.say("x" * 99 + "…", refused=True)
        assert await refusal(found, "x" * 150) == "disabled_event"

    within(cast, work)


def test_no_new_name_is_taken_beyond_the_most_and_known_ones_go_on(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EVENT_NAMES", 3)

    async def work(found: Bench) -> None:
        await found.count(sent("one"), sent("two", app="com.stranger.notes"))
        await found.say("prepared", revenue=True)
        await found.told("three")
        assert await refusal(found, "four") == "too_many_names"
        for name in ("one", "prepared", "three"):
            await found.told(name)

    within(cast, work)


def test_a_name_of_which_nothing_is_stored_takes_no_room(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EVENT_NAMES", 1)

    async def work(found: Bench) -> None:
        assert await refusal(found, "large", properties={"text": "x" * 40_000}) == "too_large"
        assert await refusal(found, "nobody's", user_id=None) == "no_user"
        await found.told("one")

    within(cast, work)


def test_a_deleted_name_makes_room_and_is_new_when_it_comes_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EVENT_NAMES", 1)

    async def work(found: Bench) -> None:
        await found.count(sent("one"))
        assert await refusal(found, "two") == "too_many_names"
        await event_rules.delete(found.registry, NOW, APP, "one", "a test")
        await found.count()
        await found.told("two")
        assert await refusal(found, "one") == "too_many_names"

    within(cast, work)


def test_names_that_another_collector_took_are_known_when_they_are_counted(cast: Cast) -> None:
    async def work(found: Bench) -> None:
        other = Catalogue(found.registry, found.reader)
        await other.refresh()
        await found.count(sent("one"))
        assert other._names == {}
        await other.refresh()
        assert other._names == {APP: {"one"}}
        await found.count(sent("two"))
        await other.refresh()
        assert other._names == {APP: {"one", "two"}}

    within(cast, work)


def test_reserved_keys_are_kept_and_told_of(cast: Cast) -> None:
    async def work(found: Bench) -> None:
        def details(row: NewRow) -> Details:
            return msgspec.json.decode(row[-1], type=Details)

        kept = details(await found.told(properties={"network": "x", "sum": 1}, flags=["test_id"]))
        assert (kept.properties, kept.flags) == ({"network": "x", "sum": 1}, ["test_id", "reserved_keys"])
        assert details(await found.told(properties={"sum": 1})).flags is None
        assert details(await found.told(type="identify", name="", properties={"source": "x"})).flags is None

    within(cast, work)
