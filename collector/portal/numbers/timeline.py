"""A visitor's events in order, by day and by visit: what was seen, where they came from, and how long it took. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec

from store.event import Event
from store.rollups.facets import UTM, host

PAUSE_MS = 30 * 60_000  # without an event, after which a new visit begins


class Touch(msgspec.Struct, frozen=True):
    """Where somebody came from: '' for what nobody says. `campaign` has the campaign's parameters in one line."""

    referrer: str
    campaign: str


class Moment(msgspec.Struct, frozen=True):
    """An event: `clock` is its time of day, `after` how many milliseconds after the one before in the same visit."""

    event: Event
    clock: str
    after: int | None
    page: str
    touch: Touch | None


class Visit(msgspec.Struct, frozen=True):
    """Events without a long pause; `pause` is how many milliseconds nothing came before it."""

    pause: int | None
    moments: Sequence[Moment]

    @property
    def took(self) -> int:
        return self.moments[-1].event.occurred_at - self.moments[0].event.occurred_at


class Day(msgspec.Struct, frozen=True):
    """A day's visits; one that goes on over midnight is of the day on which it began."""

    day: date
    said: str
    visits: Sequence[Visit]


def days(events: Sequence[Event], zone: str) -> list[Day]:
    """Events in the order in which they happened, by the days of a zone."""
    by_day: dict[date, list[Visit]] = {}
    before: Event | None = None
    for visit in visits(events):
        first = _moment_of(visit[0], zone)
        pause = visit[0].occurred_at - before.occurred_at if before else None
        by_day.setdefault(first.date(), []).append(Visit(pause, _moments(visit, zone)))
        before = visit[-1]
    return [Day(day, f"{day:%A, %-d %b %Y}", found) for day, found in by_day.items()]


def visits(events: Sequence[Event]) -> list[list[Event]]:
    """Cut where nothing came for a while."""
    found: list[list[Event]] = []
    for event in events:
        if found and event.occurred_at - found[-1][-1].occurred_at < PAUSE_MS:
            found[-1].append(event)
        else:
            found.append([event])
    return found


def _moments(visit: Sequence[Event], zone: str) -> list[Moment]:
    return [
        Moment(
            event,
            f"{_moment_of(event, zone):%H:%M:%S}",
            event.occurred_at - visit[at - 1].occurred_at if at else None,
            page_of(event),
            touch_of(event),
        )
        for at, event in enumerate(visit)
    ]


def _moment_of(event: Event, zone: str) -> datetime:
    return datetime.fromtimestamp(event.occurred_at / 1_000, ZoneInfo(zone))


def page_of(event: Event) -> str:
    """The path of the page that an event happened on; '' when it is not known."""
    url = event.details.url if event.details else None
    try:
        return urlsplit(url or "").path
    except ValueError:
        return ""


def touch_of(event: Event) -> Touch | None:
    """What a page view says of where its visitor came from; None for what else there is, and when it says nothing."""
    if event.name != "page_view" or event.details is None:
        return None
    query = event.details.query or {}
    campaign = " / ".join(query[name] for name in UTM if query.get(name))
    found = Touch(host(event.details.referrer), campaign)
    return found if found.referrer or found.campaign else None


def first_touch(events: Sequence[Event]) -> Touch | None:
    """What the first page view says; None where there is none."""
    for event in events:
        if event.name == "page_view":
            return touch_of(event) or Touch("", "")
    return None
