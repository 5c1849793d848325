"""How pages of numbers say times and how counts compare. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from collector.portal.charts.series import change
from collector.portal.frame import number
from collector.portal.view import View, started_at
from store.rollups.stored import Span


class Figure(msgspec.Struct, frozen=True):
    """A big number: what it is of, how many, and how that compares. `sign` says the direction before the words do."""

    name: str
    value: int
    before: int | None
    sign: str
    compared: str


def figure(name: str, value: int, before: int | None, view: View) -> Figure:
    """`before` is None where nothing is compared."""
    if before is None:
        return Figure(name, value, None, "", "")
    sign = "=" if value == before else "▲" if value > before else "▼"
    compared = f"{change(value, before)} {earlier_words(view)}"
    return Figure(name, value, before, sign, compared if not before else f"{compared} ({number(before)})")


def earlier_words(view: View) -> str:
    """What a view is compared with, as words in a sentence; '' for nothing."""
    days = (view.last - view.first).days + 1
    if view.compared == "year":
        said = "the same day a year earlier" if days == 1 else f"the same {days} days a year earlier"
    else:
        said = {"before": "the day before" if days == 1 else f"the {days} days before"}.get(view.compared, "")
    return f"{said}, up to the same time" if view.is_running and days == 1 and said else said


def time_words(view: View) -> str:
    """The days of a view."""
    if view.first == view.last:
        return f"{view.first:%-d %b %Y}"
    year = "" if view.first.year == view.last.year else f" {view.first.year}"
    return f"{view.first:%-d %b}{year} to {view.last:%-d %b %Y}"


def bin_label(span: Span, view: View) -> str:
    """A bin under a picture and in a table; with its year where the view has several."""
    begins = started_at(span.first, view.zone)
    if view.step == "hour":
        return f"{begins:%H:%M}" if view.first == view.last else f"{begins:%-d %b, %H:%M}"
    if view.step == "month":
        return f"{begins:%b %Y}"
    if view.step == "week":
        return f"{begins:%-d %b} to {_last_day(span, view):%-d %b}"
    return f"{begins:%-d %b}"


def _last_day(span: Span, view: View) -> datetime:
    return started_at(span.end, view.zone) - timedelta(minutes=30)


def begins(span: Span, view: View) -> str:
    """When a bin begins, for machines: ISO 8601 as RFC 3339 narrows it, with the zone's offset."""
    return started_at(span.first, view.zone).isoformat(timespec="seconds")
