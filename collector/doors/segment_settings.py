"""What the browser's client of Segment asks for when it starts: where to send, and that nothing else is to be loaded.

The surprising thing is the host. Without FOOTFALL_PUBLIC_URL it is the one that the request names, which anybody may
write: it counts only when it looks like a host, and then no cache may keep the answer for another.
"""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.types import Receive, Scope, Send

from collector.directory import Directory
from collector.doors.body import Headers, respond, retry_after
from collector.doors.segment import ANY_PAGE
from collector.doors.segment_request import UNAVAILABLE, refusal
from store.errors import Refused, Unavailable

_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_LOOPBACK = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?")


class SegmentSettings:
    """GET /v1/projects/{key}/settings"""

    def __init__(self, directory: Directory, public_url: str | None) -> None:
        self._directory = directory
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key, kept = scope["path_params"]["key"], b"public, max-age=300" if self._public_url else b"no-store"
        try:
            app = await self._directory.find_app_by("ingest_key", key, time.monotonic())
            if app is None:
                raise Refused("unknown_key", "no app has this write key")
            protocol, host = address(self._public_url, dict(scope["headers"]).get(b"host", b""))
        except Refused as refused:
            status = 404 if refused.reason == "unknown_key" else 400
            await respond(send, status, [*ANY_PAGE, _NOT_KEPT], refusal(refused))
        except Unavailable as error:
            await respond(send, 503, [*ANY_PAGE, _NOT_KEPT, retry_after(error)], UNAVAILABLE)
        else:
            headers: Headers = [*ANY_PAGE, (b"cache-control", kept)]
            await respond(send, 200, headers, msgspec.json.encode(settings(key, protocol, host)))


_NOT_KEPT = (b"cache-control", b"no-store")


def address(public_url: str | None, host: bytes) -> tuple[str, str]:
    """Protocol and host of ourselves, as a page is to call us. Raises Refused."""
    if public_url is not None:
        parts = urlsplit(public_url)
        return parts.scheme, f"{parts.netloc}{parts.path}"
    named = host.decode("latin-1").lower()
    if not _HOST.fullmatch(named):
        raise Refused("invalid", "the request names no host")
    return "http" if _LOOPBACK.fullmatch(named) else "https", named


def settings(key: str, protocol: str, host: str) -> dict[str, Any]:
    """No plan, no integration of another's, no numbers of the client's own: nothing that it would load code for."""
    there = f"{host}/v1"
    return {
        "integrations": {"Segment.io": {"apiKey": key, "apiHost": there, "protocol": protocol}},
        "metrics": {"sampleRate": 0, "host": there, "protocol": protocol},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }
