"""The apps that whoever asks may see."""

from __future__ import annotations

from starlette.requests import Request

from collector.portal.frame import NotFound, Portal, who
from store import registry
from store.registry import App


async def own_apps(portal: Portal, request: Request) -> list[App]:
    """All of them."""
    partner_key = who(request).partner_key
    return [app for app in await registry.apps(portal.registry) if partner_key in (None, app.partner_key)]


async def own_app(portal: Portal, request: Request) -> App:
    """The app in the path. Raises NotFound when there is none, or it is another partner's."""
    partner_key, app_key = who(request).partner_key, request.path_params["app_key"]
    for app in await registry.apps(portal.registry, [app_key]) if app_key.isprintable() else ():
        if partner_key in (None, app.partner_key):
            return app
    raise NotFound
