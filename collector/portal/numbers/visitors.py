"""Visitors: one visitor's journey event by event, found by any of its ids; without a search, whom to look at.

The events are the log's own, which the rollups only point at: what was removed since is gone here too. Events that may
not be shared have no pointer, so that nobody is shown or found by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from collector.portal.numbers.page import Numbers, pages
from collector.portal.numbers.table import Column, Table
from collector.portal.numbers.timeline import Day, Touch, days, first_touch, page_of, touch_of
from collector.portal.view import View
from collector.portal.words import what
from store import looking
from store.audiences.reading import of_subject
from store.database import Database
from store.event import Event
from store.log import NO_END
from store.looking import Wanted
from store.rollups import reading
from store.rollups.counting import SLOT_MS
from store.rollups.reading import Found
from store.rollups.stored import Scope, Span
from store.subjects import reading as subjects
from store.subjects.naming import ANONYMOUS, Id

SHOWN = 200  # events of one visitor
NEWEST = 40  # visitors to look at …
LOOKED_AT = 200  # … of so many events of all apps …
LEAST_LOOKED_AT = 20  # … and of each
LEAST_SEARCHED = 500  # of an app's newest events, however many apps there are
CONVERTED = frozenset({"cta_click", "app_request", "install"})


class Listing(NamedTuple):
    """An app, and whose events of it are meant."""

    app_key: str
    partner_key: str


class Timeline(msgspec.Struct, frozen=True):
    """A visitor's events in order. `gone` is how many are no longer kept; `further` the seq before which there are
    more, None when these are all; `ids` are other ids that are in these events, each with its kind, `known` those that
    are known of the same subject besides, and `audiences` the ones it is in."""

    anonymous_id: str
    events: Sequence[Event]
    days: Sequence[Day]
    gone: int
    further: int | None
    ids: Sequence[tuple[str, str]]
    touch: Touch | None
    known: Sequence[Id] = ()
    audiences: Sequence[str] = ()


class Values(msgspec.Struct, frozen=True):
    """`found` are the visitors that were looked for, `timeline` is the only one's; `newest` are the last events of
    those to look at, when nobody is looked for."""

    text: str
    found: Sequence[Found]
    timeline: Timeline | None
    newest: Sequence[Event]
    is_first: bool
    zone: str


async def read(db: Database, scope: Scope, view: View, more: Mapping[str, str]) -> Values:
    """See Values."""
    text = more.get("visitor", "") or more.get("q", "")
    if not text:
        return Values("", [], None, await _newest(db, scope, view), True, view.zone)
    found = _each_once(await reading.called(db, scope.partner_key, text))
    if not any(each.kind == "anonymous" for each in found):
        found = _each_once([*found, *await _linked(db, scope, text)])
    if more.get("visitor", ""):
        found = [each for each in found if each.kind == "anonymous"]
    before = _whole(more.get("before", ""))
    timeline = await _timeline(db, scope, found[0], before, view.zone) if len(found) == 1 else None
    return Values(text, found, timeline, [], before is None, view.zone)


async def _linked(db: Database, scope: Scope, text: str) -> list[Found]:
    """The visitors of whoever has an id with this text: a device's, or a link's."""
    return [
        Found(anonymous_id, visitor, "linked")
        for listing in scope.listings
        for anonymous_id, visitor in await subjects.called(db, listing, text)
    ]


def _each_once(found: Sequence[Found]) -> list[Found]:
    return list({each.number: each for each in reversed(found)}.values())[::-1]


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


async def _newest(db: Database, scope: Scope, view: View) -> list[Event]:
    """The last event of each visitor who lately pressed a call to action or installed, the newest first: of the time
    and the filters that are asked for."""
    apps = max(1, len(scope.app_keys))
    searched, limit = max(LEAST_SEARCHED, looking.SEARCHED // apps), max(LEAST_LOOKED_AT, LOOKED_AT // apps)
    events: list[Event] = []
    for app_key in scope.app_keys:
        listing = Listing(app_key, scope.partner_key)
        found = await looking.events(db, listing, Wanted(names=CONVERTED), limit=limit, searched=searched)
        events += [event for event in found.events if event.suppressed is None and _is_in(event, view.span)]
    by_visitor = {event.anonymous_id: event for event in sorted(events, key=_moment)}
    left = await reading.among(db, scope, view.span, list(by_visitor))
    shown = [event for anonymous_id, event in by_visitor.items() if anonymous_id in left]
    return sorted(shown, key=_moment, reverse=True)[:NEWEST]


def _moment(event: Event) -> tuple[int, int]:
    """By which what happened is in order: what came in late is not new."""
    return event.occurred_at, event.seq


def _is_in(event: Event, span: Span) -> bool:
    return span.first <= event.occurred_at // SLOT_MS < span.end


async def _timeline(db: Database, scope: Scope, visitor: Found, before: int | None, zone: str) -> Timeline:
    seqs = await reading.seqs_of(db, scope, visitor.number, before or NO_END, SHOWN + 1)
    further = seqs[SHOWN - 1][1] if len(seqs) > SHOWN else None
    seqs = seqs[:SHOWN]
    events: list[Event] = []
    for app_key in scope.app_keys:
        own = [seq for app, seq in seqs if app == app_key]
        events += await looking.some(db, Listing(app_key, scope.partner_key), own)
    shown = sorted(
        (event for event in events if event.suppressed is None and event.anonymous_id == visitor.anonymous_id),
        key=lambda event: (event.occurred_at, event.seq),
    )
    ids = other_ids(shown)
    known, audiences = await _known(db, scope, visitor.anonymous_id)
    told = {text for _, text in ids} | {visitor.anonymous_id}
    return Timeline(
        visitor.anonymous_id,
        shown,
        days(shown, zone),
        len(seqs) - len(shown),
        further,
        ids,
        first_touch(shown),
        [each for each in known if each.id not in told],
        audiences,
    )


async def _known(db: Database, scope: Scope, anonymous_id: str) -> tuple[list[Id], list[str]]:
    """All ids of the subject that a visitor is, and the audiences that it is in, of all listings."""
    known: set[Id] = set()
    audiences: set[str] = set()
    for listing in scope.listings:
        ids = await subjects.ids_of(db, listing, ANONYMOUS, anonymous_id)
        known.update(ids)
        audiences.update(name for name, _ in await of_subject(db, listing, ids))
    return sorted(known), sorted(audiences)


def other_ids(events: Sequence[Event]) -> list[tuple[str, str]]:
    """(kind, id) of every id beside the anonymous one, in the order in which they came up."""
    told: dict[tuple[str, str], None] = {}
    for event in events:
        if event.partner_anonymous_id:
            told["partner", event.partner_anonymous_id] = None
        if event.user_id:
            told["user", event.user_id] = None
    return list(told)


def tables(values: Values) -> list[Table]:
    """The events that are shown."""
    columns = [
        Column("seq", "Number", "number"),
        Column("app", "App", "text"),
        Column("occurred_at", "Happened", "moment"),
        Column("event", "Event", "text"),
        Column("what", "What", "text"),
        Column("page", "Page", "text"),
        Column("referrer", "Came from", "text"),
        Column("campaign", "Campaign", "text"),
        Column("anonymous_id", "Anonymous id", "text"),
        Column("user_id", "User id", "text"),
        Column("partner_anonymous_id", "Partner anonymous id", "text"),
    ]
    events = values.timeline.events if values.timeline else values.newest
    return [Table("events", "Events", columns, [_row(event) for event in events])]


def _row(event: Event) -> list[str | int | None]:
    touch = touch_of(event)
    return [
        event.seq,
        event.app_key,
        event.occurred_at,
        event.name,
        what(event),
        page_of(event),
        touch.referrer if touch else None,
        touch.campaign if touch else None,
        event.anonymous_id,
        event.user_id,
        event.partner_anonymous_id,
    ]


PAGES = pages(Numbers("visitors", read, tables, ("q", "visitor", "before")))
