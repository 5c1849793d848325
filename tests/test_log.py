"""The event log: what a commit stores, counts and leaves out, and that nothing in it is ever numbered twice."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import OTHER_VISITOR, VISITOR, Cast
from hypothesis import given
from hypothesis import strategies as st

from store import log
from store.database import Database
from store.engines import open_writer
from store.entry import Committed, Entry, Rejection, Tally, Visitor
from store.event import Details
from store.sqlite import append

HOUR = 472_222
NOW = HOUR * 3_600_000 + 17


def row(number: int, app: str = "com.owner.charts", **changed: Any) -> Any:
    fields = {
        "app_key": app,
        "message_id": number.to_bytes(16, "big"),
        "type": "track",
        "name": "page_view",
        "source": "browser",
        "occurred_at": NOW - 5,
        "received_at": NOW,
        "partner_key": "owner",
        "anonymous_id": VISITOR,
        "user_id": None,
        "partner_anonymous_id": None,
        "suppressed": None,
        "details": "{}",
    }
    return tuple((fields | changed).values())


def entry(*rows: Any, visitors: list[Visitor] | None = None, rejections: list[Rejection] | None = None) -> Entry:
    return Entry("browser", NOW, list(rows), visitors or [], rejections or [])


def rejection(reason: str, body: bytes | None = b"x", app: str = "com.owner.charts") -> Rejection:
    return Rejection(app, "browser", NOW, reason, "why", body)


def in_log(cast: Cast, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    async def opened() -> Any:
        async with await open_writer(cast.where, "log") as db:
            return await work(db)

    return asyncio.run(opened())


def commit(cast: Cast, *entries: Entry, carried: Counter[Tally] | None = None) -> Committed:
    return in_log(cast, lambda db: log.commit(db, entries, carried or Counter()))


def tallies(cast: Cast) -> dict[tuple[str, str, str], int]:
    rows = cast.rows("select app_key, outcome, reason, sum(n) from door_tallies where n > 0 group by 1, 2, 3")
    return {(app, outcome, reason): n for app, outcome, reason, n in rows}


def test_what_is_committed_is_there_as_it_was_given(cast: Cast) -> None:
    given_row = row(1, user_id="u", partner_anonymous_id="p", suppressed="gpc", details='{"title":"\u00fc\U0001f642"}')
    commit(cast, entry(given_row))
    assert cast.rows("select * from events") == [(1, *given_row)]


def test_a_message_told_twice_in_one_commit_is_stored_once(cast: Cast) -> None:
    done = commit(cast, entry(row(1), row(2), row(1)), entry(row(2), row(3)))
    assert (done.duplicates, done.unstorable) == ({2, 3}, set())
    assert cast.balance() == {"received": 5, "stored": 3, "duplicate": 2, "rejected": 0, "shed": 0}


def test_a_message_told_again_later_is_a_duplicate_also_after_a_restart(cast: Cast) -> None:
    assert commit(cast, entry(row(1))).duplicates == set()
    assert commit(cast, entry(row(1), row(2))).duplicates == {0}
    assert commit(cast, entry(row(1))).duplicates == {0}
    assert tallies(cast) == {
        ("com.owner.charts", "received", ""): 4,
        ("com.owner.charts", "stored", ""): 2,
        ("com.owner.charts", "duplicate", ""): 2,
    }


def test_the_same_message_id_under_two_apps_is_two_messages(cast: Cast) -> None:
    assert commit(cast, entry(row(1), row(1, app="com.owner.boards"))).duplicates == set()
    assert tallies(cast)["com.owner.boards", "stored", ""] == 1


@pytest.mark.parametrize("size", [1, 2, 3, 37, 600])
@pytest.mark.parametrize("at", ["first", "middle", "last"])
def test_a_row_that_the_log_cannot_hold_is_found_and_its_neighbours_are_stored(cast: Cast, size: int, at: str) -> None:
    poison = {"first": 0, "middle": size // 2, "last": size - 1}[at]
    rows = [row(number, **({"source": "pigeon"} if number == poison else {})) for number in range(size)]
    done = commit(cast, entry(*rows[: size // 3]), entry(*rows[size // 3 :]))
    assert (done.unstorable, done.duplicates) == ({poison}, set())
    assert cast.balance() == {"received": size, "stored": size - 1, "duplicate": 0, "rejected": 1, "shed": 0}
    assert tallies(cast)["com.owner.charts", "rejected", "unstorable"] == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"message_id": b"short"},
        {"occurred_at": "yesterday"},
        {"occurred_at": 2**63},
        {"details": None},
        {"anonymous_id": "\ud800"},
        {"name": object()},
    ],
)
def test_whatever_is_wrong_with_a_row_only_that_row_is_left_out(cast: Cast, bad: dict[str, Any]) -> None:
    done = commit(cast, entry(row(1), row(2, **bad), row(3)))
    assert done.unstorable == {1}
    assert cast.rows("select message_id from events order by seq") == [(row(1)[1],), (row(3)[1],)]


def test_a_good_row_after_a_bad_one_of_the_same_id_is_stored_and_counted_as_that(cast: Cast) -> None:
    done = commit(cast, entry(row(1, source="pigeon"), row(1)))
    assert (done.unstorable, done.duplicates) == ({0}, set())
    assert cast.balance() == {"received": 2, "stored": 1, "duplicate": 0, "rejected": 1, "shed": 0}


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.sampled_from(["com.owner.charts", "com.owner.boards"]), st.booleans()),
        max_size=25,
    ),
    st.integers(0, 25),
)
def test_whatever_comes_the_sums_are_exact(given_rows: list[tuple[int, str, bool]], cut: int) -> None:
    """Against a model: a set of (app, id)."""
    rows = [row(number, app, **({"source": "pigeon"} if bad else {})) for number, app, bad in given_rows]
    known: set[Any] = set()
    expected: dict[int, str] = {}
    for position, (number, app, bad) in enumerate(given_rows):
        expected[position] = "unstorable" if bad else "duplicate" if (app, number) in known else "stored"
        known |= set() if bad else {(app, number)}
    done = model_commit(entry(*rows[:cut]), entry(*rows[cut:]))
    assert done.duplicates == {position for position, fate in expected.items() if fate == "duplicate"}
    assert done.unstorable == {position for position, fate in expected.items() if fate == "unstorable"}
    outcomes: Counter[str] = Counter()
    for tally, n in done.counts.items():
        outcomes[tally[3]] += n
    assert outcomes["received"] == len(rows)
    assert outcomes["stored"] == len(known)
    assert outcomes["duplicate"] == len(done.duplicates)
    assert outcomes["rejected"] == len(done.unstorable)


def model_commit(*entries: Entry) -> Committed:
    """Into an event log in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for name in ("0001_log", "0009_journey"):
            connection.executescript(Path(f"store/migrations/log/{name}.sql").read_text())
        return append.commit(connection, entries, Counter())


def test_what_was_shed_before_is_counted_with_the_next_commit(cast: Cast) -> None:
    commit(cast, carried=Counter({Tally("", "browser", HOUR, "received"): 3, Tally("", "browser", HOUR, "shed"): 3}))
    commit(cast, entry(row(1)), carried=Counter({Tally("", "browser", HOUR, "shed"): 1}))
    assert tallies(cast)["", "shed", ""] == 4


def test_rejections_are_kept_with_their_reason_and_counted_by_it(cast: Cast) -> None:
    commit(cast, entry(row(1), rejections=[rejection("invalid", b"{}"), rejection("unknown_app", b"", app="")]))
    assert cast.rejections() == [("com.owner.charts", "invalid", b"{}"), ("", "unknown_app", b"")]
    assert tallies(cast)["", "rejected", "unknown_app"] == 1
    assert cast.balance() == {"received": 3, "stored": 1, "duplicate": 0, "rejected": 2, "shed": 0}


def test_a_rejection_without_a_body_is_counted_and_takes_no_row(cast: Cast) -> None:
    commit(cast, entry(rejections=[rejection("invalid", None)] * 50))
    assert cast.rejections() == []
    assert cast.balance()["rejected"] == 50


def test_a_commit_of_nothing_is_one(cast: Cast) -> None:
    assert commit(cast, entry()) == Committed(set(), set(), Counter())


def test_the_hour_of_a_tally_is_that_of_receiving(cast: Cast) -> None:
    commit(cast, entry(row(1)))
    assert cast.rows("select distinct hour from door_tallies") == [(HOUR,)]


def test_a_seq_is_never_used_twice_even_when_the_newest_event_was_deleted(cast: Cast) -> None:
    commit(cast, entry(row(1), row(2)))
    cast.rows("delete from events")
    commit(cast, entry(row(3)))
    assert cast.rows("select seq, message_id from events") == [(3, row(3)[1])]


def test_a_commit_that_fails_stores_nothing_of_it_and_the_next_one_succeeds(cast: Cast) -> None:
    broken = Visitor("com.owner.charts", None, None, None, None, NOW)  # type: ignore[arg-type]

    async def work(db: Database) -> None:
        with pytest.raises(Exception, match=r"(?i)not.null constraint"):
            await log.commit(db, [entry(row(1), visitors=[broken])], Counter())
        await log.commit(db, [entry(row(2))], Counter())

    in_log(cast, work)
    assert cast.rows("select message_id from events") == [(row(2)[1],)]
    assert cast.balance()["received"] == 1


# --- visitors


def see(cast: Cast, **said: Any) -> Visitor:
    fields = {"app_key": "com.owner.charts", "anonymous_id": VISITOR, "user_id": None, "partner_anonymous_id": None}
    visitor = Visitor(**(fields | {"suppressed": None, "seen_at": NOW} | said))
    commit(cast, entry(visitors=[visitor]))
    found = in_log(cast, lambda db: log.visitor(db, visitor.app_key, visitor.anonymous_id))
    assert found is not None
    return found


def test_what_is_unknown_now_does_not_erase_what_was_known(cast: Cast) -> None:
    see(cast, user_id="u1", partner_anonymous_id="p1", suppressed="consent")
    assert see(cast, seen_at=NOW + 1) == ("com.owner.charts", VISITOR, "u1", "p1", "consent", NOW + 1, None)


def test_what_is_said_anew_replaces_what_was_said(cast: Cast) -> None:
    see(cast, user_id="u1", partner_anonymous_id="p1", suppressed="consent")
    found = see(cast, user_id="u2", partner_anonymous_id="p2", suppressed="")
    assert found == ("com.owner.charts", VISITOR, "u2", "p2", "", NOW, None)


def test_a_campaign_stays_until_the_next_one_or_until_it_is_taken_away(cast: Cast) -> None:
    found = [see(cast, campaign=campaign).campaign for campaign in (None, "{1}", None, "{2}", "", None)]
    assert found == [None, "{1}", "{1}", "{2}", "", ""]
    several = [Visitor("com.owner.charts", VISITOR, None, None, None, NOW, told) for told in ("{3}", "", "{4}", None)]
    commit(cast, entry(visitors=several[:2]))
    assert cast.rows("select campaign from visitors") == [("",)]
    commit(cast, entry(visitors=several[1:]))
    assert cast.rows("select campaign from visitors") == [("{4}",)]


def test_a_visitor_of_one_app_is_nobody_to_another(cast: Cast) -> None:
    see(cast, user_id="u1", partner_anonymous_id="p1")
    assert in_log(cast, lambda db: log.visitor(db, "com.owner.boards", VISITOR)) is None
    assert in_log(cast, lambda db: log.visitors_of_user(db, "com.stranger.notes", "u1")) == []


def test_a_user_is_the_visitors_as_whom_they_were_seen_the_last_one_first(cast: Cast) -> None:
    see(cast, user_id="u1", seen_at=NOW + 5)
    see(cast, user_id="u1", anonymous_id=OTHER_VISITOR, seen_at=NOW + 9)
    see(cast, user_id="u2", anonymous_id="another", seen_at=NOW + 99)
    found = in_log(cast, lambda db: log.visitors_of_user(db, "com.owner.charts", "u1"))
    assert [visitor.anonymous_id for visitor in found] == [OTHER_VISITOR, VISITOR]


# --- reading


def test_a_run_is_one_apps_events_in_order_past_a_seq(cast: Cast) -> None:
    commit(cast, entry(*(row(n, app="com.owner.boards" if n % 2 else "com.owner.charts") for n in range(1, 11))))
    events = in_log(cast, lambda db: log.run(db, "com.owner.charts", 3, 3))
    assert [event.seq for event in events] == [4, 6, 8]
    assert {event.app_key for event in events} == {"com.owner.charts"}
    assert in_log(cast, lambda db: log.count_after(db, "com.owner.charts", 3)) == 4


def test_a_run_ends_with_the_event_that_fills_the_memory_it_may_take(cast: Cast) -> None:
    commit(cast, entry(*(row(n, details="x" * 100) for n in range(10))))
    assert len(in_log(cast, lambda db: log.run(db, "com.owner.charts", 0, 10, most_bytes=250))) == 3
    assert len(in_log(cast, lambda db: log.run(db, "com.owner.charts", 0, 10, most_bytes=0))) == 1


@pytest.mark.parametrize("broken", ["", "not json", "[]", '{"query": {"a": 1}}', '{"url": 7}', '{"url": "' + "[" * 9])
def test_details_that_cannot_be_read_are_none_and_their_neighbours_are_whole(cast: Cast, broken: str) -> None:
    commit(cast, entry(row(1), row(2, details=broken), row(3)))
    events = in_log(cast, lambda db: log.run(db, "com.owner.charts", 0, 10))
    assert [event.seq for event in events] == [1, 2, 3]
    assert events[1].details is None
    assert isinstance(events[0].details, Details)
    assert isinstance(events[2].details, Details)


def test_the_heads_are_the_newest_seq_of_every_app(cast: Cast) -> None:
    assert in_log(cast, log.heads) == {}
    assert in_log(cast, log.head) == 0
    commit(cast, entry(row(1), row(2, app="com.stranger.notes"), row(3), row(4, app="com.owner.boards")))
    assert in_log(cast, log.heads) == {"com.owner.charts": 3, "com.stranger.notes": 2, "com.owner.boards": 4}
    assert in_log(cast, log.head) == 4
    assert asyncio.run(log.head_or_zero(cast.where)) == 4


@pytest.mark.only("sqlite", "a server's log is there, or nothing works")
def test_the_head_of_what_was_never_written_is_zero(cast: Cast) -> None:
    assert asyncio.run(log.head_or_zero(cast.data_dir / "nowhere")) == 0
