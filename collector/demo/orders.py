"""From a call to action to a real install: the page that asks, the act that is reported, the page that explains.

The surprising thing: the three steps share one address for asking and acting, so that a reload never installs twice.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from collector.demo import back_end, people
from collector.demo.listing import App
from collector.demo.loopback import Refused, Unavailable
from collector.demo.stage import Demo, listed_app, read_form, render, visitor

OUTCOMES = ("installs", "app-requests", "uninstalls")


async def ask(demo: Demo, request: Request) -> Response:
    """GET …/get: say what will happen, and ask who you are if nobody is signed in."""
    return render(demo, request, "get.html", {"app": listed_app(request), "problem": ""})


async def act(demo: Demo, request: Request) -> Response:
    """POST …/get: install or request, as the app is priced."""
    app = listed_app(request)
    return await _report(demo, request, app, back_end.door_for(app))


async def uninstall(demo: Demo, request: Request) -> Response:
    """POST …/uninstall."""
    return await _report(demo, request, listed_app(request), "uninstalls")


async def done(demo: Demo, request: Request) -> Response:
    """GET …/done?act=installs: what happened and what happens next."""
    app = listed_app(request)
    outcome = request.query_params.get("act", "")
    if outcome not in OUTCOMES:
        outcome = back_end.door_for(app)
    return render(demo, request, "done.html", {"app": app, "outcome": outcome})


async def _report(demo: Demo, request: Request, app: App, door: back_end.Door) -> Response:
    person = visitor(demo, request) or people.BY_KEY.get((await read_form(request)).get("person", ""))
    if person is None:
        return render(demo, request, "get.html", {"app": app, "problem": "Choose who you are first."}, 422)
    act = back_end.report(app, person, back_end.anonymous_id(request.cookies.get("footfall_id", "")), demo.now())
    try:
        await run_in_threadpool(back_end.send, demo.public_url, demo.api_token, door, act)
    except (Refused, Unavailable) as problem:
        reason = f"The collector did not take it: {problem}"
        return render(demo, request, "get.html", {"app": app, "problem": reason}, 502)
    return remember(demo, request, person, RedirectResponse(f"{app.path}/done?act={door}", 303))


def remember(demo: Demo, request: Request, person: people.Person, response: Response) -> Response:
    """The same response, with this person signed in."""
    response.set_cookie(
        people.COOKIE,
        people.seal(person, demo.session_secret),
        path="/demo",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )
    return response
