"""An installation whose log the exporter follows for attribution: events in few words, a run, and what came of it."""

import asyncio
from collections import Counter
from typing import Any

from shipping_cast import NOON, OWNER, Details, Installation, Silence, an_event

from attribution import decision
from attribution.decision import WHOLE, Decision
from attribution.models import NAMES
from exporter.attributed import Attributed
from exporter.attributing import Attributing
from store import event_rules, log
from store.attribution import reading, rules
from store.attribution.reading import Install, Listing, Wanted
from store.attribution.rules import Change
from store.engines import open_reader, open_writer
from store.event import PARTNER, Event
from store.event_rules import Rule
from store.rollups.following import catch_up

HOUR, DAY = 3_600_000, 86_400_000
OWNERS = Listing(OWNER, "owner")
LATER = NOON + 10 * DAY
SPRING, AUTUMN = {"utm_source": "mail", "utm_campaign": "spring"}, {"utm_source": "mail", "utm_campaign": "autumn"}


def view(query: dict[str, str], at: int = NOON - DAY, **fields: Any) -> Event:
    told = {"occurred_at": at, "received_at": fields.pop("received_at", max(at, NOON - DAY))} | fields
    return an_event(details=Details(url="https://market.example/", query=query), **told)


def installed(at: int = NOON, **fields: Any) -> Event:
    return an_event("install", source="server", occurred_at=at, received_at=fields.pop("received_at", at), **fields)


def opened(at: int = NOON, **fields: Any) -> Event:
    told = {"source": PARTNER, "occurred_at": at, "received_at": at, "anonymous_id": "p1"} | fields
    return an_event("Application Installed", **told)


def say_of_orders(installation: Installation, app: str = OWNER, **said: Any) -> None:
    async def once() -> None:
        async with await open_writer(installation.where, "registry") as db:
            await event_rules.say(db, NOON - DAY, app, "Order Completed", Rule(**said), "olga")

    asyncio.run(once())


def follow(installation: Installation, now: int = NOON + HOUR, run: str = "run") -> Attributed:
    async def once() -> Attributed:
        where = installation.where
        async with (
            await open_reader(where, "registry") as registry_db,
            await open_reader(where, "log") as log_db,
            await open_writer(where, "ledger") as ledger_db,
            await open_writer(where, "log") as log_writer,
        ):
            await catch_up(registry_db, log_db, log_writer, now)
            following = Attributing(registry_db, log_db, ledger_db, run, Silence(), asyncio.Event())
            return await following.follow(await log.settled(log_db), now)

    return asyncio.run(once())


def ask(installation: Installation, question: Any, *values: Any) -> Any:
    async def once() -> Any:
        async with await open_reader(installation.where, "ledger") as db:
            return await question(db, *values)

    return asyncio.run(once())


def installs(installation: Installation, of: Listing = OWNERS, **wanted: Any) -> list[Install]:
    found: list[Install] = ask(installation, reading.installs, of, Wanted(**wanted))
    return found


def decided(installation: Installation, seq: int) -> list[Decision]:
    """Every decision of an install, the newest first."""
    return [decision.decode(made.document) for made in ask(installation, reading.history, OWNER, seq)]


def set_rules(installation: Installation, app: str = OWNER, campaign: str = "", **change: Any) -> None:
    async def once() -> None:
        async with await open_writer(installation.where, "registry") as db:
            await rules.set_rules(db, NOON, app, campaign, Change(**change))

    asyncio.run(once())


def check_sums(installation: Installation) -> None:
    """Every sum against the installs that it is of."""
    rows = installation.ledger("select seq, partner_key, outcome, converted_at, version from conversions")
    counted = Counter((partner, at // DAY, outcome) for _, partner, outcome, at, _ in rows)
    kept = installation.ledger("select partner_key, day, outcome, n from attribution_days where n <> 0")
    assert {row[:3]: row[3] for row in kept} == counted
    new = Counter((partner, at // DAY) for _, partner, outcome, at, _ in rows if outcome in ("attributed", "organic"))
    organic = Counter((partner, at // DAY) for _, partner, outcome, at, _ in rows if outcome == "organic")
    given_out = installation.ledger("select partner_key, model, day, campaign_key, credit from attribution_sums")
    for model in NAMES:
        given, nobodys = Counter[Any](), Counter[Any]()
        for partner, name, day, campaign, credit in given_out:
            if name == model:
                given[partner, day] += credit
                nobodys[partner, day] += credit if campaign == "" else 0
        assert +given == Counter({place: n * WHOLE for place, n in new.items()}), model
        assert +nobodys == Counter({place: n * WHOLE for place, n in organic.items()}), model
    earned = Counter[Any]()
    for day, currency, amount in installation.ledger("select day, currency, amount from conversion_revenue"):
        earned[day, currency] += amount
    for model in NAMES:
        shared = Counter[Any]()
        told = "select day, currency, amount from attribution_revenue where model = ?"
        for day, currency, amount in installation.ledger(told, model):
            shared[day, currency] += amount
        assert {place: n for place, n in shared.items() if n} == {place: n for place, n in earned.items() if n}, model
    versions = installation.ledger("select seq, count(*), max(version) from decisions group by seq")
    assert {seq: (n, newest) for seq, n, newest in versions} == {seq: (v, v) for seq, _, _, _, v in rows}


def order(revenue: Any, at: int, currency: str = "EUR", **fields: Any) -> Event:
    details = Details(properties={"revenue": revenue, "currency": currency})
    told = {"source": PARTNER, "occurred_at": at, "received_at": at, "anonymous_id": "p1"} | fields
    return an_event("Order Completed", details=details, **told)


def earned(installation: Installation, model: str) -> dict[tuple[str, str], int]:
    found = ask(installation, reading.earned, OWNERS, 0, 30_000)
    return {(each.campaign_key, each.currency): each.amount for each in found if each.model == model}
