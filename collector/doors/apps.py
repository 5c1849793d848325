"""What a partner's token may read: the apps of its partner, or the one that it is for."""

from __future__ import annotations

import time

import msgspec
from starlette.types import Receive, Scope, Send

from collector.directory import Directory
from collector.doors.bearer import authenticated
from collector.doors.body import Headers, respond, retry_after
from collector.doors.wire import refusal_json
from store.errors import Refused, Unavailable

STATUS = {"unknown_token": 401, "unsuitable_token": 403}


class AppsDoor:
    """The ASGI application behind GET /api/v1/apps."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = dict(scope["headers"])
        try:
            body = await self._apps(request.get(b"authorization", b""), time.monotonic())
        except Refused as refused:
            status = STATUS[refused.reason]
            headers: Headers = [(b"www-authenticate", b"Bearer")] if status == 401 else []
            await respond(send, status, [*headers, _PRIVATE], refusal_json(refused))
        except Unavailable as error:
            await respond(send, 503, [retry_after(error)], b'{"reason":"unavailable"}')
        else:
            await respond(send, 200, [_PRIVATE], body)

    async def _apps(self, authorization: bytes, asked: float) -> bytes:
        token = await authenticated(self._directory, authorization, "read", asked)
        apps = self._directory.apps_of(token.partner_key) if token.partner_key else []
        told = [
            {"app": app.app_key, "name": app.name, "pluginId": app.plugin_id, "partnerId": app.partner_id}
            for app in apps
            if token.app_key in (None, app.app_key)
        ]
        return msgspec.json.encode({"apps": told})


_PRIVATE = (b"cache-control", b"no-store")
