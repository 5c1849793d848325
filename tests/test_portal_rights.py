"""Who may what, generated from the table of pages: every page, every role, own things and those of others.

A page that is added without saying here what to ask it fails. What is not for somebody is 404, as if it were not there,
and changes nothing.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable

import pytest
from httpx2 import Response
from portal_cast import HOUR_MS, NEW_PASSWORD, PASSWORD, Browser, House

from collector.portal.frame import Page
from collector.portal.numbers.titles import TITLES
from collector.portal.pages import PAGES
from store import registry
from store.people import sessions
from store.people.roster import Person

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

ROLES = ("operator", "owner", "editor", "viewer")  # those of the owner's side
STRANGERS = ("stranger", "guest")
OF = {"owner": ("viewer", "com.owner.charts"), "stranger": ("guest", "com.stranger.notes")}
UNKNOWN = str(uuid.UUID(int=7))


@dataclasses.dataclass(frozen=True)
class Things:
    """What a request can name, of one partner or of nobody."""

    partner: str
    person: str
    app: str
    token: str
    session: str


@dataclasses.dataclass(frozen=True)
class Ask:
    """What is asked of one page, and what answers to whom it is for. `path` and `form` are filled from things."""

    status: int = 200
    path: Callable[[Things], dict[str, str]] = lambda of: {}
    form: Callable[[Things], dict[str, str]] = lambda of: {}


def person(of: Things) -> dict[str, str]:
    return {"person_id": of.person}


def app(of: Things) -> dict[str, str]:
    return {"app_key": of.app or "com.nobody", "seq": "1", "receipt_id": UNKNOWN, "target_id": UNKNOWN}


def partner(of: Things) -> dict[str, str]:
    return {"partner_key": of.partner or "nobody"}


KEY = {"destination": "main", "segment_write_key": "K" * 32, "region": "us", "profile": "mpac", "start": "now"}
WEBHOOK = {"name": "ours", "url": "https://hooks.example.com/", "template": "{}", "form": "json", "delivery": "all"}
WEBHOOK |= {"delay": "0", "retries": "5"}
PASSWORDS = {"old": PASSWORD, "new": NEW_PASSWORD}
INVITED = {"email": "new@new.example", "role": "viewer"}
ASKS: dict[tuple[str, str], Ask] = {
    ("GET", "/sign-in"): Ask(),
    ("POST", "/sign-in"): Ask(403),
    ("POST", "/sign-in/code"): Ask(403),
    ("GET", "/invitation"): Ask(404),
    ("POST", "/invitation"): Ask(404),
    ("GET", "/reset"): Ask(404),
    ("POST", "/reset"): Ask(404),
    ("GET", "/sign-in/openid"): Ask(404),
    ("GET", "/sign-in/openid/back"): Ask(404),
    ("GET", "/prove/openid"): Ask(404),
    ("POST", "/sign-out"): Ask(303),
    ("GET", "/prove"): Ask(),
    ("POST", "/prove"): Ask(303, form=lambda of: {"password": PASSWORD}),
    ("GET", "/"): Ask(),
    **{
        ("GET", f"{base}/{page}{kind}"): Ask(200, named)
        for base, named in (("/apps/{app_key}", app), ("/partners/{partner_key}", partner))
        for page in TITLES
        for kind in ("", ".csv", ".json")
    },
    ("GET", "/apps/{app_key}/attribution/conversions"): Ask(200, app),
    ("GET", "/apps/{app_key}/attribution/conversions/{seq}"): Ask(404, app),
    ("GET", "/apps/{app_key}/attribution/rules"): Ask(200, app),
    ("POST", "/apps/{app_key}/attribution/rules"): Ask(303, app, lambda of: {"click": "7d"}),
    ("GET", "/account"): Ask(),
    ("POST", "/account/name"): Ask(303, form=lambda of: {"name": "New Name"}),
    ("POST", "/account/password"): Ask(303, form=lambda of: PASSWORDS),
    ("POST", "/account/sessions"): Ask(303, form=lambda of: {"session": "others"}),
    ("GET", "/account/second-step"): Ask(),
    ("POST", "/account/second-step"): Ask(303),
    ("POST", "/account/second-step/end"): Ask(303),
    ("POST", "/account/recovery-codes"): Ask(303),
    ("GET", "/people"): Ask(),
    ("POST", "/people"): Ask(200, form=lambda of: INVITED | {"partner": of.partner}),
    ("GET", "/people/{person_id}"): Ask(200, person),
    ("POST", "/people/{person_id}/role"): Ask(303, person, lambda of: {"role": "editor"}),
    ("POST", "/people/{person_id}/disable"): Ask(303, person),
    ("POST", "/people/{person_id}/enable"): Ask(303, person),
    ("POST", "/people/{person_id}/link"): Ask(200, person),
    ("POST", "/people/{person_id}/second-step/end"): Ask(303, person),
    ("POST", "/people/{person_id}/openid/end"): Ask(303, person),
    ("POST", "/people/{person_id}/sessions/end"): Ask(303, person),
    ("GET", "/tokens"): Ask(),
    ("POST", "/tokens"): Ask(200, form=lambda of: {"name": "new", "app": of.app, "days": "30"}),
    ("POST", "/tokens/{token_id}/revoke"): Ask(303, lambda of: {"token_id": of.token}),
    ("GET", "/apps/{app_key}/details"): Ask(200, app),
    ("POST", "/apps/{app_key}/details"): Ask(303, app, lambda of: {"name": "New", "listing_url": ""}),
    ("GET", "/apps/{app_key}/details/destination"): Ask(200, app),
    ("POST", "/apps/{app_key}/details/destination"): Ask(303, app, lambda of: KEY),
    ("POST", "/apps/{app_key}/details/test"): Ask(404, app),
    ("POST", "/apps/{app_key}/details/code"): Ask(404, app),
    ("POST", "/apps/{app_key}/details/remove"): Ask(404, app),
    ("GET", "/apps/{app_key}/authentication"): Ask(200, app),
    ("POST", "/apps/{app_key}/authentication"): Ask(303, app, lambda of: {"mode": "off"}),
    ("POST", "/apps/{app_key}/authentication/keys"): Ask(200, app),
    ("POST", "/apps/{app_key}/authentication/revoke"): Ask(404, app),
    ("POST", "/apps/{app_key}/authentication/quarantine"): Ask(404, app),
    ("GET", "/apps/{app_key}/live"): Ask(200, app),
    ("GET", "/apps/{app_key}/live/news"): Ask(200, app),
    ("GET", "/apps/{app_key}/events/{seq}"): Ask(404, app),
    **{
        ("GET", f"/apps/{{app_key}}/event-names{file}"): Ask(200, app)
        for file in ("", ".csv", ".json", "/schema.json", "/segment.json", "/rudderstack.zip")
    },
    **{("GET", f"/apps/{{app_key}}/event-names/event{file}"): Ask(404, app) for file in ("", ".csv", ".json")},
    ("POST", "/apps/{app_key}/event-names"): Ask(303, app, lambda of: {"name": "Purchase"}),
    ("POST", "/apps/{app_key}/event-names/event"): Ask(404, app),
    ("POST", "/apps/{app_key}/event-names/delete"): Ask(404, app),
    ("GET", "/apps/{app_key}/deliveries"): Ask(200, app),
    ("POST", "/apps/{app_key}/deliveries/resume"): Ask(404, app),
    ("GET", "/apps/{app_key}/deliveries/parked"): Ask(200, app),
    ("POST", "/apps/{app_key}/deliveries/parked"): Ask(404, app),
    ("GET", "/apps/{app_key}/deliveries/replays"): Ask(200, app),
    ("POST", "/apps/{app_key}/deliveries/replays"): Ask(422, app),
    ("GET", "/apps/{app_key}/deliveries/receipts"): Ask(200, app),
    ("GET", "/apps/{app_key}/receipts/{receipt_id}.json"): Ask(404, app),
    ("GET", "/apps/{app_key}/deliveries/postbacks"): Ask(200, app),
    ("POST", "/apps/{app_key}/deliveries/postbacks"): Ask(422, app),
    ("GET", "/apps/{app_key}/deliveries/postbacks/new"): Ask(200, app),
    ("POST", "/apps/{app_key}/deliveries/postbacks/new"): Ask(200, app, lambda of: WEBHOOK),
    ("GET", "/apps/{app_key}/deliveries/postbacks/{target_id}"): Ask(404, app),
    ("POST", "/apps/{app_key}/deliveries/postbacks/{target_id}"): Ask(404, app),
    ("GET", "/apps/{app_key}/deliveries/postbacks/{target_id}/change"): Ask(404, app),
    ("POST", "/apps/{app_key}/deliveries/postbacks/{target_id}/secret"): Ask(404, app),
    ("POST", "/apps/{app_key}/deliveries/postbacks/{target_id}/test"): Ask(404, app),
    ("POST", "/apps/{app_key}/deliveries/postbacks/{target_id}/act"): Ask(404, app),
    ("GET", "/audit"): Ask(),
    ("GET", "/operator"): Ask(),
    ("GET", "/operator/partners"): Ask(),
    ("POST", "/operator/partners"): Ask(303, form=lambda of: {"key": "new", "partner_id": "17", "name": "New"}),
    ("GET", "/operator/apps"): Ask(),
    ("POST", "/operator/apps"): Ask(
        303, form=lambda of: {"key": "com.new", "plugin_id": "17", "name": "New", "partner": "owner"}
    ),
    ("GET", "/operator/attribution"): Ask(),
    ("POST", "/operator/attribution"): Ask(303, form=lambda of: {"click": "7d"}),
    ("GET", "/operator/settings"): Ask(),
    ("GET", "/operator/health"): Ask(),
    ("GET", "/operator/audit"): Ask(),
}


def key(page: Page) -> tuple[str, str]:
    return page.method, page.path


def name(page: Page) -> str:
    return f"{page.method} {page.path}"


for_somebody = [page for page in PAGES if page.access is not None]


def test_every_page_is_asked_here_and_there_is_no_other() -> None:
    assert {key(page) for page in PAGES} == set(ASKS)


def things(house: House, whose: str) -> Things:
    """What there is of a partner; of `operator`, their person; of `nobody`, nothing that there is."""
    if whose in OF:
        target, app = OF[whose]
        who: Person = house.people[target]
        house.store(lambda db: sessions.begin(db, house.now, who, "", ""))
        (session,) = house.rows("select session_id from sessions where person_id = ?", who.person_id)[-1]
        house.store(lambda db: registry.add_token(db, 0, "theirs", frozenset({"read"}), partner_key=whose))
        (token,) = house.rows("select token_id from tokens where partner_key = ?", whose)[0]
        return Things(whose, who.person_id, app, token, session)
    if whose == "operator":
        (back_end,) = house.rows("select token_id from tokens where name = 'back-end'")[0]
        return Things("", house.people["operator"].person_id, "", back_end, "")
    return Things("nobody", UNKNOWN, "com.nobody", UNKNOWN, UNKNOWN)


def ask(browser: Browser, page: Page, of: Things) -> Response:
    asked = ASKS[key(page)]
    path = page.path.format(**asked.path(of))
    return browser.get(path) if page.method == "GET" else browser.post(path, asked.form(of))


def names_a_thing(page: Page, one: Things, other: Things) -> bool:
    asked = ASKS[key(page)]
    return (asked.path(one), asked.form(one)) != (asked.path(other), asked.form(other))


def is_for(page: Page, who: Person, whose: str, names: bool) -> bool:
    """The rule: by the role, and by whose the thing is that is named; an operator's are all that there are."""
    if who.role not in (page.access or ()):
        return False
    if not names:
        return True
    return who.partner_key == whose if who.partner_key else whose != "nobody" or "{" not in page.path


@pytest.mark.parametrize("role", [*ROLES, *STRANGERS])
def test_what_is_not_for_somebody_is_not_there_and_changes_nothing(house: House, browser: Browser, role: str) -> None:
    there = {whose: things(house, whose) for whose in ("owner", "stranger", "operator", "nobody")}
    browser.enter(role)
    before, tried = house.state(), 0
    for page in for_somebody:
        names = names_a_thing(page, there["owner"], there["stranger"])
        for whose, of in there.items():
            by_nothing = whose == "operator" and "{" not in page.path  # a form does not name them
            if by_nothing or is_for(page, house.people[role], whose, names):
                continue
            answer, tried = ask(browser, page, of), tried + 1
            assert (answer.status_code, house.state() == before) == (404, True), (name(page), of)
            assert "nothing at this address" in answer.text
    assert tried > 100


def test_nobody_is_sent_to_sign_in_and_changes_nothing(house: House, browser: Browser) -> None:
    of = things(house, "owner")
    before = house.state()
    for page in for_somebody:
        answer = ask(browser, page, of)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/sign-in"), name(page)
        assert house.state() == before, name(page)


@pytest.mark.parametrize("role", ROLES)
def test_what_somebody_may_look_at_answers_them(house: House, browser: Browser, role: str) -> None:
    there = {whose: things(house, whose) for whose in ("stranger", "owner")}
    browser.enter(role)
    for page in for_somebody:
        if page.method == "GET" and role in (page.access or ()):
            for whose in asked_of(page, role):
                assert ask(browser, page, there[whose]).status_code == ASKS[key(page)].status, name(page)


@pytest.mark.parametrize(
    ("page", "role"),
    [
        pytest.param(page, role, id=f"{name(page)} {role}")
        for page in for_somebody
        for role in ROLES
        if page.method != "GET" and role in (page.access or ())
    ],
)
def test_what_somebody_may_do_answers_them(house: House, browser: Browser, page: Page, role: str) -> None:
    browser.enter(role)
    for whose in asked_of(page, role):
        assert ask(browser, page, things(house, whose)).status_code == ASKS[key(page)].status


def asked_of(page: Page, role: str) -> tuple[str, ...]:
    """Whose things somebody may ask for."""
    return ("stranger", "owner") if role == "operator" and ASKS[key(page)].path is person else ("owner",)


@pytest.mark.parametrize("page", [page for page in PAGES if page.proved], ids=name)
def test_what_asks_for_the_password_does_nothing_before_it_was_given(
    house: House, browser: Browser, page: Page
) -> None:
    browser.enter("owner")
    of = things(house, "owner")
    house.now += HOUR_MS
    browser.get("/prove")
    before = house.state()
    answer = ask(browser, page, of)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/prove?next=")
    assert house.state() == before
    browser.post("/prove", {"password": "wrong"})
    assert ask(browser, page, of).headers["location"].startswith("/prove")
    browser.post("/prove", {"password": PASSWORD})
    assert ask(browser, page, of).status_code == ASKS[key(page)].status


@pytest.mark.parametrize("page", [page for page in PAGES if page.access is None], ids=name)
def test_what_is_for_everybody_answers_nobody(browser: Browser, page: Page) -> None:
    assert ask(browser, page, Things("", "", "", "", "")).status_code == ASKS[key(page)].status


@pytest.mark.parametrize("role", [*ROLES, "stranger"])
def test_nobody_ends_a_session_of_somebody_else(house: House, browser: Browser, role: str) -> None:
    theirs = things(house, "owner").session if role != "viewer" else things(house, "stranger").session
    browser.enter(role)
    before = house.state()
    assert browser.post("/account/sessions", {"session": theirs}).status_code == 404
    assert house.state() == before


@pytest.mark.parametrize("role", ["owner", "stranger"])
def test_no_page_tells_a_partner_of_another(house: House, browser: Browser, role: str) -> None:
    """No address, name, key or id of the other side in any page that can be opened."""
    other = "stranger" if role == "owner" else "owner"
    of = things(house, other)
    told = [row for (row,) in house.rows("select guid from apps where partner_key = ?", other)]
    told += [row for (row,) in house.rows("select person_id from people where partner_key = ?", other)]
    told += [
        row for (row,) in house.rows("select email from people where partner_key is null or partner_key = ?", other)
    ]
    told += [of.app, of.token, f"{other}@{other}.example"]
    browser.enter(role)
    own = things(house, role)
    for page in PAGES:
        if page.method == "GET":
            text = ask(browser, page, own).text
            assert [secret for secret in told if secret in text] == [], name(page)


@pytest.mark.parametrize("changed", ["role", "partner_key", "person_id", "is_admin", "access", "_method"])
def test_a_field_that_no_form_has_gives_no_right(house: House, browser: Browser, changed: str) -> None:
    browser.enter("viewer")
    browser.post("/account/name", {"name": "New", changed: "operator"})
    (row,) = house.rows("select role, partner_key, name from people where email = 'viewer@viewer.example'")
    assert row == ("viewer", "owner", "New")
    assert browser.get("/operator").status_code == 404
