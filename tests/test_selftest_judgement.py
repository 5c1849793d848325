"""The self-test's judgement: sound evidence holds, and each thing that can be wrong is found, whatever else is right.

The evidence is made up; with real processes it is gathered in e2e/test_selftest.py.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec
import pytest

from selftest.cast import PLACES, Place
from selftest.judgement import Course, Evidence, Judgement, Stored, judge
from selftest.plan import Plan, acts
from selftest.play import Happened
from selftest.report import Report, machine
from selftest.senders import Sent
from store.balance import Doors, Findings, Owed

NOON = "2026-02-16T12:00:00.000Z"
LATER = "2026-02-16T18:00:00.000Z"
NEXT_DAY = "2026-02-17T12:00:00.000Z"
HERE = Place("com.heron.charts", "main", "us", "KEYHERE", destination_id="6f1d2c3a-8b4e-5f60-9a7b-1c2d3e4f5061")
THERE = Place("com.rook.notes", "main", "eu", "KEYTHERE", destination_id="7f1d2c3a-8b4e-5f60-9a7b-1c2d3e4f5061")
SEEN, HIDDEN, POISON, OTHERS = (f"00000000-0000-4000-8000-00000000000{digit}" for digit in range(1, 5))


def landed_as(place: Place, event_id: str, at: str = NOON, app: str = "") -> tuple[str, str, str]:
    return place.message_id(event_id), app or place.app, at


def owed(place: Place, **counts: int) -> Owed:
    zero = dict.fromkeys(("collected", "accepted", "pending", "parked", "suppressed", "expired"), 0)
    told = {"name": "main", "state": "live", "reasons": {}, "paused": "", "oldest_pending": None, "hours": []}
    return Owed(app=place.app, destination=place.destination_id, **(zero | counts | told))


def evidence(**changes: Any) -> Evidence:
    """Two apps. One has an event that a partner gets, one that none may get and one that is refused; one has one."""
    sound = Evidence(
        sent=[
            Sent(SEEN, HERE.app, "page_view", acknowledged=True),
            Sent(HIDDEN, HERE.app, "page_view", "gpc", acknowledged=True),
            Sent(POISON, HERE.app, "page_view", acknowledged=True),
            Sent(OTHERS, THERE.app, "install", in_doubt=True),
        ],
        stored=[
            Stored(1, HERE.app, SEEN, "page_view", ""),
            Stored(2, HERE.app, HIDDEN, "page_view", "gpc"),
            Stored(3, HERE.app, POISON, "page_view", ""),
            Stored(4, THERE.app, OTHERS, "install", ""),
        ],
        places=[HERE, THERE],
        courses={
            HERE.destination_id: Course(3, frozenset({3}), [(1, 2)]),
            THERE.destination_id: Course(4, frozenset(), [(4, 4)]),
        },
        poisons=frozenset({POISON}),
        landed={"KEYHERE": [landed_as(HERE, SEEN)], "KEYTHERE": [landed_as(THERE, OTHERS)]},
        dropped={"duplicate": 7},
        findings=Findings(
            "SQLite 3.40.1",
            Doors(4, 4, 0, 0, 0),
            [
                owed(HERE, collected=3, accepted=1, suppressed=1, parked=1),
                owed(THERE, collected=1, accepted=1),
            ],
            balanced=True,
        ),
    )
    return msgspec.structs.replace(sound, **changes)


def test_sound_evidence_holds_and_its_events_are_counted() -> None:
    found = judge(evidence())
    assert found.wrong == []
    assert (found.tried, found.acknowledged, found.stored, found.stored_unanswered) == (4, 3, 4, 1)
    assert found.fates == {"accepted": 2, "suppressed": 1, "parked": 1}
    assert (found.doubled_before, found.doubled_after, found.lost, found.without_fate) == (7, 0, 0, 0)


def test_a_copy_that_lands_after_segments_day_is_no_double() -> None:
    copies = [landed_as(HERE, SEEN), landed_as(HERE, SEEN, NEXT_DAY)]
    assert judge(evidence(landed={"KEYHERE": copies, "KEYTHERE": [landed_as(THERE, OTHERS)]})).wrong == []


def test_what_is_pending_where_all_is_refused_is_as_it_should_be() -> None:
    broken = msgspec.structs.replace(THERE, broken=True)
    found = judge(
        evidence(
            places=[HERE, broken],
            courses={HERE.destination_id: Course(3, frozenset({3}), [(1, 2)])},
            landed={"KEYHERE": [landed_as(HERE, SEEN)]},
            findings=Findings(
                "SQLite 3.40.1",
                Doors(4, 4, 0, 0, 0),
                [owed(HERE, collected=3, accepted=1, suppressed=1, parked=1), owed(THERE, collected=1, pending=1)],
                balanced=True,
            ),
        )
    )
    assert found.wrong == []
    assert found.pending_at_broken == 1


SOUND = evidence()
DAMAGE: dict[str, tuple[dict[str, Any], str]] = {
    "an acknowledged event that is gone": (
        {"stored": SOUND.stored[1:]},
        f"1 acknowledged events are not in the log: {SEEN}",
    ),
    "an event stored twice": (
        {"stored": [*SOUND.stored, Stored(5, THERE.app, OTHERS, "install", "")]},
        f"1 events are in the log twice: {OTHERS}",
    ),
    "an event that nobody sent": ({"sent": SOUND.sent[:3]}, f"1 events are in the log that nobody sent: {OTHERS}"),
    "an event that was refused and stored all the same": (
        {"sent": [*SOUND.sent[:3], Sent(OTHERS, THERE.app, "install")]},
        f"1 events were refused and are stored: {OTHERS}",
    ),
    "an event of another app than it was sent for": (
        {"sent": [*SOUND.sent[:3], Sent(OTHERS, HERE.app, "install", in_doubt=True)]},
        f"1 events are stored as another's: {OTHERS}",
    ),
    "a visitor who does not share, overheard": (
        {"sent": [*SOUND.sent[:3], Sent(OTHERS, THERE.app, "install", "consent", in_doubt=True)]},
        f"1 events are withheld wrongly, or not: {OTHERS}",
    ),
    "an event that was accepted and never landed": (
        {"landed": {"KEYTHERE": SOUND.landed["KEYTHERE"]}},
        f"1 events did not land at com.heron.charts main: {SEEN}",
    ),
    "an event that landed twice within the day": (
        {"landed": SOUND.landed | {"KEYHERE": [landed_as(HERE, SEEN), landed_as(HERE, SEEN, LATER)]}},
        f"1 events landed twice within a day at com.heron.charts main: {SEEN}",
    ),
    "a suppressed event that landed": (
        {"landed": SOUND.landed | {"KEYHERE": [landed_as(HERE, SEEN), landed_as(HERE, HIDDEN)]}},
        f"1 events landed that should not at com.heron.charts main: {HIDDEN}",
    ),
    "another app's event under a key": (
        {"landed": SOUND.landed | {"KEYHERE": [landed_as(HERE, SEEN), landed_as(THERE, OTHERS)]}},
        f"1 messages landed under another app's key: {THERE.message_id(OTHERS)}",
    ),
    "an event without a fate": (
        {"courses": SOUND.courses | {THERE.destination_id: Course(4, frozenset(), [])}},
        f"1 events are without a fate at com.rook.notes main: {OTHERS}",
    ),
    "a cursor that stayed behind": (
        {"courses": SOUND.courses | {THERE.destination_id: Course(0, frozenset(), [])}},
        f"1 events have another fate than they are owed at com.rook.notes main: {OTHERS} pending for accepted",
    ),
    "a sum that is not the count": (
        {"findings": msgspec.structs.replace(SOUND.findings, destinations=[owed(HERE, collected=2, accepted=2)])},
        "3 sums of the ledger are off at com.heron.charts main: accepted 2, counted 1, parked 0, counted 1, "
        "suppressed 0, counted 1",
    ),
    "a balance that is off": (
        {"findings": msgspec.structs.replace(SOUND.findings, doors=Doors(5, 4, 0, 0, 0))},
        "1 sums do not balance: doors: received 5 = stored 4 + duplicate 0 + rejected 0 + shed 0; OFF BY 1",
    ),
    "a message that Segment had to drop for what it was": (
        {"dropped": {"wrong_region": 2}},
        "1 reasons to drop: wrong_region 2",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_it_finds(damage: str) -> None:
    changes, said = DAMAGE[damage]
    assert said in judge(evidence(**changes)).wrong


def test_what_went_wrong_on_the_way_counts_too() -> None:
    assert judge(evidence(), ["the collector ended by itself"]).wrong == ["the collector ended by itself"]


# --- the plan


def test_the_same_seed_is_the_same_plan_and_another_one_is_another() -> None:
    first = list(islice(acts(1), 40))
    assert first == list(islice(acts(1), 40))
    assert first != list(islice(acts(2), 40))


def test_twenty_acts_meet_every_kind_of_kill_and_every_fault() -> None:
    drawn = list(islice(acts(1), 20))
    assert {(act.victim, act.point) for act in drawn} == {
        ("collector", ""),
        ("collector", "request"),
        ("exporter", ""),
        ("exporter", "after_open"),
        ("exporter", "after_send"),
        ("exporter", "after_close"),
    }
    assert len({fault.name for act in drawn for fault in act.faults}) == 10
    assert any(act.pair for act in drawn)
    assert any(act.full_disk for act in drawn)


def test_partners_regions_and_a_destination_broken_for_good_take_part() -> None:
    assert len({place.app.split(".")[1] for place in PLACES}) == 3
    assert {place.region for place in PLACES if not place.broken} == {"us", "eu"}
    assert [place.app for place in PLACES if place.broken] == ["com.wren.polls"]


# --- the report


def report(judgement: Judgement) -> Report:
    happened = Happened(landed={"KEYHERE": [landed_as(HERE, SEEN)]}, seconds=90)
    happened.kills["exporter, after_send"] = 30
    return Report(Plan(30, 0, 7), machine(tiny_disk=False), happened, judgement)


def test_a_report_says_how_to_run_it_again_what_was_found_and_what_was_left_out() -> None:
    text = report(judge(evidence())).markdown()
    assert "Held: 3 events were acknowledged while processes were killed 30 times." in text
    assert "`footfall selftest delivery --kills 30 --seed 7`" in text
    assert "| acknowledged events lost | 0 |" in text
    assert "| disk full | left out: no small file system could be mounted |" in text
    assert "| took | 1.5 minutes |" in text


def test_a_report_on_a_loss_says_so_first_and_does_not_claim_that_it_held() -> None:
    lossy = report(judge(evidence(stored=SOUND.stored[1:])))
    assert not lossy.holds
    assert f"**It did not hold:**\n\n- 1 acknowledged events are not in the log: {SEEN}" in lossy.markdown()
    assert "Held" not in lossy.markdown()
    assert lossy.told()["holds"] is False
    assert "landed" not in lossy.told()
