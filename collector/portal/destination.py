"""One destination of an app: entering or replacing its key, the test event and its code, removing it.

A key goes in here and never comes out again: pages show its last four characters. Test events leave on threads of their
own, so that neither the doors nor the pages wait for Segment.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from collector.portal import details
from collector.portal.apps import own_app
from collector.portal.frame import EDITORS, NotFound, Page, Portal, read_form, see, who
from collector.portal.words import sentence
from store import destinations, proof
from store.beginnings import beginning
from store.destinations import MAIN, Change, Destination
from store.endpoint import checked
from store.errors import ConfigError, Unavailable
from store.registry import App
from store.settings import Settings

MOST_KEY = 200
AGAIN_MS = 10_000  # between two test events of one destination
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,29}\Z")
_threads = ThreadPoolExecutor(2, "test-event")


async def form(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/details/destination"""
    app = await own_app(portal, request)
    name = request.query_params.get("name")
    old = None if name is None else await _named(portal, app, name)
    return await _form(portal, request, app, old, {})


async def _form(
    portal: Portal, request: Request, app: App, old: Destination | None, fields: dict[str, str], error: str = ""
) -> Response:
    first = await destinations.destination(portal.registry, app.app_key) is None
    entered = {
        "destination": fields.get("destination", old.name if old else MAIN if first else ""),
        "region": fields.get("region", old.region if old else "us"),
        "profile": fields.get("profile", old.profile if old else "mpac"),
        "uninstalls": bool(fields.get("uninstalls")) if fields else bool(old and old.uninstalls),
        "url": fields.get("url", old.url if old else ""),
        "start": fields.get("start", "now"),
        "date": fields.get("date", ""),
        "new_source": bool(fields.get("new_source")),
    }
    values = {"app": app, "old": old, "entered": entered, "error": error}
    return portal.page(request, "destination.html", values, 422 if error else 200)


async def save(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/details/destination"""
    app = await own_app(portal, request)
    fields = await read_form(request)
    old = await _named(portal, app, fields["old"]) if fields.get("old") else None
    try:
        name = old.name if old else await _new_name(portal, app, fields.get("destination", ""))
        change = _change(portal, fields, old)
        begins = await beginning(portal.settings.where, old, _start(fields, old))
        actor = who(request).person.email
        await destinations.set_destination(
            portal.writer, portal.vault, portal.now(), app.app_key, change, begins, name, actor
        )
    except ConfigError as error:
        return await _form(portal, request, app, old, fields, f"{sentence(str(error))}.")
    return see(f"/apps/{app.app_key}/details?done=saved#{name}")


async def _named(portal: Portal, app: App, name: str) -> Destination:
    found = await destinations.destination(portal.registry, app.app_key, name)
    if found is None:
        raise NotFound
    return found


async def _new_name(portal: Portal, app: App, name: str) -> str:
    if not _NAME.match(name):
        raise ConfigError("a destination's name has up to 30 small letters, digits and hyphens, such as warehouse")
    if await destinations.destination(portal.registry, app.app_key, name) is not None:
        raise ConfigError(f"there is a destination named {name} already: change that one, or choose another name")
    return name


def _change(portal: Portal, fields: dict[str, str], old: Destination | None) -> Change:
    """What was entered. Raises ConfigError that says what is wrong with it, without the key."""
    key = fields.get("segment_write_key", "").strip()
    if len(key) > MOST_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError("the Segment write key holds more than a key: paste the 32 letters and digits alone")
    if not key and old is None:
        raise ConfigError("paste the Segment write key, from your source's settings under API keys")
    region, profile = fields.get("region", ""), fields.get("profile", "")
    if region not in ("us", "eu") or profile not in ("mpac", "segment"):
        raise ConfigError("choose a region and a form of the messages")
    return Change(
        segment_write_key=key or None,
        region=region,
        url=_url(portal, fields.get("url", "").strip()),
        profile=profile,
        uninstalls=bool(fields.get("uninstalls")),
        new_source=bool(fields.get("new_source")),
    )


def _url(portal: Portal, url: str) -> str:
    try:
        return checked(url, portal.settings.allowed_destinations) if url else ""
    except ValueError as error:
        raise ConfigError(f"the address must be {error}") from None


def _start(fields: dict[str, str], old: Destination | None) -> str | None:
    """Where a new destination begins; one that replaces another goes on where that stands, unless told otherwise."""
    chosen = fields.get("start", "")
    if chosen == "date":
        if not fields.get("date"):
            raise ConfigError("choose the date from which events are to be sent")
        return fields["date"]
    if chosen in ("now", "beginning"):
        return chosen
    return None if old else "now"


async def test(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/details/test"""
    app = await own_app(portal, request)
    fields = await read_form(request)
    d = await _named(portal, app, fields.get("destination", ""))
    try:
        known = await _send(portal, d)
    except (ConfigError, Unavailable) as error:
        values = {"error": f"{sentence(str(error))}.", "error_at": d.name}
        return await details.page(portal, request, app, values, 422)
    return see(f"/apps/{app.app_key}/details?sent={quote(d.name)}&known={quote(known)}#{quote(d.name)}")


async def _send(portal: Portal, d: Destination) -> str:
    """Send a fresh code; what Segment's settings endpoint knows of the key."""
    now = portal.now()
    if 0 <= now - d.code_sent_at < AGAIN_MS:
        raise ConfigError("a test event left only a moment ago: look for that one first")
    code, key = proof.new_code(), portal.vault.decrypt(d.segment_write_key)
    await proof.ask(portal.writer, portal.vault, now, d, code)
    return await asyncio.get_running_loop().run_in_executor(_threads, _try_out, portal.settings, d, key, code)


def _try_out(settings: Settings, d: Destination, key: str, code: str) -> str:
    from wire import trial  # with Segment's package, which is long to load and seldom asked for here

    trial.send_code(settings, d, key, code)
    return trial.probe(settings, d, key)


async def answer(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/details/code"""
    app = await own_app(portal, request)
    fields = await read_form(request)
    d = await _named(portal, app, fields.get("destination", ""))
    try:
        await proof.answer(portal.writer, portal.vault, portal.now(), d, fields.get("code", "")[:100])
    except ConfigError as error:
        said = str(error).partition("; send another")[0]
        values: dict[str, Any] = {"error": f"{sentence(said)}.", "error_at": d.name}
        return await details.page(portal, request, app, values, 422)
    return see(f"/apps/{app.app_key}/details?done=proved#{quote(d.name)}")


async def remove(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/details/remove"""
    app = await own_app(portal, request)
    fields = await read_form(request)
    d = await _named(portal, app, fields.get("destination", ""))
    actor = who(request).person.email
    await destinations.remove_destination(portal.writer, portal.now(), app.app_key, d.name, actor)
    return see(f"/apps/{app.app_key}/details?done=removed")


PAGES = [
    Page("/apps/{app_key}/details/destination", form, EDITORS, proved=True),
    Page("/apps/{app_key}/details/destination", save, EDITORS, "POST", proved=True),
    Page("/apps/{app_key}/details/test", test, EDITORS, "POST"),
    Page("/apps/{app_key}/details/code", answer, EDITORS, "POST"),
    Page("/apps/{app_key}/details/remove", remove, EDITORS, "POST"),
]
