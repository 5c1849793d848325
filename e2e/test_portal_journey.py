"""The pages of an app in a real browser, with a script and without. The whole way: test_portal_acceptance.py."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from processes import Cast, Footfall, Process, free_port

PASSWORD = "several words with nothing in common"  # noqa: S105 - of tests only
SITE = "https://marketplace.example"
VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"


class Hour:
    """The installation, with a partner whose app has a key."""

    def __init__(self, cast: Cast, collector: Process) -> None:
        self.cast, self.collector = cast, collector
        self.app = f"{collector.url}/apps/{cast.owner_app}"

    def sign_in(self, page: Page) -> None:
        page.goto(self.collector.url + "/sign-in")
        page.get_by_label("E-mail").fill("owner@acme.example")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(self.collector.url + "/")

    def view(self, partner_anonymous_id: str) -> None:
        """One page view, as the snippet sends it."""
        event = {
            "messageId": str(uuid.uuid4()),
            "name": "page_view",
            "app": self.cast.owner_app,
            "occurredAt": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "anonymousId": VISITOR,
            "url": f"{SITE}/apps/1219125/charts?partner_anonymous_id={partner_anonymous_id}",
            "title": "Charts for teams",
        }
        answer = self.collector.post("/e", json={"events": [event]}, headers={"Origin": SITE})
        assert answer.status_code == 204, answer.text


@pytest.fixture(scope="module")
def hour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    port = free_port()
    home: Path = tmp_path_factory.mktemp("portal")
    settings = {"FOOTFALL_PUBLIC_URL": f"http://127.0.0.1:{port}", "FOOTFALL_ALLOWED_ORIGINS": SITE}
    with Footfall(home / "data", FOOTFALL_CONSENT="assumed", **settings) as footfall:
        cast = footfall.seed(write_keys=True)
        who = ("user", "add", "owner@acme.example", "--partner", "owner", "--role", "owner", "--password-file", "-")
        footfall.cli(*who, stdin=PASSWORD, check=True)
        yield Hour(cast, footfall.collector(port))


def test_following_is_paused_and_goes_on(hour: Hour, page: Page) -> None:
    hour.sign_in(page)
    page.goto(hour.app + "/live?q=crm-paused")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("Paused")
    hour.view("crm-other")
    hour.view("crm-paused")
    expect(page.locator("tr[data-seq]")).to_have_count(0)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("tr[data-seq]")).to_have_count(1)
    expect(page.locator("tr[data-seq]")).to_contain_text("crm-paused")


@pytest.mark.parametrize("to", ["https://m.example/a?x=1#top", "https://m.example/a?utm_source=old", "m.example"])
def test_the_link_that_is_built_while_one_types_is_the_one_that_the_form_builds(
    hour: Hour, page: Page, to: str
) -> None:
    hour.sign_in(page)
    page.goto(hour.app + "/details")
    page.get_by_label("Page of your listing").fill(to)
    page.get_by_label("Your id for the visitor").fill("{id} & ü/(1)!")
    page.get_by_label("Source").fill("news letter+")
    typed = page.locator("[data-link]").inner_text()
    if "://" in to:
        page.get_by_role("button", name="Build the link").click()
        page.wait_for_url("**utm_source=**")
        assert page.locator("[data-link]").inner_text() == typed
        assert typed.startswith("https://m.example/a?")
    else:
        assert typed == "Enter the address of a page first."


def test_without_a_script_all_of_it_works_by_reloading(hour: Hour, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(java_script_enabled=False).new_page()
    hour.sign_in(page)
    page.goto(hour.app + "/live")
    expect(page.get_by_text("Reload to see more")).to_be_visible()
    before = page.locator("tr[data-seq]").count()
    hour.view("crm-plain")
    page.reload()
    expect(page.locator("tr[data-seq]")).to_have_count(before + 1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_its_window(
    hour: Hour, new_context: Callable[..., BrowserContext], scheme: str, width: int
) -> None:
    page = new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    hour.sign_in(page)
    hour.view("crm-" + "w" * 190)
    for view in (
        "overview",
        "funnel?f=utm_source:news",
        "details",
        "details/destination",
        "live",
        "deliveries",
        "deliveries/parked",
        "deliveries/replays",
    ):
        page.goto(f"{hour.app}/{view}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
