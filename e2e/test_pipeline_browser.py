"""From a visitor's click to the partner's source: real Chromium on the demo's pages, and what landed, field by field.

The exporter is the demo's own, which runs every two seconds, so a test looks at what landed until it is there. What
must never land is shown by something later of the same app that did: a cursor passes events in their order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from landed import Landed
from playwright.sync_api import Browser, BrowserContext, Page
from processes import COMMAND, Footfall, Process, free_port, wait_until

from selftest.processes import Failed

CHARTS = "/demo/apps/1218401/board-charts"  # Fernhollow's, default profile, paid
RIBBON = "/demo/apps/1219033/release-ribbon"  # Fernhollow's too
POCKETS = "/demo/apps/1220118/time-pockets"  # Pebblewick's, European
ALMANAC = "/demo/apps/1220164/leave-almanac"  # Pebblewick's, to be requested
SKETCH = "/demo/apps/1221540/sketch-tide"  # Saltlight's, segment profile
LIBRARY = {"name": "analytics-python", "version": "2.4.0"}
Message = dict[str, Any]
NewContext = Callable[..., BrowserContext]


class Demo:
    """`footfall demo` with its own data, and what its partners received."""

    def __init__(self, home: Path) -> None:
        port = free_port(and_next=1)
        self.footfall = Footfall(home / "data")
        self.process = Process(
            [*COMMAND, "demo", "--port", str(port)], self.footfall.env, port, home / "demo.log", "/healthz"
        )
        self.url = self.process.url
        self.segment = f"http://127.0.0.1:{port + 1}"
        self._landed = Landed(port + 1)

    def landed(self, visitor: str) -> list[Message]:
        """What landed of one visitor, whoever got it."""
        return [message for message in self._landed.all() if message["properties"]["anonymousId"] == visitor]

    def wait_for(self, visitor: str, *wanted: tuple[str, str]) -> dict[tuple[str, str], Message]:
        """Every (plugin id, kind) of a visitor's once it landed, each exactly once and nothing beside them."""
        try:
            wait_until(lambda: len(self.landed(visitor)) >= len(wanted), f"{wanted} landed", 60)
        except Failed as failed:
            landed = [(message["properties"]["pluginId"], kind(message)) for message in self.landed(visitor)]
            cursors = self.footfall.rows("ledger", "select * from cursors")
            newest = "select seq, app_key, name, anonymous_id, suppressed from events order by seq desc limit 10"
            raise Failed(
                f"{failed}; landed {landed}, visitor {visitor}, newest {self.footfall.rows('events', newest)}, "
                f"cursors {cursors}"
            ) from None
        found = {(message["properties"]["pluginId"], kind(message)): message for message in self.landed(visitor)}
        assert sorted(found) == sorted(wanted)
        assert len(self.landed(visitor)) == len(wanted)
        return found

    def stored(self, visitor: str) -> list[tuple[str, str | None]]:
        """What the log holds of one visitor: (name, why it is suppressed)."""
        return self.footfall.rows("events", "select name, suppressed from events where anonymous_id = ?", visitor)


def kind(message: Message) -> str:
    properties = message["properties"]
    act = f"{properties['action']} {properties.get('label')}" if "action" in properties else ""
    return act or message["event"].removeprefix("MPAC ")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, snippet: dict[str, Any]) -> Iterator[Demo]:
    demo = Demo(tmp_path_factory.mktemp("demo"))
    yield demo
    assert demo.process.stop() == 0, demo.process.log()
    assert demo.footfall.cli("doctor").returncode == 0
    assert "Traceback" not in demo.process.log()


@dataclass(frozen=True)
class Journey:
    """Who made it, and each message that landed because of it, by its step."""

    visitor: str
    found: dict[str, Message]


def visitor_of(context: BrowserContext) -> str:
    """The snippet's id for this browser."""

    def value() -> str:
        return next((c["value"] for c in context.cookies() if c["name"] == "footfall_id"), "")

    wait_until(value, "the snippet made an id")
    return value().partition(".")[2]


def properties(message: Message) -> Message:
    """Without what differs from run to run, which is looked at instead."""
    told = dict(message["properties"])
    happened = datetime.fromisoformat(told.pop("eventTime"))
    assert re.fullmatch(r"[0-9a-f]{40}", told.pop("anonymousId"))
    assert timedelta() <= datetime.now(UTC) - happened < timedelta(minutes=20)
    assert datetime.fromisoformat(message["originalTimestamp"]) == happened
    assert abs(datetime.fromisoformat(message["timestamp"]) - happened) < timedelta(minutes=1)
    return told


FERNHOLLOWS = {
    "eventType": "Track",
    "partnerId": "1207311",
    "pluginId": "1218401",
    "pluginKey": "com.fernhollow.board-charts",
    "partnerAnonymousId": "fh-reader-20817-c4a1",
}
ARRIVAL = (
    "?hosting=cloud&tab=overview&partner_anonymous_id=fh-reader-20817-c4a1"
    "&utm_source=fernhollow-letter&utm_medium=email&utm_campaign=autumn-flow"
)


FIELDS = {
    "context",
    "event",
    "integrations",
    "messageId",
    "originalTimestamp",
    "properties",
    "receivedAt",
    "sentAt",
    "timestamp",
    "type",
    "userId",
    "writeKey",
}
QUERY = {
    "hosting": "cloud",
    "tab": "overview",
    "utm_source": "fernhollow-letter",
    "utm_medium": "email",
    "utm_campaign": "autumn-flow",
}


@pytest.fixture(scope="module")
def journey(demo: Demo, browser: Browser) -> Journey:
    """From an advertisement to an uninstall."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(demo.url + CHARTS + ARRIVAL)
        page.get_by_role("tab", name="Reviews").click()
        page.wait_for_url("**tab=reviews")
        page.get_by_role("link", name="Try it free").click()  # leaves the page at once
        page.get_by_role("radio", name="Mira Okafor").check()
        page.get_by_role("button", name="Start free trial").click()
        page.get_by_role("button", name="Uninstall").click()
        page.get_by_text("is uninstalled").wait_for()
        visitor = visitor_of(context)
    steps = [
        "viewed Board Charts",
        "viewed Board Charts: Reviews",
        "clicked Reviews",
        "clicked Try it free",
        "Install event",
        "Uninstall event",
    ]
    found = demo.wait_for(visitor, *(("1218401", step) for step in steps))
    return Journey(visitor, {step: found["1218401", step] for step in steps})


def test_what_was_seen_and_clicked_lands_field_by_field(demo: Demo, journey: Journey) -> None:
    arrival = (
        f"{demo.url}{CHARTS}?hosting=cloud&tab=overview"
        "&utm_source=fernhollow-letter&utm_medium=email&utm_campaign=autumn-flow"
    )
    reviews = f"{demo.url}{CHARTS}?hosting=cloud&tab=reviews"
    assert properties(journey.found["viewed Board Charts"]) == FERNHOLLOWS | {
        "action": "viewed",
        "actionSubjectId": CHARTS,
        "label": "Board Charts",
        "queryParamsJson": QUERY,
        "url": arrival,
    }
    assert properties(journey.found["clicked Reviews"]) == FERNHOLLOWS | {
        "action": "clicked",
        "actionSubjectId": "tab/reviews",
        "label": "Reviews",
        "queryParamsJson": QUERY,
        "url": arrival,
    }
    assert properties(journey.found["viewed Board Charts: Reviews"]) == FERNHOLLOWS | {
        "action": "viewed",
        "actionSubjectId": CHARTS,
        "label": "Board Charts: Reviews",
        "queryParamsJson": {"hosting": "cloud", "tab": "reviews"},
        "referrerUrl": arrival,
        "url": reviews,
    }
    assert properties(journey.found["clicked Try it free"]) == FERNHOLLOWS | {
        "action": "clicked",
        "actionSubjectId": f"{demo.url}{CHARTS}/get",
        "label": "Try it free",
        "queryParamsJson": {"hosting": "cloud", "tab": "reviews"},
        "referrerUrl": arrival,
        "url": reviews,
    }


def test_the_install_and_the_uninstall_land_with_one_hashed_account(journey: Journey) -> None:
    install = properties(journey.found["Install event"])
    account = install.pop("userId")
    assert re.fullmatch(r"[0-9a-f]{40}", account)
    led_here = {"queryParamsJson": {name: value for name, value in QUERY.items() if name.startswith("utm_")}}
    assert install == FERNHOLLOWS | led_here
    assert properties(journey.found["Uninstall event"]) == FERNHOLLOWS | led_here | {"userId": account}
    assert "acct-" not in str(journey.found), "the account id itself never leaves the marketplace"


def test_every_message_of_a_journey_has_the_visitors_id_and_nothing_besides(journey: Journey) -> None:
    for message in journey.found.values():
        assert message.keys() == FIELDS
        assert message["userId"] == journey.visitor
        assert (message["type"], message["integrations"], message["context"]) == ("track", {}, {"library": LIBRARY})
    assert len({message["writeKey"] for message in journey.found.values()}) == 1


def test_the_segment_profile_lands_with_context_and_a_known_account(demo: Demo, new_context: NewContext) -> None:
    page = new_context(locale="en-GB").new_page()
    page.goto(f"{demo.url}{SKETCH}?hosting=cloud&tab=overview")
    page.get_by_text("Sign in", exact=True).click()
    page.get_by_role("button", name="Jonas Hale").click()
    page.get_by_text("Jonas Hale").first.wait_for()
    page.goto(f"{demo.url}{SKETCH}?utm_source=saltlight-docs&utm_campaign=draw&partner_anonymous_id=salt.1")
    page.get_by_role("tab", name="Pricing").click()
    visitor = visitor_of(page.context)
    wait_until(lambda: len(demo.landed(visitor)) >= 5, "five events landed")
    arrived = next(m for m in demo.landed(visitor) if "utm_source" in m["properties"].get("queryParamsJson", {}))
    tab = next(m for m in demo.landed(visitor) if m["properties"]["action"] == "clicked")
    assert arrived["anonymousId"] == visitor
    assert re.fullmatch(r"[0-9a-f]{40}", arrived["userId"])
    assert arrived["properties"]["userId"] == arrived["userId"]
    assert arrived["properties"]["partnerAnonymousId"] == "salt.1"
    assert (arrived["properties"]["actionSubject"], tab["properties"]["actionSubject"]) == ("page", "tab")
    context = arrived["context"]
    assert context["library"] == LIBRARY
    assert context["campaign"] == {"source": "saltlight-docs", "name": "draw"}
    assert context["page"] == {
        "path": SKETCH,
        "search": "?utm_source=saltlight-docs&utm_campaign=draw",
        "title": "Sketch Tide",
        "url": f"{demo.url}{SKETCH}?utm_source=saltlight-docs&utm_campaign=draw",
    }
    assert context["userAgent"] == page.evaluate("navigator.userAgent")
    assert context["locale"] == "en-GB"
    first = min(demo.landed(visitor), key=lambda message: message["originalTimestamp"])
    assert "userId" not in first, "then nobody was signed in"


def test_a_request_for_an_app_lands_in_europe(demo: Demo, page: Page) -> None:
    page.goto(f"{demo.url}{ALMANAC}?hosting=cloud&tab=overview")
    page.get_by_role("link", name="Request this app").click()
    page.get_by_role("radio", name="Soraya Lind").check()
    page.get_by_role("button", name="Send request").click()
    page.get_by_text("is requested").wait_for()
    found = demo.wait_for(
        visitor_of(page.context),
        ("1220164", "viewed Leave Almanac"),
        ("1220164", "clicked Request this app"),
        ("1220164", "App request event"),
    )
    request = properties(found["1220164", "App request event"])
    assert request.keys() == {"eventType", "partnerId", "pluginId", "pluginKey", "userId"}
    assert (request["partnerId"], request["pluginId"]) == ("1209142", "1220164")
    key = found["1220164", "App request event"]["writeKey"]
    requests = demo.process.get(f"{demo.segment}/_/requests?writeKey={key}").json()
    assert {request["path"] for request in requests} == {"/eu/v1/batch"}


def test_a_partners_id_follows_the_visitor_through_that_partners_pages_and_to_no_others(demo: Demo, page: Page) -> None:
    page.goto(f"{demo.url}{CHARTS}?partner_anonymous_id=fernhollows-own")
    page.goto(f"{demo.url}{POCKETS}?partner_anonymous_id=pebblewicks-own")
    page.goto(demo.url + RIBBON)
    page.goto(demo.url + ALMANAC)
    page.goto(demo.url + SKETCH)
    visitor = visitor_of(page.context)
    found = demo.wait_for(
        visitor,
        ("1218401", "viewed Board Charts"),
        ("1220118", "viewed Time Pockets"),
        ("1219033", "viewed Release Ribbon"),
        ("1220164", "viewed Leave Almanac"),
        ("1221540", "viewed Sketch Tide"),
    )
    ids = {plugin: message["properties"].get("partnerAnonymousId") for (plugin, _), message in found.items()}
    assert ids == {
        "1218401": "fernhollows-own",
        "1219033": "fernhollows-own",
        "1220118": "pebblewicks-own",
        "1220164": "pebblewicks-own",
        "1221540": None,
    }
    for (plugin, _), message in found.items():
        mine = {"1218401": "fernhollow", "1219033": "fernhollow", "1220118": "pebble", "1220164": "pebble"}.get(plugin)
        for partner in ("fernhollow", "pebble"):
            assert (f"{partner}s-own" in str(message) or f"{partner}wicks-own" in str(message)) == (partner == mine)
    assert len({message["writeKey"] for message in found.values()}) == 5


def test_where_consent_is_needed_nothing_happens_before_and_the_view_lands_after(demo: Demo, page: Page) -> None:
    page.goto(f"{demo.url}{CHARTS}?consent=required")
    page.get_by_role("tab", name="Support").click()
    page.wait_for_url("**tab=support**")
    assert page.context.cookies() == []
    assert page.evaluate("localStorage.length") == 0
    page.get_by_role("button", name="Accept all").click()
    visitor = visitor_of(page.context)
    demo.wait_for(
        visitor,
        ("1218401", "viewed Board Charts"),
        ("1218401", "clicked Support"),
        ("1218401", "viewed Board Charts: Support"),
    )
    assert {suppressed for _, suppressed in demo.stored(visitor)} == {None}


def later(demo: Demo, new_context: NewContext) -> None:
    """Somebody who shares looks at the same app, and that has landed."""
    page = new_context().new_page()
    page.goto(demo.url + CHARTS)
    demo.wait_for(visitor_of(page.context), ("1218401", "viewed Board Charts"))


def test_measurement_alone_is_counted_and_never_lands(demo: Demo, page: Page, new_context: NewContext) -> None:
    page.goto(f"{demo.url}{CHARTS}?consent=required")
    page.get_by_role("button", name="Measurement only").click()
    visitor = visitor_of(page.context)
    page.get_by_role("link", name="Try it free").click()
    page.get_by_role("radio", name="Jonas Hale").check()
    page.get_by_role("button", name="Start free trial").click()
    page.get_by_text("is installed").wait_for()
    wait_until(lambda: len(demo.stored(visitor)) == 3, "the view, the click and the install were stored")
    assert {suppressed for _, suppressed in demo.stored(visitor)} == {"consent"}
    later(demo, new_context)
    assert demo.landed(visitor) == []


def test_a_visitor_who_declines_leaves_nothing_at_all(demo: Demo, page: Page) -> None:
    before = demo.footfall.value("events", "select count(*) from events")
    page.goto(f"{demo.url}{CHARTS}?consent=required")
    page.get_by_role("button", name="Decline").click()
    page.get_by_role("tab", name="Support").click()
    page.wait_for_url("**tab=support**")
    assert [cookie["name"] for cookie in page.context.cookies()] == ["footfall_demo_consent"]
    assert demo.footfall.value("events", "select count(*) from events") == before


@pytest.mark.parametrize("told_by", ["page", "header"])
def test_global_privacy_control_never_lands(demo: Demo, new_context: NewContext, told_by: str) -> None:
    context = new_context(extra_http_headers={"Sec-GPC": "1"} if told_by == "header" else {})
    if told_by == "page":
        context.add_init_script("Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', {value: true})")
    page = context.new_page()
    page.goto(f"{demo.url}{CHARTS}?partner_anonymous_id=fh-1")
    page.get_by_role("link", name="Try it free").click()
    page.get_by_role("radio", name="Mira Okafor").check()
    page.get_by_role("button", name="Start free trial").click()
    page.get_by_text("is installed").wait_for()
    visitor = visitor_of(context)
    wait_until(lambda: len(demo.stored(visitor)) == 3, "the view, the click and the install were stored")
    assert {suppressed for _, suppressed in demo.stored(visitor)} == {"gpc"}
    later(demo, new_context)
    assert demo.landed(visitor) == []
