"""Lanes: few at first, more while all goes well, half as many when it does not, and nobody pushes in."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from exporter.lanes import FIRST, LEAST, Lanes


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("signs", "limit"), [("", FIRST), ("-", 2), ("---", LEAST), ("+", 5), ("+" * 40, 16), ("+" * 40 + "-", 8)]
)
def test_the_limit_follows_what_happens_while_all_lanes_are_in_use(signs: str, limit: int) -> None:
    async def work() -> None:
        lanes = Lanes(16)
        held = [asyncio.create_task(lanes.__aenter__()) for _ in range(40)]
        await settle()
        for sign in signs:
            lanes.went(sign == "+")
        assert lanes.limit == limit
        for task in held:
            task.cancel()

    run(work)


def test_what_is_not_in_use_does_not_grow() -> None:
    async def work() -> None:
        lanes = Lanes(16)
        async with lanes:
            lanes.went(True)
        assert lanes.limit == FIRST
        assert not lanes.locked()

    run(work)


def test_lanes_are_given_in_the_order_of_asking_also_to_who_asks_again_at_once() -> None:
    async def work() -> None:
        lanes, order = Lanes(1), []

        async def ask(name: str) -> None:
            for _ in range(3):
                async with lanes:
                    order.append(name)
                    await asyncio.sleep(0)

        await asyncio.gather(*map(ask, "abc"))
        assert order == list("abcabcabc")

    run(work)


def test_who_gives_up_waiting_takes_no_lane_with_them() -> None:
    async def work() -> None:
        lanes = Lanes(1)
        async with lanes:
            waiting = [asyncio.create_task(lanes.__aenter__()) for _ in range(3)]
            await settle()
            waiting[0].cancel()
            await settle()
        waiting[1].cancel()  # it was given the lane in this very moment
        await settle()
        assert waiting[2].done()
        assert lanes.locked()
        await lanes.__aexit__()
        assert not lanes.locked()

    run(work)
