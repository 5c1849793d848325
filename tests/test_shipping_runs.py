"""Runs beside, after and instead of each other: leases, order, stopping, dry runs, and faults on our own side."""

import asyncio
import json
import threading
import time
from collections.abc import Sequence

import pytest
from engines import every_byte, look
from shipping_cast import KEYS, OWNER, STRANGER, VISITOR, Installation, an_event
from waiting import PATIENCE_SECONDS

from exporter.run import run_once
from store.engines import exists
from store.errors import ConfigError, StoreUnavailable
from store.event import Details
from wire.verdict import Reply

# --- leases, order, ends


def test_a_destination_that_another_run_works_on_is_left_to_it(installation: Installation) -> None:
    installation.views(2)
    installation.views(1, STRANGER)

    def send(host: str, key: str, messages: Sequence[bytes], attempt: int) -> Reply:
        """Another run takes the cursor while this one's request is under way."""
        if key == KEYS[OWNER]:
            installation.ledger(f"update cursors set lease_owner = 'another' where app_key = '{OWNER}'")
        return installation.send(host, key, messages, attempt)

    report = installation.export(send=send)
    assert [(item.taken, item.deferred) for item in report.destinations if item.app == OWNER] == [(True, "")]
    assert installation.cursor() == 0
    assert installation.owed() == {"collected": 2, "pending": 2}
    assert installation.owed(STRANGER) == {"collected": 1, "accepted": 1}
    assert installation.ledger(f"select lease_owner from cursors where app_key = '{OWNER}'") == [("another",)]


@pytest.mark.only("sqlite", "whoever has a lease while another holds the file is dead")
def test_what_a_dead_run_left_is_marked_ambiguous_and_taken_over_at_once(installation: Installation) -> None:
    installation.views(2)
    installation.fault(status=503, times="always")
    installation.export()
    installation.mend()
    far = time.time_ns() // 1_000_000 + 300_000
    installation.ledger(f"update cursors set lease_owner = 'dead', lease_until = {far}")
    installation.ledger("update batches set outcome = 'open', closed_at = null where attempt = 5")
    report = installation.export()
    assert report.exit_code == 0
    assert [outcome for outcome, _, _ in installation.batches()] == ["deferred"] * 4 + [
        "ambiguous",
        "accepted",
        "accepted",
    ]
    assert installation.voice.said[-2] == (
        "run began",
        {"run": report.run, "destinations": 1, "left_open": 1},
    )


@pytest.mark.only("postgresql", "there may be another run beside this one")
def test_what_another_run_has_is_left_to_it_until_its_lease_has_run_out(installation: Installation) -> None:
    installation.views(2)
    installation.views(1, STRANGER)
    installation.export(only=STRANGER)
    far = time.time_ns() // 1_000_000 + 300_000
    installation.ledger("update cursors set lease_owner = 'another', lease_until = ?", far)
    (taken,) = installation.export().destinations
    assert (taken.taken, installation.landed()) == (True, [])
    installation.ledger("update cursors set lease_until = 1 where lease_owner = 'another'")
    assert installation.export().sums()["accepted"] == 2
    assert len(installation.landed()) == 2


def test_every_lease_is_given_back_at_the_end(installation: Installation) -> None:
    installation.views(1)
    installation.views(1, STRANGER)
    installation.fault(status=403, match={"writeKey": KEYS[OWNER]})
    installation.export()
    assert installation.ledger("select distinct lease_owner, lease_until from cursors") == [("", 0)]


@pytest.mark.only("sqlite", "its ledger has one writer")
def test_a_second_run_at_the_same_time_is_told_that_one_is_under_way(installation: Installation) -> None:
    installation.views(1)
    seconds = []

    def send(host: str, key: str, messages: Sequence[bytes], attempt: int) -> Reply:
        seconds.append(installation.export())
        return installation.send(host, key, messages, attempt)

    assert installation.export(send=send).exit_code == 0
    (second,) = seconds
    assert second.exit_code == 75
    assert "ledger.db is being written by process" in second.busy
    assert len(installation.sent) == 1


@pytest.mark.only("sqlite", "the lanes' order: on a server an app that waits for its lease waits for no lane")
def test_a_long_backlog_does_not_keep_the_others_waiting(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one lane: nobody waits for more than one batch of anybody's."""
    monkeypatch.setattr("exporter.shipping.LANES", 1)
    apps = installation.add_apps(20)
    installation.views(3_000, details=Details(url="https://market.example/"))
    for app in apps:
        installation.collect(an_event(), app=app)
    installation.export()
    keys = [key for _, key, _ in installation.sent]
    last_of_the_others = max(at for at, key in enumerate(keys) if key != KEYS[OWNER])
    assert keys[: last_of_the_others + 1].count(KEYS[OWNER]) <= 1
    assert keys.count(KEYS[OWNER]) == 6


def test_a_destination_that_never_answers_does_not_keep_the_others_waiting(installation: Installation) -> None:
    installation.views(1)
    for app in installation.add_apps(10):
        installation.collect(an_event(), app=app)
    order = []
    served = threading.Event()

    def send(host: str, key: str, messages: Sequence[bytes], attempt: int) -> Reply:
        if key == KEYS[OWNER]:
            served.wait(PATIENCE_SECONDS)  # hangs until everybody else has been served
        order.append(key)
        if len(order) == 10:
            served.set()
        return installation.send(host, key, messages, attempt)

    assert installation.export(send=send).exit_code == 0
    assert order[10] == KEYS[OWNER]


def test_a_run_that_is_told_to_stop_finishes_what_is_on_the_wire_and_leaves_the_rest(
    installation: Installation,
) -> None:
    installation.views(1_200, details=Details(url="https://market.example/"))

    async def run() -> tuple[int, list[str]]:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def send(host: str, key: str, messages: Sequence[bytes], attempt: int) -> Reply:
            loop.call_soon_threadsafe(stop.set)
            return installation.send(host, key, messages, attempt)

        report = await run_once(installation.settings, installation.voice, stop, send=send)
        return report.exit_code, [item.deferred for item in report.destinations]

    assert asyncio.run(run()) == (75, ["the run ended before its backlog did"])
    assert installation.owed() == {"collected": 1_200, "accepted": 500, "pending": 700}
    assert installation.ledger("select distinct lease_owner from cursors") == [("",)]


def test_a_run_that_waits_for_a_retry_stops_when_it_is_told_to(installation: Installation) -> None:
    installation.views(1)

    async def run() -> float:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def send(host: str, key: str, messages: Sequence[bytes], attempt: int) -> Reply:
            loop.call_soon_threadsafe(loop.call_later, 0.05, stop.set)
            return Reply(503, "", retry_after=29)

        began = loop.time()
        await run_once(installation.settings, installation.voice, stop, send=send)
        return loop.time() - began

    assert asyncio.run(run()) < 5


# --- what is asked for


def test_only_the_app_that_was_asked_for_is_shipped(installation: Installation) -> None:
    installation.views(1)
    installation.views(1, STRANGER)
    report = installation.export(only=STRANGER)
    assert [item.app for item in report.destinations] == [STRANGER]
    assert [key for _, key, _ in installation.sent] == [KEYS[STRANGER]]


def test_an_app_that_nobody_knows_is_a_mistake(installation: Installation) -> None:
    with pytest.raises(ConfigError, match=r"there is no app com\.nobody"):
        installation.export(only="com.nobody")


def test_a_dry_run_tells_what_would_go_and_neither_sends_nor_writes(installation: Installation) -> None:
    installation.views(1_100, details=Details(url="https://market.example/"))
    installation.collect(an_event(suppressed="gpc"), an_event(details=Details(title="x" * 40_000)))
    report = installation.export(dry_run=True)
    assert report.sums() == {"accepted": 1_100, "suppressed": 1, "parked": 1, "expired": 0, "batches": 3}
    assert report.summary().startswith("1100 events would be sent in 3 batches, 1 suppressed, 1 parked, 0 destinations")
    assert (report.exit_code, installation.sent) == (0, [])
    if exists(installation.where, "ledger"):
        assert installation.ledger("select * from cursors") == installation.ledger("select * from seen") == []


def test_a_dry_run_says_the_same_that_the_run_after_it_does(installation: Installation) -> None:
    installation.views(700, details=Details(url="https://market.example/", title="x" * 2_000))
    installation.collect(*[an_event(suppressed="gpc")] * 30)
    installation.export()
    installation.views(300)
    tables = ("cursors", "batches", "tallies", "parked", "runs", "seen")
    ledger = [installation.ledger(f"select * from {table}") for table in tables]
    dry = installation.export(dry_run=True)
    assert [installation.ledger(f"select * from {table}") for table in tables] == ledger
    assert dry.sums() == installation.export().sums()


def test_a_dry_run_may_be_made_beside_a_real_one(installation: Installation) -> None:
    installation.views(2)
    beside = []

    def send(host: str, key: str, messages: Sequence[bytes], attempt: int) -> Reply:
        beside.append(installation.export(dry_run=True).sums()["accepted"])
        return installation.send(host, key, messages, attempt)

    installation.export(send=send)
    assert beside == [2]


# --- faults on our side


def test_a_key_that_cannot_be_read_holds_up_only_its_own_app(installation: Installation) -> None:
    installation.views(1)
    installation.views(1, STRANGER)
    _spoil(installation, f"where app_key = '{OWNER}'")
    report = installation.export()
    assert report.exit_code == 75
    assert "cannot be decrypted" in report.destinations[0].deferred
    assert len(installation.landed(STRANGER)) == 1


def test_keys_of_which_none_can_be_read_are_a_wrong_setting(installation: Installation) -> None:
    installation.views(1)
    _spoil(installation, "")
    with pytest.raises(ConfigError, match="FOOTFALL_SECRET_KEY"):
        installation.export()


def _spoil(installation: Installation, where: str) -> None:
    look(installation.where, "registry", f"update destinations set segment_write_key = ? {where}", b"\0")


def test_a_mistake_of_ours_with_one_destination_is_told_after_the_others_are_done(installation: Installation) -> None:
    installation.views(1)
    apps = installation.add_apps(3)  # with which all have a lane from the first
    for app in apps:
        installation.views(600, app)
    raised = threading.Event()

    def send(host: str, key: str, messages: Sequence[bytes], attempt: int) -> Reply:
        if key == KEYS[OWNER]:
            raised.set()
            raise LookupError("a mistake")
        raised.wait(PATIENCE_SECONDS)
        return installation.send(host, key, messages, attempt)

    with pytest.raises(LookupError, match="a mistake"):
        installation.export(send=send)
    assert [installation.owed(app) for app in apps] == [{"collected": 600, "accepted": 600}] * 3
    assert installation.ledger("select count(*) from cursors where lease_owner <> ''") == [(0,)]


@pytest.mark.only("sqlite", "it spoils the file")
def test_a_ledger_that_cannot_be_written_is_a_store_that_is_unavailable_and_nothing_is_sent(
    installation: Installation,
) -> None:
    installation.views(1)
    installation.export(only=STRANGER)
    (installation.data_dir / "ledger.db").write_bytes(b"this is no database" * 1_000)
    with pytest.raises(StoreUnavailable):
        installation.export()
    assert installation.sent == []


@pytest.mark.only("sqlite", "its log is made by the first collector")
def test_before_anything_was_ever_collected_the_store_is_unavailable(installation: Installation) -> None:
    (installation.data_dir / "events.db").unlink()
    with pytest.raises(StoreUnavailable, match="footfall migrate"):
        installation.export()


def test_no_key_is_in_the_ledger_or_in_what_a_run_says(installation: Installation) -> None:
    installation.views(2)
    installation.views(2, STRANGER)
    installation.fault(status=400, times="always", match={"writeKey": KEYS[OWNER]})
    installation.fault(status=503, times="always", match={"writeKey": KEYS[STRANGER]})
    report = installation.export()
    written = every_byte(installation.where)
    said = json.dumps(installation.voice.said) + report.summary() + str(report)
    for key in KEYS.values():
        assert key.encode() not in written
        assert key not in said
    assert VISITOR not in said


def test_a_slow_destination_is_given_its_time_when_all_others_are_done(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.sending.SLOW_SECONDS", -1.0)
    monkeypatch.setattr("exporter.shipping.GRACE_SECONDS", -1.0)
    installation.views(1_600)
    assert installation.export().exit_code == 0
    assert installation.owed() == {"collected": 1_600, "accepted": 1_600}


def test_a_failing_destination_is_left_for_later_soon_after_all_others_are_done(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.shipping.GRACE_SECONDS", 0.0)
    monkeypatch.setattr("wire.verdict.BASE_SECONDS", 60.0)
    installation.views(2)
    installation.fault(status=503, times="always")
    report = installation.export()
    assert (report.exit_code, len(installation.sent)) == (75, 1)
    assert report.destinations[0].deferred == "the run ended before its backlog did"
