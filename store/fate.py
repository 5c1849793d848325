"""What became of one event: received when and by which door, and for every destination in which batch, with what
answer, or why not."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from store import destinations, ids, ledger, ledger_pages, log, registry
from store.database import Database, Where
from store.destinations import Course, Destination
from store.engines import exists, open_reader
from store.errors import ConfigError
from store.event import PARTNER, Event
from store.ledger import Attempt, Cursor
from store.parked import Held
from store.registry import App


class Way(msgspec.Struct, frozen=True):
    """One event's way to one destination, or in a replay to it. `message_id` is the one that it is sent under."""

    destination: str
    course: str
    fate: str
    message_id: str
    reason: str = ""
    attempts: list[Attempt] = []


class Fate(msgspec.Struct, frozen=True):
    """Everything that is known of one event."""

    app: str
    message_id: str
    event: str
    door: str
    seq: int
    received_at: int
    occurred_at: int
    ways: list[Way]

    def lines(self) -> list[str]:
        """For a person."""
        told = [
            f"{self.event} of {self.app}: received {_at(self.received_at)} at the {self.door}, stored as {self.seq}"
        ]
        for way in self.ways:
            told.append(f"{way.destination}: {way.fate}{f', {way.reason}' if way.reason else ''}")
            told += [f"  {_said(attempt)}" for attempt in way.attempts]
        return told if self.ways else [*told, "it is sent nowhere: the app has no destination"]


def _at(moment: int) -> str:
    return f"{datetime.fromtimestamp(moment / 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _said(attempt: Attempt) -> str:
    answer = "no answer" if attempt.status is None else f"answer {attempt.status}"
    took = "" if attempt.latency_ms is None else f" after {attempt.latency_ms} ms"
    detail = f": {attempt.detail}" if attempt.detail else ""
    again = "; possibly a duplicate" if attempt.possible_duplicate else ""
    return f"{_at(attempt.opened_at)} batch {attempt.batch_id}: {attempt.outcome}, {answer}{took}{detail}{again}"


def withheld(event: Event, app: App, destination: Destination) -> str:
    """Why a destination may not get an event; '' when it may."""
    if event.suppressed:
        return event.suppressed
    if event.partner_key != app.partner_key:
        return "partner_changed"  # collected for another partner: no byte of it is this one's
    if event.source == PARTNER:
        return "inbound"  # it came from where it would go to
    if event.name == "uninstall" and not destination.uninstalls:
        return "not_asked_for"
    return ""


_DOORS = {"browser": "browser's door", "server": "back end's door", PARTNER: "partner's door"}


async def fate(where: Where, text: str) -> Fate:
    """Of the event that its sender gave this message id. Raises ConfigError when no event has it."""
    async with AsyncExitStack() as stack:
        registry_db = await stack.enter_async_context(await open_reader(where, "registry"))
        log_db = await stack.enter_async_context(await open_reader(where, "log"))
        ledger_db = None
        if exists(where, "ledger"):
            ledger_db = await stack.enter_async_context(await open_reader(where, "ledger"))
        for app in await registry.apps(registry_db):
            event = await log.find(log_db, app.app_key, ids.message_id(text, app.app_key)[0])
            if event is not None:
                told = await ways(registry_db, ledger_db, app, event)
                return Fate(
                    app.app_key,
                    text,
                    event.name,
                    _DOORS[event.source],
                    event.seq,
                    event.received_at,
                    event.occurred_at,
                    told,
                )
    raise ConfigError(f"no stored event has the message id {text}; if it was refused, the rejections say why")


async def ways(registry_db: Database, ledger_db: Database | None, app: App, event: Event) -> list[Way]:
    """One event's way to every destination that the app has or had, and in every replay."""
    found = await destinations.courses(registry_db, replaced=True, of=[app.app_key])
    keys = [(app.app_key, course.course_id) for course in found]
    cursors = await ledger.some_cursors(ledger_db, keys) if ledger_db else {}
    told = []
    for course in found:
        keep, attempts = None, list[Attempt]()
        if ledger_db is not None:
            keep = await ledger_pages.held(ledger_db, app.app_key, course.course_id, event.seq)
            attempts = await ledger.attempts(ledger_db, app.app_key, course.course_id, event.seq)
        told.append(_way(app, event, course, cursors.get((app.app_key, course.course_id)), keep, attempts))
    return told


def _way(
    app: App, event: Event, course: Course, cursor: Cursor | None, held: Held | None, attempts: list[Attempt]
) -> Way:
    """Decide from what is recorded; the order of the questions matters."""
    d = course.destination
    name = d.name if course.course_id == d.destination_id else f"{d.name}, replay {course.course_id}"
    sent_as = ids.destination_message_ids(UUID(course.ids_from))(event.message_id)

    def way(fate: str, reason: str = "") -> Way:
        return Way(name, course.course_id, fate, sent_as, reason, attempts)

    start = cursor.start_seq if cursor else course.start_seq
    if event.seq <= start or (course.last_seq is not None and event.seq > course.last_seq):
        return way("not owed", "it lies outside what this destination is to get")
    if held is not None:
        return way("parked", f"{held.reason}{f': {held.detail}' if held.detail else ''}{_released(held)}")
    if cursor is None or event.seq > cursor.seq:
        return way("pending", _waits_for(d, cursor)) if d.active else way("not owed", "the destination was replaced")
    reason = withheld(event, app, d)
    if reason:
        return way("suppressed", reason)
    if any(attempt.outcome == "accepted" for attempt in attempts):
        return way("accepted")
    return way("expired", "it was older than events are kept before it could be sent, or its attempts are forgotten")


def _released(held: Held) -> str:
    return "; released, it goes out with the next run" if held.released else ""


def _waits_for(d: Destination, cursor: Cursor | None) -> str:
    if cursor is None:
        return "no run of the exporter has begun here yet"
    if cursor.health.tripped:
        return f"the destination is paused: {cursor.health.tripped}"
    return "it waits for the next run" if d.active else ""
