"""Replays of one app: a dry run that counts, asking for one, how far each has come, and stopping it.

A dry run counts every event of its window, so a long one takes its time: about a second for a million events.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from collector.portal.apps import own_app
from collector.portal.frame import EDITORS, VIEWERS, Page, Portal, read_form, see, who
from collector.portal.reading import stores
from collector.portal.words import sentence
from store import destinations, ledger, replaying
from store.beginnings import moment, seq_at
from store.destinations import Destination, Replay
from store.errors import ConfigError
from store.ledger import Cursor
from store.log import NO_END
from store.registry import App
from store.replaying import Plan


class Listed(NamedTuple):
    """A replay, the name of its destination, and how far it has come in words."""

    replay: Replay
    destination: str
    state: str
    may_stop: bool


async def show(portal: Portal, request: Request) -> Response:
    """GET /apps/{app_key}/deliveries/replays"""
    app = await own_app(portal, request)
    given = dict(request.query_params)
    live = await destinations.active(portal.registry, [app.app_key])
    planned, error = None, ""
    if given.get("from"):
        try:
            planned, _ = await _plan(portal, app, given)
        except ConfigError as wrong:
            error = f"{sentence(str(wrong))}."
    return await _page(portal, request, app, live, given, planned, error)


async def _page(
    portal: Portal,
    request: Request,
    app: App,
    live: list[Destination],
    given: dict[str, str],
    planned: Plan | None,
    error: str,
) -> Response:
    asked = await destinations.replays(portal.registry, [app.app_key])
    names = {d.destination_id: d.name for d in await destinations.destinations(portal.registry, [app.app_key])}
    async with stores(portal, request) as opened:
        keys = [(app.app_key, replay.replay_id) for replay in asked]
        cursors = await ledger.some_cursors(opened.ledger, keys) if opened.ledger else {}
    active = {d.destination_id for d in live}
    listed = [
        _listed(each, names, active, cursors.get((app.app_key, each.replay_id))) for each in sorted(asked, key=_newest)
    ]
    values: dict[str, Any] = {
        "app": app,
        "live": live,
        "given": given,
        "plan": planned,
        "error": error,
        "listed": listed,
        "done": given.get("done", ""),
    }
    return portal.page(request, "replays.html", values, 422 if error else 200)


def _newest(replay: Replay) -> int:
    return -int(replay.replay_id.replace("-", ""), 16)


def _listed(replay: Replay, names: dict[str, str], active: set[str], cursor: Cursor | None) -> Listed:
    name = names.get(replay.destination_id, "")
    if replay.cancelled:
        return Listed(replay, name, "stopped", False)
    if replay.destination_id not in active:
        return Listed(replay, name, "ended: its destination was replaced or removed", False)
    if cursor is None:
        return Listed(replay, name, "begins with the next run", True)
    if cursor.seq >= replay.last_seq:
        return Listed(replay, name, "everything was passed", False)
    return Listed(replay, name, "under way", True)


async def _plan(portal: Portal, app: App, given: dict[str, str]) -> tuple[Plan, Destination]:
    """What a replay would send. Raises ConfigError for a date that is none, or a window that is empty."""
    to = await destinations.named(portal.registry, app.app_key, given.get("destination", ""))
    where = portal.settings.where
    first = await seq_at(where, moment(given.get("from", "")))
    last = await seq_at(where, moment(_day_after(given["to"]))) if given.get("to") else NO_END
    if last < first:
        raise ConfigError("the last day lies before the first")
    plan = await replaying.plan(where, app.app_key, first, last, bool(given.get("new_ids")), portal.now())
    if not plan.events:
        raise ConfigError("nothing was collected in that time")
    return plan, to


def _day_after(text: str) -> str:
    """The last day of a window is a part of it."""
    try:
        return (date.fromisoformat(text) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        raise ConfigError(f"{text[:40]} is no date such as 2026-02-16") from None


async def ask(portal: Portal, request: Request) -> Response:
    """POST /apps/{app_key}/deliveries/replays"""
    app = await own_app(portal, request)
    fields = await read_form(request)
    actor = who(request).person.email
    try:
        if fields.get("cancel"):
            replay_id = fields["cancel"]
            await destinations.cancel_replay(portal.writer, portal.now(), app.app_key, replay_id, actor)
            return see(f"/apps/{app.app_key}/deliveries/replays?done=stopped")
        plan, to = await _plan(portal, app, fields)
        await destinations.add_replay(
            portal.writer, portal.now(), to, plan.first_seq, plan.last_seq, plan.new_ids, actor
        )
    except ConfigError as wrong:
        live = await destinations.active(portal.registry, [app.app_key])
        said = f"{sentence(str(wrong))}."
        return await _page(portal, request, app, live, fields, None, said)
    return see(f"/apps/{app.app_key}/deliveries/replays?done=asked")


PAGES = [
    Page("/apps/{app_key}/deliveries/replays", show, VIEWERS),
    Page("/apps/{app_key}/deliveries/replays", ask, EDITORS, "POST"),
]
