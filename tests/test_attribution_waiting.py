"""Attribution goes only as far as the collector has said who is whom, which it does a moment after an event came in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from shipping_cast import ACCOUNT, NOON, Details, Installation, Silence, an_event

from exporter import attributing
from exporter.attributing import Attributing
from store import log
from store.engines import open_reader, open_writer
from store.event import Event
from store.rollups.following import Follower, ask_for_rebuild

DAY = 24 * 3_600_000
LATER = NOON + 10 * DAY
CLICKED = Details(url="https://market.example/", query={"utm_source": "mail", "utm_campaign": "spring"})


class Sums(NamedTuple):
    """Of all runs so far."""

    events: int
    attributed: int
    closed: int


class Both:
    """A collector's follower of the log, and an exporter's."""

    def __init__(self, follower: Follower, attributing: Attributing, settled: int) -> None:
        self.follower = follower
        self._attributing = attributing
        self._settled = settled

    async def attribute(self, now: int = NOON + 1_000) -> Sums:
        sums = await self._attributing.follow(self._settled, now)
        return Sums(sums.events, sums.attributed, sums.closed)

    async def count(self, events: int | None = None) -> None:
        """So many of them, or every one."""
        while await self.follower.step(time.time_ns() // 1_000_000, events) and events is None:
            pass


@asynccontextmanager
async def both(where: Any) -> AsyncIterator[Both]:
    async with (
        await open_writer(where, "registry") as registry,
        await open_reader(where, "log") as reader,
        await open_writer(where, "log") as writer,
        await open_writer(where, "ledger") as ledger,
    ):
        exporter = Attributing(registry, reader, ledger, "run", Silence(), asyncio.Event())
        yield Both(Follower(registry, reader, writer), exporter, await log.settled(reader))


@pytest.fixture
def journey(installation: Installation) -> Installation:
    """A visitor clicked a campaign's link, signed in, and installed with another browser."""
    acts: list[Event] = [
        an_event(details=CLICKED, occurred_at=NOON - DAY, received_at=NOON - DAY),
        an_event(seq=2, user_id=ACCOUNT, occurred_at=NOON - 100, received_at=NOON - 100),
        an_event("install", seq=3, source="server", user_id=ACCOUNT, anonymous_id="b" * 40),
    ]
    installation.collect(*acts)
    return installation


def test_an_install_waits_for_the_collector_to_say_whose_it_is(
    journey: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attributing, "PATIENCE_SECONDS", 0.0)

    async def work() -> list[Sums]:
        async with both(journey.where) as of:
            await of.count(1)
            before = await of.attribute()
            await of.count()
            return [before, await of.attribute()]

    assert asyncio.run(work()) == [(1, 0, 0), (2, 1, 0)]
    assert journey.ledger("select max(version) from decisions") == [(1,)]


def test_a_run_gives_the_collector_a_moment(journey: Installation) -> None:
    async def work() -> Sums:
        async with both(journey.where) as of:
            await of.count(1)
            sums, _ = await asyncio.gather(of.attribute(), of.count())
            return sums

    assert asyncio.run(work()).attributed == 1


def test_a_collector_that_ended_or_never_was_there_is_not_waited_for(journey: Installation) -> None:
    async def work() -> Sums:
        async with both(journey.where) as of:
            await of.count(1)
            await of.follower.leave()
            return await of.attribute()

    assert asyncio.run(work()).events == 2


def test_while_the_collector_counts_anew_no_install_is_closed(
    journey: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attributing, "PATIENCE_SECONDS", 0.0)

    async def work() -> list[int]:
        async with both(journey.where) as of:
            await of.count()
            await of.attribute()
            async with await open_writer(journey.where, "registry") as registry:
                await ask_for_rebuild(registry, NOON, "olga")
            asked = await of.attribute(LATER)
            await of.count(1)
            await of.count(1)
            begun = await of.attribute(LATER)
            await of.count()
            done = await of.attribute(LATER)
            return [asked.closed, begun.closed, done.closed]

    assert asyncio.run(work()) == [0, 0, 1]
