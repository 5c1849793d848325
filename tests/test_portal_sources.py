"""Sources: where visitors came from, what they did, how that compares, and what a value's link leads to."""

from __future__ import annotations

import html
import re

import pytest
from numbers_visit import CHARTS, DAY_MS, HOUR_MS, PARTNER, reading
from portal_cast import House
from rollup_cast import NOW, happened

from collector.portal.numbers.breakdowns import change, label

SOURCES = f"{CHARTS}/sources"
GOOGLE, BING = "https://www.google.com/search", "https://www.bing.com/"
ROWS = [
    happened(visitor="z", at=NOW - 30 * DAY_MS, referrer=GOOGLE),
    happened(visitor="y", at=NOW - 30 * DAY_MS, referrer=GOOGLE),
    happened(visitor="x", at=NOW - 30 * DAY_MS, referrer=GOOGLE),
    happened(visitor="w", at=NOW - 30 * DAY_MS, referrer=GOOGLE),
    happened(visitor="a", at=NOW - 5 * HOUR_MS, referrer=GOOGLE, query={"utm_source": "news", "hosting": "cloud"}),
    happened(visitor="a", at=NOW - 4 * HOUR_MS, referrer=GOOGLE, partner_anonymous_id="crm-1"),
    happened("cta_click", "a", NOW - 3 * HOUR_MS, label="Try it"),
    happened("install", "a", NOW - 2 * HOUR_MS),
    happened(visitor="b", at=NOW - 2 * HOUR_MS, referrer=GOOGLE),
    happened("cta_click", "b", NOW - HOUR_MS, label="Try it"),
    happened(visitor="b", at=NOW - HOUR_MS, referrer=BING),
    happened(visitor="c", at=NOW - HOUR_MS, query={"utm_source": "news", "utm_campaign": "spring", "sort": ""}),
    happened(visitor="d", at=NOW - HOUR_MS, app="com.owner.boards", referrer=GOOGLE),
    happened(visitor="e", at=NOW - HOUR_MS, app="com.stranger.notes", referrer="https://secret.example/"),
    happened(visitor="f", at=NOW - HOUR_MS, suppressed="consent", referrer="https://withheld.example/"),
]


def test_each_referrer_has_its_visitors_what_they_did_and_the_time_before(house: House) -> None:
    with reading(house, ROWS) as reader:
        rows = reader.table(SOURCES, "referrer")
        page = reader.read(SOURCES)
    assert rows == [
        {
            "value": "google.com",
            "visitors": 2,
            "share": 0.6667,
            "events": 3,
            "cta_visitors": 2,
            "cta_rate": 1.0,
            "install_visitors": 1,
            "install_rate": 0.5,
            "visitors_before": 4,
        },
        {
            "value": "",
            "visitors": 1,
            "share": 0.3333,
            "events": 1,
            "cta_visitors": 0,
            "cta_rate": 0.0,
            "install_visitors": 0,
            "install_rate": 0.0,
            "visitors_before": 0,
        },
        {
            "value": "bing.com",
            "visitors": 1,
            "share": 0.3333,
            "events": 1,
            "cta_visitors": 1,
            "cta_rate": 1.0,
            "install_visitors": 0,
            "install_rate": 0.0,
            "visitors_before": 0,
        },
    ]
    assert "3 visitors, 4 in the time before" in page
    assert "google.com 2 4 \u221250 % 67 % 3 2 100 % 1 50 %" in page
    assert "No referrer 1 0 new 33 % 1 0 0 % 0 0 %" in page


def test_rows_that_add_up_to_more_than_the_visitors_are_explained(house: House) -> None:
    with reading(house, ROWS) as reader:
        page = reader.read(SOURCES)
    assert "rows add up to more than the 3 visitors of this time" in page


def test_a_values_link_shows_only_its_visitors(house: House) -> None:
    with reading(house, ROWS) as reader:
        (link,) = re.findall(r'href="([^"]+)"[^>]*>bing.com<', reader.page(SOURCES))
        path = html.unescape(link)
        assert path == f"{SOURCES}?f=referrer%3Abing.com"
        rows = reader.table(path, "referrer")
        page = reader.page(path)
    assert [(row["value"], row["visitors"], row["events"]) for row in rows] == [
        ("bing.com", 1, None),
        ("google.com", 1, None),
    ]
    assert "<strong>bing.com</strong>" in page
    assert ">Page views</th>" not in page


def test_what_is_not_kept_apart_is_a_row_without_a_link_and_comes_last(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.rollups.facets.MOST_VALUES", 1)
    rows = [happened(visitor=v, referrer=f"https://{v}.example/") for v in "abc"]
    with reading(house, rows) as reader:
        page = reader.page(SOURCES)
        told = [(row["value"], row["visitors"]) for row in reader.table(SOURCES, "referrer")]
    assert told == [("a.example", 1), ("…", 2)]
    assert '<span class="quiet">All others</span>' in page
    assert "%E2%80%A6" not in page


def test_the_campaign_parameter_can_be_chosen(house: House) -> None:
    with reading(house, ROWS) as reader:
        usual = reader.table(SOURCES, "utm_campaign")
        chosen = reader.table(f"{SOURCES}?campaign=utm_source", "utm_source")
        page = reader.page(SOURCES)
    assert [(row["value"], row["visitors"]) for row in usual] == [("spring", 1)]
    assert [(row["value"], row["visitors"]) for row in chosen] == [("news", 2)]
    assert f'href="{SOURCES}?campaign=utm_source"' in page


def test_other_parameters_stand_by_their_names_and_a_few_values_of_each(house: House) -> None:
    rows = [happened(visitor=v, query={"ref": v, "lang": "de"}) for v in "abcdef"]
    with reading(house, rows) as reader:
        few = reader.table(SOURCES, "query")
        all_of_them = reader.table(f"{SOURCES}?facet=query", "query")
        page = reader.read(SOURCES)
    assert [row["value"] for row in few] == ["lang=de", "ref=a", "ref=b", "ref=c", "ref=d"]
    assert [row["value"] for row in all_of_them] == ["lang=de", *(f"ref={v}" for v in "abcdef")]
    assert "2 more values." in page
    assert "lang=de has most of them, 100 % of 6 visitors; none of any row installed." in page


def test_one_facet_alone_has_more_rows_and_says_how_many_there_are_besides(house: House) -> None:
    rows = [happened(visitor=chr(97 + n % 26), referrer=f"https://{n:03}.example/") for n in range(102)]
    with reading(house, rows) as reader:
        shared, alone = reader.read(SOURCES), reader.read(f"{SOURCES}?facet=referrer")
        assert len(reader.table(f"{SOURCES}?facet=referrer", "referrer")) == 100
        assert len(reader.table(SOURCES, "referrer")) == 8
    assert "94 more values." in shared
    assert "2 more values." in alone
    assert "Hosting" not in alone


def test_the_share_of_views_with_a_partner_anonymous_id_leads_to_the_link_builder(house: House) -> None:
    with reading(house, ROWS) as reader:
        page = reader.read(SOURCES)
        assert f'href="{CHARTS}/details#ads"' in reader.page(SOURCES)
        assert reader.table(SOURCES, "linked")[0]["events"] == 1
    assert "20 % of the page views carry your partner_anonymous_id" in page


def test_all_apps_of_a_partner_count_a_visitor_once_and_no_other_partners(house: House) -> None:
    both = [happened(visitor="a", app="com.owner.boards", referrer=GOOGLE)]
    with reading(house, [*ROWS, *both]) as reader:
        rows = reader.table(f"{PARTNER}/sources", "referrer")
        page = reader.page(f"{PARTNER}/sources")
    assert (rows[0]["value"], rows[0]["visitors"], rows[0]["events"]) == ("google.com", 3, 5)
    assert "secret.example" not in page
    assert "withheld.example" not in page


def test_a_strangers_text_stays_text(house: House) -> None:
    hostile = '"><script>alert(1)</script>'
    with reading(house, [happened(query={"utm_campaign": hostile})]) as reader:
        page = reader.page(SOURCES)
        (link,) = re.findall(r'href="([^"]+utm_campaign%3A[^"]+)"', page)
        rows = reader.table(html.unescape(link), "utm_campaign")
    assert "<script>alert" not in page
    assert [row["value"] for row in rows] == [hostile]


@pytest.mark.parametrize("query", ["facet=nope", "campaign=nope", "facet=%00", "facet=tab", "f=nope:x"])
def test_an_address_that_makes_no_sense_is_read_as_if_nothing_was_said(house: House, query: str) -> None:
    with reading(house) as reader:
        assert "Nothing in this time" in reader.read(f"{SOURCES}?{query}")


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (3, 2, "+50\u202f%"),
        (1, 2, "\u221250\u202f%"),
        (2, 2, "as before"),
        (1001, 1000, "as before"),
        (2, 0, "new"),
        (0, 0, "as before"),
    ],
)
def test_a_change_is_said_in_a_word_or_a_number(now: int, before: int, said: str) -> None:
    assert change(now, before) == said


@pytest.mark.parametrize(
    ("facet", "value", "said"),
    [
        ("referrer", "", "No referrer"),
        ("tab", "", "No label"),
        ("query", "a=b=c", "b=c"),
        ("query", "a=", "(empty)"),
        ("query", "…", "All others"),
        ("hosting", "cloud", "cloud"),
    ],
)
def test_a_value_has_words(facet: str, value: str, said: str) -> None:
    assert label(facet, value) == said
