"""One transaction of attribution: what a stretch of an app's log told is kept, and every install that it says anything
of is decided, with the sums that follow from it.

All of it happens on the ledger's own thread, with the cursor's move as the first statement; so it is there as a whole,
once, or not at all. It may be run again from the beginning, and keeps nothing between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from attribution import deciding, decision, models
from attribution.deciding import Standing
from attribution.decision import Decision
from attribution.evidence import Campaign, Conversion, Identity, Touchpoint
from attribution.rules import DAY_MS, Rules
from exporter.installs import Install, Installs, as_text, marks, of_text
from exporter.revenue import Book, Earned
from store.attribution import following, sums, touchpoints
from store.attribution.following import Cursor, Stored
from store.attribution.reading import Made
from store.attribution.sums import Sums
from store.attribution.touchpoints import Touch
from store.database import Connection

_encode = msgspec.json.Encoder().encode
_campaign = msgspec.json.Decoder(Campaign).decode


class Told(NamedTuple):
    """An install that a stretch tells of, and the partner whose the app was; `known` are more ids of the same one."""

    conversion: Conversion
    partner_key: str
    known: tuple[Identity, ...] = ()


class Anew(NamedTuple):
    """Why an install is decided anew: an event, when that was received, and more ids of the same one."""

    seq: int
    received_at: int
    known: tuple[Identity, ...] = ()


class Work(msgspec.Struct, frozen=True):
    """What one transaction has to do. `anew` are open installs to decide anew, by seq; those of `closing` are decided
    for the last time if more ids are known of them than before. `known` are more ids of whoever brought something, by
    the event's seq: of what was earned now, or lately."""

    up_to: int
    rules: Rules
    touchpoints: Sequence[tuple[Touchpoint, str]] = ()  # with the partner
    installs: Sequence[Told] = ()
    anew: Mapping[int, Anew] = {}
    closing: Mapping[int, tuple[Identity, ...]] = {}
    earned: Sequence[Earned] = ()
    known: Mapping[int, Sequence[Identity]] = {}
    parked: Sequence[tuple[int, str]] = ()


class Done(msgspec.Struct):
    """What came of it; `again` counts decisions that are another than before."""

    cursor: Cursor
    installs: int = 0
    decisions: int = 0
    again: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)


def take(connection: Connection, cursor: Cursor, owner: str, work: Work, now: int) -> Done:
    """Do it all. Raises LeaseLost when another run has the cursor."""
    following.move(connection, cursor, owner, work.up_to)
    touchpoints.keep(connection, cursor.app_key, map(_touch, work.touchpoints))
    following.park(connection, cursor.app_key, work.parked, now)
    turn = _Turn(connection, cursor, work, now)
    turn.decide()
    turn.keep()
    return turn.done


class _Turn:
    def __init__(self, connection: Connection, cursor: Cursor, work: Work, now: int) -> None:
        self._connection = connection
        self._app_key = cursor.app_key
        self._work = work
        self._now = now
        self._installs = Installs(connection, cursor.app_key)
        self._stirred: dict[int, int] = {}  # installs of people of whom something changed, and since when
        self._ordinal = cursor.ordinal
        self._decided: list[Made] = []
        self._sums = Sums(Counter(), Counter(), Counter())
        self._book = Book(connection, cursor.app_key, self._installs, self._sums)
        self.done = Done(cursor._replace(seq=work.up_to))

    # --- installs

    def decide(self) -> None:
        causes = self._begin()
        seen: set[int] = set()
        for seq in causes:
            if seq not in seen:
                install = self._installs[seq]
                person = self._installs.person(install.conversion.identities, install.stored.partner_key, install)
                seen |= {each.stored.seq for each in person}
                self._decide_all(person, causes, causes[seq])
        for seq in self._work.closing:
            self._installs[seq].stored = self._installs[seq].stored._replace(open=0)
            self._installs[seq].changed = True

    def _begin(self) -> dict[int, Anew]:
        """Have every install that may be decided; by seq, why those are that are."""
        causes = {}
        new = []
        for told in self._work.installs:
            install = Install(self._new(told), new=True)
            install.learn(told.known)
            self._installs.add(install)
            causes[told.conversion.seq] = Anew(told.conversion.seq, told.conversion.received_at)
            new += self._marked(install)
        self.done.installs = len(self._work.installs)
        self._installs.load({*self._work.anew, *self._work.closing})
        for seq, anew in self._work.anew.items():
            if self._installs[seq].learn(anew.known):
                new += self._marked(self._installs[seq])
            causes.setdefault(seq, anew)
        for seq, known in self._work.closing.items():
            if self._installs[seq].learn(known):
                new += self._marked(self._installs[seq])
                causes.setdefault(seq, Anew(0, 0))
        following.keep_identities(self._connection, self._app_key, new)
        return causes

    def _new(self, told: Told) -> Stored:
        c = told.conversion
        open_until = c.received_at + self._work.rules.settle
        message_id, identities = bytes.fromhex(c.message_id), as_text(c.identities)
        at = c.at, c.received_at, open_until
        return Stored(c.seq, told.partner_key, message_id, c.source, *at, 1, identities, 0, "", "", "", 0)

    def _marked(self, install: Install) -> list[tuple[bytes, int]]:
        """By address and agent late evidence finds it, too, and no other install does."""
        return [(mark, install.stored.seq) for mark in marks(install.conversion.identities, guessed=True)]

    def _decide_all(self, person: Sequence[Install], causes: Mapping[int, Anew], cause: Anew) -> None:
        told = [causes[each.stored.seq].received_at for each in person if each.stored.seq in causes]
        latest = max(told, default=0)
        closed = {each.stored.seq for each in person if not each.is_open or each.stored.open_until < latest}
        found = deciding.standings([each.conversion for each in person], self._work.rules, closed)
        for install in person:
            seq = install.stored.seq
            if seq not in closed or not install.stored.version:
                one = _together(install, person, found)
                self._decide(install, found[seq], one, causes.get(seq, cause).seq)
        if any(each.changed for each in person):
            self._stirred |= {each.stored.seq: min(told, default=0) for each in person}

    def _decide(self, install: Install, standing: Standing, one: Conversion, cause: int) -> None:
        before = self._installs.newest(install)
        rules = before.rules if before else self._work.rules
        found = [] if standing.repeats else self._touchpoints(install, one, rules)
        after = deciding.decide(one, found, rules, standing)
        if after == before:
            return
        version = install.stored.version + 1
        self._ordinal += 1
        kind = "install" if version == 1 else "evidence" if cause else "closing"
        text = decision.encode(after).decode()
        seq = install.stored.seq
        self._decided.append(Made(self._ordinal, seq, version, self._now, kind, cause, text))
        self._count(install, before, -1)
        self._count(install, after, 1)
        self._book.share_anew(install, before, after, standing)
        install.decision, install.changed = after, True
        install.stored = install.stored._replace(
            version=version,
            outcome=after.outcome,
            reason=after.reason,
            campaign_key=after.campaign_key,
            decided_at=self._now,
        )
        self.done.decisions += 1
        self.done.again += version > 1
        self.done.outcomes[after.outcome] += 1
        if before:
            self.done.outcomes[before.outcome] -= 1

    def _touchpoints(self, install: Install, one: Conversion, rules: Rules) -> list[Touchpoint]:
        """What there is of somebody, of twice the longest window, so that what came too early can be told."""
        wanted = marks(one.identities, rules.by_network)
        since, until = one.at - 2 * rules.longest, one.at + rules.settle
        received_until = install.stored.open_until
        rows = touchpoints.of_any(self._connection, self._app_key, wanted, since, until, received_until)
        return [_touchpoint(row) for row in rows if row.partner_key == install.stored.partner_key]

    # --- sums

    def _count(self, install: Install, of: Decision | None, sign: int) -> None:
        if of is None:
            return
        partner_key, day = install.stored.partner_key, install.stored.converted_at // DAY_MS
        self._sums.days[partner_key, day, of.outcome] += sign
        for model, shares in models.credits_of(of).items():
            for key, credit in shares.items():
                self._sums.credit[partner_key, model, day, key] += sign * credit

    # --- the end

    def keep(self) -> None:
        work = self._work
        self._book.earn(work.earned, work.rules.settle, work.known, self._stirred)
        following.keep_installs(self._connection, self._app_key, self._installs.changed())
        following.keep_decisions(self._connection, self._app_key, self._decided)
        sums.add(self._connection, self._app_key, self._sums)
        self._book.keep()
        following.count_up(self._connection, self._app_key, self._ordinal)
        self.done.cursor = self.done.cursor._replace(ordinal=self._ordinal)


def _together(install: Install, person: Sequence[Install], found: Mapping[int, Standing]) -> Conversion:
    """An install with the ids of whoever told of it again."""
    identities = dict.fromkeys(install.conversion.identities)
    for other in person:
        standing = found.get(other.stored.seq)
        first = standing.first if standing and standing.repeats == "told_again" else None
        if first is not None and first.seq == install.stored.seq:
            identities |= dict.fromkeys(other.conversion.identities)
    return msgspec.structs.replace(install.conversion, identities=tuple(identities))


def _touch(told: tuple[Touchpoint, str]) -> tuple[Touch, list[bytes]]:
    t, partner_key = told
    row = Touch(
        t.seq,
        t.part,
        partner_key,
        bytes.fromhex(t.message_id),
        t.received_at,
        t.at,
        int(t.timed),
        t.kind,
        t.origin,
        _encode(t.campaign).decode(),
        as_text(t.identities),
    )
    return row, marks(t.identities, guessed=True)


def _touchpoint(row: Touch) -> Touchpoint:
    return Touchpoint(
        row.seq,
        row.message_id.hex(),
        row.touched_at,
        row.received_at,
        row.way,  # type: ignore[arg-type] # one of the two
        row.origin,  # type: ignore[arg-type] # one of the four
        _campaign(row.campaign),
        of_text(row.identities),
        row.part,
        bool(row.timed),
    )
