"""What the portal's pages show on a tour: two partners with people, tokens, events of every kind and runs of all sorts.

It runs as a program of its own, because it sets the clock that it and the store are made with:
`python portal_goods.py DATA_DIR SECRET_KEY STATE MILLISECONDS` fills an empty directory through the store's own
functions and prints, as JSON, by which names the tour asks for it. STATE is `full`, or `empty`: people, and an app that
nothing has come for yet.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from portal_past import CAMPAIGNS, past, sent

from exporter.report import Voice
from exporter.run import run_once
from store import authentication, description, destinations, event_rules, log, parking, proof, registry
from store.database import Database
from store.destinations import MAIN, Change
from store.engines import open_reader, open_writer
from store.entry import Entry, Held, Rejection
from store.event import PARTNER, Details, encode_details
from store.event_rules import Rule
from store.people import links, passwords, roster, sessions
from store.people.roster import Person, Role
from store.postbacks import targets
from store.postbacks.targets import Wishes
from store.rollups.following import Follower
from store.secrets import Vault
from store.settings import Settings
from wire import macros
from wire.hook import Hook
from wire.segment import ANSWER_SECONDS
from wire.verdict import Reply

PASSWORD = "several words with nothing in common"  # noqa: S105 - of tests only
CHARTS, BOARDS, NOTES = "com.acme.charts", "com.acme.boards", "com.nordlicht.notes"
LISTING = "https://marketplace.example/apps/1219125/charts-for-teams"
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:148.0) Gecko/20100101 Firefox/148.0"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 Version/26.1 Mobile/15E148 Safari"
PEOPLE: dict[str, tuple[str, str, Role, str | None]] = {
    "operator": ("mara@marketplace.example", "Mara Lind", "operator", None),
    "owner": ("ada@acme.example", "Ada Winter", "owner", "acme"),
    "editor": ("ben@acme.example", "Ben Okafor", "editor", "acme"),
    "left": ("carla@acme.example", "Carla Reis", "viewer", "acme"),
    "newcomer": ("nils@nordlicht.example", "Nils Berg", "owner", "nordlicht"),
}
INVITED = "dana.with.a.rather.long.name@acme.example"
VISITOR = """select anonymous_id from events where app_key = ? and seq <= ? and partner_anonymous_id is not null
    group by anonymous_id having sum(name = 'install') > 0 order by count(*) desc, anonymous_id limit 1"""
CAUSES_REFUSAL = "Prices, and what they hold"


class Clock:
    """The time that this process goes by: it stands, but for the millisecond that each look takes."""

    def __init__(self) -> None:
        self._now = 0
        time.time_ns = self.look
        time.time = lambda: self.look() / 1e9

    def set(self, milliseconds: int) -> None:
        self._now = milliseconds * 1_000_000

    def look(self) -> int:
        self._now += 1_000_000
        return self._now


class Goods:
    """One installation as it is filled."""

    def __init__(self, settings: Settings, now: int) -> None:
        self.settings, self.now = settings, now
        self.vault = Vault(settings.secret_key)
        self.names: dict[str, Any] = {"app_key": CHARTS, "partner_key": "acme", "cookies": {}, "tokens": {}}
        self.start = 0  # the newest event before those that are sent anywhere
        self._numbers = itertools.count(1)
        random.seed(1)  # in which order a run takes its destinations
        self._clock = Clock()
        self._clock.set(now)

    async def people(self, db: Database) -> None:
        hashed = passwords.hashed(PASSWORD)
        await registry.add_partner(db, self.now - 40 * DAY_MS, "acme", "1211971", "Acme Software")
        await registry.add_partner(db, self.now - 12 * DAY_MS, "nordlicht", "1213333", "Nordlicht GmbH")
        for name, (email, called, role, partner_key) in PEOPLE.items():
            who = await roster.add(db, self.now - 9 * DAY_MS, email, called, role, partner_key, "command line")
            async with db.transaction():
                await roster.set_password(db, self.now - 9 * DAY_MS, who, hashed, email)
            token = await sessions.begin(db, self.now, who, "192.0.2.17", FIREFOX)
            self.names["cookies"][name] = token
            self.names[f"{name}_id"] = who.person_id
        self.names["person_id"] = self.names["editor_id"]
        await self.links(db)

    async def links(self, db: Database) -> None:
        made = links.Links(self.settings.secret_key)
        invited = await roster.add(db, self.now - HOUR_MS, INVITED, "", "viewer", "acme", "ada@acme.example")
        self.names["invitation"] = await made.make(db, self.now - HOUR_MS, invited, "invitation", "ada@acme.example")
        self.names["invited_id"] = invited.person_id
        self.names["reset"] = await made.make(
            db, self.now - HOUR_MS, await self.person(db, "editor"), "reset", "ada@acme.example"
        )

    async def person(self, db: Database, name: str) -> Person:
        found = await roster.by_email(db, PEOPLE[name][0])
        assert found is not None
        return found

    async def apps(self, db: Database, *apps: tuple[str, str, str, str]) -> None:
        for app_key, partner_key, plugin_id, name in apps:
            await registry.add_app(db, self.now - 8 * DAY_MS, app_key, partner_key, plugin_id, name)

    async def full(self) -> None:
        async with await open_writer(self.settings.where, "registry") as db:
            await self.people(db)
            await self.apps(
                db,
                (CHARTS, "acme", "1219125", "Charts for Teams"),
                (BOARDS, "acme", "1219126", "Boards"),
                (NOTES, "nordlicht", "1219127", "Notes"),
            )
            await self.more_people(db)
            await self.tokens(db)
        await self.systems()
        await self.weeks()
        async with await open_writer(self.settings.where, "registry") as db:
            await self.destinations(db)
            await self.postbacks(db)
            await self.demand_proof(db)
        await self.four_hours()
        await self.wishes()
        await self.look_up()
        await self.count()

    async def more_people(self, db: Database) -> None:
        owner, left = await self.person(db, "owner"), await self.person(db, "left")
        await sessions.begin(db, self.now - 5 * HOUR_MS, owner, "198.51.100.4", PHONE)
        await sessions.begin(db, self.now - 3 * HOUR_MS, owner, "2001:db8::17", FIREFOX)
        await roster.disable(db, self.now - 2 * DAY_MS, left, owner.email)
        secured = await roster.add(
            db, self.now - 7 * DAY_MS, "eva@acme.example", "Eva Lund", "owner", "acme", owner.email
        )
        await db.change(
            "update people set totp_secret = ?, password_hash = 'x' where person_id = ?",
            (self.vault.encrypt("JBSWY3DPEHPK3PXP"), secured.person_id),
        )
        self.names["secured_id"] = secured.person_id
        self.names["cookies"]["secured"] = await sessions.begin(db, self.now, secured, "192.0.2.18", FIREFOX)

    async def tokens(self, db: Database) -> None:
        owner, read = PEOPLE["owner"][0], frozenset({"read"})
        month = self.now - 30 * DAY_MS
        await registry.add_token(db, month, "back-end", frozenset(registry.SCOPES))
        await registry.add_token(
            db, month, "warehouse import", read, partner_key="acme", expires_at=self.now + 60 * DAY_MS, actor=owner
        )
        await registry.add_token(
            db, month, "trial", read, partner_key="acme", app_key=CHARTS, expires_at=self.now - DAY_MS, actor=owner
        )
        there = [token for token in await registry.tokens(db) if token.label != "trial"]
        await registry.used_tokens(db, {token.token_id: self.now - 4 * MINUTE_MS for token in there})

    async def destinations(self, db: Database) -> None:
        """One proved; one that will be paused and whose code is awaited; one that is replaced; another partner's."""
        owner, vault = PEOPLE["owner"][0], self.vault
        begun = self.now - 8 * DAY_MS
        await description.describe(db, begun, CHARTS, "Charts for Teams", LISTING, owner)
        main = await destinations.set_destination(
            db,
            vault,
            begun,
            CHARTS,
            Change(segment_write_key="ACMECHARTSMAIN00000000000000KEY1"),
            self.start,
            MAIN,
            owner,
        )
        await proof.ask(db, vault, begun, main, "ABC234")
        await proof.answer(db, vault, begun + MINUTE_MS, main, "ABC234")
        warehouse = await destinations.set_destination(
            db,
            vault,
            self.now - 3 * DAY_MS,
            CHARTS,
            Change(
                segment_write_key="ACMECHARTSWAREHOUSE000000000KEY2", region="eu", profile="segment", uninstalls=True
            ),
            self.start,
            "warehouse",
            owner,
        )
        await proof.ask(db, vault, self.now - HOUR_MS, warehouse, "XYZ789")
        await destinations.set_destination(
            db, vault, begun, NOTES, Change(segment_write_key="NORDLICHTNOTES00000000000000KEY3"), self.start
        )

    async def postbacks(self, db: Database) -> None:
        """Segment is told, and two webhooks: one that takes what it gets, and one that nobody answers for."""
        owner, begun = PEOPLE["owner"][0], self.now - 8 * DAY_MS
        await targets.set_segment(db, begun, CHARTS, Wishes(name=MAIN, delivery="network"), owner)
        good = Wishes(name="Install counter", url="https://hooks.acme.example/installs?app={{app.key}}", retries=10)
        bad = Wishes(name="Ad network", url="https://postback.network.example/v1", delivery="network", delay_ms=60_000)
        for wishes in (good, bad):
            wishes = msgspec.structs.replace(wishes, template=macros.DEFAULT)
            secret = f"whsec_{wishes.name[:2]}AAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            made = await targets.add_webhook(db, self.vault, begun, CHARTS, wishes, secret, owner)
            self.names.setdefault("target_id", made.target_id)

    async def demand_proof(self, db: Database) -> None:
        """Charts asks for proof, with one key pair, and three calls came without."""
        owner, calls = PEOPLE["owner"][0], ("Subscription Started", "Tutorial Complete", "Purchase")
        await authentication.add_pair(db, self.vault, self.now - 2 * DAY_MS, CHARTS, owner)
        await authentication.set_mode(db, self.now - 2 * DAY_MS, CHARTS, "quarantine", owner)
        async with await open_writer(self.settings.where, "log") as log_db:
            for number, name in enumerate(calls):
                body = json.dumps(
                    {"action": "event", "kochava_device_id": "KD5", "data": {"event_name": name}}
                ).encode()
                at, reason = self.now - (number + 1) * 9 * MINUTE_MS, ("no_proof", "wrong_proof")[number % 2]
                held = Held(CHARTS, f"{number:032}", "kochava", "/track/json", at, reason, len(body), body)
                counted = Rejection(CHARTS, "kochava", at, "quarantined", reason, None)
                await log.commit(log_db, [Entry("kochava", at, [], [], [counted], [held])], Counter())

    async def systems(self) -> None:
        """What the partner's own systems sent for Charts, and what is said of it."""
        async with await open_writer(self.settings.where, "log") as db:
            rows = [self.row(name, at, who, told, source=PARTNER) for at, who, name, told in sent(self.now)]
            await log.commit(db, [self.entry(self.now - 50 * DAY_MS, rows)], Counter())
        owner = PEOPLE["owner"][0]
        async with await open_writer(self.settings.where, "registry") as db:
            for name, rule in {
                "Order Completed": Rule(revenue=True, amount="total"),
                "order_completed": Rule(shown_as="Order Completed", revenue=True, amount="total"),
                "Session Heartbeat": Rule(refused=True),
                "Plan Cancelled": Rule(),
            }.items():
                await event_rules.say(db, self.now - 2 * DAY_MS, CHARTS, name, rule, owner)

    async def weeks(self) -> None:
        """What the pages of numbers show besides: long before there was a destination."""
        async with await open_writer(self.settings.where, "log") as db:
            entries = [
                self.entry(at, [self.row(name, at, visitor, details, app_key=app_key, **fields)])
                for at, app_key, visitor, name, details, fields in past(self.now)
            ]
            done = await log.commit(db, entries, Counter())
            assert not done.unstorable
        await self.engage()
        async with await open_reader(self.settings.where, "log") as db:
            self.start = await db.value("select max(seq) from events")

    async def engage(self) -> None:
        """What the partner's Segment Engage said of its users in three weeks: audiences, and a computed trait."""
        rows = []
        for number in range(36):
            at = self.now - 20 * DAY_MS + number * 13 * HOUR_MS
            rows.append(self.computed(number, at, "audience", "power_users", True))
            if number % 3 == 0:
                rows.append(self.computed(number, at + 5 * DAY_MS // 2, "audience", "trial_ending", True))
            if number % 4 == 0:
                rows.append(self.computed(number, at + 3 * DAY_MS, "audience", "power_users", False))
            plan = ("free", "free", "team", "enterprise")[number % 4]
            rows.append(self.computed(number, at + HOUR_MS, "trait", "plan", plan))
        async with await open_writer(self.settings.where, "log") as db:
            rows = [row for row in sorted(rows, key=lambda row: row[5]) if row[5] <= self.now]
            done = await log.commit(db, [Entry("segment", row[6], [row], [], []) for row in rows], Counter())
            assert not done.unstorable

    def computed(self, number: int, at: int, kind: str, name: str, value: object) -> Any:
        """A row of what Engage says of one of its users, whom the listing knows by the partner's own id."""
        context = {"personas": {"computation_class": kind, "computation_key": name, "namespace": "spa_acme"}}
        ids = {"idfa": str(uuid.uuid5(uuid.NAMESPACE_OID, f"device {number}"))} if number % 6 == 0 else None
        details = Details(door="segment", properties={name: value}, context=context, ids=ids)
        row = list(self.row("", at, number, details, source="partner", user_id=f"acme-{number + 1}"))
        row[2], row[8], row[10] = "identify", f"crm-{4_000 + number}", f"crm-{4_000 + number}"
        return tuple(row)

    async def count(self) -> None:
        """As `footfall serve` does, so that nobody has to wait until it has."""
        async with (
            await open_writer(self.settings.where, "registry") as registry,
            await open_writer(self.settings.where, "log") as writer,
            await open_reader(self.settings.where, "log") as reader,
        ):
            follower = Follower(registry, reader, writer)
            while await follower.step(self.now):
                pass

    async def four_hours(self) -> None:
        """Events of every kind, hour by hour, and after three of the hours a run of the exporter."""
        await self.collect(4 * HOUR_MS, 14)
        await self.journey()
        await self.export(3 * HOUR_MS, Reply(503, "upstream is busy"))
        await self.collect(3 * HOUR_MS - MINUTE_MS, 22)
        await self.export(2 * HOUR_MS)
        await self.late()
        await self.collect(2 * HOUR_MS - MINUTE_MS, 30)
        await self.export(HOUR_MS)
        await self.collect(40 * MINUTE_MS, 9)
        await self.refuse()

    async def journey(self) -> None:
        """Somebody whom three campaigns led to an install, who then paid, and installed once more."""
        days = 43, 19, 9, 8
        touches = [
            self.row("page_view", self.now - ago * DAY_MS, 7_000, arrival(*campaign))
            for ago, campaign in zip(days, [*CAMPAIGNS, next(iter(CAMPAIGNS))], strict=True)
        ]
        at, told = self.now - 200 * MINUTE_MS, {"source": "server"}
        installs = [self.row("install", at + n * 9 * MINUTE_MS, 7_000, Details(), **told) for n in range(2)]
        paid = Details(door="segment", properties={"total": 49.9, "currency": "EUR"})
        rows = [*touches, *installs, self.row("Order Completed", at + 5 * MINUTE_MS, 7_000, paid, source=PARTNER)]
        await self.commit(at, rows)

    async def late(self) -> None:
        """What a browser kept until now of the day before that install: it is decided anew."""
        view = arrival("forum", "social", "which-charts")
        at = self.now - 110 * MINUTE_MS
        await self.commit(at, [self.row("page_view", at, 7_000, view, occurred=self.now - 2 * DAY_MS)])

    async def commit(self, at: int, rows: list[Any]) -> None:
        async with await open_writer(self.settings.where, "log") as db:
            done = await log.commit(db, [self.entry(at, rows)], Counter())
            assert not done.unstorable

    async def collect(self, ago: int, visits: int) -> None:
        """Visits to Charts, half a minute apart, and one to Notes."""
        async with await open_writer(self.settings.where, "log") as db:
            entries = [
                self.entry(self.now - ago + number * 30_000, rows)
                for number in range(visits)
                for rows in [self.visit(self.now - ago + number * 30_000, number)]
            ]
            told = Details(url="https://marketplace.example/apps/1219127/notes", title="Notes")
            entries.append(self.entry(self.now - ago, [self.row("page_view", self.now - ago, 1, told, app_key=NOTES)]))
            done = await log.commit(db, entries, Counter())
            assert not done.unstorable

    def entry(self, at: int, rows: list[Any], rejections: Sequence[Rejection] = ()) -> Entry:
        return Entry("browser", at, rows, [], list(rejections))

    def visit(self, at: int, number: int) -> list[Any]:
        """What one visitor does: always a view, and now and then more, or less that may be told."""
        known = {"partner_anonymous_id": f"crm-{4_000 + number}"} if number % 3 == 0 else {}
        if number % 5 == 0:
            known["user_id"] = sha1(f"user {number}")
        told = Details(
            url=f"{LISTING}?tab=overview&utm_source=newsletter",
            query={"tab": "overview", "utm_source": "newsletter"},
            referrer="https://www.search.example/",
            title="Charts for Teams | Marketplace",
            user_agent=FIREFOX,
            locale="en-GB",
        )
        rows = [self.row("page_view", at, number, told, **known)]
        if number % 2 == 0:
            tab = msgspec.structs.replace(told, label=CAUSES_REFUSAL if number == 18 else "Reviews")
            rows.append(self.row("tab_click", at + 4_000, number, tab, **known))
        if number % 4 == 0:
            rows.append(
                self.row(
                    "cta_click", at + 9_000, number, msgspec.structs.replace(told, label="Start Free Trial"), **known
                )
            )
        if number % 7 == 3:
            rows.append(self.row("install", at + 15_000, number, Details(), source="server", **known))
        if number == 6:
            rows.append(self.row("app_request", at + 15_000, number, Details(), source="server", **known))
            rows.append(self.row("page_view", at + 16_000, 60, told, suppressed="gpc"))
        if number == 8:
            rows.append(self.row("page_view", at + 17_000, 61, told, suppressed="consent"))
            rows.append(self.row("uninstall", at + 18_000, number, Details(), source="server", **known))
            rows.append(self.row("page_view", at + 19_000, 62, told, partner_anonymous_id="w" * 200))
        if number == 11:
            rows.append(self.row("seat_added", at + 20_000, number, Details(), source="server", **known))
        return rows

    def row(self, name: str, at: int, visitor: int, details: Details, **fields: Any) -> Any:
        """A row of the log."""
        app_key, source = fields.get("app_key", CHARTS), fields.get("source", "browser")
        partner_key = "nordlicht" if app_key == NOTES else "acme"
        message_id = uuid.uuid5(uuid.NAMESPACE_OID, f"event {next(self._numbers)}").bytes
        optional = [fields.get(each) for each in ("user_id", "partner_anonymous_id", "suppressed")]
        text = encode_details(details).decode()
        when = (fields.get("occurred", at - 300), at)
        head = (app_key, message_id, "track", name, source, *when, partner_key, sha1(f"visitor {visitor}"))
        return (*head, *optional, text)

    async def export(self, ago: int, first: Reply | None = None) -> None:
        """A run of the exporter: Segment takes what it is sent, but for one text; the warehouse's key is wrong."""
        left = [first] if first else []

        def send(
            host: str, write_key: str, messages: Sequence[bytes], attempt: int, seconds: float = ANSWER_SECONDS
        ) -> Reply:
            if "WAREHOUSE" in write_key:
                return Reply(401, "invalid write key")
            if left and "CHARTSMAIN" in write_key:
                return left.pop()
            if any(CAUSES_REFUSAL.encode() in message for message in messages):
                return Reply(400, "malformed JSON")
            return Reply(200, '{"success": true}')

        def tell(hook: Hook, values: macros.Values, permitted: Any) -> Reply:
            return Reply(204) if "acme" in hook.url else Reply(503, "no healthy upstream")

        self._clock.set(self.now - ago)
        await run_once(self.settings, Voice(quiet=True), asyncio.Event(), send=send, tell=tell)
        self._clock.set(self.now)

    async def refuse(self) -> None:
        """What came to the door and was turned away."""
        body = json.dumps({"name": "page_view", "app": CHARTS, "anonymousId": "not forty digits " + "x" * 300}).encode()
        refused = [
            ("anonymous_id", "anonymousId is 40 small hexadecimal digits", body),
            ("too_old", "occurredAt lies more than 14 days back", body[:60]),
            ("not_json", "the body is no JSON", b"name=page_view"),
        ]
        async with await open_writer(self.settings.where, "log") as db:
            for number, (reason, detail, came) in enumerate(refused):
                at = self.now - (number + 3) * 7 * MINUTE_MS
                entry = self.entry(at, [], [Rejection(CHARTS, "browser", at, reason, detail, came)])
                await log.commit(db, [entry], Counter())

    async def wishes(self) -> None:
        """Replays in every state, and one of the parked events that is to go out again."""
        owner = PEOPLE["owner"][0]
        held = await parking.parked(self.settings.where, CHARTS)
        async with await open_writer(self.settings.where, "registry") as db:
            main = await destinations.named(db, CHARTS, MAIN)
            for ago, new_ids in ((90, False), (60, True), (20, False)):
                await destinations.add_replay(
                    db, self.now - ago * MINUTE_MS, main, self.start + 4, self.start + 30, new_ids, owner
                )
            first = (await destinations.replays(db, [CHARTS]))[0]
            await destinations.cancel_replay(db, self.now - 50 * MINUTE_MS, CHARTS, first.replay_id, owner)
            await destinations.ask(db, self.now, CHARTS, held[0].course, "release", [held[0].seq], owner)

    async def look_up(self) -> None:
        """What the addresses of single things need."""
        async with await open_reader(self.settings.where, "log") as db:
            rows = await db.all(
                "select name, suppressed, min(seq) from events where app_key = ? and seq > ? group by name, suppressed",
                (CHARTS, self.start),
            )
            self.names["visitor"] = await db.value(VISITOR, (CHARTS, self.start))
        self.names["seq"] = next(seq for name, suppressed, seq in rows if name == "cta_click" and not suppressed)
        self.names["suppressed_seq"] = next(seq for _, suppressed, seq in rows if suppressed)
        self.names["parked_seq"] = next(seq for name, _, seq in rows if name == "seat_added")
        async with await open_reader(self.settings.where, "ledger") as db:
            self.names["receipt_id"] = await db.value(
                "select min(receipt_id) from receipts where app_key = ?", (CHARTS,)
            )
            self.names["conversion_seq"] = await db.value(
                "select min(seq) from conversions where app_key = ? and campaign_key = ?",
                (CHARTS, "forum/which-charts"),
            )
            self.names["organic_seq"] = await db.value(
                "select max(seq) from conversions where app_key = ? and outcome = 'organic'", (CHARTS,)
            )

    async def empty(self) -> None:
        async with await open_writer(self.settings.where, "registry") as db:
            await self.people(db)
            await self.apps(db, (CHARTS, "acme", "1219125", "Charts for Teams"))
        async with await open_writer(self.settings.where, "log"):
            pass


def arrival(source: str, medium: str, campaign: str) -> Details:
    """A page that a campaign led to."""
    query = {"utm_source": source, "utm_medium": medium, "utm_campaign": campaign}
    return Details(f"{LISTING}?{urlencode(query)}", query, title="Charts for Teams | Marketplace", user_agent=FIREFOX)


def sha1(text: str) -> str:
    """40 digits, as ids of visitors have."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def main(data_dir: str, secret_key: str, state: str, now: str) -> None:
    Path(data_dir).mkdir(parents=True, exist_ok=True)
    goods = Goods(Settings(data_dir=Path(data_dir), secret_key=secret_key), int(now))
    asyncio.run(goods.full() if state == "full" else goods.empty())
    print(json.dumps(goods.names))


if __name__ == "__main__":
    main(*sys.argv[1:])
