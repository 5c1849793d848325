"""Who it was: the visitor's id, the partners' ids, the signed-in person; and consent, without which none is kept."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page
from recorder import Recorder

CTA = '<button data-footfall-cta="Start Free Trial" id="trial">Try</button>'
ID = "0123456789abcdef0123456789abcdef01234567"
YEAR = 365 * 86_400
LIFETIME = 395 * 86_400
EVERYTHING_STORED = """
    async () => [document.cookie, Object.keys(localStorage), (await indexedDB.databases()).map(({name}) => name)]
"""
STORES_OF_A_NEW_DATABASE = """
    () => new Promise((resolve) => {
      setTimeout(() => resolve('the old one is still there'), 30000);
      const request = indexedDB.open('footfall');
      request.onsuccess = () => { resolve(request.result.objectStoreNames.length); request.result.close(); };
    })
"""
NOTHING: list[Any] = ["", [], []]


def base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


def cookie(context: BrowserContext, name: str) -> Any:
    found = [cookie for cookie in context.cookies() if cookie.get("name") == name]
    assert len(found) == 1, f"one {name} expected among {context.cookies()}"
    return found[0]


def plant(context: BrowserContext, recorder: Recorder, name: str, value: str, path: str = "/") -> None:
    context.add_cookies([{"name": name, "value": value, "domain": "localhost", "path": path}])


def view(page: Page, recorder: Recorder, query: str = "", count: int = 1, **data: str) -> dict[str, Any]:
    """Looks at a listing, the `count`th in this test, and returns the view."""
    page.goto(recorder.listing(CTA, **data) + query)
    return recorder.wait_for("page_view", count)[-1]


# the visitor's cookie


def test_a_new_visitor_gets_a_cookie_for_thirteen_months(page: Page, recorder: Recorder) -> None:
    seen = view(page, recorder)

    kept = cookie(page.context, "footfall_id")
    born, _, anonymous_id = kept["value"].partition(".")
    assert anonymous_id == seen["anonymousId"]
    assert abs(int(born, 36) - time.time()) < 60
    assert abs(kept["expires"] - time.time() - LIFETIME) < 60
    assert (kept["path"], kept["sameSite"], kept["secure"], kept["domain"]) == ("/", "Lax", False, "localhost")


def test_a_known_visitor_is_known_again_and_does_not_live_longer(page: Page, recorder: Recorder) -> None:
    born = int(time.time()) - YEAR
    plant(page.context, recorder, "footfall_id", f"{base36(born)}.{ID}")

    assert view(page, recorder)["anonymousId"] == ID

    kept = cookie(page.context, "footfall_id")
    assert kept["value"] == f"{base36(born)}.{ID}"
    assert kept["expires"] == -1  # as it was planted: only the collector sets it again


def test_a_cookie_of_another_shape_is_replaced(page: Page, recorder: Recorder) -> None:
    now = int(time.time())
    values = [
        f"{base36(now)}.{ID[1:]}",
        f"{base36(now)}.{ID}0",
        f"{base36(now)}.{ID.upper()}",
        ID,
        "<script>",
    ]
    for count, value in enumerate(values, 1):
        plant(page.context, recorder, "footfall_id", value)

        seen = view(page, recorder, count=count)

        assert seen["anonymousId"] != ID, value
        assert cookie(page.context, "footfall_id")["value"].endswith("." + seen["anonymousId"])


def test_eight_kilobytes_of_other_cookies_do_not_matter(page: Page, recorder: Recorder) -> None:
    for number in range(8):
        plant(page.context, recorder, f"other{number}", "y" * 1000)
    plant(page.context, recorder, "x_footfall_id", f"{base36(int(time.time()))}.{'f' * 40}")
    plant(page.context, recorder, "footfall_id", f"{base36(int(time.time()) - 60)}.{ID}")

    assert view(page, recorder)["anonymousId"] == ID


def test_a_cookie_domain_can_be_named(page: Page, recorder: Recorder) -> None:
    recorder.listing(cookie_domain="market.test")
    page.goto(recorder.url("/apps/1/example", "www.market.test"))
    recorder.wait_for("page_view")

    assert cookie(page.context, "footfall_id")["domain"] == ".market.test"


def test_plain_http_is_enough(page: Page, recorder: Recorder) -> None:
    recorder.listing(CTA)
    page.goto(recorder.url("/apps/1/example", "listing.test"))
    page.click("#trial")

    recorder.wait_for("cta_click")
    assert page.evaluate("[isSecureContext, typeof crypto.randomUUID]") == [False, "undefined"]
    assert cookie(page.context, "footfall_id")["secure"] is False


# the partners' ids


def test_a_partners_id_goes_with_every_event_on_that_partners_listings(page: Page, recorder: Recorder) -> None:
    first = view(page, recorder, "?hosting=cloud&partner_anonymous_id=a%20b-c", partner="acme", app="acme.one")
    second = view(page, recorder, count=2, partner="acme", app="acme.two")

    assert first["partner"] == second["partner"] == cookie(page.context, "footfall_p_acme")["value"]
    kept = cookie(page.context, "footfall_p_acme")
    assert re.fullmatch(r"[0-9a-z]{6}\.acme\.one:a%20b-c", kept["value"])
    assert abs(kept["expires"] - time.time() - LIFETIME) < 60


def test_another_partners_id_is_none_of_theirs(page: Page, recorder: Recorder) -> None:
    view(page, recorder, "?partner_anonymous_id=of-acme", partner="acme.x")
    other = view(page, recorder, count=2, partner="acme-x")
    third = view(page, recorder, "?partner_anonymous_id=of-other", count=3, partner="acme-x")
    back = view(page, recorder, count=4, partner="acme.x")

    assert "partner" not in other
    assert third["partner"].endswith(".com.example.app:of-other")
    assert back["partner"].endswith(".com.example.app:of-acme")


def test_without_a_partner_an_app_stands_for_itself(page: Page, recorder: Recorder) -> None:
    view(page, recorder, "?partner_anonymous_id=abc", app="com.example.app/1")

    assert cookie(page.context, "footfall_p_com.example.app/1")


def test_a_newer_id_replaces_an_older_one(page: Page, recorder: Recorder) -> None:
    born = base36(int(time.time()) - 60)
    plant(page.context, recorder, "footfall_p_com.example.app", f"{born}.com.example.app:old")
    assert view(page, recorder)["partner"] == f"{born}.com.example.app:old"
    view(page, recorder, "?partner_anonymous_id=new", count=2)

    assert view(page, recorder, count=3)["partner"].endswith(":new")


def test_an_id_stays_as_the_address_had_it(page: Page, recorder: Recorder) -> None:
    """The collector decodes and judges it; only what a cookie cannot hold ends it."""
    cases = {
        "%3Cscript%3Ealert(1)%3C/script%3E": "%3Cscript%3Ealert(1)%3C/script%3E",
        "a:b.c+d%3Be&x=1": "a:b.c+d%3Be",
        "%C3%A9%00%": "%C3%A9%00%",
        "abc;path=/elsewhere": "abc",
        "x" * 30_000: "x" * 700,
    }
    for count, (sent, kept) in enumerate(cases.items()):
        seen = view(page, recorder, "?partner_anonymous_id=" + sent, 2 * count + 1)

        assert seen["partner"].endswith(".com.example.app:" + kept)
        assert view(page, recorder, count=2 * count + 2)["partner"] == seen["partner"]


def test_an_empty_id_is_none(page: Page, recorder: Recorder) -> None:
    assert "partner" not in view(page, recorder, "?partner_anonymous_id=")
    assert [kept.get("name") for kept in page.context.cookies()] == ["footfall_id"]


def test_an_id_in_the_fragment_is_none(page: Page, recorder: Recorder) -> None:
    assert "partner" not in view(page, recorder, "#partner_anonymous_id=abc")


# the signed-in person


def test_the_token_comes_from_the_page_or_from_a_call(page: Page, recorder: Recorder) -> None:
    assert view(page, recorder, user="token-1")["user"] == "token-1"
    page.evaluate("footfall('user', 'token-2')")
    page.click("#trial")
    page.wait_for_function("!footfall('user', null)")
    page.click("#trial")

    first, second = recorder.wait_for("cta_click", 2)
    assert first["user"] == "token-2"
    assert second["user"] is None


# consent


def test_before_consent_nothing_is_stored_and_nothing_is_sent(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing(CTA, consent="required") + "?partner_anonymous_id=abc")
    page.wait_for_function("window.footfall?.version")
    page.click("#trial")
    page.evaluate("dispatchEvent(new Event('online')); history.pushState({}, '', '?tab=reviews')")
    page.wait_for_timeout(150)

    assert page.evaluate(EVERYTHING_STORED) == NOTHING
    assert recorder.posts == []


def test_what_happened_before_consent_is_sent_when_it_comes(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing(CTA, consent="required") + "?partner_anonymous_id=abc")
    page.wait_for_function("window.footfall?.version")
    page.click("#trial")
    page.evaluate("history.pushState({}, '', '?tab=reviews')")
    page.wait_for_timeout(150)
    page.evaluate("footfall('consent', {measurement: true})")

    views = recorder.wait_for("page_view", 2)
    [click] = recorder.wait_for("cta_click")
    assert views[0]["occurredAt"] < click["occurredAt"] < views[1]["occurredAt"]
    for event in [*views, click]:
        assert event["consent"] == {"measurement": True}
        assert event["partner"].endswith(":abc")
        assert event["anonymousId"] == click["anonymousId"]


def test_a_returning_visitor_keeps_the_id_over_the_wait_for_consent(page: Page, recorder: Recorder) -> None:
    plant(page.context, recorder, "footfall_id", f"{base36(int(time.time()) - 60)}.{ID}")
    page.goto(recorder.listing(CTA, consent="required"))
    page.wait_for_function("window.footfall?.version")
    page.click("#trial")
    page.evaluate("footfall('consent', {measurement: true, sharing: true})")

    [click] = recorder.wait_for("cta_click")
    assert click["anonymousId"] == ID
    assert click["consent"] == {"measurement": True, "sharing": True}


def test_refused_consent_stays_silent_and_reaches_not_back(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing(CTA, consent="required"))
    page.wait_for_function("window.footfall?.version")
    page.click("#trial")
    page.evaluate("footfall('consent', {measurement: false})")
    page.click("#trial")
    assert page.evaluate(EVERYTHING_STORED) == NOTHING

    page.evaluate("footfall('consent', {measurement: true, sharing: false})")
    page.click("#trial")

    recorder.wait_for("cta_click")
    assert recorder.named("page_view") == []


@pytest.mark.parametrize("stop", ["footfall('consent', {measurement: false})", "footfall('optout')"])
def test_withdrawing_empties_cookies_outbox_and_log(page: Page, recorder: Recorder, stop: str) -> None:
    view(page, recorder, "?partner_anonymous_id=abc")
    page.evaluate("document.cookie = 'theirs=1'; localStorage.theirs = 1")
    page.context.set_offline(True)
    page.click("#trial")
    other = page.context.new_page()
    other.goto("about:blank")
    page.evaluate(stop)
    page.click("#trial")
    page.wait_for_function("async () => !(await indexedDB.databases()).length")

    cookies, keys, _ = page.evaluate(EVERYTHING_STORED)
    assert re.fullmatch(r"theirs=1(; footfall_optout=\w+\.1)?", cookies)
    assert keys == ["theirs"]
    page.context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_timeout(150)
    assert recorder.named("cta_click") == []


def test_withdrawing_empties_although_another_tab_is_open(page: Page, recorder: Recorder) -> None:
    view(page, recorder)
    other = page.context.new_page()
    view(other, recorder, count=2)
    page.evaluate("footfall('optout')")

    assert page.evaluate(STORES_OF_A_NEW_DATABASE) == 0
    other.bring_to_front()
    other.click("#trial")
    other.wait_for_timeout(100)
    assert recorder.named("cta_click") == []


def test_an_opt_out_is_remembered_until_it_is_taken_back(page: Page, recorder: Recorder) -> None:
    view(page, recorder)
    page.evaluate("footfall('optout')")
    page.reload()
    page.wait_for_function("window.footfall?.version")
    page.click("#trial")
    cookies, *others = page.evaluate(EVERYTHING_STORED)
    assert re.fullmatch(r"footfall_optout=\w+\.1", cookies)
    assert others == [[], []]
    assert abs(cookie(page.context, "footfall_optout")["expires"] - time.time() - LIFETIME) < 60

    page.evaluate("footfall('optin')")
    page.click("#trial")

    recorder.wait_for("cta_click")
    assert [kept.get("name") for kept in page.context.cookies()] == ["footfall_id"]


def test_opting_in_is_not_consent(page: Page, recorder: Recorder) -> None:
    page.goto(recorder.listing(CTA, consent="required"))
    page.wait_for_function("window.footfall?.version")
    page.evaluate("footfall('optin')")
    page.click("#trial")
    page.wait_for_timeout(100)

    assert page.evaluate(EVERYTHING_STORED) == NOTHING
    assert recorder.posts == []


def test_global_privacy_control_is_said_and_nothing_else_changes(
    new_context: Callable[..., BrowserContext], recorder: Recorder
) -> None:
    page = new_context().new_page()
    page.add_init_script("Object.defineProperty(navigator, 'globalPrivacyControl', {value: true})")

    assert view(page, recorder)["gpc"] is True
    assert "gpc" not in view(new_context().new_page(), recorder, count=2)
