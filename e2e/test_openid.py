"""Signing in by OpenID Connect with a browser, `footfall serve` and a provider, each a real one on loopback.

What is believed of what a provider says, and what is not: tests/test_portal_openid.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from processes import Footfall, Process, free_port

from tests.openid_cast import CLIENT_ID, CLIENT_SECRET, Provider

OWNER = "owner@acme.example"


class Door:
    """An installation whose people are known at a provider; they have no password here."""

    def __init__(self, footfall: Footfall, collector: Process, provider: Provider) -> None:
        self.footfall, self.collector, self.provider = footfall, collector, provider

    def url(self, path: str) -> str:
        return self.collector.url + path


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    provider.now = lambda: time.time_ns() // 1_000_000
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Door]:
    port = free_port()
    settings = {
        "FOOTFALL_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "FOOTFALL_OIDC_ISSUER": provider.issuer,
        "FOOTFALL_OIDC_CLIENT_ID": CLIENT_ID,
        "FOOTFALL_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "FOOTFALL_OIDC_NAME": "Acme Login",
    }
    with Footfall(tmp_path_factory.mktemp("openid") / "data", **settings) as footfall:
        footfall.seed()
        footfall.cli("user", "add", OWNER, "--partner", "owner", "--role", "owner", check=True)
        yield Door(footfall, footfall.collector(port), provider)


def sits_down(door: Door, email: str) -> None:
    """From now on this is who the provider knows at the browser."""
    door.provider.reset()
    door.provider.claims = {"sub": f"subject of {email}", "email": email, "email_verified": True}


def goes_by_the_provider(page: Page) -> None:
    page.get_by_role("link", name="Sign in with Acme Login").click()


def test_an_owner_comes_in_by_the_provider_where_they_wanted_to_and_proves_by_it_who_they_are(
    door: Door, page: Page
) -> None:
    sits_down(door, OWNER)
    page.goto(door.url("/people"))
    goes_by_the_provider(page)
    expect(page).to_have_url(door.url("/people"))
    expect(page.locator("summary", has_text=OWNER)).to_be_visible()
    door.footfall.change("registry", "update sessions set proved_at = 0")
    page.goto(door.url("/apps/com.owner.charts/details/destination"))
    expect(page.get_by_label("Segment write key")).to_have_count(0)
    page.get_by_role("link", name="Acme Login").click()
    expect(page).to_have_url(door.url("/apps/com.owner.charts/details/destination"))
    expect(page.get_by_label("Segment write key")).to_be_visible()
    assert {"/authorize", "/token", "/keys"} <= set(door.provider.asked)


def test_whom_only_the_provider_knows_stays_outside(door: Door, page: Page) -> None:
    sits_down(door, "somebody@else.example")
    page.goto(door.url("/sign-in"))
    goes_by_the_provider(page)
    expect(page.get_by_role("alert")).to_contain_text("Nobody who may sign in here is known by this account")
    page.goto(door.url("/people"))
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
