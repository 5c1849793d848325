"""Audiences on the portal: how large, who came and went, and only their visitors on every other page."""

from __future__ import annotations

from typing import Any

from numbers_visit import BOARDS, CHARTS, DAY_MS, HOUR_MS, PARTNER, reading
from portal_cast import House
from rollup_cast import NOW, happened
from test_subjects import sent

from store.event import NewRow

AUDIENCES = f"{CHARTS}/audiences"


def membership(who: str, member: bool, at: int, audience: str = "big_spenders", **told: Any) -> NewRow:
    """What Engage sends when somebody enters or leaves."""
    personas = {"computation_class": "audience", "computation_key": audience}
    return sent(f"{who}-cookie", who, at, properties={audience: member}, context={"personas": personas}, **told)


def trait(who: str, value: object) -> NewRow:
    personas = {"computation_class": "trait", "computation_key": "plan"}
    return sent(f"{who}-cookie", who, NOW - HOUR_MS, properties={"plan": value}, context={"personas": personas})


ROWS = [
    happened(visitor="a", at=NOW - 3 * DAY_MS, partner_anonymous_id="u1-cookie"),
    happened("install", "a", NOW - 2 * DAY_MS),
    happened(visitor="b", at=NOW - 2 * DAY_MS, partner_anonymous_id="u2-cookie"),
    happened("tab_click", "b", NOW - 2 * DAY_MS + 1, label="Reviews"),
    happened(visitor="c", at=NOW - DAY_MS),
    membership("u1", True, NOW - 3 * DAY_MS),
    membership("u2", True, NOW - 3 * DAY_MS),
    membership("u2", False, NOW - DAY_MS),
    membership("u3", True, NOW - DAY_MS, ids={"idfa": "I-3"}),
    trait("u1", "pro"),
    trait("u2", "pro"),
    trait("u3", None),
]


def test_an_audience_has_its_members_and_who_came_and_went(house: House) -> None:
    with reading(house, ROWS) as reader:
        (row,) = reader.table(AUDIENCES, "audiences")
        over_time = reader.table(f"{AUDIENCES}?period=7d", "over-time")
        history = reader.table(f"{AUDIENCES}?audience=big_spenders", "history")
        page = reader.read(f"{AUDIENCES}?audience=big_spenders")
    assert (row["audience"], row["members"], row["entered"], row["left"]) == ("big_spenders", 2, 3, 1)
    assert [each["members"] for each in over_time] == [0, 0, 0, 2, 2, 2, 2]
    assert [(each["what"], each["id"]) for each in history] == [
        ("entered", "u3"),
        ("left", "u2"),
        ("entered", "u2"),
        ("entered", "u1"),
    ]
    assert "2 members now" in page


def test_computed_traits_have_their_values(house: House) -> None:
    with reading(house, ROWS) as reader:
        assert reader.table(AUDIENCES, "traits") == [
            {"app": "com.owner.charts", "trait": "plan", "value": '"pro"', "users": 2}
        ]


def test_every_page_of_numbers_can_be_of_an_audience(house: House) -> None:
    only = "f=audience:big_spenders"
    with reading(house, ROWS) as reader:
        steps = {row["step"]: row["visitors"] for row in reader.table(f"{CHARTS}/funnel?{only}", "steps")}
        tabs = reader.table(f"{CHARTS}/clicks?{only}", "tab")
        journeys = reader.table(f"{CHARTS}/journeys?{only}", "links")
        visitors = reader.table(f"{CHARTS}/overview?{only}", "linked")[0]["all"]
        nobody = reader.table(f"{CHARTS}/overview?f=audience:unheard_of", "linked")[0]["all"]
        all_apps = reader.table(f"{PARTNER}/overview?{only}", "linked")[0]["all"]
    assert (steps["page_view"], steps["install"]) == (1, 1)
    assert tabs == []
    assert [(row["from"], row["to"], row["visitors"]) for row in journeys] == [("Page view", "Install", 1)]
    assert (visitors, nobody, all_apps) == (1, 0, 1)


def test_a_visitor_is_found_by_any_id_of_the_same_subject(house: House) -> None:
    rows = [*ROWS, sent("u1-cookie", ids={"idfa": "A633-4005", "SGID": "2718"})]
    with reading(house, rows) as reader:
        for text in ("u1", "a633-4005", "A633-4005", "2718"):
            page = reader.page(f"{CHARTS}/visitors?q={text}")
            assert "a" * 40 in page, text
        page = reader.read(f"{CHARTS}/visitors?visitor={'a' * 40}")
    assert "IDFA a633-4005" in page
    assert "SGID 2718" in page
    assert "Your user id u1" in page
    assert "In audiences big_spenders" in page


def test_without_an_audience_the_page_says_how_one_comes(house: House) -> None:
    with reading(house, [happened()]) as reader:
        assert "No audience yet" in reader.read(AUDIENCES)
        assert f'href="{CHARTS}/details">Details</a>.' in reader.get(AUDIENCES).text
        assert reader.get(f"{AUDIENCES}?audience=unheard_of").status_code == 404
        assert "No audience yet" in reader.read(f"{BOARDS}/audiences")


def test_another_partner_sees_nothing_of_it(house: House) -> None:
    with reading(house, ROWS, "stranger") as reader:
        assert reader.get(AUDIENCES).status_code == 404
        assert reader.table("/apps/com.stranger.notes/audiences", "audiences") == []
