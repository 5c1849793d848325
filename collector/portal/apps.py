"""The first page: a partner's apps and how each stands, or for operators all of them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.frame import VIEWERS, NotFound, Page, Portal, who
from store import destinations, registry
from store.registry import App


async def own_apps(portal: Portal, request: Request) -> list[App]:
    """The apps that whoever asks may see."""
    partner_key = who(request).partner_key
    return [app for app in await registry.apps(portal.registry) if partner_key in (None, app.partner_key)]


async def own_app(portal: Portal, request: Request) -> App:
    """The app in the path. Raises NotFound when there is none, or it is another partner's."""
    partner_key, app_key = who(request).partner_key, request.path_params["app_key"]
    for app in await registry.apps(portal.registry, [app_key]) if app_key.isprintable() else ():
        if partner_key in (None, app.partner_key):
            return app
    raise NotFound


async def show(portal: Portal, request: Request) -> Response:
    """GET /"""
    apps = await own_apps(portal, request)
    live = await destinations.active(portal.registry, [app.app_key for app in apps])
    has = {d.app_key for d in live}
    return portal.page(request, "apps.html", {"apps": apps, "has_key": has})


PAGES = [Page("/", show, VIEWERS)]
