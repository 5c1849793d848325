"""What is not accepted: refused for what it holds, turned away as a whole, or unavailable for now."""

import time

import pytest
from shipping_cast import KEYS, OWNER, STRANGER, Installation, an_event

from store.event import Details
from wire.verdict import Reply

# --- refused for what it holds


@pytest.mark.parametrize(
    ("status", "position"), [(400, 0), (413, 1), (422, 249), (400, 250), (400, 331), (400, 498), (400, 499)]
)
def test_one_refused_event_is_found_by_halving_and_parked_and_its_neighbours_are_accepted(
    installation: Installation, status: int, position: int
) -> None:
    ids = installation.views(500, details=Details(url="https://market.example/"))
    sent_ids = installation.sent_ids(ids)
    installation.fault(status=status, times="always", match={"messageId": sent_ids[position]})
    report = installation.export()
    landed = [message["messageId"] for message in installation.landed()]
    assert landed == sent_ids[:position] + sent_ids[position + 1 :]
    assert installation.ledger("select seq, message_id, reason from parked") == [
        (position + 1, sent_ids[position], f"refused_{status}")
    ]
    assert report.exit_code == 0
    assert (report.sums()["accepted"], report.sums()["parked"]) == (499, 1)
    assert len(installation.sent) <= 19, "two for each of the nine halvings, and the first"
    assert installation.owed() == {"collected": 500, "accepted": 499, "parked": 1}


def test_halving_leaves_alone_what_came_after_the_refused_batch(installation: Installation) -> None:
    ids = installation.views(600, details=Details(url="https://market.example/"))
    installation.fault(status=400, times="always", match={"messageId": installation.sent_ids(ids)[300]})
    installation.export()
    assert installation.owed() == {"collected": 600, "accepted": 599, "parked": 1}
    assert len(installation.sent) <= 20


def test_several_refused_events_between_good_ones_are_all_parked(installation: Installation) -> None:
    ids = installation.views(200)
    for position in (0, 7, 8, 100, 199):
        installation.fault(status=400, times="always", match={"messageId": installation.sent_ids(ids)[position]})
    report = installation.export()
    assert [seq for (seq,) in installation.ledger("select seq from parked")] == [1, 8, 9, 101, 200]
    assert report.exit_code == 0
    assert len(installation.landed()) == 195


def test_a_refused_event_among_suppressed_ones_takes_none_of_them_along(installation: Installation) -> None:
    events = [an_event(suppressed="gpc") if number % 3 else an_event() for number in range(30)]
    ids = installation.collect(*events)
    installation.fault(status=400, times="always", match={"messageId": installation.sent_ids(ids)[12]})
    installation.export()
    assert installation.owed() == {"collected": 30, "accepted": 9, "parked": 1, "suppressed": 20}


def test_three_refused_in_a_row_pause_the_destination_because_the_fault_is_not_theirs(
    installation: Installation,
) -> None:
    installation.views(40)
    installation.fault(status=400, times="always", match={"writeKey": KEYS[OWNER]})
    installation.views(2, STRANGER)
    report = installation.export()
    assert installation.owed() == {"collected": 40, "pending": 37, "parked": 3}
    assert report.exit_code == 75
    assert [item.deferred for item in report.destinations if item.app == OWNER] == [
        "paused: it refused 3 events in a row with 400"
    ]
    assert installation.owed(STRANGER) == {"collected": 2, "accepted": 2}


def test_a_paused_destination_that_goes_on_refusing_loses_one_event_a_run(installation: Installation) -> None:
    installation.views(40)
    installation.fault(status=400, times="always")
    installation.export()
    asked = len(installation.sent)
    installation.export()
    assert [len(messages) for _, _, messages in installation.sent[asked:]] == [1]
    assert installation.owed() == {"collected": 40, "pending": 36, "parked": 4}
    assert installation.ledger("select tripped from cursors where tripped <> ''") == [
        ("it refused 3 events in a row with 400",)
    ]


# --- the destination as a whole is at fault


@pytest.mark.parametrize("status", [401, 403, 404, 501, 505])
def test_a_destination_that_turns_everything_away_is_paused_after_one_request(
    installation: Installation, status: int
) -> None:
    installation.views(10)
    installation.fault(status=status, times="always")
    report = installation.export()
    assert len(installation.sent) == 1
    assert [item.deferred for item in report.destinations] == [f"paused: the endpoint answers {status}"]
    assert installation.owed() == {"collected": 10, "pending": 10}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_pauses_the_destination(installation: Installation, status: int) -> None:
    installation.views(10)
    installation.fault(redirect=status)
    report = installation.export()
    assert len(installation.sent) == 1
    assert "redirects" in report.destinations[0].deferred
    assert installation.owed() == {"collected": 10, "pending": 10}


def test_a_paused_destination_is_probed_with_one_event_and_heals(installation: Installation) -> None:
    ids = installation.views(10)
    installation.fault(status=403)
    installation.export()
    report = installation.export()
    assert [len(messages) for _, _, messages in installation.sent] == [10, 1, 9]
    assert installation.waits == [15, 1.5, 15]
    assert [message["messageId"] for message in installation.landed()] == installation.sent_ids(ids)
    assert report.exit_code == 0
    assert installation.ledger("select tripped from cursors where app_key = 'com.owner.charts'") == [("",)]


def test_a_paused_destination_stays_paused_while_its_probe_gets_no_answer(installation: Installation) -> None:
    installation.views(10)
    installation.fault(status=403)
    installation.export()
    installation.fault(status=503, times="always")
    installation.export()
    assert [len(messages) for _, _, messages in installation.sent] == [10, 1]
    assert installation.ledger("select tripped from cursors where app_key = 'com.owner.charts'") == [
        ("the endpoint answers 403",)
    ]


def test_a_paused_destination_that_asks_to_be_left_alone_is_both(installation: Installation) -> None:
    installation.views(10)
    installation.fault(status=403)
    installation.export()
    installation.fault(status=429, retryAfter=600)
    installation.export()
    ((not_before, reason),) = installation.ledger(
        "select not_before, tripped from cursors where app_key = 'com.owner.charts'"
    )
    assert (not_before > 0, reason) == (True, "the endpoint answers 403")


def test_a_first_poison_event_holds_a_paused_destination_for_no_more_than_a_run(installation: Installation) -> None:
    ids = installation.views(10)
    installation.fault(status=403)
    installation.export()
    installation.fault(status=400, times="always", match={"messageId": installation.sent_ids(ids)[0]})
    installation.export()
    report = installation.export()
    assert report.exit_code == 0
    assert installation.owed() == {"collected": 10, "accepted": 9, "parked": 1}


# --- for now


@pytest.mark.parametrize("status", [408, 410, 429, 460, 500, 502, 503, 504, 599])
def test_what_is_unavailable_is_tried_again_with_the_same_ids_in_the_same_run(
    installation: Installation, status: int
) -> None:
    ids = installation.views(3)
    installation.fault(status=status, times=4)
    report = installation.export()
    assert [outcome for outcome, _, _ in installation.batches()] == ["deferred"] * 4 + ["accepted"]
    assert [message["messageId"] for message in installation.landed()] == installation.sent_ids(ids)
    assert report.exit_code == 0
    assert installation.ledger("select attempt from batches order by batch_id") == [(1,), (2,), (3,), (4,), (5,)]


def test_after_five_attempts_it_is_left_for_a_later_run_and_tried_with_one_event_first(
    installation: Installation,
) -> None:
    installation.views(3)
    installation.fault(status=503, times="always")
    report = installation.export()
    assert len(installation.sent) == 5
    assert (report.exit_code, report.destinations[0].deferred) == (75, "paused: 503 again and again")
    assert installation.owed() == {"collected": 3, "pending": 3}
    assert installation.ledger("select tripped, trips, failures, not_before from cursors where failures > 0") == [
        ("503 again and again", 1, 5, 0)
    ]
    installation.mend()
    assert installation.export().exit_code == 0
    assert [len(messages) for _, _, messages in installation.sent] == [3, 3, 3, 3, 3, 1, 2]
    assert installation.ledger("select distinct tripped, trips, failures from cursors") == [("", 0, 0)]


@pytest.mark.parametrize("body", [{"success": False}, "html", "OK", {"success": "true"}])
def test_a_200_that_does_not_say_success_is_not_accepted(installation: Installation, body: object) -> None:
    installation.views(3)
    installation.fault(body=body, times=2)
    installation.export()
    assert [outcome for outcome, _, _ in installation.batches()] == ["deferred", "deferred", "accepted"]
    assert len(installation.landed()) == 3


def test_a_short_retry_after_is_waited_for_within_the_run(installation: Installation) -> None:
    installation.views(1)
    installation.fault(status=429, retryAfter=1)
    began = time.monotonic()
    assert installation.export().exit_code == 0
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("asked", [31, 3_600])
def test_a_long_retry_after_is_kept_for_the_runs_to_come(installation: Installation, asked: int) -> None:
    installation.views(1)
    installation.fault(status=429, retryAfter=asked)
    before = time.time_ns() // 1_000_000
    first = installation.export()
    after = time.time_ns() // 1_000_000
    ((not_before,),) = installation.ledger("select not_before from cursors where app_key = 'com.owner.charts'")
    assert before + asked * 1_000 <= not_before <= after + asked * 1_000
    second = installation.export()
    assert len(installation.sent) == 1, "the second run left it alone"
    assert (first.exit_code, second.exit_code) == (75, 75)
    assert second.destinations[0].deferred.startswith("asked to be left alone for ")
    installation.ledger("update cursors set not_before = 1")  # the time has come
    assert installation.export().exit_code == 0
    assert installation.ledger("select not_before from cursors where app_key = 'com.owner.charts'") == [(0,)]


def test_a_retry_after_of_one_destination_is_not_anothers(installation: Installation) -> None:
    installation.views(1)
    installation.views(1, STRANGER)
    installation.fault(status=429, retryAfter=600, match={"writeKey": KEYS[OWNER]})
    installation.export()
    assert installation.owed() == {"collected": 1, "pending": 1}
    assert installation.owed(STRANGER) == {"collected": 1, "accepted": 1}


def test_a_lost_reply_is_ambiguous_and_its_events_land_once(installation: Installation) -> None:
    ids = installation.views(4)
    installation.fault(dropReply=True)
    report = installation.export()
    assert [outcome for outcome, _, _ in installation.batches()] == ["ambiguous", "accepted"]
    assert [len(messages) for _, _, messages in installation.sent] == [4, 4]
    assert [message["messageId"] for message in installation.landed()] == installation.sent_ids(ids)
    assert report.sums()["accepted"] == 4
    assert installation.owed() == {"collected": 4, "accepted": 4}


def test_where_nobody_answers_the_attempt_is_deferred_because_nothing_had_left(installation: Installation) -> None:
    installation.views(2)
    send = installation.replies(Reply(error="ConnectTimeout", sent=False), Reply(error="ConnectionError", sent=False))
    installation.export(send=send)
    assert installation.ledger("select outcome, detail from batches order by batch_id") == [
        ("deferred", "ConnectTimeout"),
        ("deferred", "ConnectionError"),
        ("accepted", ""),
    ]


@pytest.mark.parametrize(
    ("slow_from", "attempts", "said"),
    [(2.0, 5, "paused: ReadTimeout again and again"), (-1.0, 2, "ReadTimeout after 2 attempts")],
)
def test_a_run_that_gives_up_names_the_error_and_waits_in_vain_twice_at_most(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, slow_from: float, attempts: int, said: str
) -> None:
    monkeypatch.setattr("exporter.sending.SLOW_SECONDS", slow_from)
    installation.views(2)
    report = installation.export(send=installation.replies(*[Reply(error="ReadTimeout")] * 9))
    assert report.destinations[0].deferred == said
    assert [outcome for outcome, _, _ in installation.batches()] == ["ambiguous"] * attempts
