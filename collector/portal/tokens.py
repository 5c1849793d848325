"""API tokens: a partner's owners make those that read their own data, operators those of the back end too."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_apps
from collector.portal.frame import OWNERS, NotFound, Page, Portal, read_form, see, sentence, who
from store import registry
from store.errors import ConfigError
from store.registry import SCOPES, Token

DAY_MS = 24 * 3_600_000
LASTS = {"30": "30 days", "90": "90 days", "365": "a year", "": "until it is revoked"}
LONGEST_NAME = 60


async def show(portal: Portal, request: Request) -> Response:
    """GET /tokens"""
    return await _list(portal, request)


async def _list(portal: Portal, request: Request, error: str = "", fields: dict[str, str] | None = None) -> Response:
    partner_key = who(request).partner_key
    values = {
        "tokens": await registry.tokens(portal.registry, partner_key),
        "apps": await own_apps(portal, request),
        "scopes": SCOPES,
        "lasts": LASTS,
        "now": portal.now(),
        "fields": fields or {"days": "90"},
        "error": error,
    }
    return portal.page(request, "tokens.html", values, 422 if error else 200)


async def make(portal: Portal, request: Request) -> Response:
    """POST /tokens"""
    fields, me, now = await read_form(request), who(request), portal.now()
    name, app_key = fields.get("name", "").strip(), fields.get("app") or None
    partner_key = me.partner_key
    if app_key is not None:
        partner_key = await _partner_of(portal, request, app_key)
    scopes = frozenset({"read"} if partner_key else {scope for scope in SCOPES if f"scope-{scope}" in fields})
    try:
        if not 1 <= len(name) <= LONGEST_NAME:
            raise ConfigError(f"a name has 1 to {LONGEST_NAME} characters")
        if fields.get("days", "") not in LASTS:
            raise ConfigError("choose how long it is valid")
        expires_at = now + int(fields["days"]) * DAY_MS if fields.get("days") else None
        token = await registry.add_token(
            portal.writer,
            now,
            name,
            scopes,
            partner_key=partner_key,
            app_key=app_key,
            expires_at=expires_at,
            actor=me.person.email,
        )
    except ConfigError as error:
        return await _list(portal, request, sentence(error), fields)
    return portal.page(request, "token.html", {"name": name, "token": token, "scopes": sorted(scopes)})


async def _partner_of(portal: Portal, request: Request, app_key: str) -> str:
    """Whose an app is. Raises NotFound when it is none that who asks may see."""
    for app in await own_apps(portal, request):
        if app.app_key == app_key:
            return app.partner_key
    raise NotFound


async def revoke(portal: Portal, request: Request) -> Response:
    """POST /tokens/{token_id}/revoke"""
    token = await _own_token(portal, request)
    await registry.revoke_token(portal.writer, portal.now(), token, who(request).person.email)
    return see("/tokens")


async def _own_token(portal: Portal, request: Request) -> Token:
    for token in await registry.tokens(portal.registry, who(request).partner_key):
        if token.token_id == request.path_params["token_id"]:
            return token
    raise NotFound


PAGES = [
    Page("/tokens", show, OWNERS),
    Page("/tokens", make, OWNERS, "POST", proved=True),
    Page("/tokens/{token_id}/revoke", revoke, OWNERS, "POST"),
]
