"""How destinations stand, for Prometheus: the cheap way of counting agrees with the thorough one, whatever happens."""

import asyncio
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import Cast, Doors, view
from engines import Stores, look
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shipping_cast import KEYS, NOON, OWNER, STRANGER, Installation, an_event
from test_removal import DEEDS, Deeds, purged

from collector.metrics import text
from collector.standing import of_destinations
from store import balance, registry
from store.accounts import Account, Accounts
from store.destinations import Change, set_destination
from store.engines import open_writer


def looked(installation: Installation, accounts: Accounts | None = None, now: int = NOON) -> dict[str, Account]:
    """The accounts by app."""
    standing = asyncio.run((accounts or Accounts(installation.where)).look(now))
    return {account.app_key: account for account in standing.accounts}


def sums(account: Any) -> dict[str, int]:
    found: dict[str, int] = {"pending": account.pending}
    for (fate, _), n in account.fates.items():
        found[fate] = found.get(fate, 0) + n
    return {fate: n for fate, n in found.items() if n}


def test_an_account_says_how_its_destination_stands(installation: Installation) -> None:
    installation.collect(*[an_event()] * 3, an_event(suppressed="gpc"), an_event("page_left"))
    installation.export()
    installation.collect(an_event(received_at=NOON - 5_000))
    account = looked(installation)[OWNER]
    assert account.destination == "main"
    assert sums(account) == {"accepted": 3, "suppressed": 1, "parked": 1, "pending": 1}
    assert account.fates["suppressed", "gpc"] == 1
    assert account.oldest_pending == NOON - 5_000
    assert (account.difference, account.tripped) == (0, "")
    assert sums(looked(installation)[STRANGER]) == {}


def test_attempts_are_those_of_the_last_day(installation: Installation) -> None:
    installation.views(1)
    installation.fault(status=503)
    installation.export()
    installation.mend()
    installation.export()
    installation.ledger(f"update batches set opened_at = {NOON}, closed_at = {NOON + 7} where outcome = 'accepted'")
    installation.ledger(f"update batches set opened_at = {NOON} where outcome = 'deferred'")
    account = looked(installation)[OWNER]
    assert account.attempts["accepted"] == 1
    assert account.attempts["deferred"] >= 1
    assert account.last_success == NOON + 7
    assert looked(installation, now=NOON + 25 * 3_600_000)[OWNER].attempts == {}


def test_a_destination_at_fault_is_told(installation: Installation) -> None:
    installation.views(1)
    installation.fault(status=403)
    installation.export()
    assert looked(installation)[OWNER].tripped == "the endpoint answers 403"
    assert looked(installation)[OWNER].last_success is None


@pytest.mark.parametrize(
    ("harm", "difference"),
    [("update tallies set n = n - 1 where fate = 'accepted'", 1), ("update cursors set seq = 1 where seq = 3", -2)],
)
def test_a_sum_that_is_off_is_told_by_how_much(installation: Installation, harm: str, difference: int) -> None:
    installation.views(3)
    installation.export()
    installation.ledger(harm)
    assert looked(installation)[OWNER].difference == difference


def test_a_sum_that_is_right_again_is_told_as_right(installation: Installation) -> None:
    installation.views(3)
    installation.export()
    accounts = Accounts(installation.where)
    installation.ledger("update tallies set n = n - 1 where fate = 'accepted'")
    assert looked(installation, accounts)[OWNER].difference == 1
    installation.ledger("update tallies set n = n + 1 where fate = 'accepted'")
    assert looked(installation, accounts)[OWNER].difference == 0


def test_a_first_look_counts_by_the_doors_and_from_the_ground_where_they_are_off(installation: Installation) -> None:
    installation.views(9)
    installation.export()
    installation.views(2)
    for harm in ("set n = n", "set n = n + 5 where outcome = 'stored'"):
        look(installation.where, "log", f"update door_tallies {harm}")
        account = looked(installation)[OWNER]
        assert (sums(account), account.difference) == ({"accepted": 9, "pending": 2}, 0)


def test_what_is_pending_is_told_while_a_backlog_shrinks(installation: Installation) -> None:
    accounts = Accounts(installation.where)
    for seq in (0, 1, 2, 9, 12):
        if seq == 0:
            installation.views(12)
            installation.export()
        installation.ledger(f"update cursors set seq = {seq}")
        installation.ledger(f"update tallies set n = {seq} where fate = 'accepted'")
        account = looked(installation, accounts)[OWNER]
        assert (account.pending, account.difference) == (12 - seq, 0)


@pytest.mark.only("sqlite", "it removes what is old")
def test_a_log_that_was_emptied_and_filled_again_is_counted_rightly(installation: Installation) -> None:
    accounts = Accounts(installation.where)
    installation.collect(*[an_event(received_at=NOON - 100 * 86_400_000)] * 3)
    installation.export()
    looked(installation, accounts)
    assert purged(installation).events == 3
    assert sums(looked(installation, accounts)[OWNER]) == {"accepted": 3}
    installation.views(2)
    account = looked(installation, accounts)[OWNER]
    assert (sums(account), account.difference) == ({"accepted": 3, "pending": 2}, 0)


@pytest.mark.only("sqlite", "it removes what is old")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    deeds=st.lists(st.sampled_from([*DEEDS, "collect_old", "export", "purge"]), min_size=5, max_size=12), data=st.data()
)
def test_looking_again_agrees_with_counting_everything(stores: Stores, deeds: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        installation = Installation(stores, Path(place))
        stage, accounts = Deeds(installation), Accounts(installation.where)
        for deed in ["collect_old", *deeds]:
            getattr(stage, deed)()
            if not data.draw(st.booleans()):
                continue
            found = asyncio.run(accounts.look(NOON)).accounts
            thorough = asyncio.run(balance.examine(installation.where)).destinations
            live = {(owed.app, owed.name): owed for owed in thorough if owed.state == "live"}
            assert len(found) == len(live)
            for account in found:
                owed = live[account.app_key, account.destination]
                terms = {fate: getattr(owed, fate) for fate in balance.FATES if getattr(owed, fate)}
                assert sums(account) == terms
                assert account.oldest_pending == owed.oldest_pending
                assert account.difference == 0


def test_the_text_names_apps_and_destinations_and_no_key(installation: Installation) -> None:
    installation.collect(an_event(), an_event(suppressed="gpc"))
    installation.export()
    installation.views(1)
    standing = asyncio.run(Accounts(installation.where).look(NOON))
    told = text(of_destinations(standing, NOON + 2_500))
    labels = f'app="{OWNER}",destination="main"'
    for line in (
        f"footfall_accepted_total{{{labels}}} 1",
        f'footfall_suppressed_total{{{labels},reason="gpc"}} 1',
        f"footfall_pending{{{labels}}} 1",
        f"footfall_oldest_pending_seconds{{{labels}}} 2.46",
        f"footfall_breaker_open{{{labels}}} 0",
        f"footfall_conservation_diff{{{labels}}} 0",
        "footfall_last_run_deferred 0",
        "footfall_ledger_age_seconds 2.5",
    ):
        assert line in told.splitlines()
    assert re.search(r"^footfall_last_run_timestamp_seconds \d{10}", told, re.MULTILINE)
    assert not any(key in told for key in (*KEYS.values(), str(installation.destination_id())))


def test_the_route_looks_at_most_once_in_a_while(cast: Cast, doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    async def enter_a_key() -> None:
        async with await open_writer(cast.where, "registry") as db:
            await registry.app(db, cast.owner_app)
            await set_destination(db, cast.vault, 0, cast.owner_app, Change(segment_write_key="KEY"), 0)

    def pending() -> str:
        (line,) = re.findall(r"^footfall_pending\{.*", doors.client.get("/metrics").text, re.MULTILINE)
        return str(line)

    monkeypatch.setattr("collector.standing.LOOK_SECONDS", 3_600)
    asyncio.run(enter_a_key())
    doors.send(view())
    assert pending() == f'footfall_pending{{app="{cast.owner_app}",destination="main"}} 1'
    doors.send(view())
    assert pending().endswith(" 1")
    monkeypatch.setattr("collector.standing.LOOK_SECONDS", 0)
    assert pending().endswith(" 2")


@pytest.mark.only("sqlite", "it spoils the file")
def test_a_ledger_that_cannot_be_read_leaves_the_doors_metrics(cast: Cast, doors: Doors) -> None:
    (cast.data_dir / "ledger.db").write_bytes(b"this is no database" * 1_000)
    answer = doors.client.get("/metrics")
    assert answer.status_code == 200
    assert "footfall_store_unwell 0" in answer.text
    (age,) = re.findall(r"^footfall_ledger_age_seconds (\S+)", answer.text, re.MULTILINE)
    assert float(age) > 300
