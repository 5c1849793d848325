"""Postbacks of one app: who is told the results of attribution, how "Install Attributed" is set, how each fares."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.details import State
from collector.portal.frame import EDITORS, VIEWERS, Page, Portal, moment, read_form, see, who
from collector.portal.reading import runs, stores
from collector.portal.words import sentence, span
from store import destinations
from store.database import Database
from store.destinations import MAIN
from store.errors import ConfigError
from store.postbacks import delivering, intents, reading, targets
from store.postbacks.delivering import Health
from store.postbacks.intents import Intent
from store.postbacks.targets import FOOTFALL, MOST_RETRIES, Target, Wishes
from store.registry import App

DELAYS = {
    "0": "none",
    "30": "30 seconds",
    "60": "1 minute",
    "120": "2 minutes",
    "300": "5 minutes",
    "600": "10 minutes",
}
DELIVERIES = {
    "all": ("All installs", "Those too that no campaign won: they are told as organic."),
    "network": ("Network only", "Installs that a campaign won, of the networks named, or of any."),
    "agency": ("Network and agency", "Those, and what an agency's campaigns won."),
}
STATES = {"pending": "pending", "accepted": "accepted", "given_up": "given up", "unasked": "not asked for"}


class Card(NamedTuple):
    """A target as the page shows it."""

    target: Target
    states: list[State]
    disabled: bool
    sums: dict[str, int]


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/deliveries/postbacks"""
    return await _page(portal, request, await own_app(portal, request), {})


async def _page(portal: Portal, request: Request, app: App, fields: dict[str, str], error: str = "") -> Response:
    every = await targets.of_apps(portal.registry, [app.app_key])
    wishes, now = await waiting(portal, app), portal.now()
    async with stores(portal, request) as opened:
        fares = await delivering.health(opened.ledger, app.app_key) if opened.ledger else {}
        sums = {t.target_id: await _sums(opened.ledger, t) if opened.ledger else {} for t in every}
    enabling = {wish.target_id for wish in wishes if wish.action == "enable"}
    cards = {
        t.target_id: Card(
            t,
            standing(t, fares.get(t.keys, Health()), t.target_id in enabling, now),
            bool(fares.get(t.keys, Health()).disabled_at) and t.target_id not in enabling,
            sums[t.target_id],
        )
        for t in every
    }
    to_segment = next((card for card in cards.values() if card.target.kind == "segment"), None)
    values = {
        "app": app,
        "segment": to_segment,
        "webhooks": [card for card in cards.values() if card.target.kind == "webhook"],
        "entered": entered(to_segment.target if to_segment else None, fields),
        "sources": [d.name for d in await destinations.active(portal.registry, [app.app_key])],
        "delays": DELAYS,
        "deliveries": DELIVERIES,
        "most_retries": MOST_RETRIES,
        "names": STATES,
        "error": error,
        "notice": NOTICES.get(request.query_params.get("done", ""), ""),
    }
    return portal.page(request, "postbacks.html", values, 422 if error else 200)


NOTICES = {
    "saved": "Saved. It holds for what is decided from now on.",
    "removed": "Removed. What was sent stays on record.",
}


async def _sums(db: Database, target: Target) -> dict[str, int]:
    """By state alone."""
    found = dict.fromkeys(STATES, 0)
    for (state, _), n in (await reading.sums(db, target.keys)).items():
        found[state] += n
    return found


def standing(target: Target, health: Health, enabling: bool, now: int) -> list[State]:
    """What there is to know of a target. Pure."""
    if enabling:
        return [State("wait", "It is tried again with the exporter's next run.")]
    if health.disabled_at:
        told = f"Disabled on {moment(health.disabled_at)}: {health.disabled_why}."
        return [State("bad", f"{told} What it is owed stays pending until somebody enables it again.")]
    if not target.active:
        return [State("wait", "Switched off: nothing is told.")]
    if health.failures:
        left = health.not_before - now
        when = f"It is tried again in {span(left)}." if left > 0 else "It is tried again with the next run."
        return [State("wait", f"The last {health.failures} attempts failed. {when}")]
    return [State("good", "On.")]


def entered(old: Target | None, fields: dict[str, str]) -> dict[str, str | bool]:
    """What a form of settings shows: what was entered, else what is set, else what is usual."""
    usual = Wishes(active=False) if old is None else old
    return {
        "active": bool(fields.get("active")) if fields else usual.active,
        "name": fields.get("name", usual.name),
        "provider": fields.get("provider", usual.provider),
        "delivery": fields.get("delivery", usual.delivery),
        "networks": fields.get("networks", usual.networks),
        "agencies": fields.get("agencies", usual.agencies),
        "delay": fields.get("delay", str(usual.delay_ms // 1_000)),
        "retries": fields.get("retries", str(usual.retries)),
        "url": fields.get("url", usual.url),
        "form": fields.get("form", usual.form),
        "template": fields.get("template", usual.template),
    }


def wished(fields: dict[str, str]) -> Wishes:
    """What was entered. Raises ConfigError."""
    delay, retries = fields.get("delay", ""), fields.get("retries", "")
    if delay not in DELAYS:
        raise ConfigError("choose a delay of up to 10 minutes")
    if retries not in map(str, range(MOST_RETRIES + 1)):
        raise ConfigError(f"choose 0 to {MOST_RETRIES} retries")
    return Wishes(
        name=fields.get("name", MAIN).strip(),
        active=bool(fields.get("active")),
        delivery=fields.get("delivery", ""),
        networks=fields.get("networks", "").strip(),
        agencies=fields.get("agencies", "").strip(),
        delay_ms=int(delay) * 1_000,
        retries=int(retries),
        provider=fields.get("provider", "").strip() or FOOTFALL,
        url=fields.get("url", "").strip(),
        form=fields.get("form", "json"),
        template=fields.get("template", "").replace("\r\n", "\n"),
    )


async def waiting(portal: Portal, app: App) -> Collection[Intent]:
    """What was asked of the exporter for this app and is not done yet."""
    asked = await intents.asked(portal.registry, app.app_key)
    async with runs(portal) as db:
        done = await intents.done(db, [wish.intent_id for wish in asked]) if db and asked else set()
    return [wish for wish in asked if wish.intent_id not in done]


async def save(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/deliveries/postbacks"""
    app = await own_app(portal, request)
    fields = await read_form(request)
    try:
        wishes = wished(fields)
        there = [d.name for d in await destinations.active(portal.registry, [app.app_key])]
        if wishes.name not in there:
            raise ConfigError("enter a Segment write key first: its source is where this goes")
        await targets.set_segment(portal.writer, portal.now(), app.app_key, wishes, who(request).person.email)
    except ConfigError as error:
        return await _page(portal, request, app, fields, f"{sentence(str(error))}.")
    return see(f"/apps/{app.app_key}/deliveries/postbacks?done=saved")


PAGES = [
    Page("/apps/{app_key}/deliveries/postbacks", show, VIEWERS),
    Page("/apps/{app_key}/deliveries/postbacks", save, EDITORS, "POST"),
]
