"""The task that keeps the rollups up: what is too much for one step is counted in several."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Cast
from rollup_cast import happened, store
from waiting import until_async

from collector import roller as module
from collector.roller import Roller
from collector.writer import Writer
from store.engines import open_reader, open_writer
from store.errors import StoreUnavailable
from store.rollups import counting


@pytest.fixture(autouse=True)
def _looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)


def rolled_until(cast: Cast, condition: Callable[[int], bool]) -> None:
    """Have a roller at work until it has counted up to a seq that suits."""

    async def work() -> None:
        async with (
            await open_writer(cast.where, "registry") as registry,
            await open_writer(cast.where, "log") as db,
            await open_reader(cast.where, "log") as reader,
        ):
            roller = Roller(registry, reader, db, Writer(db, cast.data_dir))
            await roller.start()
            await until_async(lambda: condition(cast.rows("select seq from rollups")[0][0]))
            await roller.stop()

    asyncio.run(work())


def test_what_is_too_much_for_one_step_is_counted_in_several(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a server that is far away, where a step of many events takes longer than anybody waits for an answer."""
    portions = []
    count = counting.count

    def patient(connection: Any, turn: Any, events: Any, *more: Any) -> bool:
        if len(events) > 100:
            raise StoreUnavailable("no answer within 10 s")
        portions.append(len(events))
        return count(connection, turn, events, *more)

    monkeypatch.setattr(counting, "count", patient)
    store(cast.where, [happened(visitor=f"{n:040x}") for n in range(700)])
    last = cast.rows("select max(seq) from events")[0][0]
    rolled_until(cast, lambda seq: seq == last)
    assert sum(portions) == 700
    assert cast.rows("select events from rollup_slots where facet = 'event'") == [(700,)]


def test_a_step_that_failed_is_tried_again(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failures = [StoreUnavailable("away"), ValueError("a fault of ours")]
    count = counting.count

    def failing(*told: Any) -> bool:
        if failures:
            raise failures.pop()
        return count(*told)

    monkeypatch.setattr(counting, "count", failing)
    store(cast.where, [happened(), happened()])
    last = cast.rows("select max(seq) from events")[0][0]
    rolled_until(cast, lambda seq: seq == last)
    assert capfd.readouterr().err.count("the rollups cannot be kept up") == 1


def test_an_event_that_can_never_be_counted_is_passed_over_and_named(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    facets = counting.facets

    def failing(event: Any) -> Any:
        if event.anonymous_id.startswith("b"):
            raise ValueError("a fault of ours")
        return facets(event)

    monkeypatch.setattr(counting, "facets", failing)
    store(cast.where, [happened(visitor=visitor) for visitor in "aaabaaa"])
    seqs = [seq for (seq,) in cast.rows("select seq from events order by seq")]
    rolled_until(cast, lambda seq: seq == seqs[-1])
    assert cast.rows("select events from rollup_slots where facet = 'event'") == [(6,)]
    said = [line for line in capfd.readouterr().err.splitlines() if "an event is not counted" in line]
    assert [f'"seq":{seqs[3]}' in line.replace(" ", "") for line in said] == [True]
