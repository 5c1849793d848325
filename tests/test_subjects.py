"""Subjects in the store: kept by whoever counts, the same however the log is cut, found, forgotten and erased."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Cast
from engines import look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from rollup_cast import APPS, NOW, count, happened

from store.database import Where
from store.engines import open_reader, open_writer
from store.event import NewRow
from store.rollups import following
from store.rollups.checking import check
from store.subjects.forgetting import erase, forget
from store.subjects.naming import Id
from store.subjects.reading import called, ids_of, visitors_of

APP = "com.owner.charts"
OWNER = (APP, "owner")
DAY_MS = 86_400_000
TABLES = "subject_links subject_ids rollup_visitors rollup_names rollup_events events rollup_journeys".split()
ALL = "select app_key, partner_key, id, kind, subject, shared from subject_ids order by app_key, id, kind"


def sent(anonymous_id: str, user_id: str | None = None, at: int = NOW, **told: Any) -> NewRow:
    """What the partner's own systems sent, of a visitor by its whole id."""
    row = list(happened(told.pop("name", ""), source="partner", type=told.pop("type", "identify"), at=at, **told))
    row[8], row[9], row[10] = anonymous_id, user_id, anonymous_id
    return tuple(row)  # type: ignore[return-value]


def named(where: Where, kind: str, text: str) -> set[tuple[str, str]]:
    async def read() -> list[Id]:
        async with await open_reader(where, "log") as db:
            return await ids_of(db, OWNER, kind, text)

    return {(each.kind, each.id) for each in asyncio.run(read())}


def in_log(where: Where, work: Any, *args: Any) -> Any:
    async def done() -> Any:
        async with await open_writer(where, "log") as db:
            return await db.atomic(work, *args)

    return asyncio.run(done())


@pytest.fixture
def fresh(cast: Cast) -> Where:
    return cast.where


A, B = "a" * 40, "b" * 40


def test_a_visitor_and_what_the_partner_says_of_them_are_one(fresh: Where) -> None:
    count(
        fresh,
        [
            happened(visitor="a", user_id="c" * 40, partner_anonymous_id="their-cookie"),
            sent("their-cookie", "u1"),
            sent("another-cookie", "u1", ids={"idfa": "A6334005-9019", "SGID": "27"}),
            happened(visitor="b"),
        ],
    )
    whole = {
        ("anonymous", A),
        ("account", "c" * 40),
        ("partner", "their-cookie"),
        ("partner", "another-cookie"),
        ("user", "u1"),
        ("idfa", "a6334005-9019"),
        ("SGID", "27"),
    }
    for kind, text in whole:
        assert named(fresh, kind, text) == whole
    assert named(fresh, "anonymous", B) == {("anonymous", B)}

    async def read() -> Any:
        async with await open_reader(fresh, "log") as db:
            return await visitors_of(db, OWNER, "user", "u1"), await called(db, OWNER, "A6334005-9019")

    assert asyncio.run(read()) == (
        [1, 2, 3],
        [(A, 1), ("another-cookie", 3), ("their-cookie", 2)],
    )


def test_ids_of_ours_that_the_partner_sends_back_are_ours(fresh: Where) -> None:
    count(fresh, [happened(visitor="a", user_id="c" * 40)])
    count(fresh, [sent("e" * 40, A, ids={"idfa": "i1"}), sent("f" * 40, "c" * 40), sent("9" * 40, "d" * 40)])
    mine = {("anonymous", A), ("account", "c" * 40), ("anonymous", "e" * 40), ("idfa", "i1"), ("anonymous", "f" * 40)}
    assert named(fresh, "anonymous", A) == mine
    assert named(fresh, "user", "d" * 40) == {("user", "d" * 40), ("anonymous", "9" * 40)}


def test_an_id_is_known_as_ours_from_its_first_event_on(fresh: Where) -> None:
    count(fresh, [sent("9" * 40, B), happened(visitor="b"), sent("8" * 40, B)])
    assert named(fresh, "anonymous", B) == {("anonymous", B), ("anonymous", "8" * 40)}
    assert named(fresh, "user", B) == {("user", B), ("anonymous", "9" * 40)}


def test_an_alias_makes_two_users_one_and_a_browser_that_was_both_does_not(fresh: Where) -> None:
    count(fresh, [sent("p1", "old"), sent("p2", "new"), sent("p3", "new", type="alias", ids={"previous_id": "old"})])
    assert named(fresh, "user", "old") >= {("user", "new"), ("partner", "p1"), ("partner", "p2")}
    shared = [sent("p9", who, type="alias", ids={"previous_id": "browser"}) for who in ("u1", "u2")]
    count(fresh, shared)
    assert ("user", "u2") not in named(fresh, "user", "u1")


def test_who_did_not_agree_is_linked_with_nobody(fresh: Where) -> None:
    count(fresh, [happened(visitor="a", user_id="c" * 40, suppressed="consent")])
    assert look(fresh, "log", "select count(*) from subject_links") == [(0,)]


def test_another_partners_ids_are_another_matter(fresh: Where) -> None:
    count(fresh, [sent("p", "u1"), sent("p", "u2", app="com.stranger.notes"), sent("q", "u1", app="com.owner.boards")])
    assert named(fresh, "partner", "p") == {("partner", "p"), ("user", "u1")}


def test_a_subject_is_erased_and_nobody_else_is(fresh: Where) -> None:
    rows = [sent("p1", "u1"), sent("p2", "u2"), sent("p1", ids={"device": "d"}), sent("p2", ids={"device": "d"})]
    count(fresh, rows)
    assert in_log(fresh, erase, OWNER, "partner", "p1", NOW) == [Id("partner", "p1"), Id("user", "u1")]
    assert look(fresh, "log", "select distinct kind, id from subject_ids order by id") == [
        ("device", "d"),
        ("partner", "p2"),
        ("user", "u2"),
    ]
    assert look(fresh, "log", "select count(*) from subject_links where 'u1' in (id, other_id)") == [(0,)]
    # With the other one gone, the device is of this one alone.
    assert named(fresh, "user", "u2") == {("user", "u2"), ("partner", "p2"), ("device", "d")}


def test_links_are_forgotten_with_the_events_that_told_of_them(fresh: Where) -> None:
    old = NOW - 100 * DAY_MS
    rows = [sent("p1", "u1", received_at=old), sent("p2", "u1", received_at=old), sent("p3", "u2", received_at=old)]
    count(fresh, [*rows, sent("p2", "u1", received_at=NOW)])
    look(
        fresh,
        "log",
        "insert into removed (app_key, hour, reason, first_seq, last_seq, n) "
        f"values ('{APP}', {(old + DAY_MS) // 3_600_000}, 'retention', 1, 3, 3)",
    )
    assert in_log(fresh, forget, 3) == 3
    while in_log(fresh, forget, 3):
        pass
    assert look(fresh, "log", "select kind, id from subject_ids order by id") == [("partner", "p2"), ("user", "u1")]
    assert look(fresh, "log", "select count(*) from subject_links") == [(2,)]


def test_a_check_finds_what_is_wrong_with_a_subject(fresh: Where, tmp_path: Any) -> None:
    count(fresh, [sent("p1", "u1"), happened(visitor="a", user_id="c" * 40)])

    def found() -> list[str]:
        scratch = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        return [each.what for each in asyncio.run(check(fresh, scratch, NOW, lambda at, of: None)).differences]

    assert found() == []
    look(fresh, "log", "update subject_ids set subject = 'x' where id = 'u1'")
    assert found() == ["subjects"]


@some.composite
def rows(draw: some.DrawFn) -> NewRow:
    source = draw(some.sampled_from(["browser", "browser", "partner"]))
    told: dict[str, Any] = {}
    if source == "partner":
        kinds = some.sampled_from(["device", "idfa", "SGID", "previous_id"])
        told["ids"] = draw(some.dictionaries(kinds, some.sampled_from(["x", "y", "u1"]), max_size=2)) or None
        return sent(
            draw(some.sampled_from([A, B, "p1", "p2"])),
            draw(some.sampled_from([None, "u1", "u2", A, "c" * 40])),
            **told,
        )
    return happened(
        visitor=draw(some.sampled_from("ab")),
        app=draw(some.sampled_from(sorted(APPS))),
        user_id=draw(some.sampled_from([None, "c" * 40, "d" * 40])),
        partner_anonymous_id=draw(some.sampled_from([None, "p1", "p2"])),
    )


@given(told=some.lists(rows(), max_size=25), portion=some.integers(1, 9))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_subjects_do_not_depend_on_how_the_log_is_cut(fresh: Where, told: list[NewRow], portion: int) -> None:
    found = []
    for run in (portion, 1_000):
        for table in [*TABLES, *([] if hasattr(fresh, "exists") else ["message_ids"])]:
            look(fresh, "log", f"delete from {table}")
        look(fresh, "log", "update rollups set seq = 0, received_at = 0, taken_until = 0")
        for table in ("rollup_slots", "rollup_days", "rollup_values", "rollup_apps"):
            look(fresh, "log", f"delete from {table}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(following, "RUN", run)
            count(fresh, told)
        found.append(look(fresh, "log", ALL))
    assert found[0] == found[1]
