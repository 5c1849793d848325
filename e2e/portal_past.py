"""What visitors did at the listings in the weeks before a tour: made by chance, and the same for the same moment.

The surprising thing: some of them are those who come during the tour too, so that the pages show who came back.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from store.event import Details

DAYS = 70
DAY_MS, HOUR_MS, SECOND_MS = 86_400_000, 3_600_000, 1_000
SITE = "https://marketplace.example/apps"
WEEK = 1.0, 1.1, 1.05, 1.0, 0.8, 0.35, 0.4  # from Monday on
BROWSERS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:148.0) Gecko/20100101 Firefox/148.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) AppleWebKit/605.1.15 Version/26.1 Mobile/15E148 Safari",
)
TABS = {"Reviews": 30, "Pricing": 26, "Overview": 9, "Privacy and security": 10, "Support": 6, "Installation": 4}
CALLS = {"Start Free Trial": 60, "Buy now": 22, "Ask for a demonstration": 14}
REFERRERS = {
    "https://www.search.example/": 30,
    "https://marketplace.example/search?q=charts": 26,
    "": 18,
    "https://blog.acme.example/ten-charts-that-lie": 9,
    "https://forum.teams.example/t/which-charts": 6,
    "https://www.a-rather-long-name-of-a-newspaper.example/software/reviews": 3,
}
CAMPAIGNS = {
    ("newsletter", "email", "autumn-release"): 8,
    ("search", "cpc", "charts-for-teams"): 9,
    ("video", "cpc", "how-to-read-a-chart-in-under-a-minute"): 3,
}
SENT = {"Trial Started": 3, "Order Completed": 2, "order_completed": 0.7, "Seat Added": 5, "Session Heartbeat": 6}
LISTINGS = {
    "com.acme.charts": ("1219125", "charts-for-teams", "Charts for Teams", 26),
    "com.acme.boards": ("1219126", "boards", "Boards", 10),
    "com.nordlicht.notes": ("1219127", "notes", "Notes", 6),
}


class Done(NamedTuple):
    """An event to be: `visitor` is a number, `fields` are further columns of the log."""

    at: int
    app_key: str
    visitor: int
    name: str
    details: Details
    fields: Mapping[str, Any]


def sent(now: int) -> list[tuple[int, int, str, Details]]:
    """(moment, visitor, name, details) of what an app's own systems sent, in order."""
    chance = random.Random(4177)  # noqa: S311 - of pictures only
    found = []
    for ago in range(DAYS, 0, -1):
        for name, often in SENT.items():
            for _ in range(round(often * chance.uniform(0.4, 1.6))):
                moment = now - ago * DAY_MS + int(chance.triangular(4, 23, 14) * HOUR_MS)
                told = Details(door="segment", properties=_carried(chance, name))
                found.append((moment, chance.randrange(40), name, told))
    return sorted(found, key=lambda each: each[0])


def _carried(chance: random.Random, name: str) -> dict[str, Any]:
    """The properties of an event."""
    if name == "Seat Added":
        return {"seats": chance.randrange(1, 40), "campaign": "spring"}
    if name in ("Order Completed", "order_completed"):
        told: dict[str, Any] = {
            "order_id": str(uuid.UUID(int=chance.getrandbits(128))),
            "total": chance.choice([49, 99.5, 240]),
            "currency": "EUR",
            "ordered_at": "2026-05-28T20:26:40Z",
        }
        return told | ({"coupon": chance.choice(["WELCOME", None])} if chance.random() < 0.3 else {})
    return {"plan": chance.choice(["standard", "premium"])} if name == "Trial Started" else {}


def past(now: int) -> list[Done]:
    """All of it, in order."""
    chance = random.Random(20817)  # noqa: S311 - of pictures only
    found = [done for day in range(DAYS, 0, -1) for done in _day(chance, now, day)]
    return sorted((done for done in found if done.at < now - 6 * HOUR_MS), key=lambda done: done.at)


def _day(chance: random.Random, now: int, ago: int) -> Iterator[Done]:
    midnight = now - now % DAY_MS - (ago - 1) * DAY_MS
    growth = (1.2 - 0.5 * ago / DAYS) * WEEK[datetime.fromtimestamp(midnight / 1_000, UTC).weekday()]
    for app_key, (_, _, _, visits) in LISTINGS.items():
        for _ in range(round(visits * growth * chance.uniform(0.8, 1.2))):
            moment = midnight + int(chance.triangular(4, 23, 14) * HOUR_MS)
            who = chance.randrange(40) if chance.random() < 0.12 else chance.randrange(1_000, 5_000)
            yield from _visit(chance, moment, app_key, who)


def _visit(chance: random.Random, moment: int, app_key: str, who: int) -> Iterator[Done]:
    """A view, some tabs, and now and then a call to action and what comes of it."""
    told = _arrival(chance, app_key)
    known: dict[str, Any] = {"partner_anonymous_id": f"crm-{10_000 + who}"} if chance.random() < 0.2 else {}

    def done(name: str, **more: Any) -> Done:
        nonlocal moment
        moment += int(chance.triangular(2, 240, 20)) * SECOND_MS
        if name in ("install", "app_request", "uninstall"):
            return Done(moment, app_key, who, name, Details(), known | {"source": "server"})
        details = Details(told.url, told.query, told.referrer, told.title, user_agent=told.user_agent, **more)
        return Done(moment, app_key, who, name, details, known)

    if chance.random() < 0.02:
        yield Done(moment, app_key, who, "page_view", told, {"suppressed": "gpc"})
        return
    yield done("page_view")
    tabs = chance.choices((0, 1, 2, 3), (45, 30, 17, 8))[0]
    for tab in chance.choices(list(TABS), list(TABS.values()), k=tabs):
        yield done("tab_click", label=tab)
    if chance.random() < 0.08 + 0.09 * tabs:
        yield done("cta_click", label=chance.choices(list(CALLS), list(CALLS.values()))[0])
        if chance.random() < 0.12:
            yield done("app_request")
        elif chance.random() < 0.45:
            yield done("install")


def _arrival(chance: random.Random, app_key: str) -> Details:
    """The page that is opened, and what led there."""
    number, slug, title, _ = LISTINGS[app_key]
    query = (
        {"tab": "overview"} if chance.random() < 0.4 else {"hosting": chance.choice(("cloud", "cloud", "data center"))}
    )
    referrer = chance.choices(list(REFERRERS), list(REFERRERS.values()))[0]
    if chance.random() < 0.22:
        utm = chance.choices(list(CAMPAIGNS), list(CAMPAIGNS.values()))[0]
        query |= dict(zip(("utm_source", "utm_medium", "utm_campaign"), utm, strict=True))
        referrer = f"https://{urlsplit(referrer).hostname}/" if referrer else ""
    url = f"{SITE}/{number}/{slug}?{urlencode(query)}"
    browser = chance.choice(BROWSERS)
    return Details(url, query, referrer or None, f"{title} | Marketplace", user_agent=browser, locale="en-GB")
