"""The operator's side: totals, partners, apps, settings without secrets, health, and the audit."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest
from conftest import SECRET_KEY
from httpx2 import Response
from portal_cast import Browser, House, email, message

from collector.portal.audit import A_PAGE
from collector.portal.operator import in_force
from store import registry
from store.destinations import Change, set_destination
from store.endpoint import allowed
from store.engines import open_writer
from store.settings import Settings

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

KEY = "WRITEKEYOFTHEOWNERSCHARTS0000001"


def cells(answer: Response) -> list[list[str]]:
    """The rows of all tables of a page, as text."""
    rows = re.findall(r"<tr>(.*?)</tr>", answer.text, re.DOTALL)
    texts = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[re.sub("[ \n]+", " ", re.sub(r"<[^>]+>", " ", cell)).strip(" ") for cell in row] for row in texts]


def test_a_partner_is_added_as_by_the_command_line(house: House, browser: Browser) -> None:
    browser.enter("operator")
    answer = browser.post("/operator/partners", {"key": "acme", "partner_id": "77", "name": "Acme & Söhne"})
    assert answer.headers["location"] == "/operator/partners"
    assert house.audit() == (email("operator"), "partner.add", "acme", "id 77")
    (row,) = [row for row in cells(browser.get("/operator/partners")) if row[1] == "acme"]
    assert row[:5] == ["Acme &amp; Söhne", "acme", "77", "0", "0"]


def test_an_app_is_added_as_by_the_command_line(house: House, browser: Browser) -> None:
    browser.enter("operator")
    fields = {"key": "com.new", "plugin_id": "99", "name": "New", "partner": "stranger"}
    assert browser.post("/operator/apps", fields).status_code == 303
    assert house.audit() == (email("operator"), "app.add", "com.new", "partner stranger, plugin id 99")
    assert ["New", "com.new", "99", "stranger", "none yet"] in cells(browser.get("/operator/apps"))
    assert "com.new" in browser.enter("stranger").get("/").text
    assert "com.new" not in browser.enter("owner").get("/").text


@pytest.mark.parametrize(
    ("page", "changed", "told"),
    [
        ("partners", {"key": "owner"}, "There is a partner with key owner or id 5 already."),
        ("partners", {"partner_id": "1211971"}, "There is a partner with key k or id 1211971 already."),
        ("partners", {"key": ""}, "A key has 1 to 100 letters, digits, dots, hyphens and underscores."),
        ("partners", {"key": "a b"}, "A key has 1 to 100 letters"),
        ("partners", {"key": "a\n"}, "There is"),
        ("partners", {"partner_id": ""}, "An id has 1 to 50 digits or letters."),
        ("partners", {"name": " "}, "A name has 1 to 100 characters."),
        ("partners", {"name": "a\x1bb"}, "A name has 1 to 100 characters."),
        ("apps", {"partner": "nobody"}, "There is no partner nobody: add it with"),
        ("apps", {"key": "com.owner.charts"}, "There is an app with key com.owner.charts or plugin id 5 already."),
        ("apps", {"plugin_id": "1219125"}, "There is an app with key k or plugin id 1219125 already."),
        ("apps", {"key": "x" * 101}, "A key has 1 to 100 letters"),
    ],
)
def test_what_cannot_be_added_is_told_and_changes_nothing(
    house: House, browser: Browser, page: str, changed: dict[str, str], told: str
) -> None:
    browser.enter("operator")
    house.store(lambda db: registry.add_partner(db, 0, "a", "6", "A"))
    before = house.state()
    fields = {"key": "k", "partner_id": "5", "plugin_id": "5", "name": "N", "partner": "owner"} | changed
    answer = browser.post(f"/operator/{page}", fields)
    assert answer.status_code == 422
    assert message(answer).startswith(told)
    assert house.state() == before


def test_the_totals_are_those_of_the_doors(house: House, browser: Browser) -> None:
    hour = house.now // 3_600_000
    tallied = [
        ("com.owner.charts", hour, "received", 7),
        ("com.owner.charts", hour, "stored", 4),
        ("com.owner.charts", hour - 23, "stored", 1_000),
        ("com.owner.charts", hour - 24, "stored", 20),
        ("com.stranger.notes", hour - 167, "stored", 300),
        ("com.stranger.notes", hour - 168, "stored", 4_000),
        ("", hour, "rejected", 3),
    ]

    async def put() -> None:
        async with await open_writer(house.cast.where, "log") as db:
            for app, at, outcome, n in tallied:
                sql = "insert into door_tallies (app_key, door, hour, outcome, reason, n) values (?, 'b', ?, ?, '', ?)"
                await db.change(sql, (app, at, outcome, n))

    browser.client.__exit__()
    asyncio.run(put())
    with browser.client:
        rows = cells(browser.enter("operator").get("/operator"))
    assert [row for row in rows if row[0].startswith(("Charts", "Notes", "Boards"))] == [
        ["Charts com.owner.charts", "owner", "1\u202f004", "1\u202f024"],
        ["Notes com.stranger.notes", "stranger", "0", "300"],
        ["Boards com.owner.boards", "owner", "0", "0"],
    ]
    assert ["are on disk", "1\u202f004", "1\u202f324"] in rows
    assert ["were turned away, with a reason", "3", "3"] in rows
    assert ["came to a door", "7", "7"] in rows


def test_the_settings_in_force_are_shown_and_no_secret(browser: Browser) -> None:
    answer = browser.enter("operator").get("/operator/settings")
    shown = {row[0]: row[1] for row in cells(answer)[1:]}
    assert set(shown) == {f"FOOTFALL_{name.upper()}" for name in Settings.__struct_fields__}
    assert "set, and not shown" in shown["FOOTFALL_SECRET_KEY"]
    assert shown["FOOTFALL_ALLOWED_ORIGINS"] == "https://marketplace.example"
    assert shown["FOOTFALL_DATABASE_URL"] == "unset"
    assert SECRET_KEY not in answer.text


def test_a_password_within_a_setting_is_not_shown() -> None:
    settings = Settings(
        secret_key=SECRET_KEY,
        database_url="postgresql://someone:hunter22@db.example/footfall",
        segment_url_us="https://someone:hunter22@proxy.example/segment",
        allowed_destinations=allowed("proxy.example:8443,10.1.0.0/16"),
    )
    told = dict(in_force(settings))
    assert "hunter22" not in str(told)
    assert told["FOOTFALL_DATABASE_URL"] == "PostgreSQL at db.example/footfall"
    assert told["FOOTFALL_SEGMENT_URL_US"] == "https://…@proxy.example/segment"
    assert told["FOOTFALL_ALLOWED_DESTINATIONS"] == "proxy.example:8443, 10.1.0.0/16"


def test_health_is_what_the_doctor_sees_at_a_glance(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.now = time.time_ns() // 1_000_000
    browser.enter("operator")
    text = browser.get("/operator/health").text
    assert re.findall(r'<li class="check-(\w+)">', text).count("fail") == 0
    assert "oldest pending event: none" in text
    change = Change(segment_write_key=KEY, region="eu")
    house.store(lambda db: set_destination(db, house.cast.vault, 7, "com.owner.charts", change, start_seq=0))
    event = {"app": "com.owner.charts", "accountId": "a"}
    headers = {"Authorization": f"Bearer {house.cast.token}"}
    assert browser.client.post("/api/v1/installs", json=event, headers=headers).json()["stored"] == 1
    house.now += 4 * 3_600_000
    browser.enter("operator")
    text = browser.get("/operator/health").text
    assert "over 3 h: com.owner.charts" in text
    assert "never verified: com.owner.charts" in text
    assert re.findall(r'<li class="check-(\w+)">', text).count("fail") == 1
    assert KEY not in text


# --- the audit


def test_the_audit_is_paged_from_the_newest(house: House, browser: Browser) -> None:
    async def many(db: Any) -> None:
        for n in range(2 * A_PAGE):
            async with db.transaction():
                await registry.audit(db, house.now + n, "test.act", f"thing {n % 2}", f"line {n}", "tester")

    house.store(many)
    browser.enter("operator")
    page = browser.get("/operator/audit")
    seen = [row[4] for row in cells(page)[1:]]
    assert seen == [f"line {n}" for n in range(99, 49, -1)]
    (older,) = re.findall(r'href="(/operator/audit\?[^"]*before[^"]+)"', page.text)
    page = browser.get(older.replace("&amp;", "&"))
    assert [row[4] for row in cells(page)[1:]][:49] == [f"line {n}" for n in range(49, 0, -1)]


def test_the_audit_is_filtered_by_what_was_changed(house: House, browser: Browser) -> None:
    browser.enter("operator")
    browser.post("/operator/partners", {"key": "acme", "partner_id": "77", "name": "Acme"})
    rows = cells(browser.get("/operator/audit?subject=acme"))[1:]
    assert [row[1:] for row in rows] == [[email("operator"), "Partner added", "acme", "id 77"]]
    assert "There is no such line." in browser.get("/operator/audit?subject=nothing").text


@pytest.mark.parametrize("query", ["before=x", "before=%00", "subject=%00", "subject=%ff", "before=' or 1=1 --", "x=1"])
def test_an_odd_question_to_the_audit_is_no_failure(browser: Browser, query: str) -> None:
    assert browser.enter("operator").get(f"/operator/audit?{query}").status_code == 200


def test_every_change_in_the_portal_names_who_made_it(house: House, browser: Browser) -> None:
    browser.enter("operator")
    before = {row[0] for row in house.rows("select audit_id from audit")}
    browser.post("/operator/partners", {"key": "acme", "partner_id": "77", "name": "Acme"})
    browser.post("/operator/apps", {"key": "com.acme", "plugin_id": "9", "name": "A", "partner": "acme"})
    browser.post("/people", {"email": "x@x.example", "role": "viewer", "partner": "acme"})
    browser.post(f"/people/{house.people['viewer'].person_id}/role", {"role": "editor"})
    browser.post(f"/people/{house.people['viewer'].person_id}/disable")
    browser.post("/tokens", {"name": "t", "days": "", "scope-installs": "on"})
    browser.post("/account/name", {"name": "Olga"})
    made = [row[1:] for row in house.rows("select audit_id, actor, action from audit") if row[0] not in before]
    assert {actor for actor, _ in made} == {email("operator")}
    assert sorted(action for _, action in made) == sorted(
        "partner.add app.add person.add person.invitation person.role person.disable token.add person.rename".split()
    )
