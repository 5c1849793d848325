"""What happened at the demo's listings before it was started: sixty days of made-up visits, installs and app requests.

Nothing here is said to anybody: see telling.py. The surprising thing is that all of it is a function of one moment, the
one in which the demo was made. Told again, each event has the message id that it had, and is known already.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from collector.demo.ads import ADS
from collector.demo.back_end import Door
from collector.demo.listing import TABS, App, calls_to_action

DAYS = 60
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000
SEED = 20817

GROWTH = 0.7, 1.3  # of the first day and of the last, against the middle
WEEK = 1.0, 1.1, 1.08, 1.0, 0.85, 0.3, 0.34  # from Monday on
HOURS = 2, 1, 1, 1, 1, 2, 4, 7, 10, 11, 10, 9, 9, 11, 13, 13, 12, 11, 9, 8, 7, 6, 4, 3  # UTC: Europe, then America
PEAK = range(33, 41)  # days of the marketplace's own campaign
PEAK_GROWTH = 1.7

RETURNING = 0.24
SIGNED_IN = 0.15
SHARED_AD = 0.8  # of the partner's own ads carry the partner's id for the visitor
INSTALLED = 0.42  # of those who followed a call to action
REQUEST_GRANTED = 0.55
UNINSTALLED = 0.13
BOT = 0.015
SPOILT = 0.005  # whose last event is turned away
UNSEEN_INSTALLS = 0.06  # of which the back end knows no visitor

ARRIVALS = {"quayside": 34, "google": 24, "none": 18, "blog": 7, "forum": 4, "ad": 13}
ARRIVALS_AT_PEAK = ARRIVALS | {"ad": 46}
TAB_WEIGHTS = {
    "reviews": 30,
    "pricing": 28,
    "overview": 9,
    "privacy-and-security": 11,
    "support": 7,
    "versions": 8,
    "installation": 7,
}
CALLED = 0.1, 0.17, 0.24, 0.31  # how likely a call to action is after so many tabs
WORDS = "cards", "calendar", "forecast", "team", "free", "cloud", "self-hosted", "report"
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 "
    "Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 "
    "Mobile/15E148 Safari/604.1",
)
BOTS = (
    "Mozilla/5.0 (compatible; Findwellbot/2.1; +https://findwell.example/bot)",
    "Mozilla/5.0 (compatible; CatalogueSpider/1.4)",
)
LOCALES = "en-US", "en-GB", "de-DE", "nb-NO", "fr-CA", "nl-NL", "pt-BR", "ja-JP"


class Visit(Struct, frozen=True):
    """What one browser sends from one visit, in one request. `at` is epoch milliseconds; `account` is whose signed
    token the events are to carry, if anybody's."""

    at: int
    app_key: str
    agent: str
    locale: str
    events: list[dict[str, Any]]
    gpc: bool = False
    account: str = ""


class Act(Struct, frozen=True):
    """What the marketplace's back end tells of one account, `message` being the body."""

    at: int
    door: Door
    message: dict[str, Any]


class Campaign(Struct, frozen=True):
    """Where an ad was seen. `own`: the partner's, whose id for the visitor its links carry."""

    source: str
    medium: str
    name: str
    contents: Sequence[str]
    terms: Sequence[str] = ()
    own: bool = True


class _Visitor(Struct):
    """Somebody with one browser, who may come again."""

    anonymous_id: str
    agent: str
    locale: str
    gpc: bool
    consent: dict[str, bool] | None
    account: str
    partner: str = ""


def history(apps: Sequence[App], until: int, marketplace: str) -> list[Visit | Act]:
    """Everything that happened in the sixty days before `until`, epoch milliseconds, in order. `marketplace` is its
    address, without a final slash."""
    told = [part for app in apps for part in _Listing(app, until, marketplace).parts()]
    return sorted((part for part in told if part.at < until), key=lambda part: part.at)


class _Listing:
    """One app's listing, with its own chance, so that another listing more changes nothing here."""

    def __init__(self, app: App, until: int, marketplace: str) -> None:
        self._app = app
        self._chance = random.Random(f"{SEED} {app.key}")  # noqa: S311 - made-up visits
        self._until = until
        self._start = until - DAYS * DAY_MS
        self._marketplace = marketplace
        self._campaigns = campaigns(app)
        self._visitors: list[_Visitor] = []

    def parts(self) -> Iterator[Visit | Act]:
        for day in range(DAYS + 1):  # the last is today, as far as it has come
            for _ in range(self._visits_on(day)):
                yield from self._visit(day)
        if self._app.gets_history:
            yield self._too_long()

    def _visits_on(self, day: int) -> int:
        """From how many teams use the app, and the day."""
        usual = 6 + int(self._app.teams.replace(",", "")) ** 0.5 / 6
        first, last = GROWTH
        weekday = (self._start + day * DAY_MS) // DAY_MS + 3  # the epoch began on a Thursday
        peak = PEAK_GROWTH if day in PEAK else 1.0
        expected = usual * (first + (last - first) * day / DAYS) * WEEK[weekday % 7] * peak
        return max(0, round(self._chance.gauss(expected, expected**0.5)))

    def _visit(self, day: int) -> Iterator[Visit | Act]:
        chance = self._chance
        midnight = (self._start // DAY_MS + day) * DAY_MS
        at = midnight + chance.choices(range(24), HOURS)[0] * HOUR_MS + chance.randrange(HOUR_MS)
        if chance.random() < BOT:
            yield self._bot(at)
            return
        visitor = self._visitor()
        page = _Steps(self._app, chance, visitor, self._marketplace, at)
        page.arrive(*self._arrival(visitor, day, at))
        called = page.look_around()
        if not called and chance.random() < SPOILT:
            _spoil(page.events[-1], chance)
        account = visitor.account if chance.random() < 0.7 else ""
        yield Visit(at, self._app.key, visitor.agent, visitor.locale, page.events, visitor.gpc, account)
        if called and chance.random() < INSTALLED:
            yield from self._acts(visitor, page.at)

    def _visitor(self) -> _Visitor:
        chance = self._chance
        if self._visitors and chance.random() < RETURNING:
            return chance.choice(self._visitors[-150:])
        sharing = chance.choices((None, True, False), (80, 14, 6))[0]
        visitor = _Visitor(
            anonymous_id="".join(chance.choices("0123456789", k=40)),
            agent=chance.choices(AGENTS, (52, 24, 14, 10))[0],
            locale=chance.choices(LOCALES, (38, 16, 14, 6, 6, 8, 7, 5))[0],
            gpc=chance.random() < 0.02,
            consent=None if sharing is None else {"measurement": True, "sharing": sharing},
            account=self._account() if chance.random() < SIGNED_IN else "",
        )
        self._visitors.append(visitor)
        return visitor

    def _account(self) -> str:
        return f"acct-{self._chance.randrange(10**9):09d}"

    def _arrival(self, visitor: _Visitor, day: int, at: int) -> tuple[dict[str, str], str]:
        """The query of the page that the visit begins with, and the page before it."""
        chance = self._chance
        hosting = chance.choices(self._app.hosting, (4, 1)[: len(self._app.hosting)])[0]
        query = {"hosting": hosting, "tab": "overview"}
        weights = ARRIVALS_AT_PEAK if day in PEAK else ARRIVALS
        found = chance.choices(list(weights), list(weights.values()))[0]
        if found == "ad":
            campaign = self._campaigns[0] if day in PEAK and chance.random() < 0.7 else chance.choice(self._campaigns)
            return self._from_ad(visitor, campaign, query, at)
        if found == "quayside":
            words = self._app.category.lower(), self._app.name.split()[0].lower(), chance.choice(WORDS)
            query |= {"from": "search", "position": str(chance.randrange(1, 9))}
            return query, f"{self._marketplace}/demo?{urlencode({'search': chance.choice(words)})}"
        if found == "blog":
            return query | {"ref": "calm-work"}, "https://calm-work-notes.example/the-quiet-stack"
        return query, {"google": "https://www.google.com/", "forum": "https://ask.tinkerers.example/"}.get(found, "")

    def _from_ad(
        self, visitor: _Visitor, campaign: Campaign, query: dict[str, str], at: int
    ) -> tuple[dict[str, str], str]:
        chance = self._chance
        utm = {"source": campaign.source, "medium": campaign.medium, "campaign": campaign.name}
        utm |= {"content": chance.choice(campaign.contents)}
        if campaign.terms:
            utm["term"] = chance.choice(campaign.terms)
        if campaign.own and chance.random() < SHARED_AD:
            given = f"{self._app.partner.key[:2]}-{chance.getrandbits(48):012x}"
            query |= {"partner_anonymous_id": given}
            visitor.partner = f"{_base36(at // 1_000)}.{self._app.key}:{given}"
        before = "https://findwell.example/" if campaign.medium == "cpc" else ""
        return query | {f"utm_{name}": value for name, value in utm.items()}, before

    def _acts(self, visitor: _Visitor, called_at: int) -> Iterator[Act]:
        """What the back end tells after a call to action: minutes to days later, and perhaps an end."""
        chance = self._chance
        account = visitor.account or self._account()
        anonymous_id = "" if chance.random() < UNSEEN_INSTALLS else visitor.anonymous_id
        at = called_at + self._delay()
        if self._app.pricing == "request":
            yield self._act(at, "app-requests", account, anonymous_id)
            if chance.random() > REQUEST_GRANTED:
                return
            at += chance.randrange(8 * HOUR_MS, 6 * DAY_MS)
        yield self._act(at, "installs", account, anonymous_id)
        if chance.random() < UNINSTALLED:
            yield self._act(at + chance.randrange(HOUR_MS, 20 * DAY_MS), "uninstalls", account, anonymous_id)

    def _delay(self) -> int:
        chance = self._chance
        least, most = chance.choices(
            ((MINUTE_MS, 15 * MINUTE_MS), (HOUR_MS, 9 * HOUR_MS), (DAY_MS, 7 * DAY_MS)), (60, 22, 18)
        )[0]
        return chance.randrange(least, most)

    def _act(self, at: int, door: Door, account: str, anonymous_id: str) -> Act:
        message = {"app": self._app.key, "accountId": account, "occurredAt": _instant(at)}
        message["messageId"] = _message_id(self._chance, at)
        if anonymous_id:
            message["anonymousId"] = anonymous_id
        return Act(at, door, message)

    def _bot(self, at: int) -> Visit:
        agent = self._chance.choice(BOTS)
        robot = _Visitor("".join(self._chance.choices("0123456789", k=40)), agent, "", False, None, "")
        page = _Steps(self._app, self._chance, robot, self._marketplace, at)
        page.arrive({}, "")
        return Visit(at, self._app.key, agent, "", page.events)

    def _too_long(self) -> Visit:
        """What no Segment source takes: it comes from a page whose address is a whole essay."""
        at = self._until - 9 * DAY_MS
        reader = _Visitor("4" * 40, AGENTS[2], "ja-JP", False, None, "")
        page = _Steps(self._app, self._chance, reader, self._marketplace, at)
        page.arrive({"tab": "overview"}, f"https://long-reads.example/?text={'静かな仕事' * 1_150}")
        page.open("reviews")
        return Visit(at, self._app.key, reader.agent, reader.locale, page.events)


class _Steps:
    """The steps of one visit, as the snippet writes them; `at` is when the last one was."""

    def __init__(self, app: App, chance: random.Random, visitor: _Visitor, marketplace: str, at: int) -> None:
        self._app = app
        self._chance = chance
        self._visitor = visitor
        self._path = f"{marketplace}{app.path}"
        self._hosting = "cloud"
        self._url = self._path
        self._before = ""
        self.at = at
        self.events: list[dict[str, Any]] = []

    def arrive(self, query: dict[str, str], before: str) -> None:
        self._hosting = query.get("hosting", self._hosting)
        self._view(self._app.name, query, before)

    def look_around(self) -> bool:
        """Open some tabs, each of them a page of its own; True when a call to action was followed at last."""
        tabs = self._chance.choices(range(len(CALLED)), (46, 27, 17, 10))[0]
        for tab in self._chance.choices(list(TAB_WEIGHTS), list(TAB_WEIGHTS.values()), k=tabs):
            self.open(tab)
        if self._chance.random() > CALLED[tabs]:
            return False
        self._wait(4, 90)
        calls = calls_to_action(self._app)
        label, target = self._chance.choices(calls, (5, 2)[: len(calls)])[0]
        self._add("cta_click", label=label, target=target)
        return True

    def open(self, tab: str) -> None:
        self._wait(6, 70)
        self._add("tab_click", label=TABS[tab], target=tab)
        title = self._app.name if tab == "overview" else f"{self._app.name}: {TABS[tab]}"
        self._view(title, {"hosting": self._hosting, "tab": tab}, self._url)

    def _view(self, title: str, query: dict[str, str], before: str) -> None:
        self._url = f"{self._path}?{urlencode(query)}" if query else self._path
        self._before = before
        self._add("page_view", title=title)

    def _wait(self, least: int, most: int) -> None:
        self.at += self._chance.randrange(least * 1_000, most * 1_000)

    def _add(self, name: str, **details: str) -> None:
        event = {
            "messageId": _message_id(self._chance, self.at),
            "name": name,
            "app": self._app.key,
            "occurredAt": self.at,
            "anonymousId": self._visitor.anonymous_id,
            "url": self._url,
            "referrer": self._before,
            "partner": self._visitor.partner,
            "consent": self._visitor.consent,
        }
        self.events.append({key: value for key, value in (event | details).items() if value})


def campaigns(app: App) -> list[Campaign]:
    """The marketplace's own, and then those of the app's partner, the one on the demo's front page among them."""
    words = app.category.lower(), f"{app.category.lower()} app", app.name.lower()
    contents = "headline", "picture"
    front_page = [
        Campaign(ad.source, ad.medium, ad.campaign, contents, words if ad.medium == "cpc" else ())
        for ad in ADS
        if ad.app is app
    ]
    return [
        Campaign("quayside", "banner", "week-of-calm-work", ("harbour", "lighthouse"), own=False),
        *front_page,
        Campaign("findwell", "cpc", f"{app.slug}-search", ("headline-a", "headline-b"), words),
        Campaign(f"{app.partner.key}-letter", "email", "monthly-letter", ("top-button", "last-line")),
    ]


def _spoil(event: dict[str, Any], chance: random.Random) -> None:
    """Make an event one that is turned away: measurement was refused, or it is none of the snippet's."""
    event |= chance.choice(({"consent": {"measurement": False}}, {"anonymousId": "not-an-id"}, {"name": "hover"}))


def _message_id(chance: random.Random, at: int) -> str:
    """A UUIDv7 without hyphens, as the snippet makes them."""
    return f"0{at:x}7{chance.getrandbits(12):03x}8{chance.getrandbits(60):015x}"


def _instant(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds")


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
