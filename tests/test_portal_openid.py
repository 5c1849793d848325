"""Signing in by OpenID Connect, by attack: tokens of others, for others, too old, forged or sent again; people who
are not there, or who only say that they are somebody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from conftest import SECRET_KEY
from httpx2 import Response
from joserfc.jwk import OctKey
from openid_cast import CLIENT_ID, CLIENT_SECRET, KEYS, Provider, path_of
from portal_cast import SITE, Browser, House, another, email, message, opened
from pytest_socket import enable_socket
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse

from collector.portal.openid import AWAY_SECONDS, provider_of
from store.errors import ConfigError, StoreUnavailable
from store.people import identities, roster, second_factor, totp
from store.settings import Settings

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")


@pytest.fixture(scope="module")
def served() -> Iterator[Provider]:
    enable_socket()
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def provider(served: Provider, house: House) -> Provider:
    """The owner sits at the browser, and is known there."""
    enable_socket()
    served.reset()
    served.now = lambda: house.now
    served.claims = {"sub": "u-17", "email": email("owner"), "email_verified": True}
    return served


def given(provider: Provider) -> dict[str, Any]:
    return {
        "public_url": SITE,
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        "oidc_name": "Acme Login",
    }


@pytest.fixture
def browser(house: House, provider: Provider) -> Iterator[Browser]:
    with opened(house, **given(provider)) as found:
        yield found


def go(browser: Browser, path: str = "/sign-in/openid") -> str:
    """To the provider, which knows whoever sits there: the address that it sends the browser back to."""
    away = browser.get(path)
    assert away.status_code == 303, message(away)
    answer = requests.get(away.headers["location"], allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    return path_of(answer.headers["location"])


def enter(browser: Browser, path: str = "/sign-in/openid") -> Response:
    """There and back."""
    return browser.get(go(browser, path))


def notes(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "a sign-in was refused"]


# --- in


def test_who_is_known_there_is_in_and_goes_where_they_wanted(house: House, browser: Browser) -> None:
    page = browser.get("/sign-in?next=%2Faccount%3Fa%3Db")
    assert '<a class="button" href="/sign-in/openid?next=/account%3Fa%3Db">Sign in with Acme Login</a>' in page.text
    answer = enter(browser, "/sign-in/openid?next=/account%3Fa%3Db")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?a=b")
    assert email("owner") in browser.get("/account").text
    assert house.audit() == (email("owner"), "person.sign-in", email("owner"), "OpenID Connect")


def test_what_is_asked_of_the_provider_is_what_the_protocol_wants(provider: Provider, browser: Browser) -> None:
    away = browser.get("/sign-in/openid")
    asked = {name: values[0] for name, values in parse_qs(urlsplit(away.headers["location"]).query).items()}
    assert {name: asked.pop(name) for name in ("response_type", "client_id", "scope", "redirect_uri")} == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "scope": "openid email",
        "redirect_uri": f"{SITE}/sign-in/openid/back",
    }
    assert asked.pop("code_challenge_method") == "S256"
    assert sorted(asked) == ["code_challenge", "nonce", "state"]
    assert all(len(value) == 43 for value in asked.values())
    again = parse_qs(urlsplit(browser.get("/sign-in/openid").headers["location"]).query)
    assert not {value for (value,) in again.values()} & set(asked.values())


def test_what_comes_back_waits_in_a_cookie_of_its_own(browser: Browser) -> None:
    (name, cookie), *more = SimpleCookie(browser.get("/sign-in/openid").headers["set-cookie"]).items()
    assert (name, more) == ("__Host-footfall-openid", [])
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "lax")
    assert (cookie["path"], cookie["domain"], cookie["max-age"]) == ("/", "", str(AWAY_SECONDS))
    enter(browser)
    assert browser.client.cookies.get("__Host-footfall-openid") is None


def test_without_a_provider_there_is_nothing_of_it(house: House) -> None:
    with opened(house) as browser:
        assert "openid" not in browser.get("/sign-in").text
        assert browser.get("/sign-in/openid").status_code == 404
        assert browser.get("/sign-in/openid/back?code=x&state=y").status_code == 404
        assert browser.enter("owner").get("/prove/openid").status_code == 404


def test_a_provider_is_called_by_its_host_where_it_has_no_other_name(house: House, provider: Provider) -> None:
    with opened(house, **given(provider) | {"oidc_name": None}) as browser:
        assert f"Sign in with {urlsplit(provider.issuer).netloc}<" in browser.get("/sign-in").text


def test_an_address_that_only_userinfo_tells_is_taken(provider: Provider, browser: Browser) -> None:
    provider.told = {"email": provider.claims.pop("email"), "email_verified": provider.claims.pop("email_verified")}
    assert enter(browser).status_code == 303
    browser.post("/sign-out")
    provider.told["email_verified"] = False
    provider.claims["sub"] = "another"
    assert enter(browser).status_code == 403


def test_what_userinfo_tells_of_somebody_else_is_not_taken(provider: Provider, browser: Browser) -> None:
    provider.claims = {"sub": "u-17"}
    provider.told = {"sub": "u-18", "email": email("owner"), "email_verified": True}
    assert enter(browser).status_code == 403


def test_whoever_was_invited_needs_no_password(house: House, provider: Provider, browser: Browser) -> None:
    provider.claims["email"] = email("invited").upper()
    assert enter(browser).status_code == 303
    assert email("invited") in browser.get("/account").text
    assert message(enter(another(browser))) == ""


# --- who


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"email": "nobody@nobody.example"}, "Nobody who may sign in here is known by this account of Acme Login."),
        ({"email": email("viewer")}, "Nobody who may sign in here is known by this account of Acme Login."),
        ({"email_verified": False}, "Acme Login does not say that your e-mail address is yours."),
        ({"email_verified": None}, "Acme Login does not say that your e-mail address is yours."),
        ({"email_verified": "true"}, "Acme Login does not say that your e-mail address is yours."),
        ({"email": "owner\x00@owner.example"}, "Acme Login does not say that your e-mail address is yours."),
        ({"email": ["owner@owner.example"]}, "Acme Login does not say that your e-mail address is yours."),
        ({"email": None, "email_verified": True}, "Acme Login does not say that your e-mail address is yours."),
    ],
)
def test_nobody_else_is_let_in_and_nobody_is_made(
    house: House, provider: Provider, browser: Browser, claims: dict[str, Any], told: str
) -> None:
    """The viewer may sign in no more."""
    house.store(lambda db: roster.disable(db, 1, house.people["viewer"], "test"))
    provider.claims |= claims
    before = house.state()
    answer = enter(browser)
    assert (answer.status_code, message(answer), browser.cookie) == (403, told, None)
    assert house.state() == before


def test_the_second_time_it_is_the_subject_that_counts(house: House, provider: Provider, browser: Browser) -> None:
    enter(browser)
    assert house.rows("select issuer, subject, person_id from identities") == [
        (provider.issuer, "u-17", house.people["owner"].person_id)
    ]
    provider.claims |= {"email": "renamed@elsewhere.example", "email_verified": False}
    browser.post("/sign-out")
    assert enter(browser).status_code == 303
    assert email("owner") in browser.get("/account").text


def test_an_address_that_was_given_to_somebody_else_leads_nowhere(
    house: House, provider: Provider, browser: Browser
) -> None:
    enter(browser)
    browser.post("/sign-out")
    provider.claims["sub"] = "u-18"
    assert enter(browser).status_code == 403
    browser.enter("operator").post(f"/people/{house.people['owner'].person_id}/openid/end")
    assert house.audit() == (email("operator"), "person.identity", email("owner"), "forgotten")
    assert enter(another(browser)).status_code == 303
    assert house.rows("select subject from identities") == [("u-18",)]


def test_who_may_sign_in_no_more_is_not_let_in_by_their_subject(
    house: House, provider: Provider, browser: Browser
) -> None:
    enter(browser)
    house.store(lambda db: roster.disable(db, 1, house.people["owner"], "test", may_be_last=True))
    assert enter(another(browser)).status_code == 403


def test_who_they_are_there_is_shown_and_forgotten_by_an_owner(house: House, browser: Browser) -> None:
    enter(browser)
    page = f"/people/{house.people['owner'].person_id}"
    assert "Forget who they are at Acme Login" in browser.get(page).text
    browser.post(f"{page}/openid/end")
    assert "Forget who they are" not in browser.get(page).text


# --- the second step


def with_second_step(house: House, name: str) -> str:
    """Somebody's second step; the secret of their app."""
    secret = totp.new_secret()
    code = totp.code(secret, house.now // totp.STEP_MS)
    person, vault = house.people[name], house.cast.vault
    house.store(lambda db: second_factor.begin(db, vault, house.now, person, secret, code))
    house.now += totp.STEP_MS
    return secret


def test_the_second_step_is_asked_for_as_after_a_password(house: House, browser: Browser) -> None:
    secret = with_second_step(house, "owner")
    answer = enter(browser, "/sign-in/openid?next=/account")
    assert (answer.status_code, browser.cookie) == (200, None)
    ticket = answer.text.partition('name="ticket" value="')[2].partition('"')[0]
    form = {"ticket": ticket, "next": "/account", "code": "000000"}
    assert browser.post("/sign-in/code", form).status_code == 403
    assert house.audit() == (email("owner"), "person.wrong-code", email("owner"), "after OpenID Connect")
    code = totp.code(secret, house.now // totp.STEP_MS)
    assert browser.post("/sign-in/code", form | {"code": code}).headers["location"] == "/account"
    assert house.audit() == (email("owner"), "person.sign-in", email("owner"), "OpenID Connect, second step")


@pytest.mark.parametrize(("methods", "asked"), [(["pwd", "mfa"], False), (["pwd"], True), ("mfa", True), ([], True)])
def test_the_second_step_there_does(
    house: House, provider: Provider, browser: Browser, methods: Any, asked: bool
) -> None:
    with_second_step(house, "owner")
    provider.claims["amr"] = methods
    answer = enter(browser)
    if methods == "mfa":  # which is no list, and so no id token
        assert answer.status_code == 403
        return
    assert (answer.status_code, browser.cookie is None) == ((200, True) if asked else (303, False))
    if not asked:
        assert house.audit()[3] == "OpenID Connect, second step there"


# --- tokens that are not for us, now


@pytest.mark.parametrize(
    ("lies", "reason"),
    [
        ({"nonce": "of another"}, "its id token: nonce"),
        ({"nonce": None}, "its id token: nonce"),
        ({"aud": "another-client"}, "its id token: aud"),
        ({"aud": "another-client", "azp": CLIENT_ID}, "its id token: aud"),
        ({"aud": ["another-client", CLIENT_ID]}, "its id token: azp"),
        ({"aud": [CLIENT_ID], "azp": "another-client"}, "its id token: azp"),
        ({"aud": None}, "its id token: aud"),
        ({"iss": "https://evil.example"}, "its id token: iss"),
        ({"iss": None}, "its id token: iss"),
        ({"sub": None}, "its id token: sub"),
        ({"sub": ""}, "no subject"),
        ({"sub": "a\x00b"}, "no subject"),
        ({"sub": "x" * 256}, "no subject"),
        ({"sub": 7}, "its id token: sub"),
        ({"exp": 1_779_999_900}, "its id token: exp"),
        ({"exp": None}, "its id token: exp"),
        ({"exp": "never"}, "its id token: exp"),
        ({"iat": 1_780_000_090}, "its id token: iat"),
        ({"nbf": 1_780_000_090}, "its id token: nbf"),
        ({"at_hash": "of another"}, "its id token: at_hash"),
    ],
)
def test_a_token_for_somebody_else_or_another_time_is_not_believed(
    provider: Provider, browser: Browser, capfd: pytest.CaptureFixture[str], lies: dict[str, Any], reason: str
) -> None:
    provider.lies = lies
    answer = enter(browser)
    assert (answer.status_code, browser.cookie) == (403, None)
    assert message(answer) == "What Acme Login answered is not to be believed. Begin again."
    (note,) = notes(capfd)
    assert (note["level"], note["by"], note["reason"]) == ("warning", "OpenID Connect", reason)


def test_a_token_for_several_is_believed_when_it_was_made_for_us(provider: Provider, browser: Browser) -> None:
    provider.lies = {"aud": ["another-client", CLIENT_ID], "azp": CLIENT_ID}
    assert enter(browser).status_code == 303


def test_a_token_that_somebody_else_signed_is_not_believed(
    provider: Provider, browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    """Under the name of a key of the issuer's."""
    forged = type(KEYS[2]).import_key(KEYS[2].as_dict(private=True) | {"kid": "first"})
    provider.signing = forged
    assert enter(browser).status_code == 403
    assert notes(capfd)[0]["reason"].endswith("BadSignatureError")


@pytest.mark.parametrize("secret", [CLIENT_SECRET, "what anybody may know"])
def test_a_token_signed_with_what_is_no_secret_of_the_issuers_alone_is_not_believed(
    provider: Provider, browser: Browser, secret: str
) -> None:
    provider.algorithm, provider.signing = "HS256", OctKey.import_key(secret, {"kid": "first"})
    assert enter(browser).status_code == 403


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1LTE3In0.", None, 7])
def test_what_is_no_token_is_not_believed(provider: Provider, browser: Browser, token: Any) -> None:
    provider.answers["/token"] = JSONResponse({"access_token": "a", "token_type": "Bearer", "id_token": token})
    answer = enter(browser)
    assert (answer.status_code, browser.cookie) == (403, None)


# --- keys


def test_new_keys_are_asked_for_when_one_signed_that_is_not_known(
    house: House, provider: Provider, browser: Browser
) -> None:
    enter(browser)
    house.now += 61_000
    provider.keys, provider.signing = [KEYS[0], KEYS[1]], KEYS[1]
    assert enter(another(browser)).status_code == 303
    assert provider.key_requests == 2
    provider.keys = [KEYS[1]]
    assert enter(another(browser)).status_code == 303
    assert provider.key_requests == 2


def test_new_keys_are_asked_for_once_a_minute(house: House, provider: Provider, browser: Browser) -> None:
    enter(browser)
    provider.signing = KEYS[2]
    for _ in range(3):
        assert enter(another(browser)).status_code == 403
    assert provider.key_requests == 1
    house.now += 60_000
    provider.keys = [KEYS[2]]
    assert enter(another(browser)).status_code == 303
    assert provider.key_requests == 2


# --- who comes back


def test_what_was_used_once_is_not_taken_again(provider: Provider, browser: Browser) -> None:
    went = browser.get("/sign-in/openid")
    kept = browser.client.cookies["__Host-footfall-openid"]
    back = path_of(requests.get(went.headers["location"], allow_redirects=False, timeout=10).headers["location"])
    assert browser.get(back).status_code == 303
    browser.post("/sign-out")
    answer = browser.get(back)
    assert (answer.status_code, browser.cookie) == (403, None)
    assert message(answer) == "That took too long, or began in another browser. Begin again."
    answer = browser.get(back, Cookie=f"__Host-footfall-openid={kept}")
    assert (answer.status_code, browser.cookie) == (403, None)


def test_nobody_is_signed_in_as_somebody_else_by_an_address(provider: Provider, browser: Browser) -> None:
    """Of the attacker's own sign-in, in the browser of somebody who began none, or another."""
    back = go(browser)
    victim = another(browser)
    assert victim.get(back).status_code == 403
    go(victim)
    assert victim.get(back).status_code == 403
    assert victim.cookie is None


def test_who_comes_back_too_late_begins_again(house: House, browser: Browser) -> None:
    back = go(browser)
    kept = browser.client.cookies["__Host-footfall-openid"]
    house.now += AWAY_SECONDS * 1_000
    assert browser.get(back, Cookie=f"__Host-footfall-openid={kept}").status_code == 403


@pytest.mark.parametrize("cookie", ["", "x", "e30.x", "W10.AAAA", "%00", "a" * 4_000])
def test_a_cookie_that_is_not_ours_is_none(browser: Browser, cookie: str) -> None:
    back = go(browser)
    browser.client.cookies.clear()
    assert browser.get(back, Cookie=f"__Host-footfall-openid={cookie}").status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        ("state=", "state=x"),
        ("state=", "stat="),
        ("code=", "code=x"),
        ("code=", "coda="),
        ("iss=", "iss=https%3A%2F%2Fe.example%2F"),
    ],
)
def test_an_address_that_was_changed_on_the_way_is_not_taken(browser: Browser, change: tuple[str, str]) -> None:
    assert browser.get(go(browser).replace(*change)).status_code == 403


def test_whoever_the_provider_let_not_in_is_told(browser: Browser, capfd: pytest.CaptureFixture[str]) -> None:
    state = parse_qs(urlsplit(go(browser)).query)["state"][0]
    answer = browser.get(f"/sign-in/openid/back?error=access_denied&error_description=<b>secret</b>&state={state}")
    assert (answer.status_code, message(answer)) == (403, "Acme Login let nobody in.")
    assert "secret" not in answer.text + str(notes(capfd))


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_one_goes_on_within_the_portal(browser: Browser, wanted: str) -> None:
    assert enter(browser, f"/sign-in/openid?next={wanted}").headers["location"] == "/"


def test_a_session_that_was_planted_does_not_live_on(house: House, browser: Browser) -> None:
    browser.enter("stranger")
    planted, back = browser.cookie, ""
    browser.client.cookies.clear()
    back = go(browser)
    browser.client.cookies.set("__Host-footfall", planted or "", domain="testserver.local")
    assert browser.get(back).status_code == 303
    assert browser.get("/", Cookie=f"__Host-footfall={planted}").headers["location"] == "/sign-in"


def test_tries_are_counted_for_the_address_they_come_from(house: House, provider: Provider, browser: Browser) -> None:
    provider.lies = {"nonce": "x"}
    assert [enter(another(browser)).status_code for _ in range(6)] == [403] * 5 + [429]
    asked = len(provider.asked)
    answer = enter(another(browser))
    assert answer.status_code == 429
    assert provider.asked[asked:] == ["/authorize"]  # by the browser, and nothing by us
    provider.lies = {}
    house.now += 31_000
    assert enter(another(browser)).status_code == 303
    assert [enter(another(browser)).status_code for _ in range(6)] == [303] * 6


# --- proving that it is still them


def proving(house: House, browser: Browser) -> str:
    """Signed in an hour ago."""
    enter(browser)
    house.now += 3_600_000
    page = browser.get("/account/second-step").headers["location"]
    assert "/prove/openid?next=/account/second-step" in browser.get(page).text
    return "/prove/openid?next=/account/second-step"


def test_it_is_proved_by_being_asked_again_there(house: House, provider: Provider, browser: Browser) -> None:
    path = proving(house, browser)
    asked = parse_qs(urlsplit(browser.get(path).headers["location"]).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    assert enter(browser, path).headers["location"] == "/account/second-step"
    assert browser.get("/account/second-step").status_code == 200


@pytest.mark.parametrize("at", [None, 1_780_000_000, 1_780_003_600 - 61, True, "now"])
def test_a_provider_that_did_not_ask_again_proves_nothing(
    house: House, provider: Provider, browser: Browser, at: Any
) -> None:
    path = proving(house, browser)
    provider.lies = {"auth_time": at}
    assert enter(browser, path).status_code == 403
    assert browser.get("/account/second-step").status_code == 303


def test_somebody_else_there_proves_nothing(house: House, provider: Provider, browser: Browser) -> None:
    path = proving(house, browser)
    provider.claims = {"sub": "u-99", "email": email("owner"), "email_verified": True}
    answer = enter(browser, path)
    assert (answer.status_code, message(answer)) == (403, "At Acme Login you are somebody else than here.")
    assert browser.get("/account/second-step").status_code == 303


def test_what_was_begun_for_one_proves_nothing_for_another(house: House, browser: Browser) -> None:
    path = proving(house, browser)
    back, kept = go(browser, path), browser.client.cookies["__Host-footfall-openid"]
    browser.enter("stranger")
    house.now += 60_000
    cookies = f"__Host-footfall-openid={kept}; __Host-footfall={browser.cookie}"
    assert browser.get(back, Cookie=cookies).status_code == 403


def test_who_was_away_for_longer_than_their_session_signs_in(house: House, browser: Browser) -> None:
    path = proving(house, browser)
    for _ in range(6):
        back, kept = go(browser, path), browser.client.cookies["__Host-footfall-openid"]
        answer = another(browser).get(back, Cookie=f"__Host-footfall-openid={kept}")
        assert (answer.status_code, "E-mail" in answer.text) in ((403, True), (429, True))
    assert answer.status_code == 429


def test_a_store_that_is_away_is_not_the_providers_fault(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def unwell(*args: Any) -> Any:
        raise StoreUnavailable("a database at /secret/path fails")

    back = go(browser)
    monkeypatch.setattr(identities, "whose", unwell)
    answer = browser.get(back)
    assert (answer.status_code, "The page cannot be made now" in answer.text) == (503, True)
    assert "/secret/path" not in answer.text + capfd.readouterr().err


def test_who_never_signed_in_there_is_asked_for_the_password_alone(house: House, browser: Browser) -> None:
    assert "/prove/openid" not in browser.enter("editor").get("/prove").text


def test_who_has_no_password_is_not_asked_for_one(house: House, provider: Provider, browser: Browser) -> None:
    provider.claims["email"] = email("invited")
    proving(house, browser)
    assert 'type="password"' not in browser.get("/prove").text


# --- a provider that is none


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/keys"])
@pytest.mark.parametrize(
    "answer",
    [
        PlainTextResponse("no JSON"),
        JSONResponse([1]),
        PlainTextResponse("{" * 200_000),
        PlainTextResponse("gone", 500),
        JSONResponse({}, 404),
    ],
    ids=["no JSON", "a list", "endless", "500", "404"],
)
def test_what_the_provider_cannot_answer_is_told_and_tells_nothing(
    provider: Provider, browser: Browser, capfd: pytest.CaptureFixture[str], path: str, answer: Any
) -> None:
    provider.answers[path] = answer
    went = browser.get("/sign-in/openid")
    if went.status_code == 303:
        back = requests.get(went.headers["location"], allow_redirects=False, timeout=10).headers["location"]
        went = browser.get(path_of(back))
    assert went.status_code in (403, 503)
    assert message(went).startswith(("Acme Login does not answer now.", "What Acme Login answered is not"))
    (note,) = notes(capfd)
    assert set(note) == {"at", "level", "event", "by", "reason"}
    assert browser.cookie is None


@pytest.mark.parametrize(
    "described",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
        {"jwks_uri": "file:///etc/passwd"},
    ],
)
def test_a_description_that_leads_elsewhere_is_none(
    provider: Provider, browser: Browser, described: dict[str, Any]
) -> None:
    provider.described = described
    assert browser.get("/sign-in/openid").status_code == 503


def test_no_redirect_is_followed(provider: Provider, browser: Browser) -> None:
    provider.answers["/.well-known/openid-configuration"] = RedirectResponse(f"{provider.issuer}/keys")
    assert browser.get("/sign-in/openid").status_code == 503
    assert provider.key_requests == 0


def test_a_provider_that_did_not_answer_is_left_alone_for_a_moment(
    house: House, provider: Provider, browser: Browser
) -> None:
    provider.answers["/.well-known/openid-configuration"] = PlainTextResponse("", 500)
    assert [browser.get("/sign-in/openid").status_code for _ in range(4)] == [503] * 4
    assert provider.asked == ["/.well-known/openid-configuration"]
    provider.answers = {}
    house.now += 10_000
    assert browser.get("/sign-in/openid").status_code == 303


@pytest.mark.parametrize(
    ("methods", "place"),
    [(None, "header"), (["client_secret_post"], "form"), (["client_secret_post", "client_secret_basic"], "header")],
)
def test_the_client_secret_goes_where_the_provider_wants_it(
    provider: Provider, browser: Browser, methods: list[str] | None, place: str
) -> None:
    if methods:
        provider.described = {"token_endpoint_auth_methods_supported": methods}
    assert enter(browser).status_code == 303
    assert provider.secret_in == place


def test_no_secret_is_in_any_line_or_page(
    provider: Provider, browser: Browser, capfd: pytest.CaptureFixture[str]
) -> None:
    provider.lies = {"nonce": "wrong"}
    back = go(browser)
    page = browser.get(back).text
    code, state = (parse_qs(urlsplit(back).query)[name][0] for name in ("code", "state"))
    said = page + capfd.readouterr().err
    assert [secret for secret in (CLIENT_SECRET, code, state, email("owner"), "u-17") if secret in said] == []
    settings = browser.enter("operator").get("/operator/settings").text
    assert CLIENT_SECRET not in settings
    assert CLIENT_ID in settings


# --- settings


@pytest.mark.parametrize("missing", ["oidc_client_id", "oidc_client_secret", "public_url"])
def test_what_else_an_issuer_takes_is_told(missing: str) -> None:
    values = {
        "oidc_issuer": "https://login.example",
        "oidc_client_id": "x",
        "oidc_client_secret": "y",
        "public_url": "https://footfall.example",
    }
    with pytest.raises(ConfigError, match=f"^FOOTFALL_OIDC_ISSUER needs FOOTFALL_{missing.upper()} too$"):
        provider_of(Settings(secret_key=SECRET_KEY, **(values | {missing: None})))  # type: ignore[arg-type]


def test_without_the_extra_the_collector_says_so_in_one_line(tmp_path: Path) -> None:
    program = "import sys; sys.modules['authlib'] = None; import footfall; footfall.main(['serve', '--port', '0'])"
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")}
    env |= {"FOOTFALL_DATA_DIR": str(tmp_path), "FOOTFALL_OIDC_ISSUER": "https://login.example"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 78
    assert done.stderr == (
        "footfall: FOOTFALL_OIDC_ISSUER is set, and what it takes is not installed: pip install 'footfall[oidc]'\n"
    )
