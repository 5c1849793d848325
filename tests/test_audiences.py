"""Audiences: what a message says, and that history is a plain fold over what was said, whatever came late or twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from conftest import Cast
from engines import look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from rollup_cast import NOW, count
from test_subjects import OWNER, in_log, sent

from store.audiences import noting, reading
from store.audiences.noting import SLOT_MS
from store.audiences.statements import Membership, Statement, Trait, statements
from store.database import Where
from store.engines import open_reader
from store.event import NewRow
from store.rollups import following
from store.rollups.checking import check
from store.rollups.rebuilding import rebuild
from store.subjects.forgetting import erase, forget

TABLES = "audiences audience_marks audience_members audience_slots audience_traits".split()
MORE = "events rollup_slots rollup_days rollup_values rollup_apps rollup_events rollup_names rollup_visitors".split()
MORE += ["subject_links", "subject_ids"]


def personas(kind: str = "audience", key: str | None = "vips") -> dict[str, Any]:
    return {"personas": {"computation_class": kind, "computation_key": key, "space_id": "spa_1"}}


IN, OUT = Membership("vips", True), Membership("vips", False)


@pytest.mark.parametrize(
    ("kind", "name", "properties", "context", "expected"),
    [
        ("identify", "", {"vips": True}, personas(), [IN]),
        ("identify", "", {"vips": False, "email": "a@b.example"}, personas(), [OUT]),
        # Segment's own sample: the key is not the trait's name.
        ("identify", "", {"first_time_shopper": True}, personas(key="aud_1"), [Membership("first_time_shopper", True)]),
        ("identify", "", {"a": True, "b": False}, personas(key="aud_1"), []),
        ("identify", "", {"vips": "true"}, personas("journey_step"), [IN]),
        ("identify", "", {}, personas("journey_step"), [IN]),
        ("identify", "", {"vips": 1}, personas(), []),
        ("identify", "", {"vips": True}, personas(key=None), []),
        ("identify", "", {"vips": True}, personas("unheard of"), []),
        ("identify", "", {"known": True, "vips": True, "name": "x"}, {}, [Membership("known", True)]),
        ("identify", "", {"known": "yes"}, {"personas": "odd"}, []),
        ("track", "Audience Entered", {"audience_key": "vips", "vips": True}, {}, [IN]),
        ("track", "Audience Exited", {"audience_key": "vips", "vips": False}, personas(), [OUT]),
        ("track", "Audience Exited", {"audience_key": "vips"}, {}, [OUT]),
        ("track", "Audience Entered", {}, personas(), [IN]),
        ("track", "Audience Entered", {}, {}, []),
        ("track", "Order Completed", {"known": True, "vips": True}, {}, []),
        ("track", "Order Completed", {"vips": True}, personas(), [IN]),
        ("track", "Trait Computed", {"trait_key": "plan", "plan": "pro"}, {}, [Trait("plan", '"pro"')]),
        ("identify", "", {"plan": 3}, personas("trait", "plan"), [Trait("plan", "3")]),
        ("identify", "", {"plan": None}, personas("trait", "plan"), [Trait("plan", "")]),
        ("identify", "", {"orders": [1, "x"]}, personas("trait", "tra_1"), [Trait("orders", '[1,"x"]')]),
        ("identify", "", {"n" * 120: True}, personas(key="k"), [Membership("n" * 99 + "…", True)]),
        ("group", "", {"vips": True}, personas(), []),
    ],
)
def test_what_a_message_says(
    kind: str, name: str, properties: dict[str, Any], context: dict[str, Any], expected: list[Statement]
) -> None:
    assert statements(kind, name, properties, context, lambda known: known == "known") == expected


@pytest.fixture
def fresh(cast: Cast) -> Where:
    return cast.where


def said(member: bool, at: int, who: str = "u1", audience: str = "vips", **told: Any) -> NewRow:
    return sent(f"{who}-cookie", who, at, properties={audience: member}, context=personas(key=audience), **told)


def changes(where: Where, audience: str = "vips") -> list[tuple[int, str, bool]]:
    sql = f"select at, id, changed, member from audience_marks where audience = '{audience}' order by at, seq"
    return [(at, who, bool(member)) for at, who, changed, member in look(where, "log", sql) if changed]


def sizes(where: Where) -> dict[str, int]:
    async def read() -> list[reading.Audience]:
        async with await open_reader(where, "log") as db:
            return await reading.audiences(db, OWNER, 0, 1 << 40)

    found = asyncio.run(read())
    assert all(each.size == each.entered - each.left for each in found)
    return {each.name: each.size for each in found}


def test_a_first_sync_and_every_other_one_change_nothing(fresh: Where) -> None:
    rows = [said(True, NOW), said(True, NOW + 1), said(False, NOW, "u2"), said(True, NOW + 2)]
    count(fresh, rows)
    count(fresh, [said(True, NOW + 3), said(False, NOW + 4, "u2")])
    assert changes(fresh) == [(NOW, "u1", True)]
    assert sizes(fresh) == {"vips": 1}


def test_what_comes_late_takes_its_place_in_the_past(fresh: Where) -> None:
    count(fresh, [said(True, NOW), said(True, NOW + 50)])
    count(fresh, [said(False, NOW + 20)])
    assert changes(fresh) == [(NOW, "u1", True), (NOW + 20, "u1", False), (NOW + 50, "u1", True)]
    assert sizes(fresh) == {"vips": 1}


def test_the_newest_value_of_a_trait_counts_whenever_it_came(fresh: Where) -> None:
    def computed(value: object, at: int) -> NewRow:
        return sent("c", "u1", at, properties={"plan": value}, context=personas("trait", "plan"))

    count(fresh, [computed("team", NOW + 5), computed("free", NOW)])
    count(fresh, [computed("trial", NOW + 1)])
    assert look(fresh, "log", "select value from audience_traits") == [('"team"',)]
    count(fresh, [computed(None, NOW + 6)])

    async def read() -> list[reading.Trait]:
        async with await open_reader(fresh, "log") as db:
            return await reading.traits(db, OWNER)

    assert asyncio.run(read()) == [reading.Trait("plan", 0, [], 0)]


def test_of_many_audiences_the_first_are_kept(fresh: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noting, "MOST_NAMES", 2)
    count(fresh, [said(True, NOW, audience=name) for name in ("a", "b", "c", "a")])
    assert sizes(fresh) == {"a": 1, "b": 1}


def test_old_spaces_are_understood_once_their_audience_is_known(fresh: Where) -> None:
    plain = [sent(f"{who}-cookie", who, NOW, properties={"vips": True}) for who in ("u1", "u2")]
    entered = sent("u3-cookie", "u3", NOW, type="track", name="Audience Entered", properties={"audience_key": "vips"})
    count(fresh, [plain[0], entered, plain[1]])
    assert changes(fresh) == [(NOW, "u3", True), (NOW, "u2", True)]


def test_whoever_left_is_forgotten_with_the_events_and_a_member_is_not(fresh: Where) -> None:
    count(fresh, [said(True, NOW), said(True, NOW, "u2"), said(False, NOW + 1, "u2"), said(False, NOW + 1, "u3")])
    forget_up_to(fresh, 3)
    assert look(fresh, "log", "select id, member from audience_members order by id") == [("u1", 1), ("u3", 0)]
    assert look(fresh, "log", "select distinct id from audience_marks order by id") == [("u1",), ("u3",)]
    assert sizes(fresh) == {"vips": 1}


def test_what_was_said_of_a_member_goes_with_its_events_and_the_newest_stays(fresh: Where) -> None:
    count(fresh, [said(True, NOW), said(True, NOW + 10), said(True, NOW + 20), said(True, NOW + 30)])
    forget_up_to(fresh, 3)
    assert look(fresh, "log", "select at from audience_marks order by at") == [(NOW + 30,)]
    # What comes late is understood without what is gone: they were in it already, left, and were in it again.
    count(fresh, [said(True, NOW + 5)])
    count(fresh, [said(False, NOW + 25)])
    assert changes(fresh) == [(NOW + 25, "u1", False), (NOW + 30, "u1", True)]
    assert sizes(fresh) == {"vips": 1}
    forget_up_to(fresh, 6)
    assert look(fresh, "log", "select at from audience_marks") == [(NOW + 30,)]
    count(fresh, [said(False, NOW + 40)])
    forget_up_to(fresh, 7)
    assert [look(fresh, "log", f"select count(*) from {table}") for table in TABLES[1:3]] == [[(0,)], [(0,)]]
    assert sizes(fresh) == {"vips": 0}


def test_two_names_that_are_one_when_cut_are_one_statement(fresh: Where) -> None:
    name, other = "n" * 110, "n" * 111
    count(fresh, [said(False, NOW, "u2", audience=name)])
    count(fresh, [sent("u1-cookie", "u1", NOW + 10, properties={name: True, other: True})])
    assert changes(fresh, "n" * 99 + "…") == [(NOW + 10, "u1", True)]
    forget_up_to(fresh, 2)
    count(fresh, [said(False, NOW + 5, audience=name)])
    assert list(sizes(fresh).values()) == [1]


def forget_up_to(where: Where, seq: int) -> None:
    look(where, "log", "delete from removed")
    removed = f"('{OWNER[0]}', 1, 'retention', 1, {seq}, {seq})"
    look(where, "log", f"insert into removed (app_key, hour, reason, first_seq, last_seq, n) values {removed}")
    while in_log(where, forget, 2):
        pass


def test_who_is_erased_has_left(fresh: Where) -> None:
    count(fresh, [said(True, NOW), said(True, NOW, "u2")])
    in_log(fresh, erase, OWNER, "user", "u1", NOW)
    assert sizes(fresh) == {"vips": 1}
    assert look(fresh, "log", "select distinct id from audience_marks") == [("u2",)]


@some.composite
def told(draw: some.DrawFn) -> NewRow:
    return said(
        draw(some.booleans()),
        NOW + draw(some.integers(0, 6)) * SLOT_MS // 2,
        draw(some.sampled_from(["u1", "u2"])),
        draw(some.sampled_from(["vips", "vips", "fans"])),
    )


def folded(rows: Sequence[NewRow]) -> tuple[dict[str, int], Counter[tuple[str, int, bool]]]:
    """Who is in each audience, and who came and went when, by everything that was said in the order of its times."""
    members: set[tuple[str, str]] = set()
    moved: Counter[tuple[str, int, bool]] = Counter()
    for row in sorted(rows, key=lambda row: row[5]):
        audience = "fans" if '"fans"' in row[12] else "vips"
        member = "true" in row[12]
        who = audience, row[9] or ""
        if member != (who in members):
            moved[audience, row[5] // SLOT_MS, member] += 1
            members ^= {who}
    named = {"fans" if '"fans"' in row[12] else "vips" for row in rows}
    return {name: sum(audience == name for audience, _ in members) for name in named}, moved


@given(rows=some.lists(told(), max_size=20), portion=some.integers(1, 9))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_audience_is_a_plain_fold_over_what_was_said(fresh: Where, rows: list[NewRow], portion: int) -> None:
    for table in [*TABLES, *MORE, *([] if hasattr(fresh, "exists") else ["message_ids"])]:
        look(fresh, "log", f"delete from {table}")
    look(fresh, "log", "update rollups set seq = 0, received_at = 0, taken_until = 0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "RUN", portion)
        count(fresh, rows)
    members, moved = folded(rows)
    assert sizes(fresh) == members
    slots = look(fresh, "log", "select audience, slot, entered, departed from audience_slots")
    found = {(name, slot, True): entered for name, slot, entered, _ in slots if entered}
    found |= {(name, slot, False): departed for name, slot, _, departed in slots if departed}
    assert found == dict(moved)


def test_a_rebuild_makes_subjects_and_audiences_anew(fresh: Where) -> None:
    count(fresh, [said(True, NOW), said(True, NOW + 9, "u2"), said(False, NOW + 5, "u2")])
    tables = [*TABLES, "subject_links", "subject_ids"]
    before = {table: sorted(look(fresh, "log", f"select * from {table}")) for table in tables}
    for table in tables:
        look(fresh, "log", f"update {table} set partner_key = 'nobody'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "EMPTIED", 2)
        asyncio.run(rebuild(fresh, "a test", 20, False, lambda at, of: None))
    assert {table: sorted(look(fresh, "log", f"select * from {table}")) for table in tables} == before


def test_a_check_counts_audiences_again(fresh: Where, tmp_path: Any) -> None:
    def differences(scratch: str) -> list[str]:
        (tmp_path / scratch).mkdir()
        found = asyncio.run(check(fresh, tmp_path / scratch, NOW, lambda at, of: None))
        return [each.what for each in found.differences]

    count(fresh, [said(True, NOW), said(False, NOW + SLOT_MS), said(True, NOW + 1)])
    count(fresh, [said(True, NOW - SLOT_MS)])  # so that nobody entered when it seemed so
    assert differences("true") == []
    look(fresh, "log", "update audience_slots set entered = entered + 1")
    assert differences("wrong") == ["audiences entered and left"]
