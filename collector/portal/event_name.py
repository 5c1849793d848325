"""One event that a partner's own systems send: how often over time, what it carries, and what its partner says of it.

Names that are shown as the same are one event here, but each has settings and properties of its own: the address says
whose are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.charts.series import Point, TimeSeries, time_series
from collector.portal.charts.series import Series as Drawn
from collector.portal.event import json_text, stored
from collector.portal.event_names import STATES, Line, Listed, address, file, listed
from collector.portal.frame import EDITORS, VIEWERS, NotFound, Page, Portal, read_form, see, who
from collector.portal.numbers.counted import counted
from collector.portal.numbers.document import document, file_name
from collector.portal.numbers.page import Asked
from collector.portal.numbers.place import place
from collector.portal.numbers.sheet import as_csv
from collector.portal.numbers.table import Column, Table
from collector.portal.numbers.wording import Figure, begins, bin_label, earlier_words, figure
from collector.portal.reading import stores
from collector.portal.view import COMPARED, PERIODS, View, asked, offered
from collector.portal.words import share
from store import event_rules, looking
from store.database import Database
from store.errors import ConfigError
from store.event_rules import AMOUNTS, CURRENCY, DAY_SECONDS, Rule
from store.registry import App
from store.rollups import reading
from store.rollups.event_names import Name
from store.rollups.facets import REST, SENT
from store.rollups.reading import Series
from store.rollups.stored import Scope

ADDRESS = "event-names/event"
NOTICES = {"saved": "Saved. It holds for what comes from now on."}
UNITS = {"days": DAY_SECONDS, "hours": 3_600, "minutes": 60, "seconds": 1}  # the largest first
KINDS = {
    "string": "text",
    "string:date-time": "date and time",
    "string:date": "date",
    "string:uuid": "UUID",
    "string:email": "e-mail address",
    "string:uri": "web address",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "array": "list",
    "object": "object",
    "null": "null",
}


class Property(NamedTuple):
    """A property: which kinds of values, each with its share of them, how many events had it, and of how many."""

    name: str
    kinds: list[tuple[str, str]]
    events: int
    share: str
    width: float
    reserved: bool
    use: str


class Values(msgspec.Struct, frozen=True):
    """One event at a time: `now` and `before`, None where nothing is compared, are over the view's bins."""

    view: View
    now: Series
    before: Series | None


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/event-names/event"""
    return await page(portal, request, await own_app(portal, request), _name(request))


def _name(request: Request) -> str:
    """As its senders call it, whatever that is; in the address, where no form changes its line ends."""
    return request.query_params.get("name", "")


async def page(
    portal: Portal, request: Request, app: App, name: str, entered: Mapping[str, Any] | None = None, error: str = ""
) -> Response:
    """`entered` is a form that was sent, with what was wrong with it. Raises NotFound."""
    of = await question(portal, request, name)
    async with stores(portal, request, with_ledger=False) as opened:
        found = await listed(portal, app, opened.log)
        line = found.line(name)
        if line is None:
            raise NotFound
        values = await read(opened.log, of.scope, of.view, line)
        counts = found.name(name)
        sample = await looking.event(opened.log, app, counts.row.sample_seq) if counts else None
    rule = event_rules.now_for(found.rules, name)
    told = {
        "app": app,
        "asked": of,
        "name": name,
        "line": line,
        "states": STATES,
        "others": [other for other in line.names if other != name],
        "counts": counts,
        "properties": properties(counts, rule) if counts else [],
        "sample": sample,
        "stored": "" if sample is None or sample.suppressed else json_text(stored(sample)),
        "rule": rule,
        "has_settings": name != REST,
        "entered": entered or _entered(rule),
        "error": error,
        "notice": NOTICES.get(request.query_params.get("done", ""), ""),
        "usual": {"amounts": AMOUNTS, "currency": CURRENCY},
        "units": UNITS,
        "figures": figures(values),
        "charts_of": charts_of(values),
        "earlier": earlier_words(of.view),
        "tables": tables(values),
        "counted": await counted(portal),
        "periods": PERIODS,
        "compared": COMPARED,
        "zones": offered(),
    }
    return portal.page(request, "event_name.html", told, 422 if error else 200)


async def question(portal: Portal, request: Request, name: str) -> Asked:
    """The time that is asked about. Raises NotFound."""
    view = asked(request.query_params, [], portal.now())
    return Asked(ADDRESS, await place(portal, request), view, {"name": name})


async def read(db: Database, scope: Scope, view: View, line: Line) -> Values:
    """See Values."""
    return Values(
        view,
        await _series(db, scope, view, line),
        await _series(db, scope, earlier, line) if (earlier := view.earlier()) else None,
    )


async def _series(db: Database, scope: Scope, view: View, line: Line) -> Series:
    bins = view.bins()
    called = dict.fromkeys(line.names, line.shown)
    found = await reading.series(db, scope, SENT, bins, called, line.names)
    return found.get(line.shown) or Series([0] * len(bins), [0] * len(bins), 0)


# --- what the page says


def figures(values: Values) -> list[Figure]:
    """How many events, and of how many visitors."""
    before = values.before
    return [
        figure("Events", sum(values.now.events), sum(before.events) if before else None, values.view),
        figure("Visitors", values.now.everybody, before.everybody if before else None, values.view),
    ]


def charts_of(values: Values) -> list[TimeSeries]:
    """Both over time."""
    now, before = values.now, values.before
    events = (now.events, before.events, sum(now.events), sum(before.events)) if before else None
    visitors = (now.visitors, before.visitors, now.everybody, before.everybody) if before else None
    return [
        _chart("Events", "other", values.view, *(events or (now.events, None, sum(now.events), None))),
        _chart("Visitors", "visitors", values.view, *(visitors or (now.visitors, None, now.everybody, None))),
    ]


def _chart(
    title: str,
    kind: str,
    view: View,
    now: Sequence[int],
    before: Sequence[int] | None,
    total: int,
    total_before: int | None,
) -> TimeSeries:
    points = [
        Point(bin_label(span, view), begins(span, view), n, before[nth] if before and nth < len(before) else None)
        for nth, (span, n) in enumerate(zip(view.bins(), now, strict=True))
    ]
    drawn = Drawn(title, kind, points, total, total_before)
    return time_series(title, [drawn], earlier_words(view), view.is_running)


def properties(name: Name, rule: Rule) -> list[Property]:
    """The most frequent first."""
    found = []
    for each, kinds in name.properties.items():
        n = kinds.total()
        said = [(KINDS[kind], share(many, n) if len(kinds) > 1 else "") for kind, many in kinds.most_common()]
        width = round(100 * n / name.row.events, 1)
        reserved = each in event_rules.RESERVED
        found.append(Property(each, said, n, share(n, name.row.events), width, reserved, _use(each, rule)))
    return sorted(found, key=lambda each: (-each.events, each.name))


def _use(name: str, rule: Rule) -> str:
    if not rule.revenue:
        return ""
    if name == (rule.currency or CURRENCY):
        return "currency"
    return "amount" if name in ((rule.amount,) if rule.amount else AMOUNTS) else ""


# --- files


def tables(values: Values) -> list[Table]:
    """Over time."""
    columns = [
        Column("begins", "Begins", "text"),
        Column("events", "Events", "number"),
        Column("events_before", "Events, the time before", "number"),
        Column("visitors", "Visitors", "number"),
        Column("visitors_before", "Visitors, the time before", "number"),
    ]
    before = values.before
    rows = [
        [
            begins(span, values.view),
            values.now.events[nth],
            before.events[nth] if before and nth < len(before.events) else None,
            values.now.visitors[nth],
            before.visitors[nth] if before and nth < len(before.visitors) else None,
        ]
        for nth, span in enumerate(values.view.bins())
    ]
    return [Table("over-time", "Over time", columns, rows)]


async def csv(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/event-names/event.csv"""
    of, _, values = await _read(portal, request)
    return file(as_csv(tables(values)[0]), "text/csv; charset=utf-8", file_name(of.place.key, "event", of.view, "csv"))


async def json(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/event-names/event.json"""
    of, line, values = await _read(portal, request)
    said = document("event", of.scope, of.view, {"name": line.shown}, await counted(portal), tables(values))
    return file(msgspec.json.encode(said), "application/json", file_name(of.place.key, "event", of.view, "json"))


async def _read(portal: Portal, request: Request) -> tuple[Asked, Line, Values]:
    app, name = await own_app(portal, request), _name(request)
    of = await question(portal, request, name)
    async with stores(portal, request, with_ledger=False) as opened:
        found: Listed = await listed(portal, app, opened.log)
        line = found.line(name)
        if line is None:
            raise NotFound
        return of, line, await read(opened.log, of.scope, of.view, line)


# --- settings


def _entered(rule: Rule) -> dict[str, Any]:
    """The form's fields as they stand."""
    unit = next(unit for unit, seconds in UNITS.items() if rule.again_after % seconds == 0)
    return {
        "shown_as": rule.shown_as,
        "disabled": rule.refused,
        "revenue": rule.revenue,
        "amount": rule.amount,
        "currency": rule.currency,
        "again": str(rule.again_after // UNITS[unit]),
        "unit": unit,
    }


async def save(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/event-names/event"""
    app = await own_app(portal, request)
    fields, name = await read_form(request), _name(request)
    await _there(portal, request, app, name)
    try:
        rule = _rule(name, fields)
        await event_rules.say(portal.writer, portal.now(), app.app_key, name, rule, who(request).person.email)
    except ConfigError as error:
        blank = {
            "shown_as": "",
            "disabled": False,
            "revenue": False,
            "amount": "",
            "currency": "",
            "again": "",
            "unit": "",
        }
        return await page(portal, request, app, name, blank | fields, f"{error}.")
    return see(address(app, name, "saved"))


def _rule(name: str, fields: Mapping[str, str]) -> Rule:
    """What was entered. Raises ConfigError."""
    again, unit = fields.get("again", "").strip(), fields.get("unit", "")
    if not (again.isascii() and again.isdigit() and len(again) < 10) or unit not in UNITS:
        raise ConfigError("the minimum time to re-engagement is a whole number of days, hours, minutes or seconds")
    shown_as = fields.get("shown_as", "").strip()
    return Rule(
        shown_as="" if shown_as == name else shown_as,
        refused=bool(fields.get("disabled")),
        revenue=bool(fields.get("revenue")),
        amount=fields.get("amount", "").strip(),
        currency=fields.get("currency", "").strip(),
        again_after=int(again) * UNITS[unit],
    )


async def delete(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/event-names/delete"""
    app = await own_app(portal, request)
    name = _name(request)
    await _there(portal, request, app, name)
    await event_rules.delete(portal.writer, portal.now(), app.app_key, name, who(request).person.email)
    return see(f"/apps/{app.app_key}/event-names?done=deleted")


async def _there(portal: Portal, request: Request, app: App, name: str) -> None:
    """Raises NotFound for a name that the app does not have."""
    async with stores(portal, request, with_ledger=False) as opened:
        if (await listed(portal, app, opened.log)).line(name) is None:
            raise NotFound


PAGES = [
    Page("/apps/{app_key}/event-names/event", show, VIEWERS),
    Page("/apps/{app_key}/event-names/event", save, EDITORS, "POST"),
    Page("/apps/{app_key}/event-names/event.csv", csv, VIEWERS),
    Page("/apps/{app_key}/event-names/event.json", json, VIEWERS),
    Page("/apps/{app_key}/event-names/delete", delete, EDITORS, "POST"),
]
