"""Strict authentication of one app: its rule, its key pairs, what came without proof, and whether installs come.

A secret is on one page once, the answer to making it. What is released goes through its door again (collector/
quarantine.py), so that this page decides nothing about a call.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from collector.ingest import QUARANTINED
from collector.portal.apps import own_app
from collector.portal.frame import (
    EDITORS,
    OWNERS,
    VIEWERS,
    NotFound,
    Page,
    Portal,
    read_form,
    see,
    sentence,
    who,
)
from collector.portal.reading import stores
from collector.quarantine import Quarantine
from store import authentication, feed, quarantine, registry
from store.entry import HOUR_MS, Held
from store.errors import ConfigError, Unavailable
from store.registry import App

DAYS = 7
SHOWN = 50  # of what waits
MOST_SHOWN = 20_000  # bytes of one of them
REASONS = {
    "no_proof": "no proof came with it",
    "unknown_api_key": "its API key is none of yours",
    "wrong_proof": "the token or the signature is wrong",
    "stale_proof": "it was signed too long ago, or a clock is wrong",
    QUARANTINED: "it waits, or waited, below",
    "quarantine_full": "the quarantine was full",
}


class Waiting(NamedTuple):
    """One request in the quarantine, and what it holds as people read it."""

    held: Held
    payload: str


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/authentication"""
    app = await own_app(portal, request)
    return await _page(portal, request, app)


async def _page(portal: Portal, request: Request, app: App, error: str = "") -> Response:
    since = portal.now() // HOUR_MS - DAYS * 24
    async with stores(portal, request, with_ledger=False) as opened:
        rejected = await quarantine.rejected(opened.log, app.app_key, since)
        held = await quarantine.held(opened.log, app.app_key, SHOWN, MOST_SHOWN)
        amount = await quarantine.amount(opened.log, app.app_key)
        installed_at = await feed.first_install(opened.log, app)
    values = {
        "app": app,
        "modes": authentication.MODES,
        "pairs": await authentication.pairs(portal.registry, [app.app_key]),
        "most_pairs": authentication.MOST_PAIRS,
        "rejected": {reason: rejected[reason] for reason in REASONS if reason in rejected},
        "reasons": REASONS,
        "days": DAYS,
        "waiting": [Waiting(each, _payload(each)) for each in held],
        "amount": amount,
        "installed_at": installed_at,
        "done": request.query_params.get("done", ""),
        "error": error,
    }
    return portal.page(request, "authentication.html", values, 422 if error else 200)


def _payload(held: Held) -> str:
    """What it holds, made easy to read where all of it is there."""
    if held.size <= MOST_SHOWN:
        return msgspec.json.format(held.body, indent=2).decode()
    return held.body.decode(errors="ignore") + "…"


async def set_mode(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/authentication"""
    app, fields = await own_app(portal, request), await read_form(request)
    try:
        mode = fields.get("mode", "")
        await authentication.set_mode(portal.writer, portal.now(), app.app_key, mode, who(request).person.email)
    except ConfigError as error:
        return await _page(portal, request, app, sentence(error))
    return see(f"/apps/{app.app_key}/authentication?done=mode")


async def make(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/authentication/keys"""
    app, actor = await own_app(portal, request), who(request).person.email
    try:
        pair = await authentication.add_pair(portal.writer, portal.vault, portal.now(), app.app_key, actor)
    except ConfigError as error:
        return await _page(portal, request, app, sentence(error))
    return portal.page(request, "key_pair.html", {"app": app, "pair": pair})


async def revoke(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/authentication/revoke"""
    app, fields = await own_app(portal, request), await read_form(request)
    actor, api_key = who(request).person.email, fields.get("api_key", "")
    if not await authentication.revoke_pair(portal.writer, portal.now(), app.app_key, api_key, actor):
        raise NotFound
    return see(f"/apps/{app.app_key}/authentication?done=revoked")


async def act(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/authentication/quarantine"""
    app, fields = await own_app(portal, request), await read_form(request)
    action, chosen = fields.get("action", ""), fields.get("id", "")
    if action not in ("release", "drop") or not (chosen or fields.get("all")):
        raise NotFound
    if portal.quarantine is None:
        raise Unavailable("there is no collector here")
    ids = None if fields.get("all") else [chosen]
    if ids is not None:
        async with stores(portal, request, with_ledger=False) as opened:
            if await quarantine.find(opened.log, app.app_key, chosen) is None:
                raise NotFound
    done = await (_release if action == "release" else _drop)(portal.quarantine, app, ids, portal.now())
    actor = who(request).person.email
    async with portal.writer.transaction():
        await registry.note(portal.writer, portal.now(), f"quarantine.{action}", app.app_key, done, actor)
    return see(f"/apps/{app.app_key}/authentication?done={action}#quarantine")


async def _release(waits: Quarantine, app: App, ids: list[str] | None, now: int) -> str:
    """What became of it, for the audit."""
    done = await (waits.release_all(app, now) if ids is None else waits.release(app, ids, now))
    said = ", ".join(f"{done[outcome]} {outcome}" for outcome in ("stored", "duplicate", "rejected") if done[outcome])
    return f"{done['released']} requests: {said or 'nothing'}"


async def _drop(waits: Quarantine, app: App, ids: list[str] | None, now: int) -> str:
    n = await (waits.drop_all(app, now) if ids is None else waits.drop(app, ids, now))
    return f"{n} requests"


PAGES = [
    Page("/apps/{app_key}/authentication", show, VIEWERS),
    Page("/apps/{app_key}/authentication", set_mode, OWNERS, "POST", proved=True),
    Page("/apps/{app_key}/authentication/keys", make, OWNERS, "POST", proved=True),
    Page("/apps/{app_key}/authentication/revoke", revoke, OWNERS, "POST"),
    Page("/apps/{app_key}/authentication/quarantine", act, EDITORS, "POST"),
]
