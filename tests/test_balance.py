"""The sums that the doctor checks: each term counted on its own, and a difference told wherever there is one."""

import asyncio
import threading

import pytest
from shipping_cast import KEYS, OWNER, STRANGER, Installation, an_event

from store import balance
from store.balance import Findings
from store.errors import StoreUnavailable


def examined(installation: Installation) -> Findings:
    return asyncio.run(balance.examine(installation.where))


def test_before_the_first_run_everything_is_pending(installation: Installation) -> None:
    installation.views(3)
    assert installation.owed() == {"collected": 3, "pending": 3}


@pytest.mark.only("sqlite", "its ledger is made by the first run")
def test_looking_makes_no_ledger(installation: Installation) -> None:
    examined(installation)
    assert not (installation.data_dir / "ledger.db").exists()


def test_after_a_run_every_event_has_a_fate(installation: Installation) -> None:
    installation.collect(*[an_event()] * 3, an_event(suppressed="gpc"), an_event("page_left"))
    installation.export()
    installation.views(2)
    assert installation.owed() == {"collected": 7, "accepted": 3, "parked": 1, "suppressed": 1, "pending": 2}


def test_the_doors_terms_are_told(installation: Installation) -> None:
    installation.views(3)
    doors = examined(installation).doors
    assert (doors.received, doors.stored, doors.duplicate, doors.rejected, doors.shed) == (3, 3, 0, 0, 0)


@pytest.mark.parametrize(
    ("harm", "difference"),
    [
        ("update tallies set n = n - 1 where fate = 'accepted'", 1),
        ("update tallies set n = n + 2 where fate = 'suppressed'", -2),
        ("delete from tallies where fate = 'parked'", 1),
        ("update cursors set seq = seq - 2 where seq > 0", -2),
        ("update cursors set start_seq = 1, seq = 4 where seq > 0", -2),  # one owed less, one pending again
    ],
)
def test_a_ledger_that_was_meddled_with_does_not_balance(
    installation: Installation, harm: str, difference: int
) -> None:
    installation.collect(*[an_event()] * 3, an_event(suppressed="gpc"), an_event("page_left"))
    installation.export()
    installation.ledger(harm)
    findings = examined(installation)
    assert [item.difference for item in findings.destinations if item.app == OWNER] == [difference]
    assert not findings.balanced
    assert any(f"OFF BY {difference}" in line for line in findings.lines())


def test_a_paused_destination_is_told_with_the_reason(installation: Installation) -> None:
    installation.views(1)
    installation.fault(status=403)
    installation.export()
    findings = examined(installation)
    assert [(item.app, item.paused) for item in findings.destinations] == [
        (OWNER, "the endpoint answers 403"),
        (STRANGER, ""),
    ]
    assert any(line.endswith("; paused: the endpoint answers 403") for line in findings.lines())
    assert findings.balanced


def test_the_findings_hold_no_key(installation: Installation) -> None:
    installation.views(1)
    installation.export()
    assert not any(key in str(examined(installation)) for key in KEYS.values())


@pytest.mark.only("sqlite", "it removes the file")
def test_without_a_log_there_is_nothing_to_examine(installation: Installation) -> None:
    (installation.data_dir / "events.db").unlink()
    with pytest.raises(StoreUnavailable):
        examined(installation)


@pytest.mark.only("sqlite", "it spoils the file")
def test_a_ledger_that_is_no_database_is_not_taken_for_an_empty_one(installation: Installation) -> None:
    (installation.data_dir / "ledger.db").write_bytes(b"this is no database" * 1_000)
    with pytest.raises(StoreUnavailable):
        examined(installation)


def test_it_balances_at_every_instant_while_both_processes_work(installation: Installation) -> None:
    """A sum that is off only while somebody works would be a false alarm on every busy day."""
    installation.export()
    worked = looked = 0
    ended = threading.Event()

    def work() -> None:
        nonlocal worked
        while not ended.is_set():
            installation.views(40)
            installation.export()
            worked += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        while (worked < 12 or looked < 6) and worker.is_alive():
            findings = examined(installation)
            assert findings.balanced, findings.lines()
            looked += 1
    finally:
        ended.set()
        worker.join()
    assert (worked >= 12, looked >= 6) == (True, True)
