"""API tokens: made and revoked in the portal and by commands, and what a partner's program may read with one."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import SECRET_KEY, Cast
from httpx2 import Response
from portal_cast import Browser, House, email, message, opened
from waiting import until

import footfall
from collector import directory
from store import registry
from store.secrets import is_token, new_token

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def today(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal's clock is the doors', and the collector looks for changes more often, so that no test waits long."""
    house.now = time.time_ns() // 1_000_000
    monkeypatch.setattr(directory, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(directory, "USED_SECONDS", 0.0)


def token_on(answer: Response) -> str:
    found = re.search(r'readonly value="(fft_[^"]+)"', answer.text)
    assert found, answer.text
    return found[1]


def make(browser: Browser, **fields: str) -> str:
    return token_on(browser.post("/tokens", {"name": "reports", "days": "30"} | fields))


def read(browser: Browser, token: str) -> Response:
    return browser.client.get("/api/v1/apps", headers={"Authorization": f"Bearer {token}"})


def test_an_owner_makes_a_token_that_reads_their_apps_and_no_others(house: House, browser: Browser) -> None:
    token = make(browser.enter("owner"))
    assert is_token(token)
    assert token.encode() not in house.cast.every_byte()
    assert house.audit() == (email("owner"), "token.add", "owner/reports", "read")
    answer = read(browser, token)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "apps": [
            {"app": "com.owner.boards", "name": "Boards", "pluginId": "1219126", "partnerId": "1211971"},
            {"app": "com.owner.charts", "name": "Charts", "pluginId": "1219125", "partnerId": "1211971"},
        ]
    }


def test_a_token_may_be_for_one_app(browser: Browser) -> None:
    token = make(browser.enter("owner"), app="com.owner.charts")
    assert [app["app"] for app in read(browser, token).json()["apps"]] == ["com.owner.charts"]


def test_a_partners_token_tells_nothing_to_the_back_ends_doors(house: House, browser: Browser) -> None:
    token = make(browser.enter("owner"))
    for door in ("installs", "app-requests", "uninstalls"):
        answer = browser.client.post(f"/api/v1/{door}", content="[]", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["reason"]) == (403, "unsuitable_token")


def test_the_back_ends_token_reads_nothing(house: House, browser: Browser) -> None:
    answer = read(browser, house.cast.token)
    assert (answer.status_code, answer.json()["reason"]) == (403, "unsuitable_token")


@pytest.mark.parametrize("given", ["", "x", "fft_" + "0" * 49, "Bearer", "\x7f", "é"])
def test_without_a_token_that_is_known_nothing_is_read(browser: Browser, given: str) -> None:
    headers = [(b"Authorization", b"Bearer " + given.encode("latin-1"))]
    answer = browser.client.get("/api/v1/apps", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    basic = browser.client.get("/api/v1/apps", headers={"Authorization": f"Basic {new_token()}"})
    assert basic.status_code == 401


def test_a_revoked_token_is_soon_unknown(house: House, browser: Browser) -> None:
    token = make(browser.enter("owner"))
    assert read(browser, token).status_code == 200
    (token_id,) = house.rows("select token_id from tokens where name = 'owner/reports'")[0]
    assert browser.post(f"/tokens/{token_id}/revoke").headers["location"] == "/tokens"
    assert house.audit() == (email("owner"), "token.revoke", "owner/reports", "read")
    until(lambda: read(browser, token).status_code == 401)
    assert make(browser)  # its name is free again


def test_collectors_look_for_changes_more_often_than_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert directory.POLL_SECONDS <= 0.5


def test_a_token_that_has_ended_is_unknown_at_once(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = make(browser.enter("owner"), days="30")
    assert house.rows("select expires_at from tokens where name = 'owner/reports'") == [(house.now + 30 * DAY_MS,)]
    assert read(browser, token).status_code == 200
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 30 * DAY_MS * 1_000_000)
    assert read(browser, token).status_code == 401
    monkeypatch.undo()


def test_the_page_tells_tokens_apart_and_when_they_were_used(house: House, browser: Browser) -> None:
    token = make(browser.enter("owner"), days="")
    page = browser.get("/tokens").text
    assert f"…{token[-4:]}" in page
    assert "by owner@owner.example" in page
    assert "it is revoked" in page
    assert token not in page
    read(browser, token)
    until(lambda: house.rows("select last_used_at from tokens where name = 'owner/reports'") != [(None,)])
    assert "<td>never</td>" not in browser.get("/tokens").text


def test_partners_may_give_the_same_name(house: House, browser: Browser) -> None:
    assert make(browser.enter("owner")) != make(browser.enter("stranger"))
    again = browser.post("/tokens", {"name": "reports", "days": "30"})
    assert (again.status_code, message(again)) == (422, "There is a token named reports already.")
    names = browser.get("/tokens").text
    assert "owner/" not in names
    assert "reports" in names


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "", "days": "30"}, "A name has 1 to 60 characters."),
        ({"name": "n" * 61, "days": "30"}, "A name has 1 to 60 characters."),
        ({"name": "x", "days": "-1"}, "Choose how long it is valid."),
        ({"name": "x", "days": "99999999999999999999"}, "Choose how long it is valid."),
    ],
)
def test_a_token_that_cannot_be_is_told(house: House, browser: Browser, fields: dict[str, str], told: str) -> None:
    browser.enter("owner")
    before = house.state()
    answer = browser.post("/tokens", fields)
    assert (answer.status_code, message(answer), house.state() == before) == (422, told, True)


def test_an_owner_gets_no_scope_of_the_back_end_by_asking(house: House, browser: Browser) -> None:
    make(browser.enter("owner"), **{"scope-installs": "on", "scope": "installs", "scopes": "installs"})
    assert house.rows("select scopes, partner_key from tokens where name = 'owner/reports'") == [("read", "owner")]


def test_operators_make_tokens_of_the_back_end_and_of_a_partners_app(house: House, browser: Browser) -> None:
    browser.enter("operator")
    told = browser.post("/tokens", {"name": "shop", "days": "", "scope-installs": "on", "scope-uninstalls": "on"})
    answer = browser.client.post(
        "/api/v1/installs",
        json={"app": "com.owner.charts", "accountId": "a"},
        headers={"Authorization": f"Bearer {token_on(told)}"},
    )
    assert answer.json()["stored"] == 1
    assert house.audit() == (email("operator"), "token.add", "shop", "installs uninstalls")
    token = make(browser, app="com.stranger.notes")
    assert [app["app"] for app in read(browser, token).json()["apps"]] == ["com.stranger.notes"]
    none = browser.post("/tokens", {"name": "x", "days": "30"})
    assert message(none) == "A token&#39;s scopes are some of installs, app-requests, uninstalls; none was given."
    assert "stranger/reports" not in browser.enter("owner").get("/tokens").text


def test_what_was_used_is_told_when_the_collector_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "USED_SECONDS", 3_600.0)
    with opened(house) as browser:
        read(browser, make(browser.enter("owner")))
    assert house.rows("select count(*) from tokens where last_used_at is not null") == [(1,)]


def test_telling_when_tokens_were_used_is_no_change_for_others(house: House) -> None:
    (token,) = [token for token in house.store(registry.tokens) if token.name == "back-end"]
    before = house.store(registry.version)
    house.store(lambda db: registry.used_tokens(db, {token.token_id: 7}))
    house.store(lambda db: registry.used_tokens(db, {token.token_id: 5}))
    assert house.rows("select last_used_at from tokens where name = 'back-end'") == [(7,)]
    assert house.store(registry.version) == before


# --- by commands


@pytest.fixture
def run(cast: Cast) -> Callable[..., Result]:
    env = {"FOOTFALL_DATA_DIR": str(cast.data_dir), "FOOTFALL_SECRET_KEY": SECRET_KEY}

    def typed(*words: str, given: str = "") -> Result:
        asyncio.set_event_loop(None)
        return CliRunner().invoke(footfall.main, words, input=given, env=env)

    return typed


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_tokens_are_made_listed_and_revoked_by_commands(run: Callable[..., Result]) -> None:
    made = said(
        run("token", "add", "reports", "--partner", "owner", "--app", "com.owner.charts", "--days", "2", "--json")
    )
    assert made["scopes"] == "read"
    listed = {token["name"]: token for token in said(run("token", "list", "--json"))}
    assert set(listed) == {"back-end", "installs-only", "owner/reports"}
    theirs = listed["owner/reports"]
    assert (theirs["last4"], theirs["app"], theirs["created_by"]) == (
        made["token"][-4:],
        "com.owner.charts",
        "command line",
    )
    assert theirs["expires_at"] - theirs["created_at"] == 2 * DAY_MS
    assert "valid until revoked" in run("token", "list").stdout
    assert run("token", "revoke", "owner/reports").exit_code == 0
    assert run("token", "revoke", "owner/reports").exit_code == 78
    assert run("token", "add", "x", "--partner", "nobody").exit_code == 78
    assert run("token", "add", "x", "--partner", "owner", "--app", "com.stranger.notes").exit_code == 78
    assert run("token", "add", "x", "--partner", "owner", "--scope", "installs").exit_code == 78
    assert run("token", "add", "x", "--app", "com.owner.charts").exit_code == 2


def test_people_are_added_listed_linked_and_disabled_by_commands(run: Callable[..., Result], cast: Cast) -> None:
    made = said(run("user", "add", "Ada@Acme.example", "--partner", "owner", "--role", "owner", "--json"))
    assert made["invitation"].startswith("http://127.0.0.1:8000/invitation?token=")
    shown = {"email": "ada@acme.example", "name": "", "role": "owner", "partner": "owner"}
    listed = [found for found in said(run("user", "list", "--json")) if found["email"] == "ada@acme.example"]
    assert listed == [shown | {"standing": "invited", "second_factor": False}]
    assert said(run("user", "link", "ada@acme.example", "--json"))["link"].startswith(
        "http://127.0.0.1:8000/invitation?"
    )
    password = "swan lantern gravel opera\n"  # noqa: S105 - of tests only
    run("user", "add", "op@acme.example", "--operator", "--password-file", "-", given=password)
    linked = said(run("user", "link", "op@acme.example", "--no-second-factor", "--json"))
    assert "/reset?token=" in linked["link"]
    assert run("user", "disable", "op@acme.example").exit_code == 0
    assert run("user", "link", "op@acme.example").exit_code == 78
    assert "disabled" in run("user", "list").stdout
    assert run("user", "disable", "op@acme.example", "--undo").exit_code == 0
    assert run("user", "list", "--partner", "nobody").stdout == ""
    for words in (("disable", "x@x.example"), ("link", "x@x.example")):
        assert run("user", *words).exit_code == 78
    assert run("user", "add", "x@x.example", "--operator", "--role", "owner", "--partner", "owner").exit_code == 2
    weak = run("user", "add", "x@x.example", "--operator", "--password-file", "-", given="password1234")
    assert (weak.exit_code, "choose another password" in weak.output) == (78, True)
