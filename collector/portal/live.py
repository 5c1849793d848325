"""Live events: what came in for one app, unsampled, the newest first, with what was refused beside it.

Of an event that its visitor did not agree to share, a partner sees that there was one, when, and why it goes nowhere;
its ids and its content are not shown. A rejected message itself is shown to operators alone: the doors judge
a visitor's agreement only in messages that they can read.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.frame import OPERATORS, VIEWERS, Page, Portal, who
from collector.portal.reading import Stores, given, stores
from collector.portal.words import EVENTS
from store import destinations, log, looking
from store.log import NO_END
from store.looking import Found, Wanted
from store.registry import App

REJECTIONS = 20
FOLLOWED = 200  # events that one look at what is new takes


class Asked:
    """What the address asks for: a text, an event's name, and where to go on."""

    def __init__(self, request: Request) -> None:
        self.text = given(request, "q")
        self.event = given(request, "event") if given(request, "event") in EVENTS else ""
        self.before = _whole(given(request, "before"), NO_END)
        self.after = _whole(given(request, "after"), 0)

    @property
    def wanted(self) -> Wanted:
        """A name that was typed is looked for as one."""
        typed = next((name for name, said in EVENTS.items() if self.text.lower() in (name, said.lower())), "")
        names = frozenset(filter(None, (self.event, typed)))
        return Wanted("" if typed else self.text, names)

    def query(self, **changed: Any) -> str:
        """The same with something else changed, for links."""
        values = {"q": self.text, "event": self.event} | changed
        return urlencode({name: value for name, value in values.items() if value not in ("", None)})


def _whole(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else otherwise


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/live"""
    app, asked = await own_app(portal, request), Asked(request)
    async with stores(portal, request, with_ledger=False) as opened:
        settled = await log.settled(opened.log)
        found = await _find(portal, opened, app, asked, min(asked.before, settled + 1))
        rejected = await looking.rejections(opened.log, app.app_key, limit=REJECTIONS)
    values = {
        "app": app,
        "asked": asked,
        "events": EVENTS,
        "found": found,
        "newest": settled,
        "rejected": rejected,
        "first_page": asked.before == NO_END,
        "sees_bodies": who(request).may(OPERATORS),
    }
    return portal.page(request, "live.html", values)


async def news(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/live/news: the rows past `after`, for the script that follows along"""
    app, asked = await own_app(portal, request), Asked(request)
    async with stores(portal, request, with_ledger=False) as opened:
        settled = await log.settled(opened.log)
        found = Found([], None, 0, None)
        if settled > asked.after:
            found = await looking.events(opened.log, app, asked.wanted, settled + 1, asked.after, FOLLOWED)
        rejected = await looking.rejections(opened.log, app.app_key, limit=REJECTIONS)
    values = {
        "app": app,
        "found": found,
        "newest": settled,
        "rejected": rejected,
        "sees_bodies": who(request).may(OPERATORS),
    }
    return portal.page(request, "_news.html", values)


async def _find(portal: Portal, opened: Stores, app: App, asked: Asked, before: int) -> Found:
    """A message id is looked up, whichever end it was read at; all else is looked for among the newest events."""
    if asked.text and not asked.event and asked.before == NO_END:
        event = await looking.by_message_id(opened.log, app, asked.text)
        if event is None:
            courses = await destinations.courses(portal.registry, replaced=True, of=[app.app_key])
            ids_from = {course.ids_from for course in courses}
            event = await looking.by_sent_id(opened.log, app, asked.text, ids_from, before)
        if event is not None:
            return Found([event], None, 1, event.received_at)
    return await looking.events(opened.log, app, asked.wanted, before)


PAGES = [
    Page("/apps/{app_key}/live", show, VIEWERS),
    Page("/apps/{app_key}/live/news", news, VIEWERS),
]
