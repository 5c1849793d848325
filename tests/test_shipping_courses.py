"""Several destinations of an app, replays, parked events that are released or dropped, and what is too old."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engines import Stores
from shipping_cast import NOON, OWNER, SECRET_KEY, STRANGER, Details, Installation, an_event

from store import destinations, log, parking, replaying
from store.beginnings import beginning, moment, seq_at
from store.database import Database
from store.destinations import Change, Destination
from store.engines import open_writer
from store.errors import ConfigError
from store.fate import Fate, fate
from store.secrets import Vault
from wire.verdict import Reply

WAREHOUSE = "WRITEKEYOFTHEOWNERSWAREHOUSE0005"
LARGE = Details(url="https://market.example/", title="x" * 40_000)
DAY = 24 * 3_600_000


@pytest.fixture
def installation(stores: Stores, tmp_path: Path) -> Installation:
    return Installation(stores, tmp_path)


def in_registry(installation: Installation, work: Callable[[Database], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with await open_writer(installation.where, "registry") as db:
            return await work(db)

    return asyncio.run(run())


def add(installation: Installation, name: str = "warehouse", start: int = 0, key: str = WAREHOUSE) -> Destination:
    change = Change(segment_write_key=key)
    made: Destination = in_registry(
        installation,
        lambda db: destinations.set_destination(db, Vault(SECRET_KEY), NOON, OWNER, change, start, name),
    )
    return made


def main(installation: Installation) -> Destination:
    found: Destination = in_registry(installation, lambda db: destinations.named(db, OWNER, "main"))
    return found


def landed(installation: Installation, key: str) -> list[str]:
    return [message["messageId"] for message in installation.segment.get(f"/_/received?writeKey={key}").json()]


def told(installation: Installation, message_id: str) -> Fate:
    return asyncio.run(fate(installation.where, message_id))


# --- several destinations


def test_every_destination_of_an_app_gets_every_event_under_ids_of_its_own(installation: Installation) -> None:
    add(installation)
    installation.views(3)
    report = installation.export()
    assert report.sums()["accepted"] == 6
    ours, theirs = installation.landed(), landed(installation, WAREHOUSE)
    assert len(ours) == len(theirs) == 3
    assert {message["messageId"] for message in ours} & set(theirs) == set()


def test_a_failing_destination_does_not_hold_up_the_other_one_of_its_app(installation: Installation) -> None:
    add(installation)
    installation.views(3)
    installation.fault(status=403, times="always", match={"writeKey": WAREHOUSE})
    assert installation.export().exit_code == 75
    assert (len(installation.landed()), landed(installation, WAREHOUSE)) == (3, [])


def test_a_removed_destination_gets_nothing_more(installation: Installation) -> None:
    add(installation)
    in_registry(installation, lambda db: destinations.remove_destination(db, NOON, OWNER, "warehouse"))
    installation.views(2)
    installation.export()
    assert (len(installation.landed()), landed(installation, WAREHOUSE)) == (2, [])
    with pytest.raises(ConfigError, match="has no destination warehouse"):
        in_registry(installation, lambda db: destinations.remove_destination(db, NOON, OWNER, "warehouse"))


def test_a_new_source_begins_where_the_old_one_stands_unless_told_otherwise(installation: Installation) -> None:
    installation.views(3)
    installation.export()
    installation.views(2)
    old = main(installation)
    begin = [asyncio.run(beginning(installation.where, old, start)) for start in (None, "now", "beginning")]
    assert begin == [3, 5, 0]
    assert asyncio.run(beginning(installation.where, None, None)) == 5


def test_a_date_is_found_in_the_log_without_an_index(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=NOON + hour * 3_600_000) for hour in range(40)])
    for hour in (0, 1, 17, 39, 40, 99):
        found = asyncio.run(seq_at(installation.where, NOON + hour * 3_600_000))
        assert found == min(hour, 40)
    assert moment("2026-02-16T12:00:00.123") == moment("2026-02-16T13:00:00.123+01:00") == NOON
    with pytest.raises(ConfigError, match="is no date"):
        moment("yesterday")


# --- replays


def test_a_replay_with_the_same_ids_is_dropped_as_a_copy_and_balances(installation: Installation) -> None:
    installation.views(6)
    installation.export()
    installation.replay(OWNER, 1, 4)
    installation.views(1)
    assert installation.export().sums()["accepted"] == 4
    assert len(installation.landed()) == 7
    assert sum(len(messages) for _, _, messages in installation.sent[1:]) == 4
    assert installation.export().destinations == []


def test_a_replay_with_new_ids_lands_once_more(installation: Installation) -> None:
    installation.views(6)
    installation.export()
    installation.replay(OWNER, 1, 4, new_ids=True)
    installation.export()
    ids = [message["messageId"] for message in installation.landed()]
    assert len(ids) == len(set(ids)) == 9


def test_a_replay_sends_nothing_that_was_suppressed_and_leaves_the_live_cursor_alone(
    installation: Installation,
) -> None:
    installation.collect(an_event(), an_event(suppressed="gpc"), an_event())
    installation.export()
    before = installation.cursor()
    which = installation.replay(OWNER, 0, 3, new_ids=True)
    report = installation.export()
    assert report.sums() == {"accepted": 2, "suppressed": 1, "parked": 0, "expired": 0, "batches": 1}
    assert installation.ledger(f"select seq from cursors where destination_id <> '{which}' and seq > 0") == [(before,)]


def test_a_cancelled_replay_sends_nothing(installation: Installation) -> None:
    installation.views(2)
    installation.export()
    which = installation.replay(OWNER, 0, 2)
    in_registry(installation, lambda db: destinations.cancel_replay(db, NOON, OWNER, which))
    assert installation.export().destinations == []
    with pytest.raises(ConfigError, match="no replay"):
        in_registry(installation, lambda db: destinations.cancel_replay(db, NOON, OWNER, which))


def test_a_plan_counts_and_warns_of_what_segment_will_not_drop(installation: Installation) -> None:
    now = time.time_ns() // 1_000_000
    ages = (10 * DAY, 2 * DAY, 3_600_000, 0)
    installation.collect(
        *[an_event(received_at=now - age) for age in ages], an_event(suppressed="bot", received_at=now)
    )
    planned = asyncio.run(replaying.plan(installation.where, OWNER, 1, log.NO_END, False, now))
    assert (planned.events, planned.suppressed, planned.older, planned.last_seq) == (4, 1, 1, 5)
    assert planned.bytes > 4 * replaying.MESSAGE_BYTES
    assert [line.partition(":")[0] for line in planned.lines()] == [OWNER, "2 are younger than 24 h", "1 are older"]
    fresh = asyncio.run(replaying.plan(installation.where, OWNER, 1, 5, True, now))
    assert "certainly be second ones" in fresh.lines()[1]


# --- parked events


def test_a_released_event_goes_out_with_the_next_run_and_is_accepted(installation: Installation) -> None:
    ids = installation.views(3)
    installation.fault(status=400, times="always", match={"messageId": installation.sent_ids(ids)[1]})
    installation.export()
    assert installation.owed() == {"collected": 3, "accepted": 2, "parked": 1}
    installation.mend()
    assert installation.export().sums()["accepted"] == 0, "nobody has asked for it"
    installation.ask(OWNER, "release", 2)
    report = installation.export()
    assert report.sums() == {"accepted": 1, "suppressed": 0, "parked": -1, "expired": 0, "batches": 1}
    assert installation.owed() == {"collected": 3, "accepted": 3}
    assert len(installation.landed()) == 3
    assert installation.cursor() == 3


def test_released_events_go_in_order_and_one_that_is_refused_again_stays_parked(installation: Installation) -> None:
    ids = installation.sent_ids(installation.views(6))
    bad = [ids[0], ids[2], ids[4]]
    for each in bad:
        installation.fault(status=400, times="always", match={"messageId": each})
    installation.export()
    assert installation.owed() == {"collected": 6, "accepted": 3, "parked": 3}
    installation.mend()
    installation.fault(status=422, times="always", match={"messageId": bad[1]})
    installation.ask(OWNER, "release", 5, 3, 1)
    del installation.sent[:]
    installation.export()
    sent = [[json.loads(message)["messageId"] for message in messages] for _, _, messages in installation.sent]
    assert sent == [bad, *([each] for each in bad)]
    assert installation.owed() == {"collected": 6, "accepted": 5, "parked": 1}
    assert installation.ledger("select seq, released from parked") == [(3, 0)]


def test_a_release_that_fails_is_tried_again_with_the_next_run(installation: Installation) -> None:
    ids = installation.views(2)
    installation.fault(status=400, times="always", match={"messageId": installation.sent_ids(ids)[0]})
    installation.export()
    installation.mend()
    installation.ask(OWNER, "release", 1)
    installation.fault(status=403)
    assert installation.export().exit_code == 75
    assert installation.owed()["parked"] == 1
    assert installation.export().exit_code == 0
    assert installation.owed() == {"collected": 2, "accepted": 2}


def test_a_release_of_what_cannot_be_mapped_says_so_and_goes_on(installation: Installation) -> None:
    installation.views(1, details=LARGE)
    installation.export()
    installation.ask(OWNER, "release", 1)
    assert installation.export().exit_code == 0
    assert installation.owed() == {"collected": 1, "parked": 1}
    assert installation.ledger("select released from parked") == [(0,)]


def test_a_dropped_event_is_suppressed_and_the_sum_holds(installation: Installation) -> None:
    installation.views(1, details=LARGE)
    installation.views(1)
    installation.export()
    installation.ask(OWNER, "drop", 1)
    installation.ask(OWNER, "drop", 1)
    installation.ask(OWNER, "release", 7)
    installation.export()
    assert installation.owed() == {"collected": 2, "accepted": 1, "suppressed": 1}
    assert installation.ledger("select outcome from intents_done order by outcome") == [
        ("dropped",),
        ("not parked",),
        ("not parked",),
    ]


def test_parked_events_are_listed_by_destination_with_the_reason(installation: Installation) -> None:
    assert asyncio.run(parking.parked(installation.where)) == []
    installation.views(1, details=LARGE)
    installation.export()
    (held,) = asyncio.run(parking.parked(installation.where, OWNER))
    assert (held.destination, held.seq, held.reason, held.released) == ("main", 1, "too_large", False)
    assert asyncio.run(parking.parked(installation.where, "com.stranger.notes")) == []
    assert asyncio.run(parking.stored(installation.where, OWNER, 1)).details == LARGE
    with pytest.raises(ConfigError, match="no stored event 9"):
        asyncio.run(parking.stored(installation.where, OWNER, 9))


def test_a_resumed_destination_is_tried_with_the_next_run(installation: Installation) -> None:
    installation.views(2)
    installation.fault(status=403)
    installation.export()
    installation.ledger(f"update cursors set not_before = {2**50}, trips = 10 where tripped <> ''")
    assert installation.export().exit_code == 75
    installation.ask(OWNER, "resume", 0)
    assert installation.export().exit_code == 0
    assert installation.owed() == {"collected": 2, "accepted": 2}


# --- what is too old


def test_what_is_older_than_events_are_kept_is_passed_and_counted_also_where_nobody_may_send(
    installation: Installation,
) -> None:
    now = time.time_ns() // 1_000_000
    installation.views(1)
    installation.fault(status=403)
    installation.export()
    installation.ledger(f"update cursors set not_before = {2**50} where tripped <> ''")
    installation.settings = msgspec.structs.replace(installation.settings, retention_days=30)
    installation.collect(
        an_event(received_at=now - 31 * DAY),
        an_event(received_at=now - 31 * DAY, suppressed="gpc"),
        an_event(received_at=now - 29 * DAY),
    )
    installation.export()
    assert installation.owed() == {"collected": 4, "expired": 2, "suppressed": 1, "pending": 1}
    assert installation.landed() == []


def test_a_course_without_a_backlog_is_left_alone_however_old_its_last_event_is(installation: Installation) -> None:
    installation.views(1)
    installation.export()
    installation.settings = msgspec.structs.replace(installation.settings, retention_days=30)
    installation.collect(*[an_event()] * 3, app=STRANGER)
    installation.export()
    assert installation.owed(STRANGER) == {"collected": 3, "expired": 3}
    assert (installation.cursor(), installation.cursor(STRANGER)) == (1, 4)


# --- one event's fate


def test_an_events_fate_is_told_in_words(installation: Installation) -> None:
    add(installation, start=0)
    good, large, private = installation.collect(an_event(), an_event(details=LARGE), an_event(suppressed="consent"))
    assert [way.fate for way in told(installation, good).ways] == ["pending", "pending"]
    installation.fault(status=403, times="always", match={"writeKey": WAREHOUSE})
    installation.export()
    found = told(installation, good)
    assert [(way.destination, way.fate) for way in found.ways] == [("main", "accepted"), ("warehouse", "pending")]
    assert found.ways[0].message_id == installation.sent_ids([good])[0]
    assert [attempt.outcome for attempt in found.ways[1].attempts] == ["deferred"]
    assert "the destination is paused: the endpoint answers 403" in found.lines()[-2]
    assert (found.ways[0].attempts[0].status, found.ways[0].attempts[0].possible_duplicate) == (200, False)
    assert told(installation, large).ways[0].reason.startswith("too_large: ")
    assert (told(installation, private).ways[0].fate, told(installation, private).ways[0].reason) == (
        "suppressed",
        "consent",
    )
    installation.views(1)
    with pytest.raises(ConfigError, match="no stored event has the message id"):
        told(installation, "00000000-0000-4000-8000-999999999999")


def test_what_was_collected_before_a_destination_began_is_not_owed_to_it(installation: Installation) -> None:
    (early,) = installation.views(1)
    add(installation, start=1)
    installation.export()
    assert [way.fate for way in told(installation, early).ways] == ["accepted", "not owed"]


def test_a_send_whose_answer_was_lost_for_over_a_day_is_marked(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.sending.SLOW_SECONDS", -1.0)
    installation.views(2)
    installation.export(send=installation.replies(*[Reply(error="ReadTimeout")] * 2))
    installation.ledger(f"update cursors set ambiguous_since = ambiguous_since - {DAY + 1} where ambiguous_seq > 0")
    installation.views(1)
    installation.export()
    assert installation.ledger("select outcome, events, possible_duplicate from batches order by batch_id") == [
        ("ambiguous", 2, 0),
        ("ambiguous", 2, 0),
        ("accepted", 3, 1),
    ]
    assert installation.ledger("select distinct ambiguous_since, ambiguous_seq from cursors") == [(0, 0)]


def test_what_a_dead_run_left_open_is_in_doubt_too(installation: Installation) -> None:
    installation.views(2)
    installation.export(send=installation.replies(Reply(503, "busy")))
    installation.ledger(f"update batches set outcome = 'open', opened_at = opened_at - {DAY + 5_000} where attempt = 1")
    installation.ledger("delete from batches where outcome = 'accepted'")
    installation.ledger("update cursors set seq = 0")
    installation.export()
    assert installation.ledger("select possible_duplicate from batches where outcome = 'accepted'") == [(1,)]
