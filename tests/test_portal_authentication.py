"""The page Authentication of an app: its rule, its key pairs, what waits, and whether installs come."""

from __future__ import annotations

import itertools
import json
import re
import time

import pytest
from conftest import Doors
from kochava_cast import INSTALL, call, post
from portal_cast import Browser, House, email
from waiting import until

from collector import directory
from collector.doors import authentication as proof
from collector.doors.authentication import Pair
from collector.portal.authentication import MOST_SHOWN

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

NUMBERS = itertools.count()
PAGE = "/apps/com.owner.charts/authentication"


@pytest.fixture(autouse=True)
def today(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal's clock is the doors', and the collector looks for changes more often, so that no test waits long."""
    house.now = time.time_ns() // 1_000_000
    monkeypatch.setattr(directory, "POLL_SECONDS", 0.01)


def make(browser: Browser) -> Pair:
    api_key, secret = re.findall(r'readonly value="([^"]+)"', browser.post(f"{PAGE}/keys").text)
    return Pair(api_key.encode(), secret.encode())


def send(browser: Browser, pair: Pair | None = None, name: str = "Purchase") -> int:
    """A call of the official form, of now, unlike any before, proved with a pair; the status of its answer."""
    doors = Doors(browser.client, browser.house.cast)
    said = {"event_name": name, "usertime": int(time.time()), "event_data": {"n": next(NUMBERS)}}
    body = json.dumps(call(browser.house.cast, **said)).encode()
    key = {"kochava_api_key": pair.api_key.decode(), "kochava_auth_token": proof.token(pair, body)} if pair else {}
    return post(doors, body, **key).status_code


def test_an_owner_makes_a_pair_that_is_shown_once_and_then_asks_for_proof(house: House, browser: Browser) -> None:
    browser.enter("owner")
    early = browser.post(PAGE, {"mode": "on"})
    assert (early.status_code, "Make a key pair first" in early.text) == (422, True)
    pair = make(browser)
    assert house.audit() == (email("owner"), "authentication.add-key", "com.owner.charts", pair.api_key.decode())
    assert pair.secret not in house.cast.every_byte()
    assert pair.api_key.decode() in browser.get(PAGE).text
    assert pair.secret.decode() not in browser.get(PAGE).text
    assert send(browser) == 200
    assert browser.post(PAGE, {"mode": "on"}).headers["location"] == f"{PAGE}?done=mode"
    assert house.audit() == (email("owner"), "authentication.mode", "com.owner.charts", "on")
    until(lambda: send(browser) == 401)
    assert send(browser, pair) == 200
    assert "No proof came with it" in browser.get(PAGE).text


def test_at_most_two_pairs_and_a_revoked_one_is_gone(house: House, browser: Browser) -> None:
    browser.enter("owner")
    first, _ = make(browser), make(browser)
    assert "Make another key pair" not in browser.get(PAGE).text
    third = browser.post(f"{PAGE}/keys")
    assert (third.status_code, "Two key pairs are live" in third.text) == (422, True)
    assert browser.post(f"{PAGE}/revoke", {"api_key": first.api_key.decode()}).status_code == 303
    assert first.api_key.decode() not in browser.get(PAGE).text
    assert browser.post(f"{PAGE}/revoke", {"api_key": first.api_key.decode()}).status_code == 404


def test_an_editor_reads_releases_and_drops_what_waits(house: House, browser: Browser) -> None:
    browser.enter("owner")
    make(browser)
    browser.post(PAGE, {"mode": "quarantine"})
    until(lambda: send(browser) == 200 and "<code>/track/json</code>" in browser.get(PAGE).text)
    there = len(house.cast.events())
    for name in ("One", "Two", "Three"):
        send(browser, name=name)
    page = browser.enter("editor").get(PAGE).text
    assert "&#34;event_name&#34;: &#34;Two&#34;" in page
    assert "origination_ip" not in page
    one, *rest = re.findall(r'name="id" value="(\w+)"', page)
    assert browser.post(f"{PAGE}/quarantine", {"action": "release", "id": one}).status_code == 303
    assert house.audit() == (email("editor"), "quarantine.release", "com.owner.charts", "1 requests: 1 stored")
    assert len(house.cast.events()) == there + 1
    assert browser.post(f"{PAGE}/quarantine", {"action": "release", "id": one}).status_code == 404
    assert browser.post(f"{PAGE}/quarantine", {"action": "drop", "id": rest[0]}).status_code == 303
    left = len(rest) - 1
    assert browser.post(f"{PAGE}/quarantine", {"action": "release", "all": "1"}).status_code == 303
    assert house.audit()[3] == f"{left} requests: {left} stored"
    assert "Nothing waits" in browser.get(PAGE).text
    house.cast.balance()


def test_of_a_large_one_its_beginning_is_shown(house: House, browser: Browser) -> None:
    browser.enter("owner")
    make(browser)
    browser.post(PAGE, {"mode": "quarantine"})
    until(lambda: send(browser) == 200 and "<code>/track/json</code>" in browser.get(PAGE).text)
    small = len(browser.get(PAGE).text)
    assert send(browser, name="é" * MOST_SHOWN) == 200
    page = browser.get(PAGE).text
    assert "ééé…</pre>" in page
    assert MOST_SHOWN / 3 < len(page) - small < MOST_SHOWN


def test_nobody_else_sees_it_and_a_viewer_changes_nothing(house: House, browser: Browser) -> None:
    browser.enter("owner")
    make(browser)
    browser.post(PAGE, {"mode": "quarantine"})
    until(lambda: send(browser) == 200 and "<code>/track/json</code>" in browser.get(PAGE).text)
    viewed = browser.enter("viewer").get(PAGE)
    assert viewed.status_code == 200
    assert f'action="{PAGE}' not in viewed.text
    assert browser.enter("stranger").get(PAGE).status_code == 404
    (one,) = house.cast.rows("select min(quarantine_id) from quarantine")[0]
    browser.enter("stranger")
    other = PAGE.replace("com.owner.charts", "com.stranger.notes")
    assert browser.post(f"{other}/quarantine", {"action": "release", "id": one}).status_code == 404


def test_the_first_install_completes_the_feed(house: House, browser: Browser) -> None:
    browser.enter("owner")
    assert "Integration not complete yet" in browser.get(PAGE).text
    post(Doors(browser.client, house.cast), call(house.cast, INSTALL, usertime=1_521_574_016))
    until(lambda: "Integration success" in browser.get(PAGE).text)
    assert '<time datetime="2018-03-20T19:26:56Z">20 Mar 2018, 19:26 UTC</time>' in browser.get(PAGE).text
