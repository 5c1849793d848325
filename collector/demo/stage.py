"""What the demo's pages are given, and the small acts they share: find the listing, read a form, render a page.

The surprising thing: forms are parsed here by hand. They are a few short fields, and that spares a dependency.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import jinja2
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse

from collector.demo import people
from collector.demo.catalogue import BY_PLUGIN_ID
from collector.demo.listing import App

_MOST_FORM_BYTES = 8192
_HEADERS = {
    # no-store would keep the page out of the back-forward cache, which listings should be able to use.
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}
_LOCAL_PATH = re.compile(r"/demo(?:[/?][^\\\s]*)?")


def _now() -> datetime:
    return datetime.now(UTC)


class Demo(Struct, frozen=True):
    """Everything the pages need from the launcher.

    `public_url` is the collector's and `segment_url` the fake Segment's, both without a final slash. `api_token` opens
    the back end door. `sign_visitor(account_id, app_key)` makes the token for the snippet's `data-user`.
    """

    public_url: str
    segment_url: str
    api_token: str
    session_secret: str
    sign_visitor: Callable[[str, str], str]
    templates: jinja2.Environment
    now: Callable[[], datetime] = _now


def render(
    demo: Demo, request: Request, name: str, values: Mapping[str, object] | None = None, status: int = 200
) -> HTMLResponse:
    """One page, with who is signed in and where we are for the header."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    shared = {"person": visitor(demo, request), "people": people.PEOPLE, "here": here}
    page = demo.templates.get_template(f"demo/{name}").render(shared | dict(values or {}))
    return HTMLResponse(page, status, _HEADERS)


def visitor(demo: Demo, request: Request) -> people.Person | None:
    """Who is signed in at the marketplace, if anybody."""
    return people.unseal(request.cookies.get(people.COOKIE, ""), demo.session_secret)


class NoSuchListing(Exception):
    """The path names a plugin id that nobody has."""


def listed_app(request: Request) -> App:
    """The app named in the path. Raises `NoSuchListing` for an unknown plugin id."""
    try:
        return BY_PLUGIN_ID[request.path_params["plugin_id"]]
    except KeyError:
        raise NoSuchListing from None


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small form. Raises 413 when it is not small."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            raise HTTPException(413, "the form is too large")
    return dict(parse_qsl(body.decode("utf-8", "replace")))


def local_path(wanted: str) -> str:
    """Where to go after signing in: the wanted page of the demo, or its index."""
    return wanted if _LOCAL_PATH.fullmatch(wanted) else "/demo"
