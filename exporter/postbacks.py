"""Telling the results of attribution: each app's Segment source gets "Install Attributed", webhooks get their postback.

It is the last part of a run, and a short one. Targets are told beside each other, those that failed last time apart
from the others, so that none waits for one that hangs; each has its lease, as cursors have.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec

from attribution import decision
from exporter import crash, resolve
from exporter.report import Told, Voice
from exporter.shipping import LEASE_SECONDS
from exporter.work import Send
from store import destinations, ids, ledger, log, registry
from store.database import Database
from store.destinations import Destination
from store.errors import ConfigError, Unavailable
from store.event import Event
from store.ledger import LeaseLost
from store.postbacks import decided, delivering, intents, targets
from store.postbacks.decided import Decided
from store.postbacks.delivering import Closed, Health, Opened, Postback
from store.postbacks.targets import Target
from store.registry import App
from store.secrets import Vault
from store.settings import Settings
from wire import macros, postback, segment, webhook
from wire.elsewhere import elsewhere
from wire.hook import Hook
from wire.postback import Result
from wire.verdict import Reply, judge

LANES = 8
SUSPECT_LANES = 4
RUN_SECONDS = 60.0  # for all targets, after which what waits is left for a later run
TARGET_SECONDS = 30.0  # for one of them
PIECE = 500  # decisions that are looked at, or postbacks that are read, at once


class Tell(Protocol):
    """One webhook's request; see wire/webhook.py."""

    def __call__(self, hook: Hook, values: macros.Values, permitted: Any, /) -> Reply: ...


class Work(NamedTuple):
    """One target within one run; `destination` is the app's own source, for what goes to Segment."""

    target: Target
    app: App
    destination: Destination | None


class Postbacks:
    """What the targets of one run share."""

    def __init__(
        self,
        settings: Settings,
        registry_db: Database,
        log_db: Database,
        ledger_db: Database,
        run: str,
        voice: Voice,
        stop: asyncio.Event,
        send: Send = segment.send,
        tell: Tell = webhook.send,
    ) -> None:
        self._settings = settings
        self._registry = registry_db
        self._log = log_db
        self._ledger = ledger_db
        self._run = run
        self._voice = voice
        self._stop = stop
        self._send = send
        self._tell = tell
        self._vault = Vault(settings.secret_key)
        self._threads = ThreadPoolExecutor(LANES + SUSPECT_LANES, "postback")
        self._ends = time.monotonic() + RUN_SECONDS
        self.told = Told()

    async def tell_all(self, only: str | None = None) -> Told:
        """Whatever is owed now, of one app or of all. Raises StoreUnavailable after the other targets are done."""
        try:
            await self._carry_out()
            if not self._ledger.shared:
                await delivering.take_back(self._ledger)
            work = await self._find(only)
            fares = await delivering.health(self._ledger)
            lanes, suspects = asyncio.Semaphore(LANES), asyncio.Semaphore(SUSPECT_LANES)

            async def one(item: Work) -> None:
                failing = fares.get(item.target.keys, Health()).failures
                async with suspects if failing else lanes:
                    await self._work(item)

            ended = await asyncio.gather(*map(one, work), return_exceptions=True)
        finally:
            self._threads.shutdown()
        for item, error in zip(work, ended, strict=True):
            if isinstance(error, Unavailable):
                raise error
            if error is not None:
                self.told.failed += 1
                self._complain(item, error)
        return self.told

    def _complain(self, work: Work, error: BaseException) -> None:
        said = f"{type(error).__name__}: {error}"
        self._voice.complain("postbacks failed", run=self._run, app=work.target.app_key, reason=said)

    async def _carry_out(self) -> None:
        """What people asked, if the registry changed since the last look."""
        version = await registry.version(self._registry)
        if (await ledger.seen(self._ledger)).get("postbacks") == version:
            return
        wishes = [msgspec.structs.astuple(intent) for intent in await intents.of_all(self._registry)]
        await intents.carry_out(self._ledger, wishes, _now())
        await ledger.notice(self._ledger, {}, {"postbacks": version})

    async def _find(self, only: str | None) -> list[Work]:
        """Every target with something to look at: new decisions of its app, or what is pending."""
        every = await targets.of_apps(self._registry, None if only is None else [only], removed=True)
        if not every:
            return []
        fares, waiting = await delivering.health(self._ledger), await delivering.pending(self._ledger)
        newest = await decided.ordinals(self._ledger)
        wanted = [
            target
            for target in every
            if target.keys in waiting
            or (target.removed_at is None and newest.get(target.app_key, 0) > fares.get(target.keys, Health()).seen)
        ]
        await delivering.begin(self._ledger, {target.keys for target in wanted} - fares.keys())
        keys = {target.app_key for target in wanted}
        apps = {app.app_key: app for app in await registry.apps(self._registry, keys)}
        there = {(d.app_key, d.name): d for d in await destinations.active(self._registry, keys)}
        return [Work(t, apps[t.app_key], there.get((t.app_key, t.name))) for t in wanted]

    async def _work(self, work: Work) -> None:
        if self._over():
            return
        target, began = work.target, await self._ledger.now()
        until = began + round(LEASE_SECONDS * 1_000)
        fares = await delivering.lease(self._ledger, target.keys, self._run, began, until)
        if fares is None:
            return  # another run is at it
        try:
            if target.removed_at is not None:
                await delivering.give_up_all(self._ledger, target.keys, self._run, "removed", _now())
                return
            await self._plan(work, fares)
            if not target.active:
                await delivering.give_up_all(self._ledger, target.keys, self._run, "switched_off", _now())
            elif not fares.disabled_at and fares.not_before <= _now():
                await self._tell_due(work, fares)
        except LeaseLost:
            self._voice.note("postbacks taken", run=self._run, app=target.app_key)
        finally:
            await delivering.release(self._ledger, self._run, target.keys)

    def _over(self) -> bool:
        return self._stop.is_set() or time.monotonic() > self._ends

    # --- what is owed

    async def _plan(self, work: Work, fares: Health) -> None:
        """Follow the app's decisions: note for each conversion whether the target is told, and when."""
        seen, target = fares.seen, work.target
        while not self._over():
            piece = await decided.past(self._ledger, target.app_key, seen, PIECE)
            if not piece:
                return
            seen = piece[-1].ordinal
            newest = {each.seq: _result(each) for each in piece if each.received_at >= target.begins_at}
            events = await self._events(work.app, list(newest))
            there = await delivering.some(self._ledger, target.keys, list(newest))
            rows = [self._planned(work, result, events.get(seq), there.get(seq)) for seq, result in newest.items()]
            await self._keep_lease(target)
            known = [row for row in rows if row is not None]
            await delivering.record(self._ledger, target.keys, self._run, known, seen, _now())

    def _planned(self, work: Work, result: Result, event: Event | None, old: Postback | None) -> Postback | None:
        target = work.target
        why = postback.unasked(target, result, event, work.app)
        due_at = max(_now(), result.decided_at + target.delay_ms)
        told = postback.news(result)
        return resolve.planned(old, result.seq, result.version, why, told, result.converted_at, due_at)

    async def _events(self, app: App, seqs: Sequence[int]) -> Mapping[int, Event]:
        return {event.seq: event for event in await log.some(self._log, app.app_key, sorted(seqs))}

    async def _keep_lease(self, target: Target) -> None:
        """For longer than any one attempt takes. Raises LeaseLost."""
        now = await self._ledger.now()
        until = now + round(LEASE_SECONDS * 1_000)
        if await delivering.lease(self._ledger, target.keys, self._run, now, until) is None:
            raise LeaseLost(f"another run has the target {target.target_id}")

    # --- telling

    async def _tell_due(self, work: Work, fares: Health) -> None:
        """One after another, the oldest first, until nothing is due, the time is up or the target fails."""
        target, ends, failed = work.target, time.monotonic() + TARGET_SECONDS, 0
        while due := await delivering.due(self._ledger, target.keys, _now(), PIECE):
            events = await self._events(work.app, [each.seq for each in due])
            for each in due:
                if self._over() or time.monotonic() > ends or failed >= resolve.TRIES_IN_A_RUN or fares.disabled_at:
                    return
                found = await decided.one(self._ledger, target.app_key, each.seq, each.version)
                event = events.get(each.seq)
                why = postback.unasked(target, _result(found), event, work.app) if found else "gone"
                if found is None or event is None or why:
                    unasked = each._replace(state="unasked", reason=why)
                    await delivering.settle(self._ledger, target.keys, self._run, unasked, _now())
                    continue
                before = fares
                fares = await self._tell_one(work, each, _result(found), event, fares)
                failed = failed + 1 if fares.failures > before.failures else 0

    async def _tell_one(self, work: Work, each: Postback, result: Result, event: Event, fares: Health) -> Health:
        """Record an attempt, make it, and record what came of it. How the target fares then."""
        target, message_id = work.target, postback.message_id(work.target, result)
        await self._keep_lease(target)
        tried = each._replace(attempts=each.attempts + 1)
        opened = Opened(str(ids.uuid7()), each.seq, each.version, self._run, message_id, tried.attempts, _now())
        await delivering.open_attempt(self._ledger, target.keys, self._run, opened)
        crash.point("after_postback_open")
        began = time.monotonic()
        kind, detail, reply = await self._attempt(work, tried, result, event)
        crash.point("after_postback_send")
        latency = round((time.monotonic() - began) * 1_000)
        now = _now()
        left = resolve.after(target, tried, fares, kind, reply, now)
        closed = Closed(left.outcome, reply.status, detail, latency, now)
        await delivering.close_attempt(
            self._ledger, target.keys, self._run, opened.attempt_id, closed, left.postback, left.health
        )
        crash.point("after_postback_close")
        self._count(target, left)
        return left.health

    async def _attempt(
        self, work: Work, each: Postback, result: Result, event: Event
    ) -> tuple[resolve.Kind, str, Reply]:
        """The request, by whichever way the target has."""
        loop = asyncio.get_running_loop()
        try:
            if work.target.kind == "segment":
                reply = await loop.run_in_executor(self._threads, self._to_segment, work, each, result, event)
                verdict = judge(reply)
                return resolve.kind_of(verdict), verdict.detail, reply
            values = postback.values(work.target, result, event, work.app)
            hook = hook_of(work.target, self._vault, _now())
            permitted = self._settings.allowed_destinations
            reply = await loop.run_in_executor(self._threads, self._tell, hook, values, permitted)
        except ConfigError as error:
            return "deferred", str(error), Reply(error="ConfigError", sent=False)
        except ValueError as error:
            return "refused", str(error), Reply(error=str(error), sent=False)
        except Exception as error:  # whatever one install holds, its target's others are told of
            return "deferred", type(error).__name__, Reply(error=type(error).__name__, sent=False)
        said = webhook.judge(reply)
        return said.kind, said.detail, reply

    def _to_segment(self, work: Work, each: Postback, result: Result, event: Event) -> Reply:
        """Raises ConfigError when there is no such destination, or its key cannot be read."""
        d = work.destination
        if d is None:
            raise ConfigError(f"the app has no destination {work.target.name}")
        message = postback.install_attributed(work.target, result, event, work.app, d)
        host, key = d.url or self._settings.segment_url(d.region), self._vault.decrypt(d.segment_write_key)
        send = elsewhere(self._settings.allowed_destinations).send if d.url else self._send
        return send(host, key, [message], each.attempts, webhook.SECONDS)

    def _count(self, target: Target, left: resolve.After) -> None:
        self.told.accepted += left.outcome == "accepted"
        self.told.failed += left.outcome != "accepted"
        if left.health.disabled_at:
            self.told.disabled += 1
            why = left.health.disabled_why
            self._voice.complain(
                "postbacks disabled", run=self._run, app=target.app_key, target=target.name, reason=why
            )


def hook_of(target: Target, vault: Vault, now: int) -> Hook:
    """A webhook as it is sent to. Raises ConfigError when its secret cannot be read."""
    return Hook(target.url, target.form, target.template, tuple(target.secrets(vault, now)))


def _result(of: Decided) -> Result:
    """A decision as others are told it."""
    found = decision.decode(of.document)
    campaign: dict[str, str] = msgspec.to_builtins(found.winner.campaign) if found.winner else {}
    return Result(
        ordinal=of.ordinal,
        seq=of.seq,
        version=of.version,
        message_id=of.message_id.hex(),
        converted_at=of.converted_at,
        received_at=of.received_at,
        decided_at=of.decided_at,
        outcome=found.outcome,
        method=found.match.level if found.match else "",
        campaign=campaign,
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
