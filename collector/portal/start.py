"""The first page: for a partner all apps together and each alone, for operators what the marketplace has of everybody.

Of the marketplace only events are summed up: a visitor has a number for each partner, so that those of different
partners do not add up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from collector.portal.charts.series import Point, Series, TimeSeries, time_series
from collector.portal.charts.sparkline import Sparkline, sparkline
from collector.portal.details import State
from collector.portal.frame import VIEWERS, Page, Portal, who
from collector.portal.numbers import overview
from collector.portal.numbers.counted import counted
from collector.portal.numbers.page import Asked
from collector.portal.numbers.place import Place, of_partner
from collector.portal.numbers.wording import earlier_words
from collector.portal.reading import Stores, stores
from collector.portal.view import COMPARED, PERIODS, USUAL_ZONE, View, asked, offered
from collector.portal.words import COUNTED, KINDS
from store import destinations, ledger, registry
from store.destinations import Destination
from store.ledger import Cursor
from store.postbacks import delivering, targets
from store.registry import App, Partner
from store.rollups import reading
from store.rollups.counting import SLOTS_A_DAY
from store.rollups.stored import Scope

MOST_CARDS = 48
SUMMED = ("page_view", "cta_click", "app_request", "install")
DAY_SECONDS = 86_400


class Card(msgspec.Struct, frozen=True):
    """An app, how many visitors and installs it had, and whether its events go anywhere."""

    app: App
    visitors: int
    installs: int
    spark: Sparkline
    state: State


class Listed(msgspec.Struct, frozen=True):
    """An app of the marketplace, with its events of the time by name."""

    app: App
    events: Mapping[str, int]


async def show(portal: Portal, request: Request) -> Response:
    """GET /"""
    partner_key = who(request).partner_key
    if partner_key is None:
        return await _marketplace(portal, request)
    return await _partner(portal, request, partner_key)


# --- a partner's


async def _partner(portal: Portal, request: Request, partner_key: str) -> Response:
    place = await of_partner(portal, request, partner_key)
    view = asked(request.query_params, (), portal.now())
    async with stores(portal, request) as opened:
        values = await overview.read(opened.log, place.scope(()), view, {})
        states = await _states(portal, opened, place.apps)
        cards = [await _card(opened, partner_key, app, view, states[app.app_key]) for app in place.apps[:MOST_CARDS]]
    told = {
        "asked": Asked("", msgspec.structs.replace(place, base=""), view, {}),
        "place": place,
        "values": values,
        "cards": cards,
        "further": place.apps[MOST_CARDS:],
        "counted": await counted(portal),
        "periods": PERIODS,
        "compared": COMPARED,
        "zones": offered(),
        "snippet": portal.url("/js/footfall.js"),
        "earlier": earlier_words(view),
    }
    return portal.page(request, "start.html", told | dict(overview.told(values)))


async def _card(opened: Stores, partner_key: str, app: App, view: View, state: State) -> Card:
    found = await reading.overview(opened.log, Scope(partner_key, (app.app_key,)), view.bins())
    installs = (found.total.events or {}).get("install", 0)
    spark = sparkline([each.visitors for each in found.bins], f"visitors per {view.step}")
    return Card(app, found.total.visitors, installs, spark, state)


async def _states(portal: Portal, opened: Stores, apps: Sequence[App]) -> Mapping[str, State]:
    """How the destinations and postbacks of each app stand, in a word: the one that needs somebody most."""
    live = await destinations.active(portal.registry, [app.app_key for app in apps])
    keys = [(d.app_key, d.destination_id) for d in live]
    cursors = await ledger.some_cursors(opened.ledger, keys) if opened.ledger and keys else {}
    states = {app.app_key: State("wait", "No write key yet: sent nowhere") for app in apps}
    found: dict[str, list[State]] = {}
    for d in live:
        found.setdefault(d.app_key, []).append(stands(d, cursors.get((d.app_key, d.destination_id)), portal.now()))
    disabled = await delivering.disabled(opened.ledger) if opened.ledger else {}
    for target in await targets.of_apps(portal.registry, states) if disabled else ():
        if target.keys in disabled:
            found.setdefault(target.app_key, []).append(DISABLED)
    return states | {app_key: min(each, key=lambda state: MOODS.index(state.mood)) for app_key, each in found.items()}


MOODS = ("bad", "wait", "good")
DISABLED = State("bad", "A postback is disabled")


def stands(d: Destination, cursor: Cursor | None, now: int) -> State:
    """A destination in a word."""
    if cursor is not None and cursor.health.tripped:
        return State("bad", "Sending is paused")
    if cursor is not None and cursor.health.not_before > now:
        return State("wait", "Sending waits for Segment")
    if d.verified_at is None:
        return State("wait", "Sending, the key is not proved")
    return State("good", "Sending, the key is proved")


# --- the marketplace's


async def _marketplace(portal: Portal, request: Request) -> Response:
    view = asked(dict(request.query_params) | {"tz": USUAL_ZONE, "compare": "none"}, (), portal.now())
    first, end = view.span.first // SLOTS_A_DAY, -(-view.span.end // SLOTS_A_DAY)
    async with stores(portal, request, with_ledger=False) as opened:
        rows = await reading.events_a_day(opened.log, first, end)
    sums: Counter[tuple[str, str]] = Counter()
    days: Counter[int] = Counter()
    for app_key, _, day, name, events in rows:
        sums[app_key, name] += events
        days[day] += events if name == "page_view" else 0
    partners = await registry.partners(portal.registry)
    apps = await registry.apps(portal.registry)
    told = {
        "asked": Asked("", Place("", "", "", None, ()), view, {}),
        "partners": [(partner, _listed(partner, apps, sums)) for partner in partners],
        "totals": {name: sum(n for (_, each), n in sums.items() if each == name) for name in SUMMED},
        "summed": {name: COUNTED[name] for name in SUMMED},
        "chart": _page_views(days, range(first, end), view),
        "counted": await counted(portal),
        "periods": PERIODS,
    }
    return portal.page(request, "marketplace.html", told)


def _listed(partner: Partner, apps: Sequence[App], sums: Mapping[tuple[str, str], int]) -> list[Listed]:
    """A partner's apps, the most viewed first."""
    found = [
        Listed(app, {name: sums.get((app.app_key, name), 0) for name in SUMMED})
        for app in apps
        if app.partner_key == partner.partner_key
    ]
    return sorted(found, key=lambda listed: (-listed.events["page_view"], listed.app.name))


def _page_views(days: Mapping[int, int], shown: range, view: View) -> TimeSeries:
    points = [Point(f"{_day(day):%-d %b}", f"{_day(day):%Y-%m-%d}", days.get(day, 0)) for day in shown]
    series = Series("Page views", KINDS["page_view"], points, sum(point.value for point in points))
    return time_series("Page views of all listings", [series], partial=view.is_running)


def _day(day: int) -> datetime:
    return datetime.fromtimestamp(day * DAY_SECONDS, UTC)


PAGES = [Page("/", show, VIEWERS)]
