"""From an invitation to an accepted event, in real browsers on real processes: the operator invites, the owner enters a
key and proves it, a visitor clicks, and the owner follows that click to Segment and takes the numbers along. A stranger
sees none of it.

Each step is a function of its own, and takes the page that it begins on: a further step is one more line of the test.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from processes import Cast, Footfall, Process, free_port
from recorder import Recorder

from collector.portal.numbers.titles import TITLES

OPERATOR, OWNER, STRANGER = "operator@quay.example", "owner@acme.example", "owner@stranger.example"
PASSWORD = "several words with nothing in common"  # noqa: S105 - of tests only
CRM_ID = "crm-visitor-4711"
LABEL = "Start free trial"
NewContext = Callable[..., BrowserContext]


class Scene:
    """The installation, the marketplace's listing, and what the browsers complained of."""

    def __init__(
        self, footfall: Footfall, cast: Cast, collector: Process, segment: Process, site: Recorder, browsers: NewContext
    ) -> None:
        self.footfall, self.cast, self.collector, self.segment, self.site = footfall, cast, collector, segment, site
        self.app = f"{collector.url}/apps/{cast.owner_app}"
        self.complaints: list[str] = []
        self._browsers = browsers

    def browser(self) -> Page:
        """Somebody's own, with nothing in it."""
        page = self._browsers().new_page()
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def sign_in(self, page: Page, email: str) -> None:
        page.goto(f"{self.collector.url}/sign-in")
        page.get_by_label("E-mail").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{self.collector.url}/")


@pytest.fixture
def scene(tmp_path_factory: pytest.TempPathFactory, recorder: Recorder, new_context: NewContext) -> Iterator[Scene]:
    port = free_port()
    origins = {"FOOTFALL_ALLOWED_ORIGINS": recorder.url("")}
    data = tmp_path_factory.mktemp("acceptance") / "data"
    with Footfall(data, FOOTFALL_PUBLIC_URL=f"http://127.0.0.1:{port}", **origins) as footfall:
        cast = footfall.seed()
        add = ("user", "add", "--password-file", "-")
        footfall.cli(*add, OPERATOR, "--operator", stdin=PASSWORD, check=True)
        footfall.cli(*add, STRANGER, "--partner", "stranger", "--role", "owner", stdin=PASSWORD, check=True)
        segment = footfall.fake_segment()
        yield Scene(footfall, cast, footfall.collector(port), segment, recorder, new_context)


def invites_the_owner(operator: Page, scene: Scene) -> str:
    """The link that the operator hands over."""
    scene.sign_in(operator, OPERATOR)
    operator.get_by_role("link", name="People").click()
    operator.get_by_label("E-mail").fill(OWNER)
    operator.get_by_label("Role").select_option("owner")
    operator.get_by_label("Partner").select_option("owner")
    operator.get_by_role("button", name="Make an invitation").click()
    return operator.get_by_label("The link").input_value()


def takes_it_up(owner: Page, link: str, scene: Scene) -> None:
    owner.goto(link)
    expect(owner.get_by_text("You were invited to Owner.")).to_be_visible()
    owner.get_by_label("Password").fill(PASSWORD)
    owner.get_by_role("button", name="Set password and sign in").click()
    owner.wait_for_url(f"{scene.collector.url}/")
    answer = scene.browser().goto(link)
    assert answer is not None
    assert answer.status == 404, "the link works once"
    scene.complaints.clear()  # of that 404


def signs_in_again(owner: Page, scene: Scene) -> None:
    owner.locator("summary", has_text=OWNER).click()
    owner.get_by_role("button", name="Sign out").click()
    scene.sign_in(owner, OWNER)


def finds_the_app(owner: Page, scene: Scene) -> None:
    names = owner.locator(".cards h3").all_inner_texts()
    assert sorted(names) == [scene.cast.sibling_app, scene.cast.owner_app]
    owner.get_by_role("link", name=scene.cast.owner_app).click()
    expect(owner.get_by_text("Nothing has come in yet")).to_be_visible()


def enters_the_key(owner: Page, scene: Scene) -> None:
    """A while after signing in, so that the password is asked for once more."""
    scene.footfall.change("registry", "update sessions set proved_at = 0")
    owner.get_by_role("link", name="Details").click()
    owner.get_by_role("link", name="Enter a Segment write key").click()
    expect(owner.get_by_role("heading", name="Your password again")).to_be_visible()
    owner.get_by_label("Password").fill(PASSWORD)
    owner.get_by_role("button", name="Go on").click()
    owner.get_by_label("Segment write key").fill(scene.cast.owner_key)
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_text("Saved, never proved")).to_be_visible()
    assert scene.cast.owner_key not in owner.content()


def proves_it(owner: Page, scene: Scene) -> None:
    """By the code that only who has the source can read."""
    owner.get_by_role("button", name="Send a test event").click()
    code_field = owner.get_by_label("The code")
    expect(code_field).to_be_visible()
    (landed,) = landed_at(scene)
    assert landed["event"] == "Connection test"
    assert landed["properties"]["code"] not in owner.content()
    code_field.fill("000000")
    owner.get_by_role("button", name="Prove the key").click()
    expect(owner.get_by_role("alert")).to_be_visible()
    scene.complaints.clear()  # of a wrong code's answer
    owner.get_by_label("The code").fill(landed["properties"]["code"])
    owner.get_by_role("button", name="Prove the key").click()
    expect(owner.get_by_text("Proved on")).to_be_visible()


def clicks(visitor: Page, scene: Scene) -> None:
    """On a listing of the marketplace, where an ad of the partner's has led."""
    listing = scene.site.listing(
        f'<a href="/thanks" data-footfall-cta="{LABEL}">{LABEL}</a>',
        src=f"{scene.collector.url}/js/footfall.js",
        app=scene.cast.owner_app,
        partner="owner",
    )
    visitor.goto(f"{listing}?utm_source=letter&partner_anonymous_id={CRM_ID}")
    visitor.wait_for_function("window.footfall?.version")
    visitor.get_by_role("link", name=LABEL).click()
    visitor.wait_for_url("**/thanks")


def finds_it_counted(owner: Page, scene: Scene) -> None:
    """In the numbers of the app, which follow within a second or so; then back to where it was."""
    owner.get_by_role("link", name="Overview").click()
    deadline = time.monotonic() + 60
    while owner.get_by_text("Nothing has come in yet").count() and time.monotonic() < deadline:
        owner.reload()
    expect(owner.locator(".figures li", has_text="Unique visitors")).to_contain_text("1")
    owner.get_by_role("link", name="Funnel").click()
    expect(owner.get_by_role("figure").first).to_contain_text("100\u202f% of Page view")
    owner.get_by_role("link", name="Live events").click()


def takes_the_numbers_along(owner: Page) -> None:
    """The clicks as a file, which says of the visitor's click what the page does."""
    owner.get_by_role("link", name="Clicks", exact=True).click()
    shown = owner.get_by_role("region", name="Calls to action").get_by_role("row", name=LABEL)
    expect(shown.locator("[data-label=Visitors]")).to_have_text("1")
    expect(shown.locator("[data-label=Clicks]")).to_have_text("1")
    with owner.expect_download() as begun:
        owner.get_by_role("link", name="Call to action as CSV", exact=True).click()
    (row,) = csv.DictReader(begun.value.path().read_text("utf-8-sig").splitlines(), strict=True)
    assert (row["value"], row["visitors"], row["events"]) == (LABEL, "1", "1")


def sees_the_click_come_in(owner: Page) -> str:
    """Without a reload; the address of the click's own page."""
    row = owner.locator("tr[data-seq]", has_text=LABEL)
    expect(row).to_contain_text("Call to action")
    expect(row).to_contain_text(CRM_ID)
    row.get_by_role("link").first.click()
    expect(owner.get_by_text("Pending", exact=True)).to_be_visible()
    return owner.url


def finds_it_accepted(owner: Page, scene: Scene) -> None:
    owner.reload()
    expect(owner.get_by_text("Accepted by Segment", exact=True)).to_be_visible()
    owner.get_by_role("link", name="Deliveries").click()
    expect(owner.get_by_text("Nothing is pending.")).to_be_visible()
    expect(owner.get_by_role("row", name="Accepted by Segment")).to_contain_text("2")
    (click,) = (message for message in landed_at(scene) if message["properties"].get("label") == LABEL)
    assert click["properties"]["partnerAnonymousId"] == CRM_ID


def sees_nothing(stranger: Page, event: str, scene: Scene) -> None:
    """Neither by the addresses that the owner has nor on any page of their own."""
    scene.sign_in(stranger, STRANGER)
    views = (
        *TITLES,
        "overview.csv",
        "clicks.json",
        "live",
        "live/news",
        "details",
        "details/destination",
        "deliveries",
        "deliveries/parked",
    )
    for address in (event, *(f"{scene.app}/{view}" for view in (*views, "deliveries/replays", "deliveries/receipts"))):
        assert stranger.request.get(address).status == 404, address
    own = f"/apps/{scene.cast.stranger_app}"
    for path in ("/", "/people", "/tokens", "/account", *(f"{own}/{view}" for view in views)):
        shown = stranger.request.get(f"{scene.collector.url}{path}").text()
        for secret in (scene.cast.owner_app, OWNER, CRM_ID, LABEL, scene.cast.owner_key):
            assert secret not in shown, f"{secret} on {path}"
    searched = stranger.request.get(f"{scene.collector.url}{own}/live?q={CRM_ID}").text()
    assert "Nothing found" in searched
    assert LABEL not in searched


def landed_at(scene: Scene) -> list[dict[str, Any]]:
    """What the owner's Segment source has."""
    messages: list[dict[str, Any]] = scene.segment.get(f"/_/received?writeKey={scene.cast.owner_key}").json()
    return messages


def test_an_owner_goes_from_an_invitation_to_an_accepted_event_and_a_stranger_sees_nothing(scene: Scene) -> None:
    owner = scene.browser()
    takes_it_up(owner, invites_the_owner(scene.browser(), scene), scene)
    signs_in_again(owner, scene)
    finds_the_app(owner, scene)
    enters_the_key(owner, scene)
    proves_it(owner, scene)
    owner.get_by_role("link", name="Live events").click()
    clicks(scene.browser(), scene)
    sees_the_click_come_in(owner)
    finds_it_counted(owner, scene)
    event = sees_the_click_come_in(owner)
    assert scene.footfall.export().returncode == 0
    finds_it_accepted(owner, scene)
    takes_the_numbers_along(owner)
    sees_nothing(scene.browser(), event, scene)
    assert scene.complaints == []
