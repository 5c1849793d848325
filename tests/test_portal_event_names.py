"""Events of a partner's own systems on the portal: listed, looked at, renamed, disabled, deleted, and taken along."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from numbers_visit import CHARTS, DAY_MS, HOUR_MS, Reader, reading
from portal_cast import House
from rollup_cast import NOW as AT
from rollup_cast import count
from test_event_names import sent

from collector.openapi import document
from store import event_rules
from store.event import NewRow
from store.event_rules import Rule

PAGE = f"{CHARTS}/event-names"
ORDER = {"sum": 12.5, "currency": "eur", "at": "2026-05-28T20:26:40Z", "network": "x"}


def bought(days_ago: int = 0, name: str = "Purchase", visitor: str = "a", **properties: Any) -> NewRow:
    return sent(name, AT - days_ago * DAY_MS - HOUR_MS, visitor=visitor, properties=properties or ORDER)


ROWS = [
    bought(),
    bought(1, visitor="b"),
    bought(10, sum=3, at="soon"),
    bought(40),
    bought(2, "purchase", "c"),
    bought(0, "Sign Up"),
    sent("", AT - HOUR_MS, type="identify"),
]


def one(name: str = "Purchase", more: str = "") -> str:
    return f"{PAGE}/event?name={quote(name)}{more}"


def events(reader: Reader) -> dict[str, dict[str, Any]]:
    """The listed events, by what they are shown as."""
    return {line["event"]: line for line in reader.get(f"{PAGE}.json").json()["events"]}


def audit(house: House) -> list[tuple[Any, ...]]:
    """Who did what to the app's events."""
    sql = "select actor, action, detail from audit where action like 'event.%' and subject = 'com.owner.charts'"
    return house.rows(sql)


def set_to(reader: Reader, name: str = "Purchase", **fields: str) -> Any:
    return reader.browser.post(one(name), {"again": "7", "unit": "days"} | fields)


def delete(reader: Reader, name: str = "Purchase") -> Any:
    return reader.browser.post(f"{PAGE}/delete?name={quote(name)}")


def test_every_event_is_listed_with_its_numbers(house: House) -> None:
    with reading(house, ROWS) as reader:
        found = events(reader)
        assert list(found) == ["Purchase", "Sign Up", "purchase"]
        told = {
            name: (line["count"], line["last7Days"], line["last28Days"], line["visitors28Days"])
            for name, line in found.items()
        }
        assert told == {"Purchase": (4, 2, 3, 2), "Sign Up": (1, 1, 1, 1), "purchase": (1, 1, 1, 1)}
        assert reader.get(f"{PAGE}.json").json()["calls"] == [
            {"type": "track", "last7Days": 4, "last28Days": 5, "visitors28Days": 3},
            {"type": "identify", "last7Days": 1, "last28Days": 1, "visitors28Days": 1},
        ]
        page = reader.read(PAGE)
        assert "Purchase Reserved keys" in page
        assert "3 of 500 names" in page
        lines = reader.get(f"{PAGE}.csv").text.splitlines()
        assert lines[1].startswith("Purchase,Purchase,active,no,network,2,3,2,4,")
        assert reader.get(f"{PAGE}.csv?table=calls").text.splitlines()[1] == "track,4,5,3"


def test_what_a_program_gets_is_what_the_api_describes(house: House) -> None:
    described = document("/e")
    validator = Draft202012Validator({"$ref": "#/components/schemas/EventNames", "components": described["components"]})
    with reading(house, ROWS) as reader:
        set_to(reader, revenue="1", amount="sum", shown_as="Sale")
        reader.browser.post(PAGE, {"name": "Trial Started"})
        validator.validate(reader.get(f"{PAGE}.json").json())


def test_without_events_the_page_says_where_to_send_them(house: House) -> None:
    with reading(house) as reader:
        page = reader.read(PAGE)
        assert "No events yet" in page
        key = house.rows("select ingest_key from apps where app_key = 'com.owner.charts'")[0][0]
        assert key in page
        hosts = r"Segment's clients, as their host https?://[^/ ]+ Segment's HTTP API https?://[^/ ]+/v1 "
        assert re.search(hosts, page)
        reader.browser.enter("viewer")
        assert key not in reader.read(PAGE)


def test_one_event_shows_its_properties_and_the_newest_one(house: House) -> None:
    with reading(house, ROWS) as reader:
        page = reader.read(one())
        assert "sum number 75 % , whole number 25 % 4 100 %" in page
        assert "at date and time 75 % , text 25 % 4 100 %" in page
        assert "network Reserved text 3 75 %" in page
        assert '"currency": "eur"' in page
        rows = reader.get(f"{PAGE}/event.json?name=Purchase").json()["tables"]["over-time"]
        assert sum(row["events"] for row in rows) == 3
        assert sum(row["events_before"] for row in rows) == 1
        assert reader.get(f"{PAGE}/event.csv?name=Purchase&period=90d").text.count("\n") > 90
        assert reader.get(one("No Such Event")).status_code == 404


def test_names_that_are_shown_as_the_same_are_one_event(house: House) -> None:
    with reading(house, ROWS) as reader:
        assert set_to(reader, "purchase", shown_as="Purchase").status_code == 303
        found = events(reader)
        assert list(found) == ["Purchase", "Sign Up"]
        line = found["Purchase"]
        assert (line["state"], line["count"], line["last28Days"], line["visitors28Days"]) == ("renamed", 5, 4, 3)
        assert [name["name"] for name in line["names"]] == ["Purchase", "purchase"]
        assert audit(house) == [("owner@owner.example", "event.set", "purchase: shown as Purchase")]
        page = reader.read(one("purchase"))
        assert (
            "Counted together here: purchase , Purchase . Properties and settings below are those of purchase" in page
        )
        rows = reader.get(f"{PAGE}/event.json?name=purchase").json()["tables"]["over-time"]
        assert sum(row["events"] for row in rows) == 4


def test_settings_are_kept_and_shown(house: House) -> None:
    with reading(house, ROWS) as reader:
        answer = set_to(reader, disabled="1", revenue="1", amount="sum", again="36", unit="hours")
        assert answer.status_code == 303
        said = "Purchase: disabled, brings revenue, amount in sum, re-engagement after 129600 s"
        assert audit(house) == [("owner@owner.example", "event.set", said)]
        page = reader.page(one(more="&done=saved"))
        assert 'name="again" value="36"' in page
        assert '<option value="hours" selected>' in page
        assert "Saved." in page
        assert events(reader)["Purchase"]["names"][0] | {"properties": []} == {
            "name": "Purchase",
            "disabled": True,
            "revenue": {"amount": "sum", "currency": None},
            "reengagementSeconds": 129_600,
            "count": 4,
            "properties": [],
            "furtherProperties": 0,
        }
        assert "Disabled" in reader.read(PAGE)
        assert "sum Amount" in reader.read(one())
        reader.browser.enter("viewer")
        page = reader.read(one())
        assert "amount in sum, currency in currency" in page
        assert "Save" not in page


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"again": "soon"}, "a whole number of days"),
        ({"again": "99999"}, "from 0 to 3650 days"),
        ({"unit": "years"}, "a whole number of days"),
        ({"shown_as": "x" * 101}, "at most 100 characters"),
        ({"amount": "a\tb"}, "all printable"),
    ],
)
def test_settings_that_cannot_be_are_said_and_kept_in_the_form(house: House, fields: dict[str, str], said: str) -> None:
    with reading(house, ROWS) as reader:
        answer = set_to(reader, **fields)
        assert answer.status_code == 422
        assert said in answer.text
        assert house.rows("select count(*) from event_rules") == [(0,)]


def test_a_deleted_event_is_gone_at_once_and_comes_back_from_zero(house: House) -> None:
    with reading(house, ROWS) as reader:
        set_to(reader, revenue="1")
        assert delete(reader).status_code == 303
        assert ("owner@owner.example", "event.delete", "Purchase") in audit(house)
        assert list(events(reader)) == ["Sign Up", "purchase"]
        assert reader.get(one()).status_code == 404
        assert delete(reader).status_code == 404
    count(house.cast.where)
    count(house.cast.where, [bought()])
    with reading(house) as reader:
        line = events(reader)["Purchase"]
        assert (line["state"], line["count"], line["names"][0]["revenue"]) == ("active", 1, None)


def test_an_event_is_prepared_before_it_comes(house: House) -> None:
    with reading(house) as reader:
        answer = reader.browser.post(PAGE, {"name": "Trial Started"})
        assert answer.status_code == 303
        assert reader.get(answer.headers["location"]).status_code == 200
        assert events(reader)["Trial Started"]["state"] == "awaited"
        assert audit(house) == [("owner@owner.example", "event.set", "Trial Started: added")]
        assert reader.browser.post(PAGE, {"name": "Trial Started"}).status_code == 303
        assert house.rows("select count(*) from event_rules") == [(1,)]
        assert reader.browser.post(PAGE, {"name": "…"}).status_code == 422


def test_strangers_events_are_not_there(house: House) -> None:
    with reading(house, ROWS) as reader:
        set_to(reader, revenue="1")
        reader.browser.enter("stranger")
        for path in (PAGE, one(), f"{PAGE}.json", f"{PAGE}/schema.json", f"{PAGE}/event.csv?name=Purchase"):
            assert reader.get(path).status_code == 404
        for answer in (set_to(reader), delete(reader), reader.browser.post(PAGE, {"name": "Purchase"})):
            assert answer.status_code == 404
        assert reader.get(one().replace("owner.charts", "stranger.notes")).status_code == 404
        reader.browser.enter("viewer")
        for answer in (set_to(reader), delete(reader), reader.browser.post(PAGE, {"name": "Purchase"})):
            assert answer.status_code == 404


def test_whatever_senders_call_an_event_it_can_be_looked_at_set_and_deleted(house: House) -> None:
    names = [" Purchase ", "a/b?c=d&e#f", "<b>\"'", "two\r\nlines", "x" * 150, "ключ 💥"]
    with reading(house, [sent(name, AT - HOUR_MS) for name in names]) as reader:
        assert len(events(reader)) == len(names)
        for name in events(reader):
            assert reader.get(one(name)).status_code == 200
            assert set_to(reader, name, disabled="1").status_code == 303
            assert events(reader)[name]["state"] == "disabled"
            assert reader.get(f"{PAGE}/event.csv?name={quote(name)}").status_code == 200
        assert "<b>" not in reader.page(PAGE)
        for name in list(events(reader)):
            assert delete(reader, name).status_code == 303
        assert events(reader) == {}


# --- taken along


def test_the_schema_is_one_and_every_event_validates(house: House) -> None:
    with reading(house, ROWS) as reader:
        answer = reader.get(f"{PAGE}/schema.json")
        assert answer.headers["content-disposition"] == 'attachment; filename="com.owner.charts-schema.json"'
        schema = answer.json()
    Draft7Validator.check_schema(schema)
    validator = Draft7Validator(schema, format_checker=FormatChecker())
    for row in ROWS[:-1]:
        properties = msgspec.json.decode(row[-1])["properties"]
        validator.validate({"type": "track", "event": row[3], "properties": properties})
    titles = [each["title"] for each in schema["definitions"].values()]
    assert titles == ["Purchase", "Sign Up", "purchase"]
    assert schema["definitions"]["event0"]["properties"]["properties"] == {
        "type": "object",
        "properties": {
            "at": {"type": "string"},
            "currency": {"type": "string"},
            "network": {"type": "string"},
            "sum": {"type": "number"},
        },
        "required": ["at", "sum"],
    }
    assert schema["definitions"]["event1"]["properties"]["properties"]["properties"]["at"] == {
        "type": "string",
        "format": "date-time",
    }
    for wrong in (
        {"event": "Nothing"},
        {"event": "Purchase", "properties": {"sum": "x", "at": ""}},
        {"event": "Purchase"},
    ):
        assert not validator.is_valid(wrong)


def test_the_plans_have_the_names_that_are_sent_and_may_come(house: House) -> None:
    with reading(house, ROWS) as reader:
        set_to(reader, "Sign Up", disabled="1")
        set_to(reader, "purchase", shown_as="Purchase")
        rules = reader.get(f"{PAGE}/segment.json").json()["rules"]
        archive = zipfile.ZipFile(io.BytesIO(reader.get(f"{PAGE}/rudderstack.zip").content))
    assert [(rule["type"], rule["key"], rule["version"]) for rule in rules] == [
        ("TRACK", "Purchase", 1),
        ("TRACK", "purchase", 1),
    ]
    for rule in rules:
        Draft7Validator.check_schema(rule["jsonSchema"])
    assert rules[0]["jsonSchema"]["properties"]["properties"]["required"] == ["at", "sum"]
    assert not Draft7Validator(rules[0]["jsonSchema"]).is_valid({"context": {}})
    files = {name: msgspec.json.decode(archive.read(name)) for name in archive.namelist()}
    assert {name: file["kind"] for name, file in files.items()} == {
        "events.yaml": "events",
        "properties.yaml": "properties",
        "tracking-plan.yaml": "tracking-plan",
    }
    assert {file["version"] for file in files.values()} == {"rudder/v1"}
    assert files["events.yaml"]["spec"]["events"][1] == {"id": "event_1", "name": "purchase", "event_type": "track"}
    known = {f"#property:{each['id']}": each for each in files["properties.yaml"]["spec"]["properties"]}
    assert len({(each["name"], each.get("type"), str(each.get("types"))) for each in known.values()}) == len(known)
    plan = files["tracking-plan.yaml"]["spec"]
    assert [rule["event"] for rule in plan["rules"]] == ["#event:event_0", "#event:event_1"]
    used = {known[each["property"]]["name"]: each["required"] for each in plan["rules"][0]["properties"]}
    assert used == {"at": True, "currency": False, "network": False, "sum": True}


def test_what_was_cut_is_in_no_plan(house: House) -> None:
    with reading(house, [bought(name="x" * 150), bought(name="Purchase", **{"y" * 150: 1, "sum": 2})]) as reader:
        (rule,) = reader.get(f"{PAGE}/segment.json").json()["rules"]
    assert rule["key"] == "Purchase"
    assert rule["jsonSchema"]["properties"]["properties"] == {
        "type": "object",
        "properties": {"sum": {"type": "integer"}},
        "required": ["sum"],
    }


def test_without_events_there_is_a_schema_all_the_same(house: House) -> None:
    with reading(house) as reader:
        schema = reader.get(f"{PAGE}/schema.json").json()
        Draft7Validator.check_schema(schema)
        assert reader.get(f"{PAGE}/segment.json").json() == {"rules": []}


def test_a_rule_of_an_app_is_nobodys_else(house: House) -> None:
    house.store(lambda db: event_rules.say(db, AT, "com.owner.boards", "Purchase", Rule(refused=True), "a test"))
    with reading(house, ROWS) as reader:
        assert events(reader)["Purchase"]["state"] == "active"
