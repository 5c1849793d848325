"""The files of a page of numbers: who may have them, what they are called, and that they hold what the API answers."""

from __future__ import annotations

import re
import time
from datetime import date
from itertools import product

import msgspec
import pytest
from conftest import LISTING, SITE, view
from hypothesis import given
from hypothesis import strategies as st
from portal_cast import Browser, House
from waiting import until

from collector import roller
from collector.portal import view as views
from collector.portal.frame import HEADERS
from collector.portal.numbers.document import file_name
from collector.portal.pages import NUMBERS
from store import registry

FEBRUARY = views.View("custom", date(2026, 2, 1), date(2026, 2, 28), "UTC", "none", ())
PLACES = ("/apps/com.owner.charts", "/partners/owner")
HOSTILE = '=HYPERLINK("https://evil.example";A1)'


@pytest.fixture(autouse=True)
def today(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal's clock is the doors', and what comes in is counted at once."""
    house.now = time.time_ns() // 1_000_000
    monkeypatch.setattr(roller, "LOOK_SECONDS", 0.01)


def visited(browser: Browser, **more: str) -> None:
    """Somebody viewed the listing, and it is counted."""
    sent = {"events": [view(**more)]}
    assert browser.client.post("/e", json=sent, headers={"Origin": SITE}).status_code == 204
    overview = f"{PLACES[0]}/overview.json"
    until(lambda: any(row["visitors"] for row in browser.get(overview).json()["tables"]["over-time"]))


@pytest.mark.parametrize("place", PLACES)
def test_a_file_has_the_portals_headers_and_a_name(browser: Browser, place: str) -> None:
    browser.enter("viewer")
    key = place.rpartition("/")[2]
    types = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
    for page, kind in product(NUMBERS, types):
        answer = browser.get(f"{place}/{page}.{kind}?period=custom&from=2026-02-01&to=2026-02-28")
        assert answer.status_code == 200
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert answer.headers["content-type"] == types[kind]
        named = f'attachment; filename="{key}-{page}-2026-02-01-2026-02-28.{kind}"'
        assert answer.headers["content-disposition"] == named


def test_each_table_has_a_file_and_what_is_none_has_not(browser: Browser) -> None:
    browser.enter("viewer")
    page = browser.get(f"{PLACES[0]}/overview").text
    links = [link.replace("&amp;", "&") for link in re.findall(r'href="([^"]+\.csv[^"]*)"', page)]
    tables = browser.get(f"{PLACES[0]}/overview.json").json()["tables"]
    assert len(links) == len(tables)
    for link, (name, rows) in zip(links, tables.items(), strict=True):
        answer = browser.get(link)
        assert f"table={name}" in link
        assert answer.content.startswith(b"\xef\xbb\xbf")
        head, *told = answer.content.decode("utf-8-sig").splitlines()
        assert len(told) == len(rows)
        assert [head.split(",")] * len(rows) == [list(row) for row in rows]
    assert browser.get(f"{PLACES[0]}/overview.csv?table=none").status_code == 404


@pytest.mark.parametrize("place", PLACES)
def test_the_json_of_a_page_is_what_the_api_answers(house: House, browser: Browser, place: str) -> None:
    browser.enter("owner")
    visited(browser)
    token = house.store(lambda db: registry.add_token(db, 0, "t", frozenset({"read"}), partner_key="owner"))
    for page in NUMBERS:
        query = "period=7d&tz=Asia/Kolkata&compare=year"
        page_json = browser.get(f"{place}/{page}.json?{query}").json()
        api_path = f"/api/v1{place}/numbers/{page}?{query}"
        api_json = browser.client.get(api_path, headers={"Authorization": f"Bearer {token}"}).json()
        assert page_json == api_json
        assert page_json["view"]["tz"] == ("UTC" if NUMBERS[page].in_utc else "Asia/Kolkata")


def test_a_strangers_text_is_no_formula_in_any_file(browser: Browser) -> None:
    browser.enter("owner")
    visited(browser, url=f"{LISTING}?utm_source={HOSTILE}&utm_campaign=%2B1", title=HOSTILE)
    for page in NUMBERS:
        for table in browser.get(f"{PLACES[0]}/{page}.json").json()["tables"]:
            text = browser.get(f"{PLACES[0]}/{page}.csv?table={table}").content.decode("utf-8-sig")
            assert re.findall(r'(?:^|[,;])"?[=+@]', text, re.MULTILINE) == [], page


@given(st.text(), st.text(max_size=30))
def test_nothing_in_a_files_name_ends_a_header_or_leads_elsewhere(place: str, table: str) -> None:
    name = file_name(place, "overview", FEBRUARY, "csv", table)
    assert re.fullmatch(r"[A-Za-z0-9._-]*-overview-[A-Za-z0-9._-]*2026-02-01-2026-02-28\.csv", name)


def test_a_key_of_plain_signs_is_in_the_name_as_it_is() -> None:
    changed = msgspec.structs.replace(FEBRUARY, last=date(2026, 2, 3))
    assert (
        file_name("com.acme.charts_2", "funnel", changed, "json")
        == "com.acme.charts_2-funnel-2026-02-01-2026-02-03.json"
    )
    assert file_name('a"b\r\n/../ü', "funnel", changed, "csv") == "a_b___..__-funnel-2026-02-01-2026-02-03.csv"
