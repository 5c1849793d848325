"""Following the log for attribution, before anything is shipped: every app's events once, whether it has a destination
or not.

Each app has a cursor of its own with a lease, so that several exporters share the work and one that dies loses none of
it. What is read is read before a transaction, what is decided is decided within it (exporter/turn.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from attribution.evidence import NETWORK, Evidence, Identity, identity
from attribution.money import Money, money
from attribution.reading import Unreadable, ids_of, read
from attribution.rules import Rules, resolved
from exporter import crash, turn
from exporter.attributed import Attributed
from exporter.installs import marks, of_text
from exporter.report import Voice
from exporter.revenue import Earned
from exporter.turn import Anew, Done, Told, Work
from store import event_rules, log, registry
from store.attribution import earnings, following, touchpoints
from store.attribution.following import Cursor
from store.attribution.rules import kept, of_app
from store.database import Connection, Database
from store.errors import Unavailable
from store.event import PARTNER, Event
from store.ledger import LeaseLost
from store.registry import App
from store.rollups.following import counted
from store.subjects import reading as subjects
from store.subjects.naming import PARTNER_MADE, PREVIOUS, USER, Id, node

RUN = 2_000  # events of one transaction
SHORTER = 8  # as a part of what failed; what succeeds is doubled
CLOSED = 500  # installs of one transaction
FORGOTTEN = 2_000  # touchpoints, or what was earned, of one transaction
LEASE_SECONDS = 60.0
MOST_KNOWN = 50  # ids of one person
MARGIN_MS = 24 * 3_600_000
PATIENCE_SECONDS = 5.0  # for the collector, which tells from what came in who is whom

Brought = Callable[[Event], Money | None]  # what an event earned


async def bringing(registry_db: Database, app: App) -> Brought:
    """What an app's events bring, as it was said of them when they were received."""
    histories = await event_rules.of_app(registry_db, app.app_key)

    def brought(event: Event) -> Money | None:
        if event.source != PARTNER or event.type != "track" or event.details is None:
            return None
        rule = event_rules.at(histories, event.name, event.received_at)
        told = event_rules.money_of(rule, event.details.properties or {})
        return money(told.amount, told.currency) if told else None

    return brought


class Stop(Protocol):
    """What says that the run is to end."""

    def is_set(self) -> bool: ...


class Attributing:
    """One run over the apps that have something new."""

    def __init__(
        self,
        registry_db: Database,
        log_db: Database,
        ledger_db: Database,
        run: str,
        voice: Voice,
        stop: Stop,
    ) -> None:
        self._registry = registry_db
        self._log = log_db
        self._ledger = ledger_db
        self._run = run
        self._voice = voice
        self._stop = stop
        self._sums = Attributed()
        self._leased_until = 0.0

    async def follow(self, settled: int, now: int, only: str | None = None) -> Attributed:
        """Everything up to seq `settled`, as far as the collector has said who is whom; of one app, with `only`.

        Raises StoreUnavailable.
        """
        await following.take_back(self._ledger)
        looked = await following.looked(self._ledger)
        heads = await log.heads(self._log, looked if looked <= settled else 0, settled) if looked != settled else {}
        if looked != settled:
            await following.notice(self._ledger, heads, settled)
        cursors = [each for each in await following.waiting(self._ledger, now) if only in (None, each.app_key)]
        apps = {app.app_key: app for app in await registry.apps(self._registry, {each.app_key for each in cursors})}
        newest = min(max((each.newest_seq for each in cursors), default=0), settled)
        known_up_to = await counted(self._registry, self._log, newest, PATIENCE_SECONDS)
        for cursor in cursors:
            if cursor.app_key in apps and not self._stop.is_set():
                try:
                    await self._follow(apps[cursor.app_key], known_up_to, now)
                except LeaseLost as error:
                    self._voice.note("attribution left to another run", app=cursor.app_key, reason=str(error))
                except Unavailable:
                    raise
                except Exception as error:  # nobody else's installs wait for it, and no delivery does
                    self._sums.failed += 1
                    said = f"{type(error).__name__}: {error}"
                    self._voice.complain("attribution failed", run=self._run, app=cursor.app_key, reason=said)
        return self._sums

    async def _follow(self, app: App, known_up_to: int, now: int) -> None:
        self._leased_until = 0.0
        cursor = await self._lease(app.app_key)
        if cursor is None:
            self._sums.taken += 1
            return
        self._sums.apps += 1
        rules = resolved(*of_app(await kept(self._registry, app.app_key)))
        brought = await bringing(self._registry, app)
        up_to = min(cursor.newest_seq, known_up_to)
        fits = RUN
        while cursor.seq < up_to and not self._stop.is_set():
            try:
                cursor = await self._read_on(app, cursor, up_to, rules, brought, now, fits)
                fits = min(fits * 2, RUN)
            except (Unavailable, LeaseLost):
                raise
            except Exception as error:  # whatever one event does, the others go on
                if fits == 1:
                    cursor = await self._pass_over(app, cursor, up_to, rules, now, f"raised_{type(error).__name__}")
                fits = max(fits // SHORTER, 1)
            await self._lease(app.app_key)
        if cursor.newest_seq <= cursor.seq <= known_up_to:
            cursor = await self._close(app, cursor, rules, now)
            await self._forget(app.app_key, 2 * rules.longest + rules.settle, now)
        await following.release(self._ledger, app.app_key, self._run)

    async def _lease(self, app_key: str) -> Cursor | None:
        """Hold the cursor for longer than a transaction takes. Raises LeaseLost when it was ours, and is no more."""
        began = time.monotonic()
        if self._leased_until - began > LEASE_SECONDS / 2:
            return None
        now = await self._ledger.now()
        cursor = await following.lease(self._ledger, app_key, self._run, now, now + round(LEASE_SECONDS * 1_000))
        if cursor is None and self._leased_until:
            raise LeaseLost(f"another run attributes the installs of {app_key}")
        if cursor is not None:
            self._leased_until = began + LEASE_SECONDS
        return cursor

    # --- the log

    async def _read_on(
        self, app: App, cursor: Cursor, up_to: int, rules: Rules, brought: Brought, now: int, most: int
    ) -> Cursor:
        stretch = await following.next_events(self._log, app.app_key, cursor.seq, up_to, most)
        read, parked = _read(app, stretch.events)
        anew, told_of = await self._ledger.run(_concerned, app.app_key, read)
        installs = [(event, evidence.conversion) for event, evidence in read if evidence.conversion]
        earned = {event.seq: (event, money) for event, _ in read if (money := brought(event)) is not None}
        who = {event.seq: evidence.identities for event, evidence in read}
        known = await self._known(app, [*(event for event, _ in installs), *(event for event, _ in earned.values())])
        more = await self._known_of(app, {*anew, *told_of})
        work = Work(
            stretch.up_to,
            rules,
            [(touchpoint, app.partner_key) for _, evidence in read for touchpoint in evidence.touchpoints],
            [Told(conversion, app.partner_key, known.get(conversion.seq, ())) for _, conversion in installs],
            {seq: each._replace(known=more.get(seq, ())) for seq, each in anew.items()},
            earned=[
                Earned(seq, who[seq], app.partner_key, event.occurred_at, event.received_at, money)
                for seq, (event, money) in earned.items()
            ],
            known={seq: known[seq] for seq in earned} | {seq: more.get(seq, ()) for seq in told_of},
            parked=parked,
        )
        done = await self._take(cursor, work, now)
        self._sums.events += len(stretch.events)
        self._sums.touchpoints += len(work.touchpoints)
        self._set_aside(app, parked)
        return done.cursor

    async def _pass_over(self, app: App, cursor: Cursor, up_to: int, rules: Rules, now: int, reason: str) -> Cursor:
        """Set the next event aside, because it fails alone, and would for ever."""
        stretch = await following.next_events(self._log, app.app_key, cursor.seq, up_to, 1)
        parked = [(event.seq, reason) for event in stretch.events]
        done = await self._take(cursor, Work(stretch.up_to, rules, parked=parked), now)
        self._sums.events += len(parked)
        self._set_aside(app, parked)
        return done.cursor

    def _set_aside(self, app: App, parked: Sequence[tuple[int, str]]) -> None:
        self._sums.parked += len(parked)
        for seq, reason in parked:
            self._voice.note("event not attributed", run=self._run, app=app.app_key, seq=seq, reason=reason)

    async def _take(self, cursor: Cursor, work: Work, now: int) -> Done:
        crash.point("before_attribution")
        done = await self._ledger.atomic(turn.take, cursor, self._run, work, now)
        crash.point("after_attribution")
        sums = self._sums
        sums.installs += done.installs
        sums.again += done.again
        sums.attributed += done.outcomes["attributed"]
        sums.organic += done.outcomes["organic"]
        sums.reinstalls += done.outcomes["reinstall"]
        sums.told_again += done.outcomes["told_again"]
        return done

    # --- who is who

    async def _known(self, app: App, events: Sequence[Event]) -> dict[int, tuple[Identity, ...]]:
        """More ids of whoever these events name, as far as the log tells."""
        return await self._log.run(_known, (app.app_key, app.partner_key), events) if events else {}

    async def _known_of(self, app: App, seqs: Iterable[int]) -> dict[int, tuple[Identity, ...]]:
        """The same, of installs and of what was earned, by their seqs."""
        wanted = list(seqs)
        return await self._known(app, await following.events_at(self._log, app.app_key, wanted)) if wanted else {}

    # --- what time does

    async def _close(self, app: App, cursor: Cursor, rules: Rules, now: int) -> Cursor:
        """Look for the last time at installs that no evidence can change any more."""
        while not self._stop.is_set():
            closing = await self._ledger.run(following.closing, app.app_key, now, CLOSED)
            if not closing:
                break
            known = await self._known_of(app, [each.seq for each in closing])
            work = Work(cursor.seq, rules, closing={each.seq: known.get(each.seq, ()) for each in closing})
            cursor = (await self._take(cursor, work, now)).cursor
            self._sums.closed += len(closing)
            await self._lease(app.app_key)
        return cursor

    async def _forget(self, app_key: str, keep: int, now: int) -> None:
        """Remove touchpoints and earnings that no install can count any more, and note when there is something to do
        again."""
        for forget, before in ((_forget_touchpoints, now - keep), (_forget_earnings, now - MARGIN_MS)):
            n = FORGOTTEN
            while n == FORGOTTEN and not self._stop.is_set():
                n = await self._ledger.atomic(forget, app_key, before)
                self._sums.forgotten += n
                await self._lease(app_key)
        await self._ledger.atomic(following.be_due, app_key, keep + MARGIN_MS, MARGIN_MS)


def _forget_touchpoints(connection: Connection, app_key: str, before: int) -> int:
    rows = touchpoints.oldest(connection, app_key, before, FORGOTTEN)
    gone = [(seq, part, at, marks(of_text(identities), guessed=True)) for seq, part, at, identities in rows]
    touchpoints.forget(connection, app_key, gone)
    return len(gone)


def _forget_earnings(connection: Connection, app_key: str, before: int) -> int:
    gone = [(seq, marks(of_text(ids))) for seq, ids in earnings.oldest(connection, app_key, before, FORGOTTEN)]
    earnings.forget(connection, app_key, gone)
    return len(gone)


def _read(app: App, events: Iterable[Event]) -> tuple[list[tuple[Event, Evidence]], list[tuple[int, str]]]:
    """What events tell; and those that cannot be read, with why. What was collected for another partner tells
    nothing."""
    found, parked = [], []
    for event in events:
        if event.partner_key != app.partner_key:
            continue
        try:
            evidence = read(event)
        except Unreadable as error:
            parked.append((event.seq, str(error)))
        except Exception as error:  # whatever one event does, the others go on
            parked.append((event.seq, f"raised_{type(error).__name__}"))
        else:
            found.append((event, evidence))
    return found, parked


def _concerned(
    connection: Connection, app_key: str, told: Sequence[tuple[Event, Evidence]]
) -> tuple[dict[int, Anew], set[int]]:
    """By seq, the open installs of which an event tells something: a touchpoint, or that two ids are the same one's;
    and the seqs of what was earned of which one tells the latter, and did not before if it counts for an install."""
    by_mark: dict[bytes, list[Event]] = {}
    linking: dict[bytes, dict[frozenset[Identity], int]] = {}  # what is named together, and when that was received
    for event, evidence in told:
        identities = (*evidence.identities, *_renamed(event))
        if evidence.touchpoints or len(identities) > 1:
            for each in identities:
                by_mark.setdefault(bytes.fromhex(each.mark), []).append(event)
        if len(identities) > 1:
            together = frozenset(each for each in identities if each.kind != NETWORK)
            for mark in marks(together):
                at = linking.setdefault(mark, {}).get(together, event.received_at)
                linking[mark][together] = min(at, event.received_at)
    found: dict[int, Anew] = {}
    since = min((event.received_at for event, _ in told), default=0)
    for mark, seq, open_until in following.open_of(connection, app_key, by_mark, since):
        for event in by_mark[mark]:
            known = found.get(seq)
            if event.received_at <= open_until and (known is None or event.seq > known.seq):
                found[seq] = Anew(event.seq, event.received_at)
    told_of: set[int] = set()
    if earnings.are_any(connection, app_key):
        for mark, seq, open_until, install_seq, text in earnings.open_of(connection, app_key, linking, since):
            if seq not in told_of:
                before = frozenset(of_text(text)) if install_seq else frozenset()
                if any(at <= open_until and not each <= before for each, at in linking[mark].items()):
                    told_of.add(seq)
    return found, told_of


def _renamed(event: Event) -> list[Identity]:
    """Whom an alias call may rename: a visitor or a user, which its ids do not tell."""
    previous = event.details.ids.get(PREVIOUS) if event.details and event.details.ids else None
    if not previous or event.source != PARTNER:
        return []
    return [identity(*each) for each in (node(PARTNER_MADE, previous), Id(USER, previous))]


def _known(
    connection: Connection, listing: tuple[str, str], events: Sequence[Event]
) -> dict[int, tuple[Identity, ...]]:
    of_each = {event.seq: ids_of(event) for event in events}
    found = {}
    for own in set(of_each.values()):
        more = {each for kind, text in own for each in subjects.read_ids(connection, listing, kind, text)}
        found[own] = tuple(identity(*each) for each in sorted(more - set(own))[:MOST_KNOWN])
    return {seq: found[own] for seq, own in of_each.items()}
