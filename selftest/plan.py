"""What is going to happen, from the seed alone. Pure.

Kinds are drawn as from a deck of cards that is shuffled anew whenever it is empty, so that a short run meets each of
them too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")
Victim = Literal["collector", "exporter", "server"]

REQUEST = "request"
POISONS = 6
LONGEST_WAIT = 0.5


class Plan(msgspec.Struct, frozen=True):
    """What was asked for: at least so many kills, and for at least so long."""

    kills: int = 200
    minutes: float = 0.0
    seed: int = 1
    postgresql: bool = False

    @property
    def disk_mib(self) -> int:
        """Room for what the senders make in that time, with some to spare."""
        return 96 + self.kills + round(40 * self.minutes)


class Fault(msgspec.Struct, frozen=True):
    """Something that the fake Segment is to do wrong, in the words of its own control route."""

    name: str
    body: dict[str, Any]


class Act(msgspec.Struct, frozen=True):
    """One kill: of whom, at which point ('': at any instant), after how many seconds, and what else goes wrong.

    The exporter's points are those of FOOTFALL_TEST_CRASH_AT; the collector's is a request that is under way; the
    database server has none.
    """

    victim: Victim
    point: str
    wait: float
    faults: list[Fault]
    pair: bool = False
    full_disk: bool = False


_KILLS: list[tuple[Victim, str]] = [
    ("collector", ""),
    ("collector", ""),
    ("collector", REQUEST),
    ("collector", REQUEST),
    ("exporter", ""),
    ("exporter", ""),
    ("exporter", ""),
    ("exporter", "after_open"),
    ("exporter", "after_send"),
    ("exporter", "after_close"),
]
_SERVER_KILLS: list[tuple[Victim, str]] = [("server", ""), ("server", "")]


def acts(seed: int, postgresql: bool = False) -> Iterator[Act]:
    """One act after the other, without end; the same for the same seed."""
    chance = random.Random(f"acts {seed}")
    kills = _deck(chance, _KILLS + _SERVER_KILLS if postgresql else _KILLS)
    faults = _deck(chance, list(_FAULTS))
    others = _deck(chance, ["pair", "full disk", *[""] * 4])
    for victim, point in kills:
        other = next(others)
        drawn = [Fault(name, _FAULTS[name](chance)) for name in (next(faults) for _ in range(chance.randint(1, 3)))]
        wait = chance.uniform(0, LONGEST_WAIT)
        yield Act(victim, point, wait, drawn, pair=other == "pair", full_disk=other == "full disk")


def _deck(chance: random.Random, cards: Sequence[T]) -> Iterator[T]:
    while True:
        yield from chance.sample(cards, len(cards))


_FAULTS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "connections refused": lambda chance: {"refuse": round(chance.uniform(0.2, 1), 2)},
    "hangs": lambda chance: {"hang": chance.choice([0.5, 2, 30])},
    "reset while it reads": lambda chance: {"reset": chance.randrange(1, 4_000)},
    "accepts, and its reply is lost": lambda _: {"dropReply": True, "times": 2},
    "accepts, and says 500": lambda _: {"status": 500, "land": True},
    "answers byte by byte": lambda _: {"slowDrip": 0.03},
    "429 with Retry-After": lambda _: {"status": 429, "retryAfter": 1, "times": 2},
    "a burst of 503": lambda chance: {"status": 503, "times": chance.randint(3, 8)},
    "200 without success": lambda _: {"body": {"success": False}},
    "200 with a sign-in page": lambda _: {"body": "html"},
}
