"""Decisions of attribution as a test wants them, and a receiver of webhooks in this process: for tests of postbacks."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shipping_cast import NOON, OWNER, SECRET_KEY, Installation, an_event

from attribution.decision import Decision, Match, encode
from attribution.evidence import Campaign, Touchpoint
from attribution.rules import Rules
from exporter.report import Report
from store.database import Database
from store.engines import open_writer
from store.event import Details
from store.postbacks import intents, targets
from store.postbacks.targets import Target, Wishes
from store.secrets import Vault
from wire.hook import Hook
from wire.macros import DEFAULT
from wire.verdict import Reply

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of tests only
SPRING = Campaign(source="newsletter", name="spring", medium="email", click_id="c-1")
URL = "https://hooks.owner.example/installs"


@dataclass
class Receiver:
    """What a webhook's owner sees: (url, body, id) of each request; `answers` are given in order, then 204."""

    answers: list[Reply] = field(default_factory=list)
    got: list[tuple[str, Any, str]] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)

    def tell(self, hook: Hook, values: dict[str, Any], allowed: Any) -> Reply:
        url, body = hook.request(values)
        with self._lock:
            self.got.append((url, json.loads(body), values["message.id"]))
            return self.answers.pop(0) if self.answers else Reply(status=204)


def a_decision(campaign: Campaign | None = SPRING, outcome: str | None = None) -> Decision:
    """That this campaign won, or nobody."""
    if campaign is None:
        return Decision(outcome or "organic", "no_touchpoint", Rules())  # type: ignore[arg-type]
    touch = Touchpoint(1, "00" * 16, NOON - 1, NOON - 1, "click", "listing", campaign, ())
    return Decision(outcome or "attributed", "device", Rules(), touch, Match("device", "idfa", "click", 1))  # type: ignore[arg-type]


def registry(installation: Installation, work: Callable[[Database], Any]) -> Any:
    """Do something in the registry, as another process would."""

    async def opened() -> Any:
        async with await open_writer(installation.where, "registry") as db:
            return await work(db)

    return asyncio.run(opened())


class Postbacks:
    """An installation whose installs are decided by the test."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.receiver = Receiver()
        self._ordinals: dict[str, int] = {}
        installation.export()  # there is a ledger

    def install(self, app: str = OWNER, **fields: Any) -> int:
        """An install in the log; its seq."""
        details = fields.pop("details", Details())
        (identity,) = self.installation.collect(an_event("install", details, **fields), app=app)
        (found,) = self.installation_log("select seq from events where message_id = ?", uuid.UUID(identity).bytes)
        return int(found[0])

    def installation_log(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        from engines import look

        return look(self.installation.where, "log", sql, *values)

    def decide(self, seq: int, decision: Decision | None = None, version: int = 1, app: str = OWNER) -> None:
        """What attribution's part of a run would have written."""
        found = decision or a_decision()
        ledger = self.installation.ledger
        ordinal = self._ordinals[app] = self._ordinals.get(app, 0) + 1
        (row,) = self.installation_log("select message_id, received_at, partner_key from events where seq = ?", seq)
        message_id, received_at, partner_key = row
        if version == 1:
            ledger(
                "insert into conversions values (?, ?, ?, ?, 'marketplace', ?, ?, ?, 0, '[]', 1, ?, 'x', ?, ?)",
                *(app, seq, partner_key, bytes(message_id), NOON, received_at, NOON),
                *(found.outcome, found.campaign_key, NOON),
            )
        ledger(
            "insert into decisions values (?, ?, ?, ?, ?, 'install', ?, ?)",
            *(app, ordinal, seq, version, NOON + version, seq, encode(found).decode()),
        )
        ledger("delete from attribution_cursors where app_key = ?", app)
        newest = self.installation_log("select max(seq) from events")[0][0]  # what a run would decide otherwise
        ledger("insert into attribution_cursors (app_key, seq, ordinal) values (?, ?, ?)", app, newest, ordinal)

    def decided(self, decision: Decision | None = None, app: str = OWNER, **fields: Any) -> int:
        """An install, and what was decided of it."""
        seq = self.install(app, **fields)
        self.decide(seq, decision, app=app)
        return seq

    def to_segment(self, app: str = OWNER, **wishes: Any) -> Target:
        told = Wishes(**wishes)
        found: Target = registry(
            self.installation, lambda db: targets.set_segment(db, NOON - 1, app, told, "ada@owner.example")
        )
        return found

    def webhook(self, name: str = "ours", app: str = OWNER, **wishes: Any) -> Target:
        told = Wishes(**{"name": name, "url": URL, "template": DEFAULT} | wishes)
        vault = Vault(SECRET_KEY)
        found: Target = registry(
            self.installation,
            lambda db: targets.add_webhook(db, vault, NOON - 1, app, told, SECRET, "ada@owner.example"),
        )
        return found

    def ask(self, target: Target, action: targets.Action, *seqs: int) -> None:
        registry(
            self.installation,
            lambda db: intents.ask(db, NOON, target.app_key, target.target_id, action, seqs or (0,), "ada"),
        )

    def run(self) -> Report:
        return self.installation.export(tell=self.receiver.tell)

    def states(self, target: Target) -> list[tuple[int, str, str, int]]:
        """(seq, state, reason, attempts) of what a target is owed, in order."""
        return self.installation.ledger(
            "select seq, state, reason, attempts from postbacks where target_id = ? order by seq", target.target_id
        )

    def attempts(self, target: Target) -> list[tuple[str, int | None]]:
        return self.installation.ledger(
            "select outcome, status from postback_attempts where target_id = ? order by attempt_id", target.target_id
        )

    def now_due(self) -> None:
        """All waits are over."""
        self.installation.ledger("update postbacks set due_at = 0")
        self.installation.ledger("update postback_health set not_before = 0")
