"""Signing in and out, by attack: guessing, knowing who exists, sessions that last or are planted, links used twice."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import pytest
from portal_cast import HOUR_MS, NEW_PASSWORD, PASSWORD, Browser, House, another, email, message, opened

from store.people import passwords, patience, roster
from store.people.links import VALID_SECONDS, Links

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

WRONG = "The address and the password do not belong together."


def test_who_knows_the_password_is_in_and_goes_where_they_wanted(browser: Browser) -> None:
    asked = browser.get("/account?saved=name")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2Faccount%3Fsaved%3Dname")
    assert browser.get("/sign-in").status_code == 200
    answer = browser.sign_in("owner", then="/account")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert "owner@owner.example" in browser.get("/account").text
    assert browser.get("/sign-in?next=/people").headers["location"] == "/people"


def test_a_fresh_installation_lets_nobody_in(house: House, browser: Browser) -> None:
    for name, password in [("admin", "admin"), ("operator", ""), ("invited", ""), ("nobody", PASSWORD)]:
        answer = browser.sign_in(name, password)
        assert (answer.status_code, message(answer), browser.cookie) == (403, WRONG, None)


def test_nobody_learns_from_the_answer_or_the_time_who_exists(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every try costs one hash with the same parameters, which is what takes the time."""
    costs: list[Any] = []

    class Watched(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - the library's name
            costs.append(argon2.extract_parameters(str(hash)))
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Watched(time_cost=2, memory_cost=19 * 1024, parallelism=1))
    house.store(lambda db: roster.disable(db, 1, house.people["viewer"], "test"))
    answers = []
    for name, password in [("owner", "wrong"), ("viewer", PASSWORD), ("nobody", PASSWORD), ("invited", "")]:
        answers.append(browser.sign_in(name, password))
    assert {answer.text.replace(email(name), "") for answer, name in zip(answers, NAMES, strict=True)} == {
        answers[0].text.replace(email("owner"), "")
    }
    assert [answer.status_code for answer in answers] == [403] * 4
    assert len(costs) == 4
    assert len({(cost.memory_cost, cost.time_cost, cost.parallelism, cost.type) for cost in costs}) == 1


NAMES = ("owner", "viewer", "nobody", "invited")


def test_patience_runs_out_comes_back_and_locks_nobody_out(house: House, browser: Browser) -> None:
    for _ in range(5):
        assert browser.sign_in("owner", "wrong").status_code == 403
    answer = browser.sign_in("owner")  # not even the right one is looked at now
    assert (answer.status_code, browser.cookie) == (429, None)
    assert "the next will be looked at in" in message(answer).lower()
    wait = int(answer.headers["Retry-After"])
    assert 1 <= wait <= 31
    elsewhere = another(browser)
    assert elsewhere.sign_in("owner", X_Forwarded_For="203.0.113.7").status_code == 429  # a claim, by who is no proxy
    house.now += wait * 1_000
    assert browser.sign_in("owner").status_code == 303
    for _ in range(3):  # and what was spent at this account is back
        browser.client.cookies.clear()
        assert browser.sign_in("owner", "wrong").status_code == 403


def test_the_owner_gets_in_from_another_address_while_somebody_guesses(browser: Browser) -> None:
    proxy = another(browser, "127.0.0.1")
    for _ in range(8):
        proxy.sign_in("owner", "wrong", X_Forwarded_For="198.51.100.1, 203.0.113.66")
    assert proxy.sign_in("owner", X_Forwarded_For="203.0.113.66").status_code == 429
    assert proxy.sign_in("owner", X_Forwarded_For="203.0.113.66, 203.0.113.7").status_code == 303


def test_one_address_does_not_try_many_accounts(house: House, browser: Browser) -> None:
    statuses = [browser.sign_in(f"nobody{n}", "wrong").status_code for n in range(31)]
    assert statuses == [403] * 30 + [429]


def test_of_several_headers_the_proxys_own_counts(house: House, browser: Browser) -> None:
    """Some proxies add a header of their own below the one that the browser claimed."""
    proxy = another(browser, "127.0.0.1")
    headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.7")]
    fields = {"email": email("owner"), "password": PASSWORD}
    assert proxy.client.post("/sign-in", data=fields, headers=headers).status_code == 303
    assert house.rows("select address from sessions") == [("203.0.113.7",)]


def test_patience_is_kept_as_hashes_and_forgotten(house: House, browser: Browser) -> None:
    browser.sign_in("owner", "wrong")
    kept = house.rows("select bucket from patience")
    assert len(kept) == 2
    assert all(len(bucket) == 64 for (bucket,) in kept)
    house.now += 24 * HOUR_MS
    browser.sign_in("stranger", "wrong")
    assert len(house.rows("select bucket from patience")) == 2


def test_a_try_that_is_not_looked_at_makes_nobody_wait_longer(house: House) -> None:
    async def work(db: Any) -> list[int]:
        waits = [await patience.spend(db, 0, "a", "x@x.example") for _ in range(5)]
        waits += [await patience.spend(db, 10_000, "a", "x@x.example") for _ in range(3)]
        return [*waits, await patience.spend(db, 30_000, "a", "x@x.example")]

    assert house.store(work) == [0, 0, 0, 0, 0, 20_000, 20_000, 20_000, 0]


# --- the cookie and the session


def test_the_cookie_is_the_browsers_own(browser: Browser) -> None:
    cookie = browser.sign_in("owner").headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    value, *attributes = rest.split("; ")
    assert name == "__Host-footfall"
    assert len(value) >= 43
    assert {item.lower() for item in attributes} == {"httponly", "max-age=1209600", "path=/", "samesite=lax", "secure"}


def test_without_tls_on_this_machine_the_cookie_is_a_plain_one(house: House) -> None:
    with opened(house, public_url="http://localhost:8000") as browser:
        cookie = browser.sign_in("owner").headers["set-cookie"]
        assert cookie.startswith("footfall=")
        assert "secure" not in cookie.lower()


def test_the_registry_does_not_hold_what_is_in_the_cookie(house: House, browser: Browser) -> None:
    browser.sign_in("owner")
    assert browser.cookie is not None
    assert browser.cookie.encode() not in house.cast.every_byte()


def test_a_session_ends_twelve_hours_after_it_was_last_seen(house: House, browser: Browser) -> None:
    browser.enter("owner")
    for _ in range(3):
        house.now += 12 * HOUR_MS - 1
        assert browser.get("/").status_code == 200
    house.now += 12 * HOUR_MS
    assert browser.get("/").headers["location"] == "/sign-in"


def test_a_session_ends_after_fourteen_days_however_busy(house: House, browser: Browser) -> None:
    browser.enter("owner")
    for _ in range(14 * 24 - 1):
        house.now += HOUR_MS
        assert browser.get("/prove").status_code == 200
    house.now += HOUR_MS
    assert browser.get("/").headers["location"] == "/sign-in"


def test_signing_out_ends_the_session_on_our_side(house: House, browser: Browser) -> None:
    browser.sign_in("owner")
    stolen = browser.cookie
    answer = browser.post("/sign-out")
    assert (answer.status_code, answer.headers["location"], browser.cookie) == (303, "/sign-in", None)
    assert house.rows("select * from sessions") == []
    assert browser.get("/", Cookie=f"__Host-footfall={stolen}").headers["location"] == "/sign-in"


@pytest.mark.parametrize("planted", ["", "x", "a" * 4_000, "%00", "' or 1=1 --", "null"])
def test_a_planted_cookie_is_nobody_and_is_replaced(house: House, browser: Browser, planted: str) -> None:
    cookie = {"Cookie": f"__Host-footfall={planted}"}
    assert browser.get("/", **cookie).headers["location"] == "/sign-in"
    browser.client.post("/sign-in", data={"email": email("owner"), "password": PASSWORD}, headers=cookie)
    assert browser.cookie not in (None, planted)
    assert browser.get("/", Cookie=f"__Host-footfall={planted}").headers["location"] == "/sign-in"


def test_a_session_that_was_planted_ends_when_somebody_signs_in_over_it(house: House, browser: Browser) -> None:
    planted = browser.enter("stranger").cookie
    browser.sign_in("owner")
    assert browser.cookie != planted
    assert "owner@owner.example" in browser.get("/account").text
    assert browser.get("/", Cookie=f"__Host-footfall={planted}").headers["location"] == "/sign-in"


def test_whoever_is_disabled_is_out_at_once_everywhere(house: House, browser: Browser) -> None:
    browser.enter("editor")
    assert browser.get("/").status_code == 200
    house.store(lambda db: roster.disable(db, 1, house.people["editor"], "test"))
    assert browser.get("/").headers["location"] == "/sign-in"
    assert browser.sign_in("editor").status_code == 403


@pytest.mark.parametrize("name", ["footfall", "__Secure-footfall", "__host-footfall"])
def test_the_cookie_of_another_name_is_nobodys(house: House, browser: Browser, name: str) -> None:
    token = browser.enter("owner").cookie
    browser.client.cookies.clear()
    assert browser.get("/", Cookie=f"{name}={token}").status_code == 303


# --- where one goes on to

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "https:evil.example",
    "https://evil.example",
    "http:///evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "@evil.example",
    ".evil.example",
    " //evil.example",
    "\t//evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "/a\r\nSet-Cookie: x=1",
    "/\u2028/evil.example",
    "/a\\..\\evil",
    "?next=//evil.example",
    "",
]


@pytest.mark.parametrize("wanted", ELSEWHERE)
def test_whatever_is_asked_for_the_way_on_stays_here(house: House, browser: Browser, wanted: str) -> None:
    answer = browser.sign_in("owner", then=wanted)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert browser.client.get("/sign-in", params={"next": wanted}).headers["location"] == "/"
    proved = browser.post("/prove", {"password": PASSWORD, "next": wanted})
    assert (proved.status_code, proved.headers["location"]) == (303, "/")
    assert "evil" not in str(answer.headers) + str(proved.headers)


@pytest.mark.parametrize("host", ["evil.example", "a/../admin?", "evil.example:443", ""])
def test_the_host_that_is_claimed_leads_nowhere_and_opens_nothing(browser: Browser, host: str) -> None:
    answer = browser.get("/people?x=1", Host=host)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fpeople%3Fx%3D1")


# --- links


@pytest.mark.parametrize(("name", "purpose"), [("invited", "invitation"), ("owner", "reset")])
def test_a_link_lets_its_person_in_once(house: House, browser: Browser, name: str, purpose: str) -> None:
    token = house.link(name, purpose)
    page = browser.get(f"/{purpose}?token={token}")
    assert email(name) in page.text
    answer = browser.post(f"/{purpose}", {"token": token, "password": NEW_PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert email(name) in browser.get("/account").text
    assert browser.get(f"/{purpose}?token={token}").status_code == 404
    assert browser.post(f"/{purpose}", {"token": token, "password": PASSWORD}).status_code == 404
    assert another(browser).sign_in(name, NEW_PASSWORD).status_code == 303
    assert another(browser).sign_in(name, PASSWORD).status_code == 403


def test_a_new_password_signs_everybody_else_out(house: House, browser: Browser) -> None:
    browser.enter("owner")
    other = another(browser)
    other.post("/reset", {"token": house.link("owner", "reset"), "password": NEW_PASSWORD})
    assert other.get("/").status_code == 200
    assert browser.get("/").headers["location"] == "/sign-in"


def test_of_two_who_use_a_link_at_once_one_gets_in(house: House, browser: Browser) -> None:
    token = house.link("invited", "invitation")
    browsers = [another(browser) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(lambda b: b.post("/invitation", {"token": token, "password": NEW_PASSWORD}), browsers)
        )
    assert sorted(answer.status_code for answer in answers) == [303, 404, 404, 404]
    assert len(house.rows("select * from sessions")) == 1


@pytest.mark.parametrize("spoil", ["forged", "other purpose", "other key", "void", "expired", "disabled", "empty"])
def test_a_link_that_does_not_count_shows_nothing_and_changes_nothing(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch, spoil: str
) -> None:
    token, purpose = house.link("invited", "invitation"), "invitation"
    if spoil == "forged":
        token = ("B" if token[0] != "B" else "C") + token[1:]
    elif spoil == "other purpose":
        purpose = "reset"
    elif spoil == "other key":
        other = Links("another secret key of thirty-two characters")
        token = house.store(lambda db: other.make(db, house.now, house.people["invited"], "invitation", "test"))
    elif spoil == "void":
        house.link("invited", "invitation")
    elif spoil == "expired":
        later = time.time() + VALID_SECONDS + 5
        monkeypatch.setattr(time, "time", lambda: later)
    elif spoil == "disabled":
        house.store(lambda db: roster.disable(db, 1, house.people["invited"], "test"))
    else:
        token = ""
    before = house.state()
    shown = browser.get(f"/{purpose}?token={token}")
    assert (shown.status_code, email("invited") in shown.text) == (404, False)
    assert browser.post(f"/{purpose}", {"token": token, "password": NEW_PASSWORD}).status_code == 404
    assert (house.state(), browser.cookie) == (before, None)


def test_the_registrys_clock_ends_a_link_too(house: House, browser: Browser) -> None:
    token = house.link("invited", "invitation")
    house.now += VALID_SECONDS * 1_000
    assert browser.get(f"/invitation?token={token}").status_code == 404


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("short", "A password has at least 12 characters."),
        ("a" * 257, "A password has at most 256 characters."),
        ("password1234", "Choose another password: "),
        ("invited@invited.example", "Choose another password: "),
        ("aaaaaaaaaaaaaaaaaaaa", "Choose another password: "),
    ],
)
def test_a_password_that_is_easily_guessed_is_not_taken_and_the_link_still_works(
    house: House, browser: Browser, password: str, told: str
) -> None:
    token = house.link("invited", "invitation")
    answer = browser.post("/invitation", {"token": token, "password": password})
    assert answer.status_code == 422
    assert message(answer).startswith(told)
    assert password not in answer.text or password == email("invited")
    assert browser.post("/invitation", {"token": token, "password": NEW_PASSWORD}).status_code == 303


def test_a_password_may_be_long_and_no_character_of_it_is_left_out(house: House, browser: Browser) -> None:
    long = "žluťoučký kůň 🐎 " * 15
    set_by = browser.post("/invitation", {"token": house.link("invited", "invitation"), "password": long})
    assert set_by.status_code == 303
    assert another(browser).sign_in("invited", long[:-1]).status_code == 403
    assert another(browser).sign_in("invited", long).status_code == 303
