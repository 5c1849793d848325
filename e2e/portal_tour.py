"""Which pages the portal has, in which states, and a way to each: for the sweep, the keyboard and the pictures.

The table below has a line for each address that somebody can open. A page that is new gets its line here; what its path
or query needs is looked up and told by portal_goods.py. Who looks:

| who | is |
|---|---|
| operator | of the marketplace: sees all partners |
| owner | of the partner Acme, whose app Charts has everything that there can be |
| secured | another owner, with a second step |
| newcomer | owner of a partner who has no app in the empty state |
| nobody | not signed in |

In the state `full` every page shows all it can, and people may sign in by OpenID Connect, too; in the state `empty`
there are people, and an app for which nothing has come. A stop that is in one of them alone says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, Literal, Self

from playwright.sync_api import Browser, BrowserContext
from playwright.sync_api import Page as Tab
from processes import SECRET_KEY, Footfall, Process, free_port

from collector.portal.frame import Page
from collector.portal.numbers.titles import TITLES
from collector.portal.pages import PAGES

State = Literal["full", "empty"]
STATES: tuple[State, ...] = ("full", "empty")


@dataclass(frozen=True)
class Stop:
    """One address of a page. `name` is its picture's, `look` what to see there, as the documentation says it."""

    page: str
    name: str
    look: str
    query: str = ""
    who: tuple[str, ...] = ("operator", "owner")
    states: tuple[State, ...] = STATES
    is_page: bool = True  # not a file, nor a part of a page
    aloud: tuple[str, ...] = ()  # names that stand for others in its path

    def address(self, names: dict[str, Any]) -> str:
        """Where it is. Raises KeyError for what there is not."""
        text = self.page + (f"?{self.query}" if self.query else "")
        found = names | {part.partition("=")[0]: names.get(part.partition("=")[2]) for part in self.aloud}
        missing = {field for _, field, _, _ in Formatter().parse(text) if field and found.get(field) is None}
        if missing:
            raise KeyError(f"{self.page} needs {', '.join(sorted(missing))}: to be told by portal_goods.py")
        return text.format(**found)


APP, ALL_APPS = "/apps/{app_key}", "/partners/{partner_key}"
LOOKS = {
    "overview": "Overview of an app: how many visitors, what they did, and how that compares.",
    "funnel": "Of the visitors of a listing, how many came how far, and how long that took.",
    "sources": "Where visitors came from, and what those of each source did.",
    "clicks": "Tabs and calls to action that were clicked.",
    "journeys": "Journeys: which step followed which.",
    "visitors": "Visitors who did something of late, and the search for one by any id.",
    "audiences": "Audiences of Segment Engage: how large each is, and who came and went.",
}


def of_numbers() -> Iterator[Stop]:
    """Every page of numbers, of an app and of all apps of a partner, and its files; the same for an operator."""
    for name, look in LOOKS.items():
        yield Stop(f"{APP}/{name}", name, look, who=("owner",))
        together = f"{TITLES[name]} of all apps of a partner together."
        yield Stop(f"{ALL_APPS}/{name}", f"{name}-all", together, who=("owner",))
        for base, all_apps in ((APP, ""), (ALL_APPS, "-all")):
            for kind in ("csv", "json"):
                yield Stop(f"{base}/{name}.{kind}", f"{name}{all_apps}-{kind}", "", is_page=False)


STOPS = [
    Stop(
        "/sign-in",
        "sign-in",
        "The way in: an address and a password, or another place to be known by.",
        who=("nobody",),
    ),
    Stop(
        "/invitation",
        "invitation",
        "What a link opens that somebody was invited with.",
        "token={invitation}",
        ("nobody",),
    ),
    Stop("/reset", "reset", "What a link opens that sets a password anew.", "token={reset}", ("nobody",)),
    Stop("/sign-in/openid", "openid", "", who=("nobody",), is_page=False),
    Stop("/sign-in/openid/back", "openid-back", "", who=("nobody",), is_page=False),
    Stop("/prove/openid", "openid-prove", "", is_page=False),
    Stop("/prove", "prove", "The password again, before what a finder of an open browser must not do."),
    Stop("/", "apps", "A partner's apps: all together, each alone, and which has nowhere to send to.", who=("owner",)),
    Stop("/", "marketplace", "What the marketplace's operators see first: all listings.", who=("operator",)),
    Stop("/", "apps-none", "The same before the marketplace has added an app.", who=("newcomer",), states=("empty",)),
    *of_numbers(),
    Stop(
        f"{APP}/overview", "overview-day", "One day, hour by hour.", "period=yesterday&compare=year", states=("full",)
    ),
    Stop(
        f"{APP}/overview",
        "overview-filtered",
        "The overview of those who came by one campaign.",
        "f=utm_source:newsletter&tz=Asia/Kolkata",
    ),
    Stop(f"{APP}/sources", "sources-one", "All values of one kind of source.", "facet=referrer", states=("full",)),
    Stop(
        f"{APP}/clicks",
        "clicks-filtered",
        "What those clicked who opened the reviews.",
        "f=tab:Reviews&f=referrer:search.example",
        states=("full",),
    ),
    Stop(f"{APP}/journeys", "journeys-back", "Which steps came before an install.", "back=install"),
    Stop(f"{APP}/visitors", "visitor", "One visitor's journey.", "visitor={visitor}", states=("full",)),
    Stop(f"{APP}/audiences", "audience", "One audience's history.", "audience=power_users", states=("full",)),
    Stop(
        f"{APP}/funnel",
        "funnel-audience",
        "The funnel of those who are in an audience.",
        "f=audience:power_users",
        states=("full",),
    ),
    Stop(f"{APP}/visitors", "visitor-nobody", "An id that no visitor has.", "q=nobody"),
    Stop(
        f"{APP}/details",
        "details",
        "Manage app details: destinations and how each stands, links for ads, the app's name.",
    ),
    Stop(f"{APP}/details/destination", "destination", "Entering a Segment write key."),
    Stop(f"{APP}/details/destination", "destination-change", "Changing a destination.", "name=main", states=("full",)),
    Stop(
        f"{APP}/authentication",
        "authentication",
        "Authentication: whether callers have to prove who they are, key pairs, and what waits in quarantine.",
    ),
    Stop(f"{APP}/live", "live", "Live events, suppressed ones too, with what was rejected beside them."),
    Stop(f"{APP}/live", "live-search", "Live events that were looked for.", "q=crm-4000", states=("full",)),
    Stop(f"{APP}/live", "live-nothing", "A search that found nothing.", "q=nobody"),
    Stop(f"{APP}/live/news", "live-news", "", "after=0", is_page=False),
    Stop(
        f"{APP}/events/{{seq}}",
        "event",
        "One event: what became of it, what is kept, and what leaves.",
        states=("full",),
    ),
    Stop(
        f"{APP}/events/{{seq}}",
        "event-suppressed",
        "An event that a visitor did not agree to share.",
        states=("full",),
        aloud=("seq=suppressed_seq",),
    ),
    Stop(
        f"{APP}/events/{{seq}}",
        "event-parked",
        "An event that was set aside.",
        states=("full",),
        aloud=("seq=parked_seq",),
    ),
    Stop(f"{APP}/event-names", "event-names", "Events that the app's own systems send, by name."),
    *(
        Stop(f"{APP}/event-names{file}", f"event-names-{at}", "", is_page=False)
        for at, file in enumerate((".csv", ".json", "/schema.json", "/segment.json", "/rudderstack.zip"))
    ),
    Stop(
        f"{APP}/event-names/event",
        "event-name",
        "One of those events: how often, what it carries, and its settings.",
        "name=Order%20Completed",
        states=("full",),
    ),
    *(
        Stop(
            f"{APP}/event-names/event{file}",
            f"event-name{file}",
            "",
            "name=Seat%20Added",
            states=("full",),
            is_page=False,
        )
        for file in (".csv", ".json")
    ),
    Stop(f"{APP}/deliveries", "deliveries", "Where every event went, and each request with its answer."),
    Stop(f"{APP}/deliveries/parked", "parked", "Parked events, with the reason, to be released or dropped."),
    Stop(f"{APP}/deliveries/replays", "replays", "Replays, and how far each has come."),
    Stop(
        f"{APP}/deliveries/replays",
        "replays-plan",
        "A replay that is counted before it is asked for.",
        "from={yesterday}&destination=main&new_ids=1",
        states=("full",),
    ),
    Stop(f"{APP}/deliveries/receipts", "receipts", "Signed receipts, and how to check one."),
    Stop(f"{APP}/receipts/{{receipt_id}}.json", "receipt", "", states=("full",), is_page=False),
    Stop(f"{APP}/deliveries/postbacks", "postbacks", "Who is told which campaign brought an install."),
    Stop(
        f"{APP}/deliveries/postbacks/{{target_id}}",
        "postback",
        "One webhook: how it fares, what each install's postback became, and each request.",
        states=("full",),
    ),
    Stop(f"{APP}/deliveries/postbacks/new", "webhook", "Adding a webhook."),
    Stop(
        f"{APP}/deliveries/postbacks/{{target_id}}/change",
        "webhook-change",
        "Changing a webhook and its template.",
        states=("full",),
    ),
    Stop("/account", "account", "One's own name, password, second step, and where one is signed in."),
    Stop("/account", "account-secured", "The same with a second step.", who=("secured",), states=("full",)),
    Stop("/account/second-step", "second-step", "Setting up a second step."),
    Stop("/people", "people", "Who may sign in for a partner; operators see everybody."),
    Stop("/people/{person_id}", "person", "One person: role and access."),
    Stop("/people/{person_id}", "person-invited", "Somebody who was invited.", aloud=("person_id=invited_id",)),
    Stop(
        "/people/{person_id}",
        "person-disabled",
        "Somebody who may not sign in.",
        states=("full",),
        aloud=("person_id=left_id",),
    ),
    Stop("/audit", "own-audit", "Who did what to a partner's people, apps and tokens."),
    Stop("/tokens", "tokens", "API tokens, and making one."),
    Stop("/operator", "operator", "What came to all doors together.", who=("operator",)),
    Stop("/operator/partners", "partners", "Partners, and adding one.", who=("operator",)),
    Stop("/operator/apps", "operator-apps", "All apps, and adding one.", who=("operator",)),
    Stop("/operator/settings", "settings", "The settings in force.", who=("operator",)),
    Stop("/operator/health", "health", "What is well, and what to look at.", who=("operator",)),
    Stop("/operator/audit", "audit", "Who changed what.", who=("operator",)),
]
PROVIDER = {  # which nobody goes to
    "FOOTFALL_OIDC_ISSUER": "https://login.marketplace.example",
    "FOOTFALL_OIDC_NAME": "the Marketplace Account",
    "FOOTFALL_OIDC_CLIENT_ID": "footfall",
    "FOOTFALL_OIDC_CLIENT_SECRET": "of tests only",
}
VISITS = [(stop, state) for stop in STOPS if stop.is_page for state in stop.states]
NAMES = {"app_key", "partner_key", "visitor", "seq", "person_id", "receipt_id", "target_id"}
NAMES |= {"invitation", "reset", "yesterday"}


def unvisited() -> set[str]:
    """Pages that can be opened and that no stop is at."""
    return {page.path for page in PAGES if page.method == "GET"} - {stop.page for stop in STOPS}


def page_of(stop: Stop) -> Page:
    return next(page for page in PAGES if (page.method, page.path) == ("GET", stop.page))


class Tour:
    """A collector on an installation in one state, and browsers of its people. `clock` starts `serve` with it."""

    def __init__(self, home: Path, state: State, now: int | None = None) -> None:
        port = free_port()
        self.state = state
        settings = PROVIDER if state == "full" else {}
        self._footfall = Footfall(home / "data", FOOTFALL_PUBLIC_URL=f"http://127.0.0.1:{port}", **settings)
        moment = now or time.time_ns() // 1_000_000
        goods = [sys.executable, str(Path(__file__).with_name("portal_goods.py")), str(home / "data"), SECRET_KEY]
        environment = self._footfall.env | {"PYTHONPATH": str(Path(__file__).parents[1])}
        made = subprocess.run([*goods, state, str(moment)], env=environment, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        self.names: dict[str, Any] = json.loads(made.stdout)
        self.names["yesterday"] = time.strftime("%Y-%m-%d", time.gmtime(moment / 1_000 - 86_400))
        clock = [sys.executable, str(Path(__file__).with_name("clock_from.py")), str(now)]
        self.collector = self._serve(port, clock if now else None, environment)

    def _serve(self, port: int, command: list[str] | None, environment: dict[str, str]) -> Process:
        if command is None:
            return self._footfall.collector(port)
        output = self._footfall.home / "collector.log"
        return Process([*command, "serve", "--port", str(port)], environment, port, output, "/healthz")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.collector.stop()

    def address(self, stop: Stop) -> str:
        """The stop's URL."""
        return self.collector.url + stop.address(self.names)

    def cookie(self, who: str) -> str:
        token: str = self.names["cookies"][who]
        return token

    def enter(self, make: Callable[..., BrowserContext], who: str, **options: Any) -> Tab:
        """A new browser of somebody's, signed in."""
        context = make(**options)
        if who != "nobody":
            context.add_cookies([{"name": "footfall", "value": self.cookie(who), "url": self.collector.url}])
        return context.new_page()


class Visitors:
    """Browsers of the people on a tour that stay open from one stop to the next: one for each way of looking."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._tabs: dict[str, Tab] = {}

    def enter(self, tour: Tour, who: str, **options: Any) -> Tab:
        key = repr((tour.state, who, sorted(options.items())))
        if key not in self._tabs:
            self._tabs[key] = tour.enter(self._browser.new_context, who, **options)
        return self._tabs[key]

    def close(self) -> None:
        for tab in self._tabs.values():
            tab.context.close()
