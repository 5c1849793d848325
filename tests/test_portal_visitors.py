"""Visitors: who is found by which id, the journey event by event, and what is never shown."""

from __future__ import annotations

import re
from typing import Any

import pytest
from engines import look
from numbers_visit import BOARDS, CHARTS, DAY_MS, HOUR_MS, MINUTE_MS, PARTNER, reading
from portal_cast import House
from rollup_cast import NOW, happened

VISITORS = f"{CHARTS}/visitors"
A, B = "a" * 40, "b" * 40
URL = "https://market.example/apps/1219125/charts?utm_source=news"
ROWS = [
    happened(
        visitor="a",
        at=NOW - 2 * DAY_MS,
        url=URL,
        title="Charts",
        referrer="https://www.google.com/",
        query={"utm_source": "news", "utm_campaign": "spring"},
        partner_anonymous_id="crm-1",
    ),
    happened("tab_click", "a", NOW - 2 * DAY_MS + 40_000, url=URL, label="Reviews", partner_anonymous_id="crm-1"),
    happened("cta_click", "a", NOW - 2 * DAY_MS + HOUR_MS, url=URL, label="Try it free"),
    happened("install", "a", NOW - 3 * HOUR_MS, user_id="account-7"),
    happened(visitor="a", at=NOW - 2 * HOUR_MS, app="com.owner.boards"),
    happened(visitor="b", at=NOW - HOUR_MS, partner_anonymous_id="crm-2"),
]


def seqs(page: str) -> list[int]:
    """The events of a page, in its order."""
    return [int(each) for each in re.findall(r'data-seq="(\d+)"', page)]


@pytest.mark.parametrize("text", [A, "crm-1", "account-7"])
def test_a_visitor_is_found_by_each_id_and_every_event_leads_to_its_page(house: House, text: str) -> None:
    with reading(house, ROWS) as reader:
        page = reader.page(f"{VISITORS}?q={text}")
    assert seqs(page) == [1, 2, 3, 4]
    assert [f'href="{CHARTS}/events/{seq}"' in page for seq in range(1, 7)] == [True] * 4 + [False] * 2


def test_the_journey_is_told_by_day_and_pause_with_where_it_began(house: House) -> None:
    with reading(house, ROWS) as reader:
        page = reader.read(f"{VISITORS}?visitor={A}")
    assert (
        "Tuesday, 26 May 2026 20:26:40 Page view Charts /apps/1219125/charts from google.com , campaign news / spring"
        " 20:27:20 Tab Reviews after 40 s 59 min later 21:26:40 Call to action Try it free /apps/1219125/charts"
        " Thursday, 28 May 2026 1 d 20 h later 17:26:40 Install" in page
    )
    assert "Came first from google.com , campaign news / spring" in page
    assert f"Anonymous id {A} Your own id crm-1 User id account-7 First seen 26 May 2026, 20:26 UTC" in page


def test_days_and_times_are_those_of_the_chosen_zone(house: House) -> None:
    with reading(house, ROWS) as reader:
        page = reader.read(f"{VISITORS}?visitor={A}&tz=Asia/Tokyo")
    assert "Wednesday, 27 May 2026 05:26:40 Page view" in page


def test_all_listings_of_a_partner_are_one_journey(house: House) -> None:
    with reading(house, ROWS) as reader:
        here = reader.page(f"{VISITORS}?visitor={A}")
        assert f'href="{PARTNER}/visitors?visitor={A}"' in here
        everywhere = reader.page(f"{PARTNER}/visitors?visitor={A}")
    assert seqs(everywhere) == [1, 2, 3, 4, 5]
    assert f'href="{BOARDS}/events/5"' in everywhere


def test_who_was_on_another_listing_is_looked_for_there(house: House) -> None:
    with reading(house, ROWS) as reader:
        page = reader.page(f"{BOARDS}/visitors?q=crm-2")
    assert seqs(page) == []
    assert "This visitor was on another of your listings." in page
    assert f'href="{PARTNER}/visitors?q=crm-2"' in page


def test_an_id_of_several_visitors_shows_them_all_to_choose(house: House) -> None:
    rows = [happened(visitor=v, partner_anonymous_id="crm-1") for v in "abc"]
    with reading(house, rows) as reader:
        page = reader.page(f"{VISITORS}?q=crm-1")
        assert "3 visitors" in reader.read(f"{VISITORS}?q=crm-1")
        (link,) = re.findall(rf'href="([^"]+)"><code>{B}', page)
        assert seqs(reader.page(link)) == [2]
    assert seqs(page) == []


def test_nobody_finds_what_is_another_partners_by_an_equal_id(house: House) -> None:
    theirs: dict[str, Any] = {"app": "com.stranger.notes", "partner_anonymous_id": "crm-1", "user_id": "account-7"}
    rows = [*ROWS, happened(visitor="s", **theirs), happened("install", "a", app="com.stranger.notes", label="Hidden")]
    with reading(house, rows) as reader:
        for query in ("q=crm-1", "q=account-7", f"q={A}", f"visitor={A}"):
            page = reader.page(f"{PARTNER}/visitors?{query}")
            assert seqs(page) == [1, 2, 3, 4, 5], query
            assert "s" * 40 not in page
        for query in ("", "?q=" + "s" * 40, "?visitor=" + "s" * 40):
            page = reader.page(f"{PARTNER}/visitors{query}")
            assert "com.stranger.notes" not in page
            assert "Hidden" not in page
        assert "Nobody found" in reader.read(f"{VISITORS}?q={'s' * 40}")
        for path in ("/apps/com.stranger.notes/visitors", "/partners/stranger/visitors"):
            assert reader.get(f"{path}?q=crm-1").status_code == 404
            assert reader.get(f"{path}.json?q=crm-1").status_code == 404


def test_an_app_that_changed_hands_shows_its_new_partner_nothing_of_the_time_before(house: House) -> None:
    rows = [happened("install", visitor="a", partner_key="stranger", partner_anonymous_id="crm-1"), *ROWS[:1]]
    with reading(house, rows) as reader:
        assert seqs(reader.page(f"{VISITORS}?q=crm-1")) == [2]
        assert seqs(reader.page(VISITORS)) == []


def test_what_may_not_be_shared_is_neither_found_nor_listed(house: House) -> None:
    rows = [
        happened("install", "h", suppressed="consent", partner_anonymous_id="crm-9", user_id="account-9"),
        happened("cta_click", "a", label="Withheld", suppressed="gpc", partner_anonymous_id="crm-1"),
        *ROWS,
    ]
    with reading(house, rows) as reader:
        for text in ("h" * 40, "crm-9", "account-9"):
            assert "Nobody found" in reader.read(f"{VISITORS}?q={text}")
        assert "Withheld" not in reader.page(f"{VISITORS}?visitor={A}")
        assert seqs(reader.page(f"{VISITORS}?visitor={A}")) == [3, 4, 5, 6]
        assert seqs(reader.page(VISITORS)) == [6]


def test_without_a_search_who_converted_lately_is_shown_each_once(house: House) -> None:
    rows = [*ROWS, happened("cta_click", "b", NOW, label="Buy"), happened(visitor="c", at=NOW)]
    with reading(house, rows) as reader:
        page = reader.page(VISITORS)
        assert seqs(reader.page(f"{PARTNER}/visitors")) == [7, 4]
    assert seqs(page) == [7, 4]
    assert f'href="{VISITORS}?visitor={B}"' in page


def test_who_is_shown_is_of_the_time_and_the_filters_that_are_asked_for(house: House) -> None:
    rows = [*ROWS, happened("cta_click", "b", NOW, label="Buy"), happened("install", "c", NOW - 40 * DAY_MS)]
    with reading(house, rows) as reader:
        assert seqs(reader.page(VISITORS)) == [7, 4]
        assert seqs(reader.page(f"{VISITORS}?period=90d")) == [7, 4, 8]
        assert seqs(reader.page(f"{VISITORS}?f=utm_source:news")) == [4]
        assert seqs(reader.page(f"{PARTNER}/visitors?f=cta:Buy")) == [7]
        assert seqs(reader.page(f"{VISITORS}?period=today&f=utm_source:news")) == []


def test_what_was_removed_since_is_left_out_and_it_is_said(house: House) -> None:
    with reading(house, ROWS) as reader:
        look(house.cast.where, "log", "delete from events where seq = 2")
        page = reader.read(f"{VISITORS}?visitor={A}")
        assert seqs(reader.page(f"{VISITORS}?visitor={A}")) == [1, 3, 4]
    assert "1 event of this visitor is no longer kept" in page


def test_a_long_journey_is_shown_from_its_end_and_leads_further_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.portal.numbers.visitors.SHOWN", 3)
    rows = [happened(visitor="a", at=NOW + n * MINUTE_MS) for n in range(7)]
    with reading(house, rows) as reader:
        newest = reader.page(f"{VISITORS}?visitor={A}")
        (link,) = re.findall(r'rel="next" href="([^"]+)"', newest)
        middle = reader.page(link.replace("&amp;", "&"))
        (link,) = re.findall(r'rel="next" href="([^"]+)"', middle)
        oldest = reader.page(link.replace("&amp;", "&"))
    assert [seqs(page) for page in (newest, middle, oldest)] == [[5, 6, 7], [2, 3, 4], [1]]
    assert 'rel="next"' not in oldest
    assert "The newest" in oldest


def test_live_events_and_the_page_of_an_event_lead_to_their_visitor(house: House) -> None:
    rows = [*ROWS, happened(visitor="h", suppressed="consent")]
    with reading(house, rows) as reader:
        assert f'href="{VISITORS}?visitor={A}"' in reader.page(f"{CHARTS}/live")
        assert f'href="{VISITORS}?visitor={A}"' in reader.page(f"{CHARTS}/events/1")
        assert "/visitors?visitor=" not in reader.page(f"{CHARTS}/events/7")
        assert "h" * 40 not in reader.page(f"{CHARTS}/live")


def test_an_operator_sees_a_visitor_of_the_partner_whose_page_it_is(house: House) -> None:
    rows = [*ROWS, happened(visitor="s", app="com.stranger.notes", partner_anonymous_id="crm-1")]
    with reading(house, rows, "operator") as reader:
        assert seqs(reader.page(f"{PARTNER}/visitors?q=crm-1")) == [1, 2, 3, 4, 5]
        assert seqs(reader.page("/partners/stranger/visitors?q=crm-1")) == [7]


NONSENSE = ["before=x&q=crm-1", "before=99999999999999999999&q=crm-1", "q=%00", "visitor=a%00b", "q=" + "x" * 300]


@pytest.mark.parametrize("query", NONSENSE)
def test_an_address_that_makes_no_sense_is_read_as_if_nothing_was_said(house: House, query: str) -> None:
    with reading(house, ROWS) as reader:
        assert reader.get(f"{VISITORS}?{query}").status_code == 200


def test_a_strangers_text_stays_text(house: House) -> None:
    hostile = '"><script>alert(1)</script>'
    row = happened("cta_click", label=hostile, partner_anonymous_id=hostile, url="https://[bad")
    with reading(house, [row]) as reader:
        for path in (VISITORS, f"{VISITORS}?visitor={A}", f"{VISITORS}?q={hostile}"):
            assert "<script>alert" not in reader.page(path)
