"""The rules of attribution, of an app with its campaigns and of the marketplace: what is in force, and whence.

What is left empty in a form is as the next wider says: a campaign's as the app's, that as the marketplace's, that as
the default. A decision keeps the rules that it was made by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from attribution.rules import SETTABLE, Rules, resolved
from collector.portal.apps import own_app
from collector.portal.attributed import SET_BY
from collector.portal.frame import EDITORS, OPERATORS, VIEWERS, Page, Portal, read_form, see, sentence, who
from store.attribution import rules
from store.attribution.rules import LIMITS, MARKETPLACE, OF_CAMPAIGN, Change, Kept, length, told
from store.errors import ConfigError
from store.registry import App

WORDS = {
    "click": "A click counts for",
    "probabilistic": "A click known by address and agent alone counts for",
    "view": "A view counts for",
    "settle": "Later evidence decides anew for",
    "reprocess": "A reinstall is a new install after",
    "by_network": "Address and agent alone may decide",
}
NOTES = {
    "click": "before the install",
    "probabilistic": "before the install, where that is allowed at all",
    "view": "before the install: a listing that was seen, or an impression",
    "settle": "after the install was told of; then its decision stands",
    "reprocess": "since the first; 0 is never",
}


class Setting(NamedTuple):
    """One of what can be set: what is entered here ('' for nothing), what is in force, and whence."""

    name: str
    words: str
    note: str
    entered: str
    in_force: str
    set_by: str
    least: str
    most: str


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/attribution/rules"""
    return await _of_app(portal, request, await own_app(portal, request))


async def _of_app(
    portal: Portal, request: Request, app: App, error: str = "", fields: Mapping[str, str] | None = None
) -> Response:
    wide, campaigns = rules.of_app(await rules.kept(portal.registry, app.app_key))
    in_force = resolved(wide, campaigns)
    entered = fields if fields is not None and not fields.get("campaign") else None
    values = {
        "app": app,
        "settings": _settings(in_force, _own(wide, app.app_key), entered),
        "by_network": _entered(_own(wide, app.app_key), entered, "by_network"),
        "campaigns": [(each.campaign_key, _windows(each)) for each in campaigns if _is_set(each)],
        "windows": [(name, WORDS[name]) for name in OF_CAMPAIGN],
        "new": fields if fields is not None and fields.get("campaign") else {},
        "set_by": SET_BY,
        "error": error,
        "done": request.query_params.get("done", ""),
    }
    return portal.page(request, "attribution_rules.html", values, 422 if error else 200)


async def change(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/attribution/rules: of the app, or of the campaign that is named."""
    app = await own_app(portal, request)
    fields = await read_form(request)
    campaign = fields.get("campaign", "").strip().casefold()
    try:
        if "campaign" in fields and not campaign:
            raise ConfigError("a campaign is named by its source and its name, as in google/spring sale")
        wanted = asked(fields, OF_CAMPAIGN if campaign else SETTABLE)
        await rules.set_rules(portal.writer, portal.now(), app.app_key, campaign, wanted, who(request).person.email)
    except ConfigError as error:
        return await _of_app(portal, request, app, sentence(error), fields)
    return see(f"/apps/{app.app_key}/attribution/rules?done=1")


async def marketplace(portal: Portal, request: Request) -> Response:
    """GET /operator/attribution"""
    return await _of_marketplace(portal, request)


async def _of_marketplace(
    portal: Portal, request: Request, error: str = "", fields: Mapping[str, str] | None = None
) -> Response:
    wide, _ = rules.of_app(await rules.kept(portal.registry, MARKETPLACE))
    values = {
        "settings": _settings(resolved(wide, []), _own(wide, MARKETPLACE), fields),
        "by_network": _entered(_own(wide, MARKETPLACE), fields, "by_network"),
        "set_by": SET_BY,
        "error": error,
        "done": request.query_params.get("done", ""),
    }
    return portal.page(request, "operator_attribution.html", values, 422 if error else 200)


async def change_marketplace(portal: Portal, request: Request) -> Response:
    """POST /operator/attribution"""
    fields = await read_form(request)
    try:
        wanted = asked(fields, SETTABLE)
        actor = who(request).person.email
        await rules.set_rules(portal.writer, portal.now(), MARKETPLACE, "", wanted, actor)
    except ConfigError as error:
        return await _of_marketplace(portal, request, sentence(error), fields)
    return see("/operator/attribution?done=1")


def asked(fields: Mapping[str, str], names: tuple[str, ...]) -> Change:
    """What a form asks for: what is empty is unset. Raises ConfigError."""
    values: dict[str, Any] = {}
    for name in names:
        text = fields.get(name, "").strip()
        if text and name == "by_network":
            if text not in ("on", "off"):
                raise ConfigError("address and agent alone may decide, or may not: on or off")
            values[name] = text == "on"
        elif text:
            values[name] = length(text)
    return Change(**values, unset=tuple(name for name in names if name not in values))


# --- what is shown


def _own(wide: list[Kept], app_key: str) -> Kept | None:
    return next((each for each in wide if each.app_key == app_key), None)


def _entered(own: Kept | None, fields: Mapping[str, str] | None, name: str) -> str:
    if fields is not None:
        return fields.get(name, "")
    value = getattr(own, name) if own is not None else None
    return "" if value is None else told(value)


def _settings(in_force: Rules, own: Kept | None, fields: Mapping[str, str] | None) -> list[Setting]:
    return [
        Setting(
            name,
            WORDS[name],
            NOTES.get(name, ""),
            _entered(own, fields, name),
            "never" if value == 0 and value is not False else told(value),
            SET_BY[in_force.set_by.get(name, "default")],
            *(told(limit) for limit in LIMITS.get(name, (None, None))),
        )
        for name in SETTABLE
        for value in [getattr(in_force, name)]
    ]


def _is_set(kept: Kept) -> bool:
    return any(getattr(kept, name) is not None for name in OF_CAMPAIGN)


def _windows(kept: Kept) -> dict[str, str]:
    """A campaign's own; '' for what is as the app's."""
    return {name: "" if getattr(kept, name) is None else told(getattr(kept, name)) for name in OF_CAMPAIGN}


PAGES = [
    Page("/apps/{app_key}/attribution/rules", show, VIEWERS),
    Page("/apps/{app_key}/attribution/rules", change, EDITORS, "POST"),
]
OF_MARKETPLACE = [
    Page("/operator/attribution", marketplace, OPERATORS),
    Page("/operator/attribution", change_marketplace, OPERATORS, "POST"),
]
