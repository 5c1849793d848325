"""The operator's side: what the marketplace sees of itself, its partners and apps, the settings in force, and health.

Partners and apps are added by the very functions of the command line.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.frame import OPERATORS, Page, Portal, read_form, see, sentence, who
from store import destinations, log, registry
from store.database import Server
from store.doctor.glance import glance
from store.endpoint import Allowed
from store.errors import ConfigError
from store.registry import App
from store.settings import PREFIX, Settings, secret_origin

HOUR_MS = 3_600_000
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ID = re.compile(r"[A-Za-z0-9._-]{1,50}")
LONGEST_NAME = 100


async def totals(portal: Portal, request: Request) -> Response:
    """GET /operator: what came to the doors in a day and in a week, whoever it was for."""
    hour = portal.now() // HOUR_MS
    async with portal.readers.lend("log") as lent:
        db = lent["log"]
        day, week = await log.tallied(db, hour - 23), await log.tallied(db, hour - 7 * 24 + 1)
    apps = await registry.apps(portal.registry)
    rows = [(app, day.get((app.app_key, "stored"), 0), week.get((app.app_key, "stored"), 0)) for app in apps]
    rows.sort(key=lambda row: -row[2])
    outcomes = [(outcome, _sum(day, outcome), _sum(week, outcome)) for outcome in OUTCOMES]
    return portal.page(request, "operator.html", {"rows": rows, "outcomes": outcomes, "meanings": OUTCOMES})


OUTCOMES = {
    "received": "came to a door",
    "stored": "are on disk",
    "duplicate": "had been stored before",
    "rejected": "were turned away, with a reason",
    "shed": "were asked to come back later",
}


def _sum(tallies: dict[tuple[str, str], int], wanted: str) -> int:
    return sum(n for (_, outcome), n in tallies.items() if outcome == wanted)


async def partners(portal: Portal, request: Request) -> Response:
    """GET /operator/partners"""
    return await _partners(portal, request)


async def _partners(portal: Portal, request: Request, error: str = "", fields: Any = None) -> Response:
    values = {"partners": await registry.partners(portal.registry), "error": error, "fields": fields or {}}
    return portal.page(request, "partners.html", values, 422 if error else 200)


async def add_partner(portal: Portal, request: Request) -> Response:
    """POST /operator/partners"""
    fields = await read_form(request)
    try:
        key, partner_id, name = _key(fields), _id(fields, "partner_id"), _name(fields)
        await registry.add_partner(portal.writer, portal.now(), key, partner_id, name, who(request).person.email)
    except ConfigError as error:
        return await _partners(portal, request, sentence(error), fields)
    return see("/operator/partners")


async def apps(portal: Portal, request: Request) -> Response:
    """GET /operator/apps"""
    return await _apps(portal, request)


async def _apps(portal: Portal, request: Request, error: str = "", fields: Any = None) -> Response:
    live = await destinations.active(portal.registry)
    values = {
        "apps": await registry.apps(portal.registry),
        "has_key": {d.app_key for d in live},
        "partners": await registry.partners(portal.registry),
        "error": error,
        "fields": fields or {},
    }
    return portal.page(request, "operator_apps.html", values, 422 if error else 200)


async def add_app(portal: Portal, request: Request) -> Response:
    """POST /operator/apps"""
    fields = await read_form(request)
    try:
        await _add_app(portal, request, fields)
    except ConfigError as error:
        return await _apps(portal, request, sentence(error), fields)
    return see("/operator/apps")


async def _add_app(portal: Portal, request: Request, fields: dict[str, str]) -> App:
    key, plugin_id, name, actor = _key(fields), _id(fields, "plugin_id"), _name(fields), who(request).person.email
    partner_key = fields.get("partner", "")
    return await registry.add_app(portal.writer, portal.now(), key, partner_key, plugin_id, name, actor)


def _key(fields: dict[str, str]) -> str:
    key = fields.get("key", "").strip()
    if not _KEY.fullmatch(key):
        raise ConfigError("a key has 1 to 100 letters, digits, dots, hyphens and underscores")
    return key


def _id(fields: dict[str, str], field: str) -> str:
    text = fields.get(field, "").strip()
    if not _ID.fullmatch(text):
        raise ConfigError("an id has 1 to 50 digits or letters")
    return text


def _name(fields: dict[str, str]) -> str:
    name = fields.get("name", "").strip()
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
        raise ConfigError(f"a name has 1 to {LONGEST_NAME} characters")
    return name


async def settings(portal: Portal, request: Request) -> Response:
    """GET /operator/settings"""
    return portal.page(request, "settings.html", {"settings": in_force(portal.settings)})


def in_force(settings: Settings) -> list[tuple[str, str]]:
    """Every setting's name and value, in words where it is a secret."""
    return [(PREFIX + name.upper(), _told(name, getattr(settings, name))) for name in Settings.__struct_fields__]


_SECRET = re.compile("secret|password|token|key")


def _told(name: str, value: Any) -> str:
    if value is None:
        return ""
    if _SECRET.search(name):
        return "set, and not shown"
    if name == "database_url":
        return str(Server(value))
    if isinstance(value, Allowed):
        return ", ".join([*sorted(f"{host}:{port}" for host, port in value.hosts), *map(str, value.networks)])
    if isinstance(value, frozenset):
        return ", ".join(sorted(value))
    return re.sub(r"//[^/@]*@", "//…@", str(value))  # a URL may hold a password


async def health(portal: Portal, request: Request) -> Response:
    """GET /operator/health"""
    checks = await glance(portal.settings, portal.readers, secret_origin(), portal.now())
    return portal.page(request, "health.html", {"checks": checks})


PAGES = [
    Page("/operator", totals, OPERATORS),
    Page("/operator/partners", partners, OPERATORS),
    Page("/operator/partners", add_partner, OPERATORS, "POST"),
    Page("/operator/apps", apps, OPERATORS),
    Page("/operator/apps", add_app, OPERATORS, "POST"),
    Page("/operator/settings", settings, OPERATORS),
    Page("/operator/health", health, OPERATORS),
]
