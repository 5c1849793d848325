"""Conversions: the installs of an app with what was decided of each; and one of them, with why.

What is explained is what was kept when it was decided, so that the page says the same after the events are gone.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from attribution import decision as kept
from attribution.decision import Decision
from attribution.models import apportioned, credits_of
from collector.portal import attributed
from collector.portal.apps import own_app
from collector.portal.frame import VIEWERS, NotFound, Page, Portal
from collector.portal.numbers.attribution import MODELS
from collector.portal.numbers.money import decimal
from collector.portal.reading import given, stores
from store import looking
from store.attribution import reading
from store.attribution.reading import PAGE, Install, Listing, Made, Wanted
from store.event import Event
from store.log import NO_END
from store.registry import App

WHOLE_PERCENT = 100_00  # in hundredths


class Line(NamedTuple):
    """One decision of a conversion's history."""

    made: Made
    said: str
    cause: str


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/attribution/conversions"""
    app = await own_app(portal, request)
    outcome, campaign = given(request, "outcome"), given(request, "campaign")
    wanted = Wanted(outcome=outcome if outcome in attributed.OUTCOMES else "", campaign_key=campaign)
    async with stores(portal, request) as opened:
        found: list[Install] = []
        if opened.ledger is not None:
            found = await reading.installs(opened.ledger, _listing(app), wanted, _before(request), PAGE + 1)
    shown = found[:PAGE]
    filters = {"outcome": wanted.outcome, "campaign": campaign}
    older = ""
    if len(found) > PAGE:
        last = shown[-1]
        before = f"{last.converted_at}-{last.seq}"
        older = urlencode({name: text for name, text in filters.items() if text} | {"before": before})
    values = {
        "app": app,
        "installs": shown,
        "why": {each.seq: _reason(each) for each in shown},
        "filters": filters,
        "older": older,
        "outcomes": attributed.OUTCOMES,
        "told_by": attributed.TOLD_BY,
        "is_first": not given(request, "before"),
        "began": opened.ledger is not None,
    }
    return portal.page(request, "conversions.html", values)


def _listing(app: App) -> Listing:
    return Listing(app.app_key, app.partner_key)


def _before(request: Request) -> tuple[int, int]:
    """What the page before ended with."""
    moment, _, seq = given(request, "before").partition("-")
    whole = all(text.isascii() and text.isdigit() and len(text) < 19 for text in (moment, seq))
    return (int(moment), int(seq)) if whole else (NO_END, NO_END)


def _reason(install: Install) -> str:
    """In a few words, for a list."""
    if install.outcome == "attributed":
        return attributed.LEVELS.get(install.reason, install.reason)
    if install.outcome == "organic" and install.reason != "no_touchpoint":
        return attributed.LOST.get(install.reason, install.reason)
    if install.outcome == "reinstall":
        return attributed.REINSTALLED.get(install.reason, "").removeprefix(", ")
    return "no campaign before it" if install.outcome == "organic" else ""


async def one(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/attribution/conversions/{seq}"""
    app = await own_app(portal, request)
    seq = request.path_params["seq"]
    if not (seq.isascii() and seq.isdigit() and len(seq) < 19):
        raise NotFound
    async with stores(portal, request) as opened:
        install = await reading.install(opened.ledger, _listing(app), int(seq)) if opened.ledger else None
        if install is None or opened.ledger is None:
            raise NotFound
        made = await reading.history(opened.ledger, app.app_key, install.seq)
        decisions = [kept.decode(each.document) for each in made]
        if not decisions:
            raise NotFound
        wanted = {install.seq, *(each.cause_seq for each in made), *_seqs(decisions[0])}
        there = {event.seq: event for event in await looking.some(opened.log, app, sorted(wanted - {0}))}
        first = await looking.by_message_id(opened.log, app, decisions[0].first) if decisions[0].first else None
    return portal.page(request, "conversion.html", _values(app, install, made, decisions, there, first))


def _seqs(decision: Decision) -> set[int]:
    """The events that the evidence is from."""
    winner = {decision.winner.seq} if decision.winner else set()
    return winner | {each.touchpoint.seq for each in decision.influencers}


def _values(
    app: App,
    install: Install,
    made: list[Made],
    decisions: list[Decision],
    there: dict[int, Event],
    first: Event | None,
) -> dict[str, Any]:
    decision = decisions[0]
    event = there.get(install.seq)
    lines = [
        Line(each, said, attributed.CAUSES[each.cause])
        for each, said in zip(made, attributed.changed(decisions), strict=True)
    ]
    return {
        "app": app,
        "install": install,
        "decision": decision,
        "campaign": attributed.campaign_words(decision.winner.campaign) if decision.winner else "",
        "parts": attributed.parts_of(decision.winner.campaign) if decision.winner else [],
        "why": attributed.why(decision, install.converted_at),
        "moments": attributed.in_order(decision, install.converted_at),
        "said": attributed.campaign_words,
        "history": lines,
        "there": there,
        "visitor": event.anonymous_id if event is not None and event.suppressed is None else "",
        "first": first,
        "models": MODELS,
        "credits": _credits(decision),
        "outcomes": attributed.OUTCOMES,
        "told_by": attributed.TOLD_BY,
        "origins": attributed.ORIGINS,
        "kinds": attributed.KINDS,
        "set_by": attributed.SET_BY,
    }


def _credits(decision: Decision) -> list[tuple[str, list[str]]]:
    """What each model gives to each campaign on the way, in percent, where there is more than one."""
    by_model = credits_of(decision)
    keys = list(dict.fromkeys(step.campaign_key for step in decision.path))
    if len(keys) < 2:
        return []
    shares = {model: apportioned(WHOLE_PERCENT, [by_model[model].get(key, 0) for key in keys]) for model in MODELS}
    return [(key, [decimal(shares[model][nth], 2) for model in MODELS]) for nth, key in enumerate(keys)]


PAGES = [
    Page("/apps/{app_key}/attribution/conversions", show, VIEWERS),
    Page("/apps/{app_key}/attribution/conversions/{seq}", one, VIEWERS),
]
