"""A visitor's journey on a listing: which step follows which, what leads to an install, and how long that takes.

A journey is a visitor's events in the order of the log, until an install, or until nothing came for thirty days. The
same step twice in a row is one. Links of a journey count where it began, so that what enters a step and what leaves
it are of the same journeys; what led to an install counts where the install was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from store.rollups.facets import BEFORE, NAMES, NEXT, TIME

SILENT_MS = 30 * 86_400_000
MOST_STEPS = 8  # that are followed on from the beginning
TRAIL = 6  # the last steps, told back from an install
BIT = {name: 1 << at for at, name in enumerate(NAMES)}
CONVERSIONS = ("cta_click", "app_request", "install")
# How long it took from the first page view: each bucket's end in milliseconds; the last has none.
BUCKETS = (
    60_000,
    5 * 60_000,
    15 * 60_000,
    3_600_000,
    6 * 3_600_000,
    86_400_000,
    3 * 86_400_000,
    7 * 86_400_000,
    14 * 86_400_000,
    30 * 86_400_000,
)


class Journey(msgspec.Struct):
    """Where a journey stands. Times in epoch milliseconds; `done` has a bit for each name of events; `trail` is its
    last steps, `steps` how many there were."""

    begun_at: int
    viewed_at: int
    last_at: int
    done: int
    steps: int
    trail: list[str]


class Link(msgspec.Struct, frozen=True, array_like=True, order=True):
    """From one step to the next. `place` counts from the beginning of a journey, or back from an install; '' is before
    the first step."""

    place: int
    from_step: str
    to_step: str


Mark = tuple[str, str, int]  # a facet, a value, and the moment at which it counts

_encode = msgspec.json.Encoder().encode
_decode_link = msgspec.json.Decoder(Link).decode


def link_of(value: str) -> Link:
    """A link from its value in the rollups."""
    return _decode_link(value)


def value_of(link: Link) -> str:
    return _encode(link).decode()


def step_of(name: str, label: str) -> str:
    """A step as links have it: an event's name, with what a tab or a call to action says."""
    return f"{name}:{label}" if name in ("tab_click", "cta_click") else name


def is_over(journey: Journey, at: int) -> bool:
    return bool(journey.done & BIT["install"]) or at - journey.last_at > SILENT_MS


def advance(journey: Journey | None, name: str, step: str, at: int) -> tuple[Journey, list[Mark]]:
    """The journey after one more event, and what that counts under; None, or one that is over: a new one begins."""
    if journey is None or is_over(journey, at):
        journey = Journey(at, 0, at, 0, 0, [])
    marks = list(_marks(journey, name, step, at))
    if name == "page_view" and not journey.viewed_at:
        journey.viewed_at = at
    journey.last_at = max(journey.last_at, at)
    journey.done |= BIT.get(name, 0)
    if not journey.trail or journey.trail[-1] != step:
        journey.steps += 1
        journey.trail = [*journey.trail[1 - TRAIL :], step]
    return journey, marks


def _marks(journey: Journey, name: str, step: str, at: int) -> Iterator[Mark]:
    last = journey.trail[-1] if journey.trail else ""
    if last != step and journey.steps < MOST_STEPS:
        yield NEXT, value_of(Link(journey.steps, last, step)), journey.begun_at
    if name in CONVERSIONS and journey.viewed_at and not journey.done & BIT[name]:
        yield TIME, f"{name} {bucket(at - journey.viewed_at)}", at
    if name == "install":
        whole = journey.steps == len(journey.trail)
        yield from ((BEFORE, value_of(link), at) for link in led_to(step, journey.trail, whole))


def led_to(step: str, trail: Sequence[str], whole: bool) -> list[Link]:
    """The links of a trail from its end back; `whole` when the journey began with the trail."""
    back = [step, *reversed(trail), *([""] if whole else [])]
    return [Link(place, back[place + 1], back[place]) for place in range(len(back) - 1)]


def bucket(milliseconds: int) -> int:
    """Which of BUCKETS a time falls into; len(BUCKETS) for a longer one."""
    return next((at for at, end in enumerate(BUCKETS) if milliseconds < end), len(BUCKETS))
