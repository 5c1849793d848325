"""The proof from beginning to end: perform, gather what is known, judge."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

from selftest.judgement import Course, Evidence, Stored, judge
from selftest.plan import Plan
from selftest.play import Play
from selftest.report import Report, machine
from selftest.scene import Scene
from store import balance


def prove(plan: Plan, tell: Callable[[str], None] = lambda line: None) -> Report:
    """Run the plan and judge what came of it. Raises Failed when it cannot even be run."""
    with Scene(plan) as scene:
        play = Play(scene, plan, tell)
        play.perform()
        return conclude(play)


def conclude(play: Play) -> Report:
    """The report on a play that is over."""
    evidence = gather(play)
    judgement = judge(evidence, play.happened.wrong)
    return Report(play.plan, machine(play.scene.tiny_disk, play.scene.server), play.happened, judgement)


def gather(play: Play) -> Evidence:
    """Read everything as it is on disk now, in the senders' memory and at the fake Segment."""
    scene = play.scene
    events = scene.installation.rows(
        "events", "select seq, app_key, message_id, name, coalesce(suppressed, '') from events order by seq"
    )
    return Evidence(
        sent=play.senders.sent(),
        stored=[Stored(seq, app, str(UUID(bytes=event_id)), *more) for seq, app, event_id, *more in events],
        places=scene.cast.places,
        courses=_courses(scene),
        poisons=frozenset(event_id for _, event_id in play.poisons),
        landed=play.happened.landed,
        dropped=scene.segment.control("GET", "/_/counts")["dropped"],
        findings=asyncio.run(balance.examine(scene.where)),
    )


def _courses(scene: Scene) -> dict[str, Course]:
    rows = scene.installation.rows
    parked: dict[str, set[int]] = {}
    for destination_id, seq in rows("ledger", "select destination_id, seq from parked"):
        parked.setdefault(destination_id, set()).add(seq)
    accepted: dict[str, list[tuple[int, int]]] = {}
    sql = "select destination_id, first_seq, last_seq from batches where outcome = 'accepted' order by first_seq"
    for destination_id, first, last in rows("ledger", sql):
        accepted.setdefault(destination_id, []).append((first, last))
    return {
        destination_id: Course(seq, frozenset(parked.get(destination_id, ())), accepted.get(destination_id, []))
        for destination_id, seq in rows("ledger", "select destination_id, seq from cursors")
    }
