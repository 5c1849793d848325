"""Whether anything was lost, doubled or misdirected: every event is held against what its sender was told, what the
log and the ledger say of it, and what Segment has. Pure.

Nothing here asks the product what it thinks of itself; the ledger's own sums are compared with a count event by event.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from operator import itemgetter

import msgspec

from selftest.cast import Place
from selftest.senders import Sent
from store.balance import Findings

WINDOW = timedelta(hours=24)
EXAMPLES = 3


class Stored(msgspec.Struct, frozen=True):
    """An event of the log, the columns that matter."""

    seq: int
    app: str
    event_id: str
    name: str
    suppressed: str


class Course(msgspec.Struct, frozen=True):
    """What the ledger says of a destination: how far it is, what is parked, and the seqs from and to which its accepted
    batches reached, in order."""

    seq: int
    parked: frozenset[int]
    accepted: list[tuple[int, int]]


class Evidence(msgspec.Struct, frozen=True):
    """Everything that is known in the end. `landed` is, by write key: message id, app, and when by Segment's clock."""

    sent: Sequence[Sent]
    stored: Sequence[Stored]
    places: Sequence[Place]
    courses: Mapping[str, Course]
    poisons: frozenset[str]
    landed: Mapping[str, Sequence[tuple[str, str, str]]]
    dropped: Mapping[str, int]
    findings: Findings


class Judgement(msgspec.Struct):
    """The figures, and in words what is wrong; when nothing is, the proof holds.

    The fates count events once for each destination of their app.
    """

    tried: int = 0
    acknowledged: int = 0
    stored: int = 0
    stored_unanswered: int = 0
    fates: Counter[str] = msgspec.field(default_factory=Counter)
    suppressed: Counter[str] = msgspec.field(default_factory=Counter)
    pending_at_broken: int = 0
    doubled_before: int = 0
    doubled_after: int = 0
    lost: int = 0
    without_fate: int = 0
    misdirected: int = 0
    difference: int = 0
    wrong: list[str] = []

    def blame(self, what: str, culprits: Iterable[str]) -> int:
        """Note something wrong, with examples; how many culprits there are."""
        found = list(culprits)
        if found:
            examples = ", ".join(found[:EXAMPLES]) + (", …" if len(found) > EXAMPLES else "")
            self.wrong.append(f"{len(found)} {what}: {examples}")
        return len(found)


def judge(evidence: Evidence, wrong: Sequence[str] = ()) -> Judgement:
    """Every check; `wrong` is what was found before."""
    j = Judgement(wrong=list(wrong))
    _judge_log(evidence, j)
    for place in evidence.places:
        _judge_place(evidence, place, j)
    _judge_directions(evidence, j)
    _judge_sums(evidence, j)
    return j


def _judge_log(evidence: Evidence, j: Judgement) -> None:
    """What was acknowledged is there once; what is there was sent, and was not answered with a refusal alone."""
    sent = {event.event_id: event for event in evidence.sent}
    stored = Counter(event.event_id for event in evidence.stored)
    acknowledged = {event.event_id for event in evidence.sent if event.acknowledged}
    j.tried, j.acknowledged, j.stored = len(sent), len(acknowledged), len(evidence.stored)
    j.lost += j.blame("acknowledged events are not in the log", acknowledged - stored.keys())
    j.blame("events are in the log twice", (each for each, n in stored.items() if n > 1))
    j.blame("events are in the log that nobody sent", stored.keys() - sent.keys())
    unanswered = [sent[each] for each in stored.keys() & sent.keys() if not sent[each].acknowledged]
    j.stored_unanswered = len(unanswered)
    j.blame("events were refused and are stored", (event.event_id for event in unanswered if not event.in_doubt))
    known = [(sent[event.event_id], event) for event in evidence.stored if event.event_id in sent]
    j.blame("events are stored as another's", (s.event_id for s, e in known if (s.app, s.name) != (e.app, e.name)))
    j.blame("events are withheld wrongly, or not", (s.event_id for s, e in known if s.withheld != e.suppressed))


def _judge_place(evidence: Evidence, place: Place, j: Judgement) -> None:
    """Each event of the app has one fate here, the one that it is owed, and landed accordingly."""
    withheld = {event.event_id: event.withheld for event in evidence.sent}
    arrived: dict[str, list[str]] = {}
    for message_id, _, at in evidence.landed.get(place.write_key, ()):
        arrived.setdefault(message_id, []).append(at)
    events = [event for event in evidence.stored if event.app == place.app]
    course = evidence.courses.get(place.destination_id, Course(0, frozenset(), []))
    expected, found, copies = {}, {}, {}
    for event in events:
        expected[event.event_id] = _owed(event, withheld.get(event.event_id, ""), place, evidence.poisons)
        found[event.event_id] = _fate(event, course, place)
        copies[event.event_id] = arrived.pop(place.message_id(event.event_id), [])
    where = f"at {place.app} {place.name}"
    j.lost += j.blame(
        f"events did not land {where}", (e for e, fate in expected.items() if fate == "accepted" and not copies[e])
    )
    j.doubled_after += j.blame(
        f"events landed twice within a day {where}", (e for e, at in copies.items() if _is_double(at))
    )
    j.blame(
        f"events landed that should not {where}",
        (e for e, fate in expected.items() if fate != "accepted" and copies[e]),
    )
    j.misdirected += j.blame(f"messages landed that are no event of it {where}", arrived)
    j.without_fate += j.blame(f"events are without a fate {where}", (e for e, fate in found.items() if not fate))
    j.blame(
        f"events have another fate than they are owed {where}",
        (
            f"{e} {fate} for {expected[e]}"
            for e, fate in found.items()
            if fate not in ("", expected[e]) and not (place.broken and fate == "pending")
        ),
    )
    _count(events, found, place, j)
    _judge_tallies(evidence, place, found, j)


def _owed(event: Stored, withheld: str, place: Place, poisons: frozenset[str]) -> str:
    if withheld or (event.name == "uninstall" and not place.uninstalls):
        return "suppressed"
    if place.broken:
        return "pending"
    return "parked" if event.event_id in poisons else "accepted"


def _fate(event: Stored, course: Course, place: Place) -> str:
    """What the ledger says; '' when it says nothing."""
    if event.seq > course.seq:
        return "pending"
    if event.seq in course.parked:
        return "parked"
    if event.suppressed or (event.name == "uninstall" and not place.uninstalls):
        return "suppressed"
    at = bisect_right(course.accepted, event.seq, key=itemgetter(0)) - 1
    return "accepted" if at >= 0 and event.seq <= course.accepted[at][1] else ""


def _is_double(times: Sequence[str]) -> bool:
    at = sorted(map(datetime.fromisoformat, times))
    return any(later - earlier < WINDOW for earlier, later in pairwise(at))


def _count(events: Sequence[Stored], found: Mapping[str, str], place: Place, j: Judgement) -> None:
    for event in events:
        fate = found[event.event_id]
        if fate == "pending" and place.broken:
            j.pending_at_broken += 1
        elif fate:
            j.fates[fate] += 1
        if fate == "suppressed":
            j.suppressed[event.suppressed or "not asked for"] += 1


def _judge_tallies(evidence: Evidence, place: Place, found: Mapping[str, str], j: Judgement) -> None:
    """The ledger's sums are those of the events one by one."""
    sums = Counter(found.values())
    for owed in evidence.findings.destinations:
        if owed.destination != place.destination_id:
            continue
        told = {
            "accepted": owed.accepted,
            "parked": owed.parked,
            "suppressed": owed.suppressed,
            "pending": owed.pending,
        }
        off = [f"{fate} {n}, counted {sums[fate]}" for fate, n in told.items() if n != sums[fate]]
        j.blame(f"sums of the ledger are off at {place.app} {place.name}", off)


def _judge_directions(evidence: Evidence, j: Judgement) -> None:
    """Nobody's event under somebody else's key, no id under two keys, nothing that Segment had to drop but copies."""
    apps = {place.write_key: place.app for place in evidence.places}
    landed = [(key, *told) for key, messages in evidence.landed.items() for told in messages]
    j.misdirected += j.blame(
        "messages landed under another app's key",
        (message_id for key, message_id, app, _ in landed if apps.get(key) != app),
    )
    keys: dict[str, set[str]] = {}
    for key, message_id, _, _ in landed:
        keys.setdefault(message_id, set()).add(key)
    j.blame("message ids landed under two keys", (each for each, under in keys.items() if len(under) > 1))
    j.doubled_before = evidence.dropped.get("duplicate", 0)
    j.blame("reasons to drop", (f"{why} {n}" for why, n in evidence.dropped.items() if why != "duplicate"))


def _judge_sums(evidence: Evidence, j: Judgement) -> None:
    """received = stored + duplicate + rejected + shed, and collected = accepted + … for every destination."""
    differences = [evidence.findings.doors.difference, *(owed.difference for owed in evidence.findings.destinations)]
    j.difference = sum(map(abs, differences))
    j.blame("sums do not balance", (line for line in evidence.findings.lines() if "OFF BY" in line))
    accepted = sum(owed.accepted for owed in evidence.findings.destinations)
    distinct = sum(len({message_id for message_id, _, _ in each}) for each in evidence.landed.values())
    j.blame("totals differ", [f"{accepted} accepted, {distinct} landed"] if accepted != distinct else [])
