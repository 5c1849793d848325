"""What a page of numbers is asked to show, all of it in the address: a time, a zone, what to compare with, filters.

Days are days of the chosen zone. The rollups know half-hours, so that where a zone's clock is a quarter of an hour off
(Nepal, the Chatham Islands), its days begin at the half-hour before midnight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Literal
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from store.rollups.counting import SLOT_MS
from store.rollups.facets import FILTERS
from store.rollups.stored import Span

PERIODS = {
    "today": "Today",
    "yesterday": "Yesterday",
    "7d": "Last 7 days",
    "28d": "Last 28 days",
    "90d": "Last 90 days",
    "month": "This month",
    "last-month": "Last month",
    "12m": "Last 12 months",
    "custom": "Chosen days",
}
COMPARED = {"before": "The time before", "year": "A year earlier", "none": "Nothing"}
USUAL_PERIOD, USUAL_ZONE, USUAL_COMPARED = "28d", "UTC", "before"
MOST_FILTERS = 5
MOST_DAYS = 3_660
REGIONS = frozenset("Africa America Antarctica Asia Atlantic Australia Europe Indian Pacific".split())  # no old names
NO_END = 1 << 62
FIRST_DAY = date(2000, 1, 1)
Step = Literal["hour", "day", "week", "month"]


class View(msgspec.Struct, frozen=True):
    """`first` and `last` are days, both included; `filters` are pairs of a facet and a value. `until` is the half-hour
    after the one that is running: what is after that is not there yet, so that the time ends with it."""

    period: str
    first: date
    last: date
    zone: str
    compared: str
    filters: tuple[tuple[str, str], ...]
    until: int = NO_END

    @property
    def step(self) -> Step:
        """How long a bin is."""
        days = (self.last - self.first).days + 1
        return "hour" if days <= 2 else "day" if days <= 92 else "week" if days <= 366 else "month"

    @property
    def span(self) -> Span:
        return Span(midnight(self.first, self.zone), min(self._end, self.until))

    @property
    def is_running(self) -> bool:
        """Whether the time is not over."""
        return self.until <= self._end

    @property
    def _end(self) -> int:
        return midnight(self.last + timedelta(1), self.zone)

    def bins(self) -> list[Span]:
        """The bins of the whole time, in order."""
        span = self.span
        if self.step == "hour":
            begins: list[int] = list(range(span.first, span.end, 2))
        else:
            begins = [midnight(day, self.zone) for day in _steps(self.first, self.last, self.step)]
        edges = [*(first for first in begins if first < span.end), span.end]
        return [Span(first, end) for first, end in pairwise(edges)]

    def earlier(self) -> View | None:
        """The time to compare with, as long, or as much of it as of this one is over; None: nothing."""
        days = (self.last - self.first).days + 1
        back = {"before": days, "year": 364, "none": 0}[self.compared]  # 52 weeks, so that days of the week are alike
        if not back or self.first - timedelta(back) < FIRST_DAY:
            return None
        first, last = self.first - timedelta(back), self.last - timedelta(back)
        until = midnight(first, self.zone) + self.span.end - self.span.first
        return View("custom", first, last, self.zone, "none", self.filters, until if self.is_running else NO_END)

    def query(self, **changed: str | None) -> str:
        """The address's query for this view, with some of it changed: `period`, `from`, `to`, `tz`, `compare`, and
        others; None leaves one out. What is usual is left out."""
        values: dict[str, str | None] = {}
        if self.period == "custom":
            values |= {"period": "custom", "from": self.first.isoformat(), "to": self.last.isoformat()}
        elif self.period != USUAL_PERIOD:
            values["period"] = self.period
        values["tz"] = self.zone if self.zone != USUAL_ZONE else None
        values["compare"] = self.compared if self.compared != USUAL_COMPARED else None
        if changed.get("period", "custom") != "custom":
            changed = {"from": None, "to": None, **changed}
        values |= changed
        told = [(name, value) for name, value in values.items() if value is not None]
        return urlencode([*told, *(("f", f"{facet}:{value}") for facet, value in self.filters)])

    def fields(self) -> list[tuple[str, str]]:
        """The query for this view as the fields of a form."""
        return parse_qsl(self.query(), keep_blank_values=True)

    def filtered(self, facet: str, value: str) -> View:
        """The same with one filter more."""
        if (facet, value) in self.filters or len(self.filters) >= MOST_FILTERS:
            return self
        return msgspec.structs.replace(self, filters=(*self.filters, (facet, value)))

    def without(self, facet: str, value: str) -> View:
        """The same with that filter less."""
        kept = tuple(each for each in self.filters if each != (facet, value))
        return msgspec.structs.replace(self, filters=kept)


def asked(query: Mapping[str, str], filters: Sequence[str], now: int) -> View:
    """The view that an address asks for: its parameters, and the values of `f` in it; `now` in epoch milliseconds.
    What cannot be read is as if it were not there."""
    zone = query.get("tz", USUAL_ZONE)
    if zone not in zones():
        zone = USUAL_ZONE
    today = datetime.fromtimestamp(now / 1_000, ZoneInfo(zone)).date()
    period = query.get("period", USUAL_PERIOD)
    days = _custom(query, today) if period == "custom" else _preset(period, today)
    if days is None:
        period, days = USUAL_PERIOD, _preset(USUAL_PERIOD, today)
    compared = query.get("compare", USUAL_COMPARED)
    first, last = days or (today, today)
    if compared not in COMPARED:
        compared = USUAL_COMPARED
    return View(period, first, last, zone, compared, tuple(_filters(filters)), now // SLOT_MS + 1)


@lru_cache(1)
def zones() -> frozenset[str]:
    """The names of zones that can be asked for."""
    return frozenset(name for name in available_timezones() if "/" in name or name == "UTC")


@lru_cache(1)
def offered() -> Mapping[str, Sequence[tuple[str, str]]]:
    """The zones to choose from, each with its words, by region; UTC is in none."""
    by_region: dict[str, list[tuple[str, str]]] = {"": [("UTC", "UTC")]}
    for name in sorted(zones()):
        region, _, city = name.partition("/")
        if region in REGIONS:
            by_region.setdefault(region, []).append((name, city.replace("_", " ")))
    return by_region


def midnight(day: date, zone: str) -> int:
    """The half-hour since the epoch with which a day begins. A day whose first hour the clock leaves out begins when
    it is over."""
    start = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return int(start.timestamp() * 1_000) // SLOT_MS


def started_at(slot: int, zone: str) -> datetime:
    """When a half-hour began, by the zone's clock."""
    return datetime.fromtimestamp(slot * SLOT_MS / 1_000, ZoneInfo(zone))


def _preset(period: str, today: date) -> tuple[date, date] | None:
    month = today.replace(day=1)
    back = {"today": 0, "7d": 6, "28d": 27, "90d": 89}
    if period in back:
        return today - timedelta(back[period]), today
    if period == "yesterday":
        return today - timedelta(1), today - timedelta(1)
    if period == "month":
        return month, today
    if period == "last-month":
        last = month - timedelta(1)
        return last.replace(day=1), last
    if period == "12m":
        return month.replace(year=month.year - 1), today
    return None


def _custom(query: Mapping[str, str], today: date) -> tuple[date, date] | None:
    try:
        first, last = sorted((date.fromisoformat(query.get("from", "")), date.fromisoformat(query.get("to", ""))))
    except ValueError:
        return None
    first, last = max(first, FIRST_DAY), min(last, today)
    return (max(first, last - timedelta(MOST_DAYS)), last) if first <= last else None


def _filters(texts: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in list(dict.fromkeys(texts))[:MOST_FILTERS]:
        facet, marked, value = text.partition(":")
        if marked and facet in FILTERS and len(value) <= 100 and value.isprintable():
            yield facet, value


def _steps(first: date, last: date, step: Step) -> Iterator[date]:
    """The days with which bins begin."""
    day = first
    while day <= last:
        yield day
        if step == "day":
            day += timedelta(1)
        elif step == "week":
            day += timedelta(7 - day.weekday())
        else:
            day = (day.replace(day=1) + timedelta(32)).replace(day=1)
