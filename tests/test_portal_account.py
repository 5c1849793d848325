"""One's own account: name, password, where one is signed in, and the second step with its codes."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import SECRET_KEY
from httpx2 import Response
from portal_cast import HOUR_MS, NEW_PASSWORD, PASSWORD, Browser, House, another, email, field, message

from collector.portal.account import qr_code
from store import rotation
from store.people import second_factor, sessions, totp
from store.secrets import Vault

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

STEP = totp.STEP_MS


def test_a_name_is_changed_and_the_change_is_told(house: House, browser: Browser) -> None:
    browser.enter("viewer")
    assert browser.post("/account/name", {"name": "  Vera  "}).headers["location"] == "/account?saved=name"
    assert "Your name is saved." in browser.get("/account?saved=name").text
    assert house.audit() == (email("viewer"), "person.rename", email("viewer"), "Viewer -> Vera")
    assert message(browser.post("/account/name", {"name": "x" * 101})) == "A name has at most 100 characters."


def test_a_password_is_changed_by_who_knows_the_old_one(house: House, browser: Browser) -> None:
    other = another(browser).enter("owner")
    browser.enter("owner")
    before = browser.cookie
    answer = browser.post("/account/password", {"old": PASSWORD, "new": NEW_PASSWORD})
    assert answer.headers["location"] == "/account?saved=password"
    assert browser.cookie != before
    assert browser.get("/account").status_code == 200
    assert other.get("/account").headers["location"].startswith("/sign-in")
    assert house.audit() == (email("owner"), "person.password", email("owner"), "set")
    assert another(browser).sign_in("owner", PASSWORD).status_code == 403
    assert another(browser).sign_in("owner", NEW_PASSWORD).status_code == 303


@pytest.mark.parametrize(
    ("old", "new", "status", "told"),
    [
        ("wrong", NEW_PASSWORD, 403, "That is not your password."),
        ("", NEW_PASSWORD, 403, "That is not your password."),
        (PASSWORD, "short", 422, "A password has at least 12 characters."),
        (PASSWORD, "owner@owner.example", 422, "Choose another password: "),
    ],
)
def test_a_password_that_must_not_be_changes_nothing(
    house: House, browser: Browser, old: str, new: str, status: int, told: str
) -> None:
    browser.enter("owner")
    before = house.state()
    answer = browser.post("/account/password", {"old": old, "new": new})
    assert answer.status_code == status
    assert message(answer).startswith(told)
    assert house.state() == before


@pytest.mark.parametrize(("path", "name"), [("/account/password", "old"), ("/prove", "password")])
def test_who_finds_an_open_browser_cannot_guess_for_long(house: House, browser: Browser, path: str, name: str) -> None:
    browser.enter("owner")
    statuses = [browser.post(path, {name: "wrong", "new": NEW_PASSWORD}).status_code for _ in range(6)]
    assert statuses == [403] * 5 + [429]


def test_ones_sessions_are_listed_with_place_and_time_and_end_one_by_one(house: House, browser: Browser) -> None:
    phone = another(browser)
    phone.sign_in("owner")
    house.now += HOUR_MS
    browser.sign_in("owner")
    text = browser.get("/account").text
    assert {"Safari/26", "Firefox/148.0", "testclient", "28 May 2026, 20:26 UTC", "28 May 2026, 21:26 UTC"} <= told(
        text
    )
    assert len(re.findall("this one", text)) == 1
    (named,) = re.findall(r'name="session" value="([0-9a-f]+)"', text)
    assert browser.post("/account/sessions", {"session": named}).status_code == 303
    assert phone.get("/").headers["location"] == "/sign-in"
    assert browser.get("/").status_code == 200
    assert browser.post("/account/sessions", {"session": named}).status_code == 404


def told(text: str) -> set[str]:
    return {found.strip() for found in re.findall(r">([^<]+)<", text)}


def test_all_other_sessions_end_at_once(house: House, browser: Browser) -> None:
    others = [another(browser).enter("owner") for _ in range(3)]
    colleague = another(browser).enter("editor")
    browser.enter("owner")
    browser.post("/account/sessions", {"session": "others"})
    assert [other.get("/").status_code for other in others] == [303] * 3
    assert (browser.get("/").status_code, colleague.get("/").status_code) == (200, 200)


def test_a_password_counts_for_a_quarter_of_an_hour(house: House, browser: Browser) -> None:
    browser.enter("owner")
    house.now += sessions.PROVED_MS - 1
    assert browser.get("/account/second-step").status_code == 200
    house.now += 1
    assert browser.get("/account/second-step").headers["location"] == "/prove?next=%2Faccount%2Fsecond-step"
    answer = browser.post("/prove", {"password": PASSWORD, "next": "/account/second-step"})
    assert answer.headers["location"] == "/account/second-step"
    assert browser.get("/account/second-step").status_code == 200


# --- the second step


def set_up(house: House, browser: Browser) -> tuple[str, list[str]]:
    """Turn the second step on; the app's secret and the recovery codes."""
    page = browser.get("/account/second-step")
    secret = secret_on(page)
    answer = browser.post(
        "/account/second-step", {"ticket": field(page, "ticket"), "code": totp.code(secret, house.now // STEP)}
    )
    assert answer.status_code == 200
    return secret, re.findall(r"<code>([a-z2-7-]+)</code>", answer.text)


def secret_on(page: Response) -> str:
    found = re.search(r'class="secret">([^<]+)<', page.text)
    assert found
    return found[1].replace(" ", "")


def first_step(browser: Browser, name: str = "owner", password: str = PASSWORD) -> str:
    """Give the password; the ticket for the code."""
    answer = browser.sign_in(name, password, then="/tokens")
    assert (answer.status_code, browser.cookie) == (200, None)
    return field(answer, "ticket")


def second(browser: Browser, ticket: str, code: str) -> Response:
    return browser.post("/sign-in/code", {"ticket": ticket, "code": code, "next": "/tokens"})


def test_with_a_second_step_the_password_alone_lets_nobody_in(house: House, browser: Browser) -> None:
    secret, _ = set_up(house, browser.enter("owner"))
    assert house.audit() == (email("owner"), "person.second-factor", email("owner"), "off -> on")
    house.now += STEP
    new = another(browser)
    ticket = first_step(new)
    assert new.get("/").headers["location"] == "/sign-in"
    wrong = second(new, ticket, "000000")
    assert (wrong.status_code, new.cookie) == (403, None)
    right = second(new, ticket, totp.code(secret, house.now // STEP))
    assert (right.status_code, right.headers["location"]) == (303, "/tokens")
    assert new.get("/").status_code == 200


def test_a_code_is_taken_once(house: House, browser: Browser) -> None:
    secret, _ = set_up(house, browser.enter("owner"))
    used = totp.code(secret, house.now // STEP)
    new = another(browser)
    assert second(new, first_step(new), used).status_code == 403  # it was the one to set up with
    house.now += STEP
    code = totp.code(secret, house.now // STEP)
    assert second(new, first_step(new), code).status_code == 303
    again = another(browser)
    assert second(again, first_step(again), code).status_code == 403


def test_of_two_who_give_a_code_at_once_one_gets_in(house: House, browser: Browser) -> None:
    secret, _ = set_up(house, browser.enter("owner"))
    house.now += STEP
    code = totp.code(secret, house.now // STEP)
    browsers = [another(browser) for _ in range(2)]
    tickets = [first_step(b) for b in browsers]
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda pair: second(pair[0], pair[1], code), zip(browsers, tickets, strict=True)))
    assert sorted(answer.status_code for answer in answers) == [303, 403]


def test_a_recovery_code_does_once_instead(house: House, browser: Browser) -> None:
    _, codes = set_up(house, browser.enter("owner"))
    assert len(set(codes)) == 10
    assert all(len(code.replace("-", "")) * 5 >= 112 for code in codes)
    assert "10 recovery codes left" in browser.get("/account").text
    new = another(browser)
    assert second(new, first_step(new), codes[3].upper().replace("-", " ")).status_code == 303
    told = house.rows("select detail from audit where action in ('person.recovery-code', 'person.sign-in') order by 1")
    assert told == [("one was used",), ("password, recovery code",)]
    again = another(browser)
    assert second(again, first_step(again), codes[3]).status_code == 403
    assert "9 recovery codes left" in browser.get("/account").text
    assert not any(code.replace("-", "").encode() in house.cast.every_byte() for code in codes)


def test_new_recovery_codes_make_the_old_ones_void(house: House, browser: Browser) -> None:
    _, codes = set_up(house, browser.enter("owner"))
    answer = browser.post("/account/recovery-codes")
    new_codes = re.findall(r"<code>([a-z2-7-]+)</code>", answer.text)
    assert len(set(new_codes) - set(codes)) == 10
    new = another(browser)
    assert second(new, first_step(new), codes[0]).status_code == 403
    assert second(new, first_step(new), new_codes[0]).status_code == 303


def test_codes_cannot_be_guessed_even_from_many_addresses(house: House, browser: Browser) -> None:
    set_up(house, browser.enter("owner"))
    proxy = another(browser, "127.0.0.1")
    tried = {"ticket": field(proxy.sign_in("owner"), "ticket"), "code": "000000"}
    answers = [proxy.post("/sign-in/code", tried, X_Forwarded_For=f"203.0.113.{n}").status_code for n in range(101)]
    assert answers == [403] * 100 + [429]


@pytest.mark.parametrize("spoil", ["forged", "old", "other password", "disabled", "none"])
def test_a_ticket_that_does_not_count_leads_back_to_the_beginning(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    secret, _ = set_up(house, browser.enter("owner"))
    house.now += STEP
    new = another(browser)
    ticket = first_step(new)
    if spoil == "forged":
        ticket = ticket[:-2] + ("AA" if ticket[-2:] != "AA" else "BB")
    elif spoil == "old":
        later = time.time() + second_factor.TICKET_SECONDS + 5
        monkeypatch.setattr(time, "time", lambda: later)
    elif spoil == "other password":
        browser.post("/account/password", {"old": PASSWORD, "new": NEW_PASSWORD})
    elif spoil == "disabled":
        another(browser).enter("operator").post(f"/people/{house.people['owner'].person_id}/disable")
    else:
        ticket = ""
    answer = second(new, ticket, totp.code(secret, house.now // STEP))
    assert (answer.status_code, message(answer), new.cookie) == (403, "That took too long. Begin again.", None)


def test_a_reset_link_does_not_go_round_the_second_step(house: House, browser: Browser) -> None:
    secret, _ = set_up(house, browser.enter("owner"))
    house.now += STEP
    new = another(browser)
    answer = new.post("/reset", {"token": house.link("owner", "reset"), "password": NEW_PASSWORD})
    assert (answer.status_code, new.cookie) == (200, None)
    code = totp.code(secret, house.now // STEP)
    assert new.post("/sign-in/code", {"ticket": field(answer, "ticket"), "code": code}).status_code == 303


def test_the_second_step_begins_with_a_right_code_for_ones_own_picture(house: House, browser: Browser) -> None:
    theirs = field(another(browser).enter("editor").get("/account/second-step"), "ticket")
    browser.enter("owner")
    page = browser.get("/account/second-step")
    secret, ticket = secret_on(page), field(page, "ticket")
    before = house.state()
    wrong = browser.post("/account/second-step", {"ticket": ticket, "code": "000000"})
    assert (wrong.status_code, secret_on(wrong)) == (422, secret)
    code = totp.code(secret, house.now // STEP)
    for other in (theirs, "", "x" * 200):
        answer = browser.post("/account/second-step", {"ticket": other, "code": code})
        assert answer.headers["location"] == "/account/second-step"
    house.now += 11 * 60_000
    code = totp.code(secret, house.now // STEP)
    assert browser.post("/account/second-step", {"ticket": ticket, "code": code}).status_code == 303
    assert house.state() == before


def test_the_second_step_can_be_turned_off(house: House, browser: Browser) -> None:
    set_up(house, browser.enter("owner"))
    browser.post("/account/second-step/end")
    assert house.audit() == (email("owner"), "person.second-factor", email("owner"), "on -> off")
    assert another(browser).sign_in("owner").status_code == 303
    assert house.rows("select count(*) from recovery_codes") == [(0,)]


def test_the_secret_is_kept_encrypted_and_survives_a_new_secret_key(house: House, browser: Browser) -> None:
    secret, _ = set_up(house, browser.enter("owner"))
    assert secret.encode() not in house.cast.every_byte()
    vault = Vault(f"7c1fa09d35e24b86a1d0c9e8f7a6b5d4\n{SECRET_KEY}")
    rotated = house.store(lambda db: rotation.rotate(db, vault, 1))
    assert (rotated.second_factors, rotated.second_factors_renewed) == (1, 1)
    rotated = house.store(lambda db: rotation.rotate(db, vault, 1))
    assert (rotated.second_factors, rotated.second_factors_renewed) == (1, 0)
    (stored,) = house.rows("select totp_secret from people where totp_secret is not null")[0]
    assert vault.is_newest(stored)
    assert vault.decrypt(stored) == secret


def test_a_lost_secret_key_leaves_the_recovery_codes(house: House, browser: Browser) -> None:
    _, codes = set_up(house, browser.enter("owner"))
    other = Vault("7c1fa09d35e24b86a1d0c9e8f7a6b5d4")
    (who,) = [person for person in house.everybody() if person.email == email("owner")]
    assert not house.store(lambda db: second_factor.take(db, other, house.now, who, "123456"))
    assert house.store(lambda db: second_factor.take(db, other, house.now, who, codes[0]))


def test_the_picture_is_the_qr_code_of_the_address() -> None:
    picture = qr_code("otpauth://totp/Footfall:a@b.example?secret=ABC&issuer=Footfall")
    assert picture["side"] == 33 + 8  # version 4 at level M, with its white border
    assert picture["path"].startswith("M4 4h1v1h-1zM5 4h1v1h-1zM6 4h1")  # the corner's square
    assert "M11 4h" not in picture["path"]  # and the white beside it
    assert re.fullmatch(r"(M\d+ \d+h1v1h-1z)+", picture["path"])
