"""Whose numbers a page shows: one app's, or all apps' of a partner. What is another partner's is not there."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from collector.portal.apps import own_app
from collector.portal.frame import NotFound, Portal, who
from store import registry
from store.registry import App
from store.rollups.stored import Scope


class Place(msgspec.Struct, frozen=True):
    """`app` is None for all apps of the partner; `base` is where its pages are."""

    base: str
    name: str
    partner_key: str
    app: App | None
    apps: tuple[App, ...]

    @property
    def key(self) -> str:
        """The app's, or the partner's."""
        return self.app.app_key if self.app else self.partner_key

    def scope(self, filters: tuple[tuple[str, str], ...]) -> Scope:
        return Scope(self.partner_key, tuple(app.app_key for app in self.apps), filters)

    def called(self, app_key: str) -> str:
        """An app's name by its key."""
        return next((app.name for app in self.apps if app.app_key == app_key), app_key)


async def place(portal: Portal, request: Request) -> Place:
    """The place in the path. Raises NotFound."""
    if "app_key" in request.path_params:
        app = await own_app(portal, request)
        return Place(f"/apps/{app.app_key}", app.name, app.partner_key, app, (app,))
    return await of_partner(portal, request, request.path_params["partner_key"])


async def of_partner(portal: Portal, request: Request, partner_key: str) -> Place:
    """All apps of a partner, in order of their names. Raises NotFound."""
    own = who(request).partner_key
    partners = await registry.partners(portal.registry) if own in (None, partner_key) else []
    for partner in partners:
        if partner.partner_key == partner_key:
            apps = [app for app in await registry.apps(portal.registry) if app.partner_key == partner_key]
            apps.sort(key=lambda app: (app.name, app.app_key))
            return Place(f"/partners/{partner_key}", partner.name, partner_key, None, tuple(apps))
    raise NotFound
