"""Parked events of one app: why each was set aside, what it holds, and releasing or dropping one or all."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.deliveries import asked, older, title
from collector.portal.event import json_text, stored
from collector.portal.frame import EDITORS, VIEWERS, NotFound, Page, Portal, read_form, see, who
from collector.portal.reading import given, stores
from store import destinations, ledger_pages, looking
from store.ledger_pages import PAGE
from store.log import NO_END

MOST_AT_ONCE = 5_000


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/deliveries/parked"""
    app = await own_app(portal, request)
    courses = await destinations.courses(portal.registry, replaced=True, of=[app.app_key])
    names = {course.course_id: title(course) for course in courses}
    before = given(request, "before")
    async with stores(portal, request) as opened:
        counted = await ledger_pages.parked_by_reason(opened.ledger, app.app_key) if opened.ledger else {}
        chosen = given(request, "destination") or next(iter(counted), "")
        held = []
        if opened.ledger is not None and chosen in counted:
            start = int(before) if before.isascii() and before.isdigit() and len(before) < 19 else NO_END
            held = await ledger_pages.parked(opened.ledger, app.app_key, chosen, start, PAGE + 1)
        there = await looking.some(opened.log, app, [each.seq for each in held[:PAGE]])
    wishes = await asked(portal, app)
    values = {
        "app": app,
        "names": names,
        "counted": counted,
        "chosen": chosen,
        "held": held[:PAGE],
        "payloads": {event.seq: json_text(stored(event)) for event in there if not event.suppressed},
        "wishes": {seq: action for (course_id, seq), action in wishes.items() if course_id == chosen},
        "older": older({"destination": chosen, "before": str(held[PAGE - 1].seq)}) if len(held) > PAGE else "",
        "most": MOST_AT_ONCE,
        "done": request.query_params.get("done", ""),
    }
    return portal.page(request, "parked.html", values)


async def act(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/deliveries/parked"""
    app = await own_app(portal, request)
    fields = await read_form(request)
    action, course_id, seq = fields.get("action"), fields.get("course", ""), fields.get("seq", "")
    if action not in ("release", "drop"):
        raise NotFound
    async with stores(portal, request) as opened:
        if opened.ledger is None:
            raise NotFound
        if fields.get("all"):
            held = await ledger_pages.parked(opened.ledger, app.app_key, course_id, limit=MOST_AT_ONCE)
            seqs = [each.seq for each in held]
        else:
            one = int(seq) if seq.isascii() and seq.isdigit() and len(seq) < 19 else 0
            seqs = [one] if await ledger_pages.held(opened.ledger, app.app_key, course_id, one) else []
    if not seqs:
        raise NotFound
    actor = who(request).person.email
    await destinations.ask(
        portal.writer, portal.now(), app.app_key, course_id, "release" if action == "release" else "drop", seqs, actor
    )
    return see(f"/apps/{app.app_key}/deliveries/parked?destination={course_id}&done={action}")


PAGES = [
    Page("/apps/{app_key}/deliveries/parked", show, VIEWERS),
    Page("/apps/{app_key}/deliveries/parked", act, EDITORS, "POST"),
]
