"""Manage app details: entering, replacing and removing a key, its proof, links for ads, and who may do what."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from portal_visit import HOUR_MS, Visit, visiting, words
from shipping_cast import KEYS, OWNER, SECRET_KEY, STRANGER, VIEW, Installation, a_destination, an_event

from collector.portal import ad_links
from collector.portal.details import paused, proved
from store import destinations, proof, registry
from store.destinations import Destination
from store.engines import open_writer
from store.ledger import Cursor, Health
from store.people.roster import Role
from store.registry import App
from store.secrets import Vault

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

DETAILS = f"/apps/{OWNER}/details"
NEW_KEY = "ANOTHERKEYOFTHEOWNERSCHARTS00009"
NOON = 1_771_243_200_123
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def visit(installation: Installation) -> Iterator[Visit]:
    with visiting(installation) as visit:
        yield visit


def live(visit: Visit, name: str = "main") -> Destination | None:
    async def read() -> Destination | None:
        async with await open_writer(visit.installation.data_dir, "registry") as db:
            return await destinations.destination(db, OWNER, name)

    return asyncio.run(read())


def there(visit: Visit, name: str = "main") -> Destination:
    found = live(visit, name)
    assert found is not None
    return found


def form(**changed: Any) -> dict[str, Any]:
    """A new destination's form, filled in well."""
    good = {"destination": "warehouse", "segment_write_key": NEW_KEY, "region": "eu", "profile": "segment"}
    return {**good, "start": "now", "url": "", **changed}


# --- what sends here


def test_an_editor_sees_what_their_own_systems_need_and_a_viewer_does_not(visit: Visit) -> None:
    async def read() -> App:
        async with await open_writer(visit.installation.data_dir, "registry") as db:
            return await registry.app(db, OWNER)

    app = asyncio.run(read())
    (secret,) = Vault(SECRET_KEY).webhook_secrets(app.guid)
    values = [app.ingest_key, f"/webhooks/segment/{app.guid}", secret]
    roles: list[tuple[Role, bool]] = [("editor", True), ("owner", True), ("viewer", False)]
    for who, sees in roles:
        visit.sign_in(role=who)
        page = visit.get(DETAILS).text
        assert "Send us events from Segment" in page
        assert [value in page for value in values] == [sees] * 3, who
        visit.leave()


def test_everybody_sees_the_guid_by_which_servers_name_the_app(visit: Visit) -> None:
    async def read() -> str:
        async with await open_writer(visit.installation.data_dir, "registry") as db:
            return (await registry.app(db, OWNER)).guid

    guid = asyncio.run(read())
    roles: list[Role] = ["owner", "viewer"]
    for who in roles:
        visit.sign_in(role=who)
        assert f"<dt>GUID, for calls from your servers</dt><dd><code>{guid}</code></dd>" in visit.get(DETAILS).text, who
        visit.leave()


# --- who may


def test_the_page_is_titled_as_the_marketplace_says(visit: Visit) -> None:
    visit.sign_in()
    page = visit.get(DETAILS).text
    assert "<title>Manage app details · Charts · Footfall</title>" in page
    assert "<h1>Manage app details</h1>" in page


def test_a_viewer_sees_the_destination_and_no_form(visit: Visit) -> None:
    visit.sign_in(role="viewer")
    page = visit.get(DETAILS).text
    assert "••••0001" in page
    assert 'method="post" action="/apps' not in page


@pytest.mark.parametrize("address", ["", "/destination", "/test", "/code", "/remove"])
def test_a_viewer_changes_nothing(visit: Visit, address: str) -> None:
    visit.sign_in(role="viewer")
    assert visit.post(DETAILS + address, destination="main", name="x").status_code == 404
    assert there(visit).write_key_last4 == "0001"


@pytest.mark.parametrize("address", ["", "/destination", "/test", "/code", "/remove"])
def test_for_a_stranger_there_is_no_such_app(visit: Visit, address: str) -> None:
    visit.sign_in("stranger")
    assert visit.post(DETAILS + address, **form(destination="main")).status_code == 404
    assert visit.get(DETAILS).status_code == 404
    assert live(visit) is not None
    assert live(visit, "warehouse") is None


def test_an_operator_sees_every_partners_app(visit: Visit) -> None:
    visit.sign_in(None)
    assert "Manage app details" in visit.read(DETAILS)
    assert "Manage app details" in visit.read(f"/apps/{STRANGER}/details")


# --- a key


def test_no_key_yet_tells_the_next_step(visit: Visit) -> None:
    (app,) = visit.installation.add_apps(1, with_keys=False)
    visit.sign_in()
    page = visit.read(f"/apps/{app}/details")
    assert "No Segment write key yet" in page
    assert "Enter a Segment write key" in page


def test_a_key_is_entered_and_never_shown_again(visit: Visit) -> None:
    visit.sign_in()
    saved = visit.post(f"{DETAILS}/destination", **form())
    assert (saved.status_code, saved.headers["location"]) == (303, f"{DETAILS}?done=saved#warehouse")
    d = there(visit, "warehouse")
    assert (d.region, d.profile, d.uninstalls, d.write_key_last4) == ("eu", "segment", False, "0009")
    pages = visit.get(DETAILS).text + visit.get(f"{DETAILS}/destination?name=warehouse").text
    assert "••••0009" in pages
    assert NEW_KEY not in pages
    assert KEYS[OWNER] not in pages


def test_a_password_given_long_ago_is_asked_for_before_a_key(visit: Visit) -> None:
    visit.sign_in(ago=HOUR_MS)
    asked = visit.get(f"{DETAILS}/destination")
    assert asked.status_code == 303
    assert asked.headers["location"] == f"/prove?next=%2Fapps%2F{OWNER}%2Fdetails%2Fdestination"
    assert visit.post(f"{DETAILS}/destination", **form()).headers["location"].startswith("/prove?next=")
    assert live(visit, "warehouse") is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"segment_write_key": ""}, "Paste the Segment write key"),
        ({"segment_write_key": "two words"}, "The Segment write key holds more than a key"),
        ({"segment_write_key": "k" * 201}, "The Segment write key holds more than a key"),
        ({"region": "moon"}, "Choose a region"),
        ({"profile": "own"}, "Choose a region and a form of the messages"),
        ({"destination": "Ware House"}, "A destination's name has up to 30 small letters"),
        ({"destination": "main"}, "There is a destination named main already"),
        ({"url": "http://169.254.169.254/latest"}, "The address must be"),
        ({"start": "date"}, "Choose the date"),
        ({"start": "date", "date": "soon"}, "Soon is no date"),
    ],
)
def test_a_form_that_is_wrong_comes_back_with_the_reason_and_without_the_key(
    visit: Visit, changed: dict[str, str], said: str
) -> None:
    visit.sign_in()
    answer = visit.post(f"{DETAILS}/destination", **form(**changed))
    assert answer.status_code == 422
    assert said in words(answer)
    assert NEW_KEY not in answer.text
    assert live(visit, "warehouse") is None


@pytest.mark.parametrize(
    ("start", "date", "seq"), [("now", "", 5), ("beginning", "", 0), ("date", "2026-02-17", 3), ("", "", 5)]
)
def test_a_new_destination_begins_where_it_was_told(visit: Visit, start: str, date: str, seq: int) -> None:
    visit.installation.views(3)
    visit.installation.collect(*[an_event(received_at=NOON + DAY_MS)] * 2)
    visit.sign_in()
    assert visit.post(f"{DETAILS}/destination", **form(start=start, date=date)).status_code == 303
    assert there(visit, "warehouse").start_seq == seq


def test_a_change_without_a_key_keeps_the_key_and_its_proof(visit: Visit) -> None:
    before = there(visit)
    visit.sign_in()
    changed = form(old="main", segment_write_key="", region="us", uninstalls="1", start="")
    assert visit.post(f"{DETAILS}/destination", **changed).status_code == 303
    after = there(visit)
    assert (after.destination_id, after.write_key_last4, after.uninstalls) == (before.destination_id, "0001", True)


def test_a_removed_destination_gets_nothing_more(visit: Visit) -> None:
    visit.sign_in()
    assert visit.post(f"{DETAILS}/remove", destination="main").headers["location"] == f"{DETAILS}?done=removed"
    assert live(visit) is None
    assert visit.post(f"{DETAILS}/remove", destination="main").status_code == 404


def test_who_changed_what_is_on_record(visit: Visit) -> None:
    visit.sign_in(role="editor")
    visit.post(f"{DETAILS}/destination", **form())
    visit.post(DETAILS, name="Charts 2", listing_url="")

    async def read() -> list[tuple[str, str]]:
        async with await open_writer(visit.installation.data_dir, "registry") as db:
            rows = await db.all("select actor, action from audit where actor like 'editor%' order by audit_id")
            return [(actor.partition("@")[2], action) for actor, action in rows]

    assert asyncio.run(read()) == [("owner.example", "app.set"), ("owner.example", "app.describe")]


# --- its proof


def test_the_code_that_comes_back_proves_the_key(visit: Visit) -> None:
    now = time.time_ns() // 1_000_000

    async def send() -> None:
        async with await open_writer(visit.installation.data_dir, "registry") as db:
            d = await destinations.named(db, OWNER, "main")
            await proof.ask(db, Vault(SECRET_KEY), now, d, "ABC234")

    visit.sign_in()
    assert "Saved, never proved" in visit.read(DETAILS)
    asyncio.run(send())
    assert "its code is awaited" in visit.read(DETAILS)
    wrong = visit.post(f"{DETAILS}/code", destination="main", code="WRONG2")
    assert wrong.status_code == 422
    assert "That is not the code; answers that are left: 4." in words(wrong)
    right = visit.post(f"{DETAILS}/code", destination="main", code="abc234")
    assert right.headers["location"] == f"{DETAILS}?done=proved#main"
    assert "Proved on" in visit.read(DETAILS)
    again = visit.post(f"{DETAILS}/code", destination="main", code="ABC234")
    assert "No code is awaited." in words(again)


def test_a_second_test_event_has_to_wait_a_moment(visit: Visit) -> None:
    now = time.time_ns() // 1_000_000

    async def send() -> None:
        async with await open_writer(visit.installation.data_dir, "registry") as db:
            d = await destinations.named(db, OWNER, "main")
            await proof.ask(db, Vault(SECRET_KEY), now, d, "ABC234")

    asyncio.run(send())
    visit.sign_in()
    answer = visit.post(f"{DETAILS}/test", destination="main")
    assert answer.status_code == 422
    assert "A test event left only a moment ago" in words(answer)


@pytest.mark.parametrize(
    ("fields", "awaits", "mood", "said"),
    [
        ({}, False, "wait", "Saved, never proved"),
        ({"code_hash": "x"}, True, "wait", "Saved, not proved yet"),
        ({"verified_at": NOON - DAY_MS}, False, "good", "Proved on 15 Feb 2026, 12:00 UTC."),
        ({"verified_at": NOON - 14 * DAY_MS}, False, "wait", "over 13 days ago"),
        ({"verified_at": NOON - 14 * DAY_MS, "url": "https://a.example"}, False, "good", "Proved on 2 Feb 2026"),
    ],
)
def test_how_sure_a_key_is_in_words(fields: dict[str, Any], awaits: bool, mood: str, said: str) -> None:
    (state,) = proved(a_destination(**fields), awaits, NOON)
    assert state.mood == mood
    assert said in state.text


@pytest.mark.parametrize(
    ("health", "said"),
    [
        (Health(tripped="the endpoint answers 401"), "Paused: the endpoint answers 401. Each run tries one event"),
        (Health(tripped="no answer", not_before=NOON + 2 * HOUR_MS), "Paused: no answer. It is tried again in 2 h"),
        (Health(not_before=NOON + 90_000), "Segment asked to be left alone for 1 min more."),
    ],
)
def test_a_pause_in_words(health: Health, said: str) -> None:
    (state,) = paused(Cursor(OWNER, "d", 0, 0, health), NOON)
    assert state.text.startswith(said)


def test_the_same_key_on_another_partners_app_is_told_without_naming_it(visit: Visit) -> None:
    (sibling,) = visit.installation.add_apps(1, with_keys=False)
    visit.installation.set(sibling, segment_write_key=KEYS[OWNER])
    visit.installation.set(STRANGER, segment_write_key=KEYS[OWNER])
    visit.sign_in()
    page = visit.read(DETAILS)
    assert f"The same key is on {sibling}, an app of another partner" in page
    assert STRANGER not in page


# --- the app, and links


def test_the_app_gets_a_name_and_the_address_of_its_listing(visit: Visit) -> None:
    visit.sign_in()
    address = "https://marketplace.example/apps/1219125/charts"
    assert visit.post(DETAILS, name=" Charts for teams ", listing_url=address).status_code == 303
    page = visit.get(DETAILS).text
    assert 'value="Charts for teams"' in page
    assert f"{address}?partner_anonymous_id={{visitor-id}}" in page


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("", ""),
        ("x" * 101, ""),
        ("two\nlines", ""),
        ("x", "javascript:alert(1)"),
        ("x", "https://"),
        ("x", "//a.example"),
    ],
)
def test_a_name_or_an_address_that_is_none_is_refused(visit: Visit, name: str, address: str) -> None:
    visit.sign_in()
    answer = visit.post(DETAILS, name=name, listing_url=address)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


@pytest.mark.parametrize(
    ("page", "values", "link"),
    [
        ("https://m.example/a", {"partner_anonymous_id": "{id}"}, "https://m.example/a?partner_anonymous_id={id}"),
        (
            "https://m.example/a?x=1#top",
            {"utm_source": "news letter"},
            "https://m.example/a?x=1&utm_source=news%20letter#top",
        ),
        ("https://m.example/a?utm_source=old&y", {"utm_source": "new"}, "https://m.example/a?y&utm_source=new"),
        ("https://m.example/a?utm_source=old", {"utm_source": ""}, "https://m.example/a"),
        ("https://m.example/a", {"utm_term": "a&b=c/ü"}, "https://m.example/a?utm_term=a%26b%3Dc%2F%C3%BC"),
        ("javascript:alert(1)", {"utm_term": "a"}, ""),
        ("https://[", {"utm_term": "a"}, ""),
    ],
)
def test_a_link_carries_the_partners_id_and_the_campaign(page: str, values: dict[str, str], link: str) -> None:
    assert ad_links.link(page, values) == link


def test_the_link_builder_works_as_a_plain_form(visit: Visit) -> None:
    visit.sign_in()
    query = "to=https://m.example/a&partner_anonymous_id=crm-1&utm_campaign=spring"
    page = visit.get(f"{DETAILS}?{query}").text
    assert ">https://m.example/a?partner_anonymous_id=crm-1&amp;utm_campaign=spring</output>" in page


def test_the_share_of_views_with_an_id_counts_the_shareable_views_of_30_days(visit: Visit) -> None:
    now = time.time_ns() // 1_000_000
    fresh = {"received_at": now, "occurred_at": now}
    visit.installation.collect(an_event(partner_anonymous_id="old", received_at=now - 31 * DAY_MS))
    visit.installation.collect(
        an_event(partner_anonymous_id="a", **fresh),
        *[an_event(**fresh)] * 3,
        an_event(partner_anonymous_id="b", suppressed="consent", **fresh),
        an_event("tab_click", VIEW, partner_anonymous_id="c", **fresh),
        an_event(partner_anonymous_id="d", partner_key="another", **fresh),
    )
    visit.sign_in()
    page = visit.read(DETAILS)
    assert "25 % of the page views of the last 30 days" in page
    assert "1 of 4, all counted." in page


def test_a_share_of_many_views_is_estimated_and_says_so(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.looking.BLOCK", 2)
    monkeypatch.setattr("store.looking.EXACT", 80)
    now = time.time_ns() // 1_000_000
    fresh = {"received_at": now, "occurred_at": now}
    pair = [an_event(partner_anonymous_id="a", **fresh), an_event(**fresh)]
    visit.installation.collect(*pair * 200)
    visit.sign_in()
    page = visit.read(DETAILS)
    assert "50 % of the page views" in page
    assert "Estimated: 40 of 80 page views, taken evenly from the whole time." in page


def test_the_pages_carry_no_inline_style_or_script(visit: Visit) -> None:
    visit.installation.views(2)
    visit.sign_in()
    for path in (DETAILS, f"{DETAILS}/destination", f"/apps/{OWNER}/live", f"/apps/{OWNER}/deliveries"):
        page = visit.get(path).text
        assert " style=" not in page
        assert "<style" not in page
        assert "<script>" not in page
        assert " onclick" not in page


def test_what_was_entered_is_kept_when_the_form_comes_back(visit: Visit) -> None:
    visit.sign_in()
    wrong = form(region="eu", uninstalls="1", destination="Bad Name", start="date", date="2026-02-17")
    page = visit.post(f"{DETAILS}/destination", **wrong).text
    for kept in ('value="eu" checked', 'name="uninstalls" value="1" checked', 'value="date" checked', "2026-02-17"):
        assert kept in page, kept
