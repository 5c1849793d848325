"""Manage app details: what an app is called, where its events go and how each destination stands, and links for ads."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from collector.portal import ad_links
from collector.portal.apps import own_app, own_apps
from collector.portal.frame import EDITORS, VIEWERS, Page, Portal, moment, read_form, see, who
from collector.portal.reading import Stores, stores
from collector.portal.words import share, span
from store import description, destinations, ledger, log, looking, proof
from store.destinations import Destination
from store.errors import ConfigError
from store.inbound import inbound
from store.ledger import Cursor
from store.registry import App

SHARE_DAYS = 30
DAY_MS = 86_400_000


class State(NamedTuple):
    """One thing to know of a destination: good, wait or bad, and its words."""

    mood: str
    text: str


class Card(NamedTuple):
    """A destination as its page shows it. `begins` is when the first event was received that it is to get."""

    destination: Destination
    states: list[State]
    awaits_code: bool
    paused: bool
    begins: int | None


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/details"""
    return await page(portal, request, await own_app(portal, request))


async def page(
    portal: Portal, request: Request, app: App, values: dict[str, Any] | None = None, status: int = 200
) -> Response:
    """The whole page; `values` are what was entered and what was wrong with it."""
    own = {each.app_key for each in await own_apps(portal, request)}
    live = await destinations.active(portal.registry, [app.app_key])
    now = portal.now()
    async with stores(portal, request) as opened:
        cards = [await _card(portal, opened, d, own, now) for d in live]
        carried = await looking.share(opened.log, app, now - SHARE_DAYS * DAY_MS)
    told = {
        "app": app,
        "cards": cards,
        "name": app.name,
        "listing_url": app.listing_url,
        "error": "",
        "error_at": "",
        "notice": NOTICES.get(request.query_params.get("done", ""), ""),
        "sent": request.query_params.get("sent", ""),
        "known": KNOWN.get(request.query_params.get("known", ""), ""),
        "days": SHARE_DAYS,
        "share": carried,
        "share_said": share(carried.carrying, carried.views),
        "inbound": inbound(app, portal.vault, portal.settings.public_url),
    }
    return portal.page(request, "details.html", told | _link(request, app) | (values or {}), status)


NOTICES = {
    "described": "Saved.",
    "saved": "Saved. What comes next: send a test event, and read its code in your Segment source.",
    "removed": "Removed. What was sent stays on record under Deliveries.",
    "proved": "Proved. The code came back from your source, so key and region are right.",
    "asked": "It is tried again with the exporter's next run.",
}
KNOWN = {
    "found": "Segment's settings endpoint knows this key, which is a hint and no proof.",
    "not found": "Segment's settings endpoint does not know this key: compare it with the source's settings.",
    "unknown": "Whether there is such a key could not be asked.",
}


async def _card(portal: Portal, opened: Stores, d: Destination, own: Collection[str], now: int) -> Card:
    keys = d.app_key, d.destination_id
    cursor = (await ledger.some_cursors(opened.ledger, [keys])).get(keys) if opened.ledger else None
    others = destinations.same_key(d, await destinations.with_key_of(portal.registry, d))
    awaits = bool(d.code_hash) and 0 <= now - d.code_sent_at < proof.VALID_MS
    begins = await log.received_after(opened.log, d.app_key, cursor.start_seq if cursor else d.start_seq)
    states = [*proved(d, awaits, now), *paused(cursor, now), *_shared(others, own)]
    return Card(d, states, awaits, bool(cursor and cursor.health.tripped), begins)


def proved(d: Destination, awaits_code: bool, now: int) -> list[State]:
    """How sure it is that the key is the partner's own. Segment disables only sources of its own."""
    if d.verified_at is None:
        if awaits_code:
            return [State("wait", "Saved, not proved yet: a test event was sent and its code is awaited.")]
        return [State("wait", "Saved, never proved: Segment answers success to any key, so send a test event.")]
    on = moment(d.verified_at)
    if d.url or not proof.is_old(d.verified_at, now):
        return [State("good", f"Proved on {on}.")]
    return [
        State(
            "wait",
            f"Proved on {on}, over 13 days ago. Segment disables a source that nothing is connected to after 14: "
            "see that something is, and send another test event.",
        )
    ]


def paused(cursor: Cursor | None, now: int) -> list[State]:
    """Why nothing, or little, is sent for now."""
    if cursor is None:
        return []
    health, left = cursor.health, cursor.health.not_before - now
    if health.tripped:
        when = f"It is tried again in {span(left)}" if left > 0 else "Each run tries one event"
        return [State("bad", f"Paused: {health.tripped}. {when}. Collecting goes on.")]
    if left > 0:
        return [State("wait", f"Segment asked to be left alone for {span(left)} more.")]
    return []


def _shared(others: Collection[str], own: Collection[str]) -> list[State]:
    """Other apps with the same key; those of another partner are not named."""
    named = [each for each in others if each.partition("/")[0] in own]
    said = [*named, *(["an app of another partner"] if len(named) < len(others) else [])]
    if not said:
        return []
    return [State("wait", f"The same key is on {', '.join(said)}: all their events go to one source.")]


def _link(request: Request, app: App) -> dict[str, Any]:
    """The link builder's fields, from the address, and the link."""
    given = request.query_params
    to = given.get("to", app.listing_url)
    values = {ad_links.PARTNER_ID: given.get(ad_links.PARTNER_ID, ad_links.PLACEHOLDER)}
    values |= {name: given.get(name, "") for name in ad_links.CAMPAIGN}
    return {"to": to, "link_values": values, "campaign": ad_links.CAMPAIGN, "link": ad_links.link(to, values)}


async def describe(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/details"""
    app = await own_app(portal, request)
    fields = await read_form(request)
    name, listing_url = fields.get("name", ""), fields.get("listing_url", "")
    try:
        actor = who(request).person.email
        await description.describe(portal.writer, portal.now(), app.app_key, name, listing_url, actor)
    except ConfigError as error:
        values = {"name": name, "listing_url": listing_url, "error": f"{error}.", "error_at": "app"}
        return await page(portal, request, app, values, 422)
    return see(f"/apps/{app.app_key}/details?done=described")


PAGES = [
    Page("/apps/{app_key}/details", show, VIEWERS),
    Page("/apps/{app_key}/details", describe, EDITORS, "POST"),
]
