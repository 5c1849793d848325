"""Deliveries: how old the oldest pending event is, where every event of an app went, and each attempt's answer."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.details import State, paused
from collector.portal.frame import EDITORS, VIEWERS, NotFound, Page, Portal, read_form, see, who
from collector.portal.reading import given, runs, stores
from collector.portal.words import OUTCOMES, reason
from store import destinations, ledger, ledger_pages, log
from store.accounts import Account
from store.destinations import Action, Course
from store.ledger_pages import PAGE
from store.ledger_pages import Request as Attempted
from store.postbacks import delivering, targets
from store.registry import App

FATES = ("accepted", "pending", "parked", "suppressed", "expired")
WIDTH = 1_000.0  # of the picture
LEAST = 6.0  # of a term that is there at all


class Term(NamedTuple):
    """One term of the balance: how many, why, and where it lies in the picture."""

    fate: str
    n: int
    reasons: list[tuple[str, int]]
    x: float
    width: float


class Balance(NamedTuple):
    """One destination's sum. `course_id` is the destination's id."""

    name: str
    course_id: str
    collected: int
    terms: list[Term]
    pending_since: int | None
    attempts: int
    last_success: int | None
    difference: int
    states: list[State]
    resumed: bool


class Run(NamedTuple):
    """A run of the exporter, with those of its attempts that the page shows."""

    run_id: str
    began_at: int | None
    ended_at: int | None
    attempts: list[Attempted]


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/deliveries"""
    app = await own_app(portal, request)
    now = portal.now()
    courses = await destinations.courses(portal.registry, replaced=True, of=[app.app_key])
    names = {course.course_id: title(course) for course in courses}
    wanted = given(request, "destination") if given(request, "destination") in names else None
    outcome = given(request, "outcome") if given(request, "outcome") in OUTCOMES else None
    run, before = given(request, "run") or None, given(request, "before") or ledger_pages.LAST
    resumed = await resuming(portal, app)
    async with portal.looking:
        standing = await portal.accounts.look(now, [app.app_key])
    async with stores(portal, request) as opened:
        found, cursors, parked = [], {}, 0
        if opened.ledger is not None:
            found = await ledger_pages.attempts(opened.ledger, app.app_key, wanted, outcome, run, before, PAGE + 1)
            cursors = await ledger.some_cursors(opened.ledger, [(app.app_key, each) for each in names])
            by_course = await ledger_pages.parked_by_reason(opened.ledger, app.app_key)
            parked = sum(sum(reasons.values()) for reasons in by_course.values())
        anything = await log.received_after(opened.log, app.app_key, 0)
        fares = await delivering.health(opened.ledger, app.app_key) if opened.ledger else {}
    every = await targets.of_apps(portal.registry, [app.app_key])
    by_name = {c.destination.name: c.course_id for c in courses if _is_live(c)}
    balances = []
    for account in standing.accounts:
        course_id = by_name.get(account.destination, "")
        states = paused(cursors.get((app.app_key, course_id)), now)
        balances.append(balance(account, course_id, states, course_id in resumed))
    waiting = [b.pending_since for b in balances if b.pending_since is not None]
    filters = {"destination": wanted, "outcome": outcome, "run": run}
    values = {
        "app": app,
        "balances": balances,
        "oldest": now - min(waiting) if waiting else None,
        "oldest_at": min(waiting) if waiting else None,
        "last_run": standing.last_run,
        "names": names,
        "runs": await _by_run(portal, found[:PAGE]),
        "older": older({**filters, "before": found[PAGE - 1].attempt.batch_id}) if len(found) > PAGE else "",
        "newest": older(filters) if given(request, "before") else None,
        "filters": filters,
        "outcomes": OUTCOMES,
        "parked": parked,
        "collected_anything": anything is not None,
        "disabled": sum(bool(fares[t.keys].disabled_at) for t in every if t.keys in fares),
        "asked": given(request, "done") == "asked",
    }
    return portal.page(request, "deliveries.html", values)


def _is_live(course: Course) -> bool:
    return course.destination.active and course.course_id == course.destination.destination_id


def title(course: Course) -> str:
    """What a course is called on the pages."""
    d = course.destination
    if course.course_id != d.destination_id:
        return f"{d.name}, replay {course.course_id[:13]}"
    return d.name if d.active else f"{d.name}, replaced ({d.destination_id[:8]})"


def older(values: dict[str, str | None]) -> str:
    """The query of another view of the same page."""
    return urlencode({name: value for name, value in values.items() if value})


def balance(account: Account, course_id: str, states: list[State], resumed: bool) -> Balance:
    """A destination's sum as terms of a picture: each as wide as its share, and none that is there invisible."""
    sums = {fate: sum(n for (each, _), n in account.fates.items() if each == fate) for fate in FATES}
    sums["pending"] = account.pending
    collected = sum(sums.values()) + account.difference
    present = [fate for fate in FATES if sums[fate] > 0]
    room, whole = WIDTH - LEAST * len(present), sum(sums[fate] for fate in present) or 1
    terms, x = [], 0.0
    for fate in FATES:
        width = LEAST + room * sums[fate] / whole if fate in present else 0.0
        reasons = [(reason(why), n) for (each, why), n in sorted(account.fates.items()) if each == fate and why and n]
        terms.append(Term(fate, sums[fate], reasons, round(x, 1), round(width, 1)))
        x += width
    tried = sum(account.attempts.values())
    return Balance(
        account.destination,
        course_id,
        collected,
        terms,
        account.oldest_pending,
        tried,
        account.last_success,
        account.difference,
        states,
        resumed,
    )


async def _by_run(portal: Portal, found: list[Attempted]) -> list[Run]:
    """Attempts as they come, under the run that made them."""
    async with runs(portal) as db:
        known = await ledger_pages.runs(db, [each.attempt.run_id for each in found]) if db and found else {}
    grouped = groupby(found, key=lambda each: each.attempt.run_id)
    made = []
    for run_id, attempts in grouped:
        began_at, ended_at = known.get(run_id, (None, None))
        made.append(Run(run_id, began_at, ended_at, list(attempts)))
    return made


async def asked(portal: Portal, app: App) -> dict[tuple[str, int], Action]:
    """What was asked of the exporter for this app and is not done yet: by course and seq, the newest word."""
    wishes = await destinations.asked(portal.registry, app.app_key)
    async with runs(portal) as db:
        done = await ledger_pages.done(db, [wish.intent_id for wish in wishes]) if db and wishes else set()
    return {(wish.destination_id, wish.seq): wish.action for wish in reversed(wishes) if wish.intent_id not in done}


async def resuming(portal: Portal, app: App) -> set[str]:
    """The courses that are tried again with the next run."""
    return {course_id for (course_id, _), action in (await asked(portal, app)).items() if action == "resume"}


async def resume(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/deliveries/resume"""
    app = await own_app(portal, request)
    course_id = (await read_form(request)).get("course", "")
    if course_id not in {each.course_id for each in await destinations.courses(portal.registry, of=[app.app_key])}:
        raise NotFound
    if course_id not in await resuming(portal, app):
        actor = who(request).person.email
        await destinations.ask(portal.writer, portal.now(), app.app_key, course_id, "resume", [0], actor)
    return see(f"/apps/{app.app_key}/deliveries?done=asked")


PAGES = [
    Page("/apps/{app_key}/deliveries", show, VIEWERS),
    Page("/apps/{app_key}/deliveries/resume", resume, EDITORS, "POST"),
]
