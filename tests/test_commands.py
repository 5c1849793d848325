"""The commands that ask something of the exporter or tell what it did, as a person types them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from engines import Stores
from shipping_cast import OWNER, Details, Installation

import footfall

LARGE = Details(url="https://market.example/", title="x" * 40_000)


@pytest.fixture
def installation(stores: Stores, tmp_path: Path) -> Installation:
    return Installation(stores, tmp_path)


def run(installation: Installation, *words: str, given: str = "") -> Result:
    env = installation.environment
    asyncio.set_event_loop(None)
    return CliRunner().invoke(footfall.main, words, input=given, env=env)


def said(installation: Installation, *words: str, given: str = "") -> Any:
    result = run(installation, *words, "--json", given=given)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_second_destination_is_set_listed_and_removed(installation: Installation) -> None:
    words = ("app", "set", OWNER, "--destination", "warehouse", "--segment-write-key-file", "-")
    made = said(installation, *words, given="WRITEKEYOFTHEOWNERSWAREHOUSE0005")
    assert (made["destination"], made["segment_write_key"], made["verified_at"]) == ("warehouse", "…0005", None)
    (charts, _) = said(installation, "app", "list")
    assert [d["destination"] for d in charts["destinations"]] == ["main", "warehouse"]
    assert run(installation, "app", "remove-destination", OWNER, "warehouse").exit_code == 0
    assert run(installation, "app", "remove-destination", OWNER, "warehouse").exit_code == 78


def test_a_replay_is_planned_asked_for_listed_and_cancelled(installation: Installation) -> None:
    installation.views(3)
    words = ("replay", OWNER, "--from", "2026-01-01")
    planned = said(installation, *words, "--dry-run")
    assert (planned["events"], planned["older"], "replay" in planned) == (3, 3, False)
    assert said(installation, "replay", OWNER) == []
    asked = said(installation, *words, "--to", "2026-02-17", "--new-ids")
    (listed,) = said(installation, "replay", OWNER)
    assert (listed["replay_id"], listed["new_ids"], listed["last_seq"]) == (asked["replay"], True, 3)
    assert run(installation, "replay", OWNER, "--cancel", asked["replay"]).exit_code == 0
    assert said(installation, "replay", OWNER)[0]["cancelled"] is True
    assert run(installation, "replay", OWNER, "--cancel", asked["replay"]).exit_code == 78
    assert "are older: Segment takes them again" in run(installation, *words).stdout
    assert run(installation, "replay", OWNER, "--from", "soon").exit_code == 78
    assert run(installation, "replay", "com.nobody", "--from", "2026-01-01").exit_code == 78


def test_parked_events_are_listed_shown_released_and_dropped(installation: Installation) -> None:
    installation.views(2, details=LARGE)
    installation.export()
    assert [held["seq"] for held in said(installation, "park", "list", "--app", OWNER)] == [1, 2]
    assert "too_large" in run(installation, "park", "list").stdout
    shown = json.loads(run(installation, "park", "show", OWNER, "1").stdout)
    assert shown["details"]["title"] == LARGE.title
    assert run(installation, "park", "show", OWNER, "9").exit_code == 78
    assert run(installation, "park", "release", OWNER, "1").exit_code == 0
    assert run(installation, "park", "drop", OWNER, "2").exit_code == 0
    installation.export()
    assert installation.owed() == {"collected": 2, "parked": 1, "suppressed": 1}
    assert run(installation, "park", "release", OWNER, "2").exit_code == 78
    assert run(installation, "park", "drop", OWNER).exit_code == 2
    assert "1 parked events" in run(installation, "park", "drop", OWNER, "--all").stdout


def test_a_paused_destination_is_resumed(installation: Installation) -> None:
    installation.views(1)
    installation.fault(status=403)
    installation.export()
    installation.ledger(f"update cursors set not_before = {2**50} where tripped <> ''")
    assert run(installation, "app", "resume", OWNER).exit_code == 0
    assert installation.export().sums()["accepted"] == 1
    assert run(installation, "app", "resume", OWNER, "--destination", "nowhere").exit_code == 78


def test_an_events_fate_is_shown(installation: Installation) -> None:
    (sent,) = installation.views(1)
    installation.export()
    assert said(installation, "event", "show", sent)["ways"][0]["fate"] == "accepted"
    assert "main: accepted" in run(installation, "event", "show", sent).stdout
    nobody = run(installation, "event", "show", "00000000-0000-4000-8000-000000000000")
    assert (nobody.exit_code, nobody.stdout) == (78, "")
