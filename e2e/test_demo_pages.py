"""The demo marketplace as a newcomer meets it: every page, with and without a script, and what lands because of it.

The surprising thing: nothing is awaited by sleeping. A test asks the fake Segment, or the live page, until it is there.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from processes import PATIENCE_SECONDS, wait_until

BOARD_CHARTS = "/demo/apps/1218401/board-charts"
TIME_POCKETS = "/demo/apps/1220118/time-pockets"
SKETCH_TIDE = "/demo/apps/1221540/sketch-tide"
AUDIT_LANTERN = "/demo/apps/1220309/audit-lantern"
DESKBELL = "/demo/apps/1222853/deskbell"
TABS = ["Overview", "Reviews", "Pricing", "Privacy & Security", "Support", "Versions", "Installation"]
EVERY_PAGE = [
    "/demo",
    "/demo/live",
    *(f"{BOARD_CHARTS}?tab={tab.lower().replace(' & ', '-and-')}" for tab in TABS),
    f"{SKETCH_TIDE}?hosting=server&consent=required",
    f"{BOARD_CHARTS}/get",
    f"{AUDIT_LANTERN}/get",
    f"{BOARD_CHARTS}/done?act=installs",
    f"{AUDIT_LANTERN}/done?act=app-requests",
    f"{DESKBELL}/done?act=uninstalls",
]


def wait_for(demo: Any, app_key: str, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first landed message of this app that is the wanted one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for message in demo.landed(app_key):
            if is_it(message):
                return message
        time.sleep(0.1)
    raise AssertionError(f"{app_key}: the event did not land, only {demo.landed(app_key)}")


def visitor_of(context: BrowserContext) -> str:
    """The anonymous id that the snippet gave this browser."""
    value = next(cookie["value"] for cookie in context.cookies() if cookie["name"] == "footfall_id")
    return value.split(".")[1]


def arrive(page: Page, address: str) -> None:
    """Open a listing and wait until the snippet has given the visitor an id."""
    page.goto(address)
    wait_until(lambda: page.evaluate("document.cookie.includes('footfall_id=')"), "the page has come so far")


def test_the_index_links_every_listing(demo: Any, page: Page) -> None:
    page.goto(f"{demo.url}/demo")
    links = page.locator(".shelf a").evaluate_all("links => links.map(link => link.href)")
    assert len(links) == 10
    for link in links:
        assert page.request.get(link).status == 200


@pytest.fixture(scope="module")
def on_a_phone(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A visitor who opens one page after another, and what their browser says against these."""
    complaints: list[str] = []
    with browser.new_context(viewport={"width": 360, "height": 740}) as context:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page, complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", EVERY_PAGE)
def test_every_page_fits_a_phone_and_obeys_its_own_content_security_policy(
    demo: Any, on_a_phone: tuple[Page, list[str]], path: str, scheme: Literal["light", "dark"]
) -> None:
    page, complaints = on_a_phone
    complaints.clear()
    page.emulate_media(color_scheme=scheme)
    answer = page.goto(f"{demo.url}{path}")
    assert answer is not None
    assert answer.status == 200
    assert "unsafe" not in answer.headers["content-security-policy"]
    page.wait_for_load_state("load")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert complaints == []


def test_a_tab_is_a_page_of_its_own_without_a_script(demo: Any, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{demo.url}{BOARD_CHARTS}?hosting=cloud&tab=overview")
    page.get_by_role("tab", name="Reviews").click()
    assert page.url == f"{demo.url}{BOARD_CHARTS}?hosting=cloud&tab=reviews"
    expect(page.get_by_role("tabpanel")).to_have_count(1)
    expect(page.get_by_role("tabpanel", name="Reviews")).to_be_visible()


def test_with_a_script_a_tab_opens_in_place_and_back_returns(demo: Any, page: Page) -> None:
    page.goto(f"{demo.url}{BOARD_CHARTS}?hosting=cloud&tab=overview")
    page.evaluate("window.isSamePage = true")
    page.get_by_role("tab", name="Versions").click()
    expect(page).to_have_url(re.compile(r"tab=versions$"))
    expect(page).to_have_title("Board Charts: Versions")
    expect(page.get_by_role("tabpanel", name="Versions")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("tabpanel", name="Overview")).to_be_visible()
    assert page.evaluate("window.isSamePage")


def test_arrow_keys_move_along_the_tabs_and_enter_opens_one(demo: Any, page: Page) -> None:
    page.goto(f"{demo.url}{BOARD_CHARTS}?hosting=cloud&tab=overview")
    page.get_by_role("tab", name="Overview").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="Installation")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Overview")).to_be_visible()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Reviews")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tab", name="Overview")).to_have_attribute("tabindex", "-1")


def test_a_wrong_slug_goes_to_the_right_one_and_keeps_the_query(demo: Any, page: Page) -> None:
    page.goto(f"{demo.url}/demo/apps/1218401/old-name?hosting=server&tab=pricing")
    assert page.url == f"{demo.url}{BOARD_CHARTS}?hosting=server&tab=pricing"


@pytest.mark.parametrize("path", ["/demo/apps/999/nothing", "/demo/apps/999/nothing/get", "/demo/nowhere"])
def test_an_address_that_nobody_has_is_not_found(demo: Any, page: Page, path: str) -> None:
    answer = page.goto(f"{demo.url}{path}")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing is moored here")


def test_a_campaign_visitors_steps_land_with_the_partners_id(demo: Any, page: Page, context: BrowserContext) -> None:
    page.goto(f"{demo.url}/demo")
    page.get_by_role("link", name="The chart you open before stand-up").click()
    wait_until(lambda: page.evaluate("document.cookie.includes('footfall_id=')"), "the page has come so far")
    visitor = visitor_of(context)
    page.get_by_role("tab", name="Pricing").click()
    click = wait_for(
        demo,
        "com.fernhollow.board-charts",
        lambda it: it["properties"]["anonymousId"] == visitor and it["properties"].get("label") == "Pricing",
    )
    assert click["event"] == "MPAC User event"
    assert click["properties"]["actionSubjectId"] == "tab/pricing"
    assert click["properties"]["partnerAnonymousId"] == "fh-reader-20817-c4a1"


def test_a_confirmed_trial_lands_as_an_install_with_a_hashed_account(
    demo: Any, page: Page, context: BrowserContext
) -> None:
    arrive(page, f"{demo.url}{TIME_POCKETS}")
    visitor = visitor_of(context)
    page.get_by_role("link", name="Try it free").click()
    page.get_by_label("Mira Okafor").check()
    page.get_by_role("button", name="Start free trial").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Time Pockets is installed")
    install = wait_for(
        demo,
        "eu.pebblewick.time-pockets",
        lambda it: it["event"] == "MPAC Install event" and it["properties"]["anonymousId"] == visitor,
    )
    assert re.fullmatch(r"[0-9a-f]{40}", install["properties"]["userId"])
    assert "mira" not in json.dumps(install).lower()
    page.get_by_role("button", name="Uninstall").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Time Pockets is uninstalled")


def test_a_request_only_app_is_requested_and_never_installed(demo: Any, page: Page, context: BrowserContext) -> None:
    arrive(page, f"{demo.url}{AUDIT_LANTERN}")
    visitor = visitor_of(context)
    page.get_by_role("link", name="Request this app").click()
    page.get_by_label("Jonas Hale").check()
    page.get_by_role("button", name="Send request").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Audit Lantern is requested")
    wait_for(
        demo,
        "eu.pebblewick.audit-lantern",
        lambda it: it["event"] == "MPAC App request event" and it["properties"]["anonymousId"] == visitor,
    )
    assert not [it for it in demo.landed("eu.pebblewick.audit-lantern") if it["event"] == "MPAC Install event"]


def test_nobody_can_install_without_saying_who_they_are(demo: Any, page: Page) -> None:
    answer = page.request.post(f"{demo.url}{BOARD_CHARTS}/get", form={"person": "nobody"})
    assert answer.status == 422
    assert "Choose who you are first." in answer.text()


def test_an_app_without_a_write_key_says_that_its_events_wait(demo: Any, page: Page) -> None:
    page.goto(f"{demo.url}{DESKBELL}/get")
    page.get_by_label("Soraya Lind").check()
    page.get_by_role("button", name="Install on your site").click()
    expect(page.locator("main")).to_contain_text("Tallow & Finch has not entered a Segment write key for Deskbell")
    assert demo.landed("com.tallowfinch.deskbell") == []


def test_signing_in_and_out_works_without_a_script(demo: Any, new_context: Callable[..., BrowserContext]) -> None:
    page = new_context(java_script_enabled=False).new_page()
    page.goto(f"{demo.url}{BOARD_CHARTS}?tab=support")
    page.locator("summary", has_text="Sign in").click()
    page.get_by_role("button", name="Jonas Hale").click()
    assert page.url == f"{demo.url}{BOARD_CHARTS}?tab=support"
    expect(page.locator("script[data-user]")).to_have_count(1)
    page.locator("summary", has_text="Jonas Hale").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("script[data-user]")).to_have_count(0)


@pytest.mark.parametrize("wanted", ["//elsewhere.test/", "https://elsewhere.test/demo", "/demo\\@elsewhere.test", "/"])
def test_signing_in_never_leads_away_from_the_demo(demo: Any, page: Page, wanted: str) -> None:
    answer = page.request.post(f"{demo.url}/demo/sign-in", form={"person": "mira", "next": wanted}, max_redirects=0)
    assert answer.status == 303
    assert answer.headers["location"] == "/demo"


def test_where_consent_is_required_nothing_is_kept_before_the_choice(
    demo: Any, page: Page, context: BrowserContext
) -> None:
    page.goto(f"{demo.url}{SKETCH_TIDE}?consent=required")
    bar = page.get_by_role("region", name="Your privacy")
    expect(bar).to_be_visible()
    wait_until(lambda: page.evaluate("window.footfall && window.footfall.version"), "the page has come so far")
    assert [cookie for cookie in context.cookies() if cookie["name"] == "footfall_id"] == []
    bar.get_by_role("button", name="Accept all").click()
    expect(bar).to_be_hidden()
    wait_until(lambda: page.evaluate("document.cookie.includes('footfall_id=')"), "the page has come so far")
    visitor = visitor_of(context)
    wait_for(demo, "io.saltlight.sketch-tide", lambda it: it["properties"]["anonymousId"] == visitor)


@pytest.mark.parametrize("choice", ["Measurement only", "Decline"])
def test_whoever_does_not_share_reaches_no_partner(
    demo: Any, page: Page, new_context: Callable[..., BrowserContext], choice: str
) -> None:
    before = len(demo.landed("io.saltlight.sketch-tide"))
    page.goto(f"{demo.url}{SKETCH_TIDE}?consent=required&tab=support")
    wait_until(lambda: page.evaluate("window.footfall && window.footfall.version"), "the page has come so far")
    page.get_by_role("button", name=choice).click()
    page.get_by_role("tab", name="Versions").click()
    context = new_context()
    later = context.new_page()
    arrive(later, f"{demo.url}{SKETCH_TIDE}?tab=installation")  # lands after everything before it in the log
    visitor = visitor_of(context)
    wait_for(demo, "io.saltlight.sketch-tide", lambda it: it["properties"]["anonymousId"] == visitor)
    labels = [it["properties"].get("label") for it in demo.landed("io.saltlight.sketch-tide")[before:]]
    assert "Sketch Tide: Support" not in labels
    assert "Versions" not in labels


def test_a_click_appears_on_the_live_page_and_the_write_key_does_not(
    demo: Any, page: Page, context: BrowserContext
) -> None:
    live = context.new_page()
    live.goto(f"{demo.url}/demo/live")
    expect(live.locator("[data-live-state]")).to_have_text("Listening")
    arrive(page, f"{demo.url}{SKETCH_TIDE}")
    page.get_by_role("link", name="Buy it now").click()
    live.bring_to_front()
    visitor = visitor_of(context)
    card = live.locator(".event", has_text="Buy it now").filter(has_text=visitor[:6]).first
    expect(card).to_be_visible()
    expect(card).to_contain_text("Call to action")
    key = demo.landed("io.saltlight.sketch-tide")[0]["writeKey"]
    card.locator("summary").click()
    expect(card.locator("pre")).to_contain_text(f"••••{key[-4:]}")
    assert key not in live.content()


def test_the_live_page_works_without_a_script(
    demo: Any, page: Page, new_context: Callable[..., BrowserContext]
) -> None:
    arrive(page, f"{demo.url}{TIME_POCKETS}?tab=reviews")
    wait_for(demo, "eu.pebblewick.time-pockets", lambda it: "Reviews" in it["properties"].get("label", ""))
    plain = new_context(java_script_enabled=False).new_page()
    plain.goto(f"{demo.url}/demo/live")
    expect(plain.locator("#pebblewick .event", has_text="Time Pockets: Reviews").first).to_be_visible()


@pytest.mark.parametrize("who", ["Ada Brandt", "Sigrid Moe"])
def test_from_a_listing_into_the_portal_and_to_what_the_visit_was(demo: Any, page: Page, who: str) -> None:
    arrive(page, f"{demo.url}{BOARD_CHARTS}")
    page.get_by_role("link", name="As Fernhollow sees it").click()
    expect(page.get_by_role("heading", name="This is the demo")).to_be_visible()
    page.get_by_role("button", name=f"Sign in as {who}").click()
    expect(page).to_have_title("Live events · Board Charts · Footfall")
    expect(page.locator("tr[data-seq]").first).to_be_visible()
    page.goto(f"{demo.url}/apps/com.fernhollow.board-charts/deliveries/parked")
    expect(page.get_by_text("It is larger than Segment takes.").first).to_be_visible()


def test_the_sign_ins_that_are_printed_are_those_on_the_sign_in_page(demo: Any, page: Page) -> None:
    page.goto(f"{demo.url}/sign-in")
    shown = page.locator(".sign-ins li").evaluate_all(
        "items => items.map(item => [...item.querySelectorAll('code')].map(code => code.textContent))"
    )
    assert [tuple(pair) for pair in shown] == re.findall(r"^    (\S+@\S+) +(\S+)$", demo.process.log(), re.MULTILINE)
    assert len(shown) == 7


def test_an_owner_sees_nothing_of_another_partner(demo: Any, page: Page) -> None:
    page.goto(f"{demo.url}/sign-in")
    page.get_by_role("button", name="Sign in as Ivy Finch").click()
    expect(page.get_by_role("link", name="Deskbell")).to_be_visible()
    assert "fernhollow" not in page.content()
    answer = page.goto(f"{demo.url}/apps/com.fernhollow.board-charts/live")
    assert answer is not None
    assert answer.status == 404


def test_the_past_of_one_app_lands_and_of_the_others_nothing(demo: Any) -> None:
    def is_of_an_earlier_month(it: dict[str, Any]) -> bool:
        return bool(it["properties"]["eventTime"] < it["receivedAt"][:8])

    wait_for(demo, "com.fernhollow.board-charts", is_of_an_earlier_month)
    assert demo.landed("io.saltlight.page-orchard") == []
