"""Receipts of one app, to look at, to keep and to check."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.deliveries import older, title
from collector.portal.frame import HEADERS, VIEWERS, NotFound, Page, Portal
from collector.portal.reading import given, stores
from store import destinations, ledger_pages
from store.ledger_pages import LAST, PAGE
from store.receipt import Document, Receipt, Signer

_ID = re.compile(r"[0-9a-f-]{36}\Z")


class Listed(NamedTuple):
    """A receipt, and what its course is called."""

    document: Document
    destination: str


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/deliveries/receipts"""
    app = await own_app(portal, request)
    courses = await destinations.courses(portal.registry, replaced=True, of=[app.app_key])
    names = {course.course_id: title(course) for course in courses}
    before = given(request, "before") or LAST
    async with stores(portal, request) as opened:
        found = (
            await ledger_pages.receipts(opened.ledger, app.app_key, names, before, PAGE + 1) if opened.ledger else []
        )
    listed = [Listed(msgspec.json.decode(made.document, type=Document), names[made.course_id]) for made in found[:PAGE]]
    values = {
        "app": app,
        "listed": listed,
        "older": older({"before": found[PAGE - 1].receipt_id}) if len(found) > PAGE else "",
        "first_page": before == LAST,
        "public_key": Signer(portal.vault.receipt_seed).public_key,
    }
    return portal.page(request, "receipts.html", values)


async def download(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/receipts/{receipt_id}.json"""
    app = await own_app(portal, request)
    receipt_id = request.path_params["receipt_id"]
    async with stores(portal, request) as opened:
        made = (
            await ledger_pages.receipt(opened.ledger, app.app_key, receipt_id)
            if opened.ledger and _ID.match(receipt_id)
            else None
        )
    if made is None:
        raise NotFound
    body = msgspec.json.format(msgspec.json.encode(Receipt(made.document, made.signature)))
    named = {"Content-Disposition": f'attachment; filename="receipt-{receipt_id}.json"'}
    return Response(body, media_type="application/json", headers=HEADERS | named)


PAGES = [
    Page("/apps/{app_key}/deliveries/receipts", show, VIEWERS),
    Page("/apps/{app_key}/receipts/{receipt_id}.json", download, VIEWERS),
]
