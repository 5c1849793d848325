"""The portal's pages of numbers for a partner's program: the same parameters, the same JSON.

What a page passes over because it cannot be read is refused here, with the reason: nobody looks at a program's answer
and wonders.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from collector.doors.read import Callers, Question
from collector.portal.frame import NotFound, Portal
from collector.portal.numbers.counted import counted
from collector.portal.numbers.document import document
from collector.portal.numbers.page import Numbers
from collector.portal.pages import NUMBERS
from collector.portal.view import COMPARED, FIRST_DAY, MOST_DAYS, MOST_FILTERS, PERIODS, View, asked
from store.errors import Refused
from store.rollups.facets import FILTERS
from store.rollups.stored import Scope

ONCE = ("period", "from", "to", "tz", "compare")
LONGEST = 200  # of a parameter of a page's own


class PageNumbers:
    """GET /api/v1/apps/{app_key}/numbers/{page} and GET /api/v1/partners/{partner_key}/numbers/{page}; with the name of
    a page, that one's own path."""

    def __init__(self, callers: Callers, portal: Portal, name: str = "") -> None:
        self._callers = callers
        self._portal = portal
        self._name = name

    async def __call__(self, question: Question) -> Any:
        page = NUMBERS.get(self._name or question.path["page"])
        if page is None:
            raise Refused("unknown_page", f"the pages of numbers are {', '.join(NUMBERS)}")
        app_keys = await self._app_keys(question)
        view, more = wanted(question, page, self._portal.now())
        scope = Scope(question.token.partner_key or "", app_keys, view.filters)
        async with self._portal.readers.lend(page.nature, partner_key=scope.partner_key) as lent:
            try:
                values = await page.values(lent.get(page.nature), scope, view, more)
            except NotFound:
                raise Refused("not_found", "there is nothing of what the parameters name") from None
        return document(page.name, scope, view, more, await counted(self._portal), page.tables(values))

    async def _app_keys(self, question: Question) -> tuple[str, ...]:
        """The app in the path, or all of the partner in it. Raises Refused."""
        if "app_key" in question.path:
            return ((await self._callers.own_app(question)).app_key,)
        partner_key = question.path["partner_key"]
        if question.token.partner_key != partner_key:
            raise Refused("unknown_partner", "there is no partner with this key, or none that this token may read")
        if question.token.app_key is not None:
            raise Refused("unsuitable_token", "this token is for one app: ask for its numbers")
        return tuple(sorted(app.app_key for app in self._callers.directory.apps_of(partner_key)))


def wanted(question: Question, page: Numbers, now: int) -> tuple[View, dict[str, str]]:
    """The view that is asked for, and the page's own parameters. Raises Refused."""
    question.refuse_others(*ONCE, *page.more, often=() if page.in_utc else ("f",))
    filters = [value for name, value in question.query if name == "f"]
    told = {name: value for name, value in question.query if name != "f"}
    view = asked(told, filters, now)
    _check_choices(told, view)
    _check_days(told, view)
    for text in filters:
        if tuple(text.split(":", 1)) not in view.filters:
            raise Refused("invalid", f"f is facet:value, at most {MOST_FILTERS} of them; facets: {', '.join(FILTERS)}")
    return page.view(told, filters, now), {name: _own(page, name, told.get(name, "")) for name in page.more}


def _check_choices(told: Mapping[str, str], view: View) -> None:
    if told.get("tz", view.zone) != view.zone:
        raise Refused("invalid", "tz is the name of a time zone, as Europe/Berlin")
    if told.get("period", view.period) not in PERIODS:
        raise Refused("invalid", f"period is one of {', '.join(PERIODS)}")
    if told.get("compare", view.compared) != view.compared:
        raise Refused("invalid", f"compare is one of {', '.join(COMPARED)}")


def _check_days(told: Mapping[str, str], view: View) -> None:
    given = [told[name] for name in ("from", "to") if name in told]
    if told.get("period") != "custom":
        if given:
            raise Refused("invalid", "from and to go with period=custom")
        return
    if view.period != "custom":
        raise Refused("invalid", "period=custom needs from and to, two days as 2026-03-29, and not only days to come")
    if view.first != min(map(date.fromisoformat, given)):
        raise Refused("invalid", f"at most {MOST_DAYS} days, and none before {FIRST_DAY}")


def _own(page: Numbers, name: str, text: str) -> str:
    """A parameter of the page's own; '' when it is not given."""
    if len(text) > LONGEST or not text.isprintable():
        raise Refused("invalid", f"{name} has at most {LONGEST} characters, all of them printable")
    if text and text not in page.choices.get(name, (text,)):
        raise Refused("invalid", f"{name} is one of {', '.join(page.choices[name])}")
    return text.strip()
