"""What is accepted: whole runs of the exporter over real databases, against the fake Segment in this process."""

from collections.abc import Sequence

from shipping_cast import ACCOUNT, KEYS, OWNER, STRANGER, Installation, an_event

from store.event import Details
from wire.verdict import Reply


def test_everything_that_is_pending_lands_once_in_order_under_its_own_key(installation: Installation) -> None:
    ours, theirs = installation.views(3), installation.views(2, STRANGER)
    report = installation.export()
    assert [message["messageId"] for message in installation.landed()] == installation.sent_ids(ours)
    assert [message["messageId"] for message in installation.landed(STRANGER)] == installation.sent_ids(
        theirs, STRANGER
    )
    assert report.sums() == {"accepted": 5, "suppressed": 0, "parked": 0, "expired": 0, "batches": 2}
    assert report.exit_code == 0
    assert installation.owed() == {"collected": 3, "accepted": 3}
    assert installation.owed(STRANGER) == {"collected": 2, "accepted": 2}


def test_a_second_run_has_nothing_to_do(installation: Installation) -> None:
    installation.views(3)
    installation.export()
    report = installation.export()
    assert (report.destinations, report.exit_code, len(installation.sent)) == ([], 0, 1)


def test_a_long_backlog_goes_in_batches_of_at_most_500(installation: Installation) -> None:
    installation.views(1_201, details=Details(url="https://market.example/"))
    report = installation.export()
    assert installation.batches() == [("accepted", 200, 500), ("accepted", 200, 500), ("accepted", 200, 201)]
    assert report.sums()["accepted"] == 1_201
    assert installation.cursor() == 1_201
    assert len(installation.landed()) == 1_201


def test_a_batch_of_large_events_stays_under_450000_bytes(installation: Installation) -> None:
    installation.views(60, details=Details(url="https://market.example/", title="x" * 30_000))
    installation.export()
    assert len(installation.landed()) == 60
    assert [events for _, _, events in installation.batches()] == [14, 14, 14, 14, 4]
    assert all(size <= 450_000 for (size,) in installation.ledger("select bytes from batches"))


def test_the_attempt_is_on_record_before_the_wire_and_its_end_with_the_cursor(installation: Installation) -> None:
    installation.views(2)
    seen = []

    def send(host: str, key: str, messages: Sequence[bytes], attempt: int) -> Reply:
        seen.append((installation.batches(), installation.cursor()))
        return installation.send(host, key, messages, attempt)

    installation.export(send=send)
    assert seen == [([("open", None, 2)], 0)]
    assert (installation.batches(), installation.cursor()) == ([("accepted", 200, 2)], 2)
    ((run, attempt, first, last, size),) = installation.ledger(
        "select run_id, attempt, first_seq, last_seq, bytes from batches"
    )
    assert (attempt, first, last) == (1, 1, 2)
    assert size == sum(len(message) for message in installation.sent[0][2])
    assert run


def test_what_is_not_shared_is_passed_over_and_counted(installation: Installation) -> None:
    installation.collect(
        an_event(),
        an_event(suppressed="consent"),
        an_event(suppressed="gpc"),
        an_event("uninstall", user_id=ACCOUNT),
        an_event(partner_key="former"),
        an_event(),
    )
    report = installation.export()
    assert len(installation.landed()) == 2
    assert report.sums() == {"accepted": 2, "suppressed": 4, "parked": 0, "expired": 0, "batches": 1}
    assert installation.owed() == {"collected": 6, "accepted": 2, "suppressed": 4}
    assert installation.ledger("select reason, n from tallies where fate = 'suppressed' order by reason") == [
        ("consent", 1),
        ("gpc", 1),
        ("not_asked_for", 1),
        ("partner_changed", 1),
    ]


def test_a_run_of_which_nothing_may_be_sent_makes_no_request(installation: Installation) -> None:
    installation.collect(*[an_event(suppressed="gpc")] * 700)
    report = installation.export()
    assert (installation.sent, installation.batches(), report.exit_code) == ([], [], 0)
    assert installation.owed() == {"collected": 700, "suppressed": 700}


def test_an_event_that_is_too_large_is_parked_before_it_is_sent(installation: Installation) -> None:
    ids = installation.collect(
        an_event(), an_event(details=Details(url="https://market.example/", title="x" * 40_000)), an_event()
    )
    report = installation.export()
    assert installation.batches() == [("accepted", 200, 2)]
    assert (report.sums()["parked"], report.exit_code) == (1, 0)
    assert installation.owed() == {"collected": 3, "accepted": 2, "parked": 1}
    ((seq, message_id, reason, detail),) = installation.ledger("select seq, message_id, reason, detail from parked")
    assert (seq, message_id, reason) == (2, installation.sent_ids(ids)[1], "too_large")
    assert detail.endswith("Segment takes 32768")


def test_a_destination_that_begins_later_is_not_owed_what_came_before(installation: Installation) -> None:
    installation.views(3)
    installation.set(OWNER, start=2, new_source=True, segment_write_key=KEYS[OWNER])
    ids = installation.views(1)
    installation.export()
    assert [message["messageId"] for message in installation.landed()][1:] == installation.sent_ids(ids)
    assert installation.owed() == {"collected": 2, "accepted": 2}


def test_a_new_key_of_the_same_source_keeps_the_ids_and_another_source_gets_others(installation: Installation) -> None:
    ids = installation.views(1)
    before = installation.sent_ids(ids)
    installation.set(OWNER, segment_write_key="ANOTHERKEYOFTHESAMESOURCE0000001")
    assert installation.sent_ids(ids) == before
    installation.set(OWNER, segment_write_key="AKEYOFANOTHERSOURCE0000000000001", new_source=True)
    assert installation.sent_ids(ids) != before


def test_a_european_source_is_sent_to_the_european_host(installation: Installation) -> None:
    installation.set(OWNER, region="eu")
    installation.views(1)
    installation.export()
    assert [host for host, _, _ in installation.sent] == ["http://testserver/eu"]
    assert len(installation.landed()) == 1


def test_an_app_without_a_key_holds_up_nobody_and_its_events_wait_for_one(installation: Installation) -> None:
    (keyless,) = installation.add_apps(1, with_keys=False)
    installation.views(1)
    ids = installation.collect(an_event(), app=keyless)
    assert installation.export().exit_code == 0
    installation.set(keyless, segment_write_key=f"WRITEKEYOF{keyless}")
    installation.export()
    assert [message["messageId"] for message in installation.landed(keyless)] == installation.sent_ids(ids, keyless)
