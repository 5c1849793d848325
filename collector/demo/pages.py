"""The demo marketplace's pages: index, listing, live view, and signing in as somebody.

The surprising thing: every tab of a listing is an address of its own and all panels are in every answer. The server
shows the right one without a script; with a script the switch happens in place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlencode

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from collector.demo import orders, people, received
from collector.demo.ads import ADS
from collector.demo.catalogue import APPS, PARTNERS
from collector.demo.listing import TABS, App, calls_to_action
from collector.demo.loopback import Refused, Unavailable
from collector.demo.stage import Demo, NoSuchListing, listed_app, local_path, read_form, render, visitor

__all__ = ["Demo", "routes"]

Page = Callable[[Demo, Request], Awaitable[Response]]


def routes(demo: Demo) -> list[Route]:
    """Every address under /demo, in reading order."""

    def page(path: str, handler: Page, *methods: str) -> Route:
        return Route(path, partial(_answer, demo, handler), methods=methods or ("GET",))

    app = "/demo/apps/{plugin_id}/{slug}"
    return [
        page("/demo", index),
        page("/demo/sign-in", sign_in, "POST"),
        page("/demo/sign-out", sign_out, "POST"),
        page("/demo/live", live),
        page("/demo/live.json", live_json),
        page(app, listing),
        page(f"{app}/get", orders.ask),
        page(f"{app}/get", orders.act, "POST"),
        page(f"{app}/done", orders.done),
        page(f"{app}/uninstall", orders.uninstall, "POST"),
        page("/demo/{rest:path}", nothing_here),
    ]


async def _answer(demo: Demo, page: Page, request: Request) -> Response:
    try:
        return await page(demo, request)
    except NoSuchListing:
        return await nothing_here(demo, request)


async def index(demo: Demo, request: Request) -> Response:
    """GET /demo: what this is, campaigns to arrive from, every listing."""
    return render(demo, request, "index.html", {"apps": APPS, "ads": ADS})


async def sign_in(demo: Demo, request: Request) -> Response:
    """POST /demo/sign-in: be one of the demo's people from now on."""
    fields = await read_form(request)
    back = RedirectResponse(local_path(fields.get("next", "")), 303)
    person = people.BY_KEY.get(fields.get("person", ""))
    return orders.remember(demo, request, person, back) if person else back


async def sign_out(demo: Demo, request: Request) -> Response:
    """POST /demo/sign-out."""
    back = RedirectResponse(local_path((await read_form(request)).get("next", "")), 303)
    back.delete_cookie(people.COOKIE, path="/demo")
    return back


async def listing(demo: Demo, request: Request) -> Response:
    """GET one listing. A wrong slug goes to the right one, an unknown plugin id is not found."""
    app = listed_app(request)
    if request.path_params["slug"] != app.slug:
        return RedirectResponse(f"{app.path}?{request.url.query}" if request.url.query else app.path, 307)
    person = visitor(demo, request)
    token = demo.sign_visitor(person.account_id, app.key) if person else ""
    values = {"app": app, "tabs": TABS, "calls": calls_to_action(app), "token": token}
    return render(demo, request, "listing.html", values | _choices(app, request))


def _choices(app: App, request: Request) -> dict[str, object]:
    query = request.query_params
    hosting = query["hosting"] if query.get("hosting") in app.hosting else app.hosting[0]
    tab = query["tab"] if query.get("tab") in TABS else "overview"
    consent = "required" if query.get("consent") == "required" else ""

    def href(**changed: str) -> str:
        chosen = {"hosting": hosting, "tab": tab, "consent": consent} | changed
        return f"{app.path}?{urlencode({name: value for name, value in chosen.items() if value})}"

    return {"hosting": hosting, "tab": tab, "consent": consent, "href": href}


async def live(demo: Demo, request: Request) -> Response:
    """GET /demo/live: what each partner's Segment source received, newest first."""
    try:
        landed, following = await run_in_threadpool(received.newest, demo.segment_url)
        problem = ""
    except (Refused, Unavailable) as trouble:
        landed, following, problem = [], 0, str(trouble)
    columns = {"partners": PARTNERS, "apps": APPS, "kinds": received.KINDS}
    news = {"landed": landed[::-1], "following": following, "problem": problem}
    return render(demo, request, "live.html", columns | news)


async def live_json(demo: Demo, request: Request) -> Response:
    """GET /demo/live.json?since=N: what landed after the first N messages, oldest first."""
    since = request.query_params.get("since", "0")
    if not (since.isascii() and since.isdigit() and len(since) < 12):
        return JSONResponse({"error": "since must be a whole number"}, 400)
    try:
        landed, following = await run_in_threadpool(received.after, demo.segment_url, int(since))
    except (Refused, Unavailable) as problem:
        return JSONResponse({"error": str(problem)}, 503, {"Retry-After": "2"})
    body = msgspec.json.encode({"next": following, "landed": landed})
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


async def nothing_here(demo: Demo, request: Request) -> Response:
    """Any other address under /demo, and listings that do not exist."""
    return render(demo, request, "not_found.html", {}, 404)
