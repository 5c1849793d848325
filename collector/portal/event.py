"""One event: what is stored of it beside the message that each destination gets, and what became of it there."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.frame import VIEWERS, NotFound, Page, Portal
from collector.portal.reading import stores
from collector.portal.words import FATES, OUTCOMES, SOURCES
from store import destinations, fate, looking
from store.attribution.reading import Listing, install
from store.destinations import Course
from store.event import PARTNER, Event
from store.fate import Way
from store.registry import App
from wire.mapping import Mapper


class Side(NamedTuple):
    """One destination, or a replay for it: the event's way there, and the message as JSON; '' when there is none."""

    title: str
    way: Way
    message: str
    profile: str


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/events/{seq}"""
    app = await own_app(portal, request)
    seq = request.path_params["seq"]
    if not (seq.isascii() and seq.isdigit() and len(seq) < 19):
        raise NotFound
    async with stores(portal, request) as opened:
        event = await looking.event(opened.log, app, int(seq))
        if event is None:
            raise NotFound
        listing = Listing(app.app_key, app.partner_key)
        decided = await install(opened.ledger, listing, event.seq) if opened.ledger else None
        ways = await fate.ways(portal.registry, opened.ledger, app, event)
    by_id = {
        course.course_id: course
        for course in await destinations.courses(portal.registry, replaced=True, of=[app.app_key])
    }
    sides = [_side(portal, app, event, by_id[way.course], way) for way in ways if _matters(by_id[way.course], way)]
    values = {
        "app": app,
        "event": event,
        "stored": "" if event.suppressed else json_text(stored(event)),
        "sides": sides,
        "decided": decided is not None,
        "sources": SOURCES,
        "fates": FATES,
        "outcomes": OUTCOMES,
    }
    return portal.page(request, "event.html", values)


def _matters(course: Course, way: Way) -> bool:
    """Destinations that were replaced, and replays of other windows, are left out."""
    live = course.destination.active and course.course_id == course.destination.destination_id
    return live or way.fate != "not owed" or bool(way.attempts)


def _side(portal: Portal, app: App, event: Event, course: Course, way: Way) -> Side:
    mapped = Mapper(app, course.destination, portal.settings.event_prefix, course.ids_from).map(event)
    leaves = mapped.wire and event.source != PARTNER  # whatever it is called
    message = json_text(msgspec.json.decode(mapped.wire)) if leaves else ""
    return Side(way.destination, way, message, course.destination.profile)


def stored(event: Event) -> dict[str, Any]:
    """An event as a person reads it: what is unknown is left out, and of address and agent only that they are kept."""
    told = {name: getattr(event, name) for name in event.__struct_fields__ if name != "details"}
    told["message_id"] = str(UUID(event.message_id))
    known = {name: value for name, value in told.items() if value is not None}
    details = event.details
    if details is not None and details.network:
        details = msgspec.structs.replace(details, network="kept")
    return known | {"details": msgspec.to_builtins(details)}


def json_text(value: Any) -> str:
    """Indented, for reading."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


PAGES = [Page("/apps/{app_key}/events/{seq}", show, VIEWERS)]
