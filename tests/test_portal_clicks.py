"""Clicks: which tabs were opened and which calls to action were pressed, by whom, and what else they did."""

from __future__ import annotations

import html
import re

from numbers_visit import CHARTS, DAY_MS, HOUR_MS, PARTNER, reading
from portal_cast import House
from rollup_cast import NOW, happened

CLICKS = f"{CHARTS}/clicks"
ROWS = [
    happened(visitor="z", at=NOW - 30 * DAY_MS),
    happened("tab_click", "z", NOW - 30 * DAY_MS, label="Reviews"),
    happened(visitor="a", at=NOW - 5 * HOUR_MS),
    happened("tab_click", "a", NOW - 5 * HOUR_MS, label="Reviews"),
    happened("tab_click", "a", NOW - 4 * HOUR_MS, label="Pricing"),
    happened("tab_click", "a", NOW - 4 * HOUR_MS, label="Reviews"),
    happened("cta_click", "a", NOW - 3 * HOUR_MS, label="Try it free"),
    happened("install", "a", NOW - 2 * HOUR_MS),
    happened(visitor="b", at=NOW - 2 * HOUR_MS),
    happened("tab_click", "b", NOW - 2 * HOUR_MS, label="Reviews"),
    happened("tab_click", "b", NOW - 2 * HOUR_MS),
    happened("cta_click", "b", NOW - HOUR_MS, target="https://buy.example/"),
    happened(visitor="c", at=NOW - HOUR_MS),
    happened(visitor="c", at=NOW - HOUR_MS, app="com.owner.boards"),
    happened("tab_click", "c", NOW - HOUR_MS, app="com.owner.boards", label="Reviews"),
    happened("tab_click", "d", NOW - HOUR_MS, app="com.stranger.notes", label="Secret"),
]


def test_tabs_have_their_clicks_and_what_their_visitors_went_on_to(house: House) -> None:
    with reading(house, ROWS) as reader:
        rows = reader.table(CLICKS, "tab")
        page = reader.read(CLICKS)
    assert [
        (row["value"], row["visitors"], row["events"], row["cta_visitors"], row["install_visitors"]) for row in rows
    ] == [("Reviews", 2, 3, 2, 1), ("", 1, 1, 1, 0), ("Pricing", 1, 1, 1, 1)]
    assert [row["visitors_before"] for row in rows] == [1, 0, 0]
    assert "Reviews 2 1 +100 % 67 % 3 2 100 % 1 50 %" in page
    assert "No label 1 0 new 33 % 1 1 100 % 0 0 %" in page


def test_calls_to_action_have_their_installs(house: House) -> None:
    with reading(house, ROWS) as reader:
        rows = reader.table(CLICKS, "cta")
        page = reader.read(f"{CLICKS}?facet=cta")
    assert [(row["value"], row["visitors"], row["install_visitors"], row["install_rate"]) for row in rows] == [
        ("Try it free", 1, 1, 1.0),
        ("https://buy.example/", 1, 0, 0.0),
    ]
    assert "Call to action Visitors Before Share Clicks Install Try it free 1 0 new 33 % 1 1 100 %" in page


def test_what_there_is_to_see_is_said_in_a_sentence(house: House) -> None:
    with reading(house, ROWS) as reader:
        page = reader.read(CLICKS)
    assert "Reviews has most of them, 67 % of 3 visitors; most installs are of Reviews, 1 of its 2." in page
    with reading(house) as reader:
        page = reader.read(f"{CLICKS}?f=tab:nothing")
    assert "has most of them" not in page


def test_a_labels_link_shows_only_its_visitors(house: House) -> None:
    with reading(house, ROWS) as reader:
        (link,) = re.findall(r'href="([^"]+)"[^>]*>Pricing<', reader.page(CLICKS))
        rows = reader.table(html.unescape(link), "tab")
        assert "1 visitor," in reader.read(html.unescape(link))
    assert [(row["value"], row["visitors"]) for row in rows] == [("Pricing", 1), ("Reviews", 1)]


def test_all_apps_of_a_partner_are_counted_together_and_no_other_partners(house: House) -> None:
    with reading(house, ROWS) as reader:
        rows = reader.table(f"{PARTNER}/clicks", "tab")
        page = reader.page(f"{PARTNER}/clicks")
    assert (rows[0]["value"], rows[0]["visitors"], rows[0]["events"]) == ("Reviews", 3, 4)
    assert "Secret" not in page


def test_one_facet_alone_leads_back_to_both(house: House) -> None:
    with reading(house, ROWS) as reader:
        page = reader.page(f"{CLICKS}?facet=tab")
    assert f'<a href="{CLICKS}">Back to all of clicks</a>' in page
    assert "Try it free" not in page
