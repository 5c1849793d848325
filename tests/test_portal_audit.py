"""The audit's pages: how people signed in, and what a partner's owner reads, and never of another partner."""

from __future__ import annotations

import re
from typing import Any

import pytest
from portal_cast import PASSWORD, Browser, House, another, email, opened
from test_portal_operator import cells

from collector.portal.audit import A_PAGE, ACTIONS
from store import registry
from store.people import second_factor, totp

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

DAY_MS = 86_400_000


def lines(browser: Browser, query: str = "", page: str = "/audit") -> list[list[str]]:
    """Who, what, of which, in detail."""
    answer = browser.get(page + query)
    assert answer.status_code == 200
    return [row[1:] for row in cells(answer)[1:]]


def signed(house: House) -> list[tuple[str, str]]:
    """What the audit says of sign-ins and their ends, in order."""
    wanted = "('person.sign-in', 'person.sign-out', 'person.wrong-code')"
    return house.rows(f"select action, detail from audit where action in {wanted} order by rowid")


def test_how_somebody_signed_in_and_out_is_told(house: House, browser: Browser) -> None:
    browser.sign_in("owner", "wrong")
    browser.sign_in("owner")
    another(browser).sign_in("owner")
    another(browser).sign_in("owner")
    browser.post("/account/sessions", {"session": "others"})
    browser.post("/sign-out")
    browser.post("/reset", {"token": house.link("viewer", "reset"), "password": "pebble umbrella tuesday"})
    browser.post("/invitation", {"token": house.link("invited", "invitation"), "password": "umbrella pebble tuesday"})
    assert signed(house) == [
        ("person.sign-in", "password"),
        ("person.sign-in", "password"),
        ("person.sign-in", "password"),
        ("person.sign-out", "2 sessions ended"),
        ("person.sign-out", "1 session ended"),
        ("person.sign-in", "reset"),
        ("person.sign-out", "1 session ended"),
        ("person.sign-in", "invitation"),
    ]


def test_a_wrong_code_is_told_and_not_what_it_was(house: House, browser: Browser) -> None:
    secret = totp.new_secret()
    code = totp.code(secret, house.now // totp.STEP_MS)
    who, vault = house.people["owner"], house.cast.vault
    house.store(lambda db: second_factor.begin(db, vault, house.now, who, secret, code))
    house.now += totp.STEP_MS
    ticket = re.search(r'name="ticket" value="([^"]+)"', browser.sign_in("owner").text)
    assert ticket
    browser.post("/sign-in/code", {"ticket": ticket[1], "code": "918273"})
    browser.post("/sign-in/code", {"ticket": ticket[1], "code": totp.code(secret, house.now // totp.STEP_MS)})
    assert signed(house) == [("person.wrong-code", "after password"), ("person.sign-in", "password, second step")]
    assert b"918273" not in house.cast.every_byte()


def test_a_wrong_password_is_logged_and_not_what_was_typed(
    house: House, browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    before = house.rows("select count(*) from audit")
    browser.sign_in("nobody", "hunter2hunter2")
    said = capfd.readouterr().err
    assert '"event":"a sign-in was refused","by":"password"}' in said
    assert [text for text in ("nobody", "hunter2") if text in said] == []
    assert house.rows("select count(*) from audit") == before


# --- what an owner reads


def test_an_owner_reads_what_was_done_to_what_is_theirs(house: House, browser: Browser) -> None:
    browser.enter("owner")
    browser.post("/people", {"email": "new@new.example", "role": "viewer"})
    browser.post("/tokens", {"name": "reports", "days": "30"})
    browser.post("/apps/com.owner.charts/details", {"name": "Chart", "listing_url": ""})
    another(browser).sign_in("viewer")
    shown = lines(browser)
    for line in (
        [email("owner"), "Person added", "new@new.example", "viewer of owner"],
        [email("owner"), "Token made", "owner/reports", "read"],
        [email("owner"), "App described", "com.owner.charts", "Charts, no address -&gt; Chart, no address"],
        [email("viewer"), "Signed in", email("viewer"), "password"],
    ):
        assert line in shown


def test_an_owner_does_not_learn_who_the_marketplace_is(house: House, browser: Browser) -> None:
    house.store(lambda db: registry.add_app(db, house.now, "com.owner.new", "owner", "77", "New"))
    browser.enter("operator").post(f"/people/{house.people['viewer'].person_id}/role", {"role": "editor"})
    shown = lines(browser.enter("owner"))
    assert ["the marketplace", "Role changed", email("viewer"), "viewer -&gt; editor"] in shown
    assert ["the marketplace", "App added", "com.owner.new", "partner owner, plugin id 77"] in shown
    assert email("operator") not in browser.get("/audit").text
    assert lines(browser, f"?person={email('operator')}") == []


def test_a_partner_reads_no_line_of_another_or_of_the_marketplace(house: House, browser: Browser) -> None:
    """Whatever is asked for: every line of the stranger's and of nobody's, by each of its own words."""
    strangers = another(browser).enter("stranger")
    strangers.post("/people", {"email": "new@stranger.example", "role": "viewer"})
    strangers.post("/tokens", {"name": "reports", "days": "30"})
    another(browser).sign_in("guest")
    another(browser).enter("operator").post("/operator/partners", {"key": "acme", "partner_id": "77", "name": "Acme"})
    others = house.rows("select audit_id, actor, subject from audit where coalesce(partner_key, '') <> 'owner'")
    assert len(others) > 8
    browser.enter("owner")
    own = {audit_id for (audit_id,) in house.rows("select audit_id from audit where partner_key = 'owner'")}
    for audit_id, actor, subject in others:
        for query in (f"?person={actor}", f"?subject={subject}", f"?before={audit_id}", f"?person={subject}"):
            page = browser.get(f"/audit{query}&until=2099-01-01")
            shown = page.text.partition("<tbody>")[2]
            assert not re.search(r"stranger|guest|acme|back-end|operator", shown), query
    assert len(lines(browser)) == len(own)


def test_lines_are_filtered_by_person_action_and_day(house: House, browser: Browser) -> None:
    another(browser).sign_in("viewer")
    house.now += DAY_MS
    another(browser).sign_in("editor")
    browser.enter("owner")
    of = {name: [email(name), "Signed in", email(name), "password"] for name in ("viewer", "editor")}
    assert lines(browser, "?action=person.sign-in") == [of["editor"], of["viewer"]]
    assert lines(browser, f"?action=person.sign-in&person={email('viewer')}") == [of["viewer"]]
    assert lines(browser, "?action=person.sign-in&from=2026-05-29") == [of["editor"]]
    assert lines(browser, "?action=person.sign-in&until=2026-05-28") == [of["viewer"]]
    assert lines(browser, "?from=2026-05-30") == []
    assert lines(browser.enter("operator"), f"?action=person.sign-in&person={email('editor')}", "/operator/audit") == [
        of["editor"]
    ]


def test_the_filters_stay_and_go_on_with_older_lines(house: House, browser: Browser) -> None:
    async def many(db: Any) -> None:
        for n in range(A_PAGE + 2):
            async with db.transaction():
                await registry.note(db, house.now + n, "app.set", "com.owner.charts", f"line {n}", "somebody")

    house.store(many)
    browser.enter("owner")
    page = browser.get("/audit?action=app.set&subject=com.owner.charts&from=2026-05-01&until=2026-12-31")
    (older,) = re.findall(r'href="(/audit\?[^"]*before[^"]+)"', page.text)
    assert [row[-1] for row in lines(browser, older.replace("&amp;", "&").removeprefix("/audit"))] == [
        "line 1",
        "line 0",
    ]
    for kept in ('value="app.set" selected', 'value="com.owner.charts"', 'value="2026-05-01"', 'value="2026-12-31"'):
        assert kept in page.text


@pytest.mark.parametrize(
    "query",
    ["from=x", "from=0000-00-00", "from=0001-01-01", "until=9999-12-31", "action=%00", "person=%00", "before=%ff"],
)
def test_an_odd_question_is_no_failure(browser: Browser, query: str) -> None:
    for who, page in (("owner", "/audit"), ("operator", "/operator/audit"), ("operator", "/audit")):
        assert browser.enter(who).get(f"{page}?{query}").status_code == 200


def test_the_marketplace_reads_all_of_it_at_either_address(house: House, browser: Browser) -> None:
    browser.enter("operator")
    assert lines(browser) == lines(browser, "", "/operator/audit")
    assert 'aria-label="Operator"' in browser.get("/audit").text


def test_what_is_chosen_from_is_what_there_is(browser: Browser) -> None:
    text = browser.enter("owner").get("/audit").text
    assert set(re.findall(r'<option value="([a-z.-]+)"', text)) == set(ACTIONS)
    assert email("operator") not in text
    assert PASSWORD not in text
    assert f"<option>{email('viewer')}</option>" in text


def test_nothing_of_it_is_at_another_name(house: House) -> None:
    with opened(house, public_url="https://footfall.example") as browser:
        assert browser.enter("owner").get("/audit").status_code == 200
        assert browser.get("/audit", Host="evil.example").status_code == 421
