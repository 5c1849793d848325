"""Events that a partner's own systems send, by name: how often each comes, what is known of it, and what is said of it.

Names that are shown as the same are one line. What is deleted is gone from here at once, and from the rollups with the
collector's next look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.charts.sparkline import Sparkline, sparkline
from collector.portal.frame import EDITORS, HEADERS, VIEWERS, Page, Portal, read_form, see, who
from collector.portal.numbers.counted import counted
from collector.portal.numbers.sheet import as_csv
from collector.portal.numbers.table import Cell, Column, Table
from collector.portal.reading import everybodys, stores
from collector.portal.tracking_plans import json_schema, rudderstack_plan, segment_plan
from collector.portal.view import View, asked
from store import event_rules
from store.database import Database
from store.errors import ConfigError
from store.event_rules import MOST_EVENT_NAMES, USUAL, Histories
from store.moment import iso
from store.registry import App
from store.rollups import event_names, following, reading
from store.rollups.event_names import Name
from store.rollups.facets import CALL, REST, SENT, is_cut
from store.rollups.reading import Series
from store.rollups.stored import Scope

WEEK = 7  # of the days that are read
CALLS = ("track", "identify", "page", "screen", "group", "alias")
STATES = {
    "active": "Active",
    "renamed": "Renamed",
    "disabled": "Disabled",
    "awaited": "Not seen yet",
}


class Line(msgspec.Struct, frozen=True):
    """One event: `names` are those that are shown as it. Times are epoch milliseconds, None before the first event;
    `days` is how many came on each of the last 28 days (UTC), and `visitors` who sent any in them."""

    shown: str
    names: tuple[str, ...]
    state: str
    revenue: bool
    reserved: tuple[str, ...]
    events: int
    days: tuple[int, ...]
    visitors: int
    first_at: int | None
    last_at: int | None

    @property
    def week(self) -> int:
        return sum(self.days[-WEEK:])

    @property
    def month(self) -> int:
        return sum(self.days)

    @property
    def is_rest(self) -> bool:
        return self.names == (REST,)

    @property
    def spark(self) -> Sparkline:
        return sparkline(self.days, "events per day", "other")


class Call(msgspec.Struct, frozen=True):
    """Calls of one type in the same days."""

    type: str
    week: int
    month: int
    visitors: int


class Listed(msgspec.Struct, frozen=True):
    """All events of an app, the most frequent of late first, and what its systems called."""

    lines: list[Line]
    calls: list[Call]
    names: list[Name]
    rules: Histories

    @property
    def known(self) -> int:
        """How many names there are of as many as an app may have."""
        return sum(len(line.names) for line in self.lines if not line.is_rest)

    def line(self, name: str) -> Line | None:
        """That which a name is part of."""
        return next((line for line in self.lines if name in line.names), None)

    def name(self, name: str) -> Name | None:
        """What was counted of a name."""
        return next((each for each in self.names if each.row.name == name), None)


async def listed(portal: Portal, app: App, log: Database) -> Listed:
    """Raises Unavailable."""
    async with everybodys(portal) as db:
        carried_out = (await following.standing(db)).deletion_id
    gone = await event_rules.deleted_after(portal.registry, app.app_key, carried_out)
    rules = await event_rules.of_app(portal.registry, app.app_key)
    found = await event_names.names(log, app.app_key, app.partner_key)
    names = [name for name in found if name.row.name not in gone]
    bins = days_of(portal).bins()
    scope = Scope(app.partner_key, (app.app_key,))
    shown = {name: event_rules.called(rules, name) for name in rules}
    sent = await reading.series(log, scope, SENT, bins, shown)
    calls = await reading.series(log, scope, CALL, bins, {})
    return Listed(lines(names, rules, sent), [_call(of, calls[of]) for of in CALLS if of in calls], names, rules)


def days_of(portal: Portal) -> View:
    """The last 28 days."""
    return asked({}, [], portal.now())


def lines(names: Sequence[Name], rules: Histories, sent: Mapping[str, Series]) -> list[Line]:
    """One for all names that are shown as the same."""
    counts = {name.row.name: name for name in names}
    groups: dict[str, list[str]] = {}
    for name in sorted({*counts, *event_rules.prepared(rules)}):
        groups.setdefault(event_rules.called(rules, name), []).append(name)
    found = [
        _line(shown, sorted(of, key=lambda name: (name != shown, name)), counts, rules, sent.get(shown))
        for shown, of in groups.items()
    ]
    return sorted(found, key=lambda line: (line.is_rest, -line.month, -line.events, line.shown))


def _line(shown: str, names: Sequence[str], counts: Mapping[str, Name], rules: Histories, sent: Series | None) -> Line:
    there = [counts[name] for name in names if name in counts]
    properties = {name for each in there for name in each.properties}
    return Line(
        shown,
        tuple(names),
        _state(shown, names, bool(there), rules),
        any(event_rules.now_for(rules, name).revenue for name in names),
        tuple(event_rules.reserved(properties)),
        sum(each.row.events for each in there),
        tuple(sent.events) if sent else (),
        sent.everybody if sent else 0,
        min((each.row.first_at for each in there), default=None),
        max((each.row.last_at for each in there), default=None),
    )


def _state(shown: str, names: Sequence[str], came: bool, rules: Histories) -> str:
    if all(event_rules.now_for(rules, name).refused for name in names):
        return "disabled"
    if not came:
        return "awaited"
    return "active" if tuple(names) == (shown,) else "renamed"


def _call(of: str, found: Series) -> Call:
    return Call(of, sum(found.events[-WEEK:]), sum(found.events), found.everybody)


# --- the page


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/event-names"""
    return await page(portal, request, await own_app(portal, request))


async def page(portal: Portal, request: Request, app: App, error: str = "", entered: str = "") -> Response:
    """`error` is what was wrong with a name that was `entered`."""
    async with stores(portal, request, with_ledger=False) as opened:
        found = await listed(portal, app, opened.log)
    values = {
        "app": app,
        "found": found,
        "states": STATES,
        "most": MOST_EVENT_NAMES,
        "counted": await counted(portal),
        "days": days_of(portal),
        "error": error,
        "entered": entered,
        "notice": NOTICES.get(request.query_params.get("done", ""), ""),
        "address": portal.url(""),
    }
    return portal.page(request, "event_names.html", values, 422 if error else 200)


NOTICES = {"deleted": "Deleted. It is listed again, from zero, when it comes again."}


async def add(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/event-names"""
    app = await own_app(portal, request)
    name = (await read_form(request)).get("name", "").strip()
    try:
        if not name.isprintable():
            raise ConfigError("the name has a character that cannot be printed")
        event_rules.check(name, USUAL)
        rules = await event_rules.of_app(portal.registry, app.app_key)
        if name not in event_rules.prepared(rules):
            await event_rules.say(portal.writer, portal.now(), app.app_key, name, USUAL, who(request).person.email)
    except ConfigError as error:
        return await page(portal, request, app, f"{error}.", name)
    return see(address(app, name))


def address(app: App, name: str, done: str = "") -> str:
    """One event's page."""
    return f"/apps/{app.app_key}/event-names/event?{urlencode({'name': name} | ({'done': done} if done else {}))}"


# --- files


def tables(found: Listed) -> list[Table]:
    """What the page shows."""
    columns = [
        Column("event", "Event", "text"),
        Column("names", "Names it is sent by", "text"),
        Column("state", "State", "text"),
        Column("revenue", "Revenue", "text"),
        Column("reserved_keys", "Reserved keys", "text"),
        Column("events_7d", "Events, 7 days", "number"),
        Column("events_28d", "Events, 28 days", "number"),
        Column("visitors_28d", "Visitors, 28 days", "number"),
        Column("events", "Events, all", "number"),
        Column("first_seen", "First seen", "moment"),
        Column("last_seen", "Last seen", "moment"),
    ]
    rows: list[list[Cell]] = [
        [
            line.shown,
            ", ".join(line.names),
            line.state,
            "yes" if line.revenue else "no",
            ", ".join(line.reserved),
            line.week,
            line.month,
            line.visitors,
            line.events,
            line.first_at,
            line.last_at,
        ]
        for line in found.lines
    ]
    calls = [
        Column("type", "Call", "text"),
        Column("calls_7d", "Calls, 7 days", "number"),
        Column("calls_28d", "Calls, 28 days", "number"),
        Column("visitors_28d", "Visitors, 28 days", "number"),
    ]
    of_calls: list[list[Cell]] = [[call.type, call.week, call.month, call.visitors] for call in found.calls]
    return [Table("events", "Events", columns, rows), Table("calls", "Calls", calls, of_calls)]


async def csv(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/event-names.csv"""
    app, found = await _read(portal, request)
    wanted = 1 if request.query_params.get("table") == "calls" else 0
    return file(as_csv(tables(found)[wanted]), "text/csv; charset=utf-8", f"{app.app_key}-events.csv")


async def json(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/event-names.json"""
    app, found = await _read(portal, request)
    return file(msgspec.json.encode(told(app, found)), "application/json", f"{app.app_key}-events.json")


async def schema(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/event-names/schema.json"""
    app, found = await _read(portal, request)
    text = msgspec.json.format(msgspec.json.encode(json_schema(app.name, planned(found))), indent=2)
    return file(text, "application/schema+json", f"{app.app_key}-schema.json")


async def segment(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/event-names/segment.json"""
    app, found = await _read(portal, request)
    text = msgspec.json.format(msgspec.json.encode(segment_plan(planned(found))), indent=2)
    return file(text, "application/json", f"{app.app_key}-segment.json")


async def rudderstack(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/event-names/rudderstack.zip"""
    app, found = await _read(portal, request)
    return file(rudderstack_plan(app.name, planned(found)), "application/zip", f"{app.app_key}-rudderstack.zip")


def planned(found: Listed) -> list[Name]:
    """The names that a plan is made of: those that came and may come, as they are sent, but for what was cut."""
    return [
        name
        for name in found.names
        if name.row.name != REST
        and not is_cut(name.row.name)
        and not event_rules.now_for(found.rules, name.row.name).refused
    ]


async def _read(portal: Portal, request: Request) -> tuple[App, Listed]:
    app = await own_app(portal, request)
    async with stores(portal, request, with_ledger=False) as opened:
        return app, await listed(portal, app, opened.log)


def file(body: bytes, kind: str, name: str) -> Response:
    """A download."""
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "_" for sign in name)
    said = {"Content-Type": kind, "Content-Disposition": f'attachment; filename="{plain}"'}
    return Response(body, headers=HEADERS | said)


# --- as a program gets it


def told(app: App, found: Listed) -> dict[str, Any]:
    """All events of an app, with what is said and what is known of each of their names."""
    return {
        "app": app.app_key,
        "mostNames": MOST_EVENT_NAMES,
        "events": [_told_line(line, found) for line in found.lines],
        "calls": [
            {"type": call.type, "last7Days": call.week, "last28Days": call.month, "visitors28Days": call.visitors}
            for call in found.calls
        ],
    }


def _told_line(line: Line, found: Listed) -> dict[str, Any]:
    return {
        "event": line.shown,
        "state": line.state,
        "count": line.events,
        "last7Days": line.week,
        "last28Days": line.month,
        "visitors28Days": line.visitors,
        "firstSeen": iso(line.first_at) if line.first_at is not None else None,
        "lastSeen": iso(line.last_at) if line.last_at is not None else None,
        "names": [_told_name(name, found) for name in line.names],
    }


def _told_name(name: str, found: Listed) -> dict[str, Any]:
    rule, counts = event_rules.now_for(found.rules, name), found.name(name)
    return {
        "name": name,
        "disabled": rule.refused,
        "revenue": {"amount": rule.amount or None, "currency": rule.currency or None} if rule.revenue else None,
        "reengagementSeconds": rule.again_after,
        "count": counts.row.events if counts else 0,
        "properties": [
            {"property": each, "kinds": dict(sorted(kinds.items())), "reserved": each in event_rules.RESERVED}
            for each, kinds in sorted(counts.properties.items())
        ]
        if counts
        else [],
        "furtherProperties": counts.row.more if counts else 0,
    }


PAGES = [
    Page("/apps/{app_key}/event-names", show, VIEWERS),
    Page("/apps/{app_key}/event-names", add, EDITORS, "POST"),
    Page("/apps/{app_key}/event-names.csv", csv, VIEWERS),
    Page("/apps/{app_key}/event-names.json", json, VIEWERS),
    Page("/apps/{app_key}/event-names/schema.json", schema, VIEWERS),
    Page("/apps/{app_key}/event-names/segment.json", segment, VIEWERS),
    Page("/apps/{app_key}/event-names/rudderstack.zip", rudderstack, VIEWERS),
]
