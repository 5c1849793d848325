"""One transaction of attribution: what a stretch of an app's log told is kept, and every install that it says anything
of is decided, with the sums that follow from it.

All of it happens on the ledger's own thread, with the cursor's move as the first statement; so it is there as a whole,
once, or not at all. It may be run again from the beginning, and keeps nothing between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from attribution import deciding, decision, models
from attribution.deciding import Standing
from attribution.decision import Decision
from attribution.evidence import NETWORK, Campaign, Conversion, Identity, Touchpoint
from attribution.money import Money
from attribution.rules import DAY_MS, Rules
from store.attribution import following, sums, touchpoints
from store.attribution.following import Cursor, Stored
from store.attribution.reading import Made
from store.attribution.sums import Revenue, Sums
from store.attribution.touchpoints import Touch
from store.database import Connection

MOST_INSTALLS = 50  # of one identity: what has more is shared by people who have nothing else in common
MOST_OF_ONE = 200  # of one person

_encode = msgspec.json.Encoder().encode
_identities = msgspec.json.Decoder(tuple[Identity, ...]).decode
_campaign = msgspec.json.Decoder(Campaign).decode


class Told(NamedTuple):
    """An install that a stretch tells of, and the partner whose the app was; `known` are more ids of the same one."""

    conversion: Conversion
    partner_key: str
    known: tuple[Identity, ...] = ()


class Earned(NamedTuple):
    """What somebody brought, when, and for which partner."""

    identities: tuple[Identity, ...]
    partner_key: str
    at: int
    money: Money


class Anew(NamedTuple):
    """Why an install is decided anew: an event, when that was received, and more ids of the same one."""

    seq: int
    received_at: int
    known: tuple[Identity, ...] = ()


class Work(msgspec.Struct, frozen=True):
    """What one transaction has to do. `anew` are open installs to decide anew, by seq; those of `closing` are decided
    for the last time if more ids are known of them than before."""

    up_to: int
    rules: Rules
    touchpoints: Sequence[tuple[Touchpoint, str]] = ()  # with the partner
    installs: Sequence[Told] = ()
    anew: Mapping[int, Anew] = {}
    closing: Mapping[int, tuple[Identity, ...]] = {}
    earned: Sequence[Earned] = ()
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
    turn.earn(work.earned)
    turn.keep()
    return turn.done


class _Install:
    """One install in a turn: as it is stored, and as it will be."""

    def __init__(self, stored: Stored, new: bool = False) -> None:
        self.stored = stored
        self.new = new
        self.changed = new
        self.decision: Decision | None = None  # the newest, when it is known
        self.conversion = Conversion(
            stored.seq,
            stored.message_id.hex(),
            stored.converted_at,
            stored.received_at,
            stored.told_by,  # type: ignore[arg-type] # one of the two
            _identities(stored.identities),
        )

    def learn(self, known: Iterable[Identity]) -> list[Identity]:
        """Take up more ids of the same one; those that are new."""
        new = [each for each in dict.fromkeys(known) if each not in self.conversion.identities]
        if new:
            identities = (*self.conversion.identities, *new)
            self.conversion = msgspec.structs.replace(self.conversion, identities=identities)
            self.stored = self.stored._replace(identities=_encode(identities).decode())
            self.changed = True
        return new

    @property
    def is_open(self) -> bool:
        return bool(self.stored.open)

    @property
    def is_one(self) -> bool:
        """Whether it is an install of its own, and no reinstall."""
        return self.stored.outcome in ("attributed", "organic")


class _Turn:
    def __init__(self, connection: Connection, cursor: Cursor, work: Work, now: int) -> None:
        self._connection = connection
        self._app_key = cursor.app_key
        self._work = work
        self._now = now
        self._installs: dict[int, _Install] = {}
        self._ordinal = cursor.ordinal
        self._decided: list[Made] = []
        self._sums = Sums(Counter(), Counter(), Counter())
        self._revenue: dict[tuple[int, int, str], Revenue] = {}
        self._orphans: list[tuple[int, Revenue]] = []  # money of what turned out to repeat another install
        self.done = Done(cursor._replace(seq=work.up_to))

    # --- installs

    def decide(self) -> None:
        causes = self._begin()
        seen: set[int] = set()
        for seq in causes:
            if seq not in seen:
                install = self._installs[seq]
                person = self._person(install.conversion.identities, install.stored.partner_key, install)
                seen |= {each.stored.seq for each in person}
                self._decide_all(person, causes, causes[seq])
        for seq in self._work.closing:
            self._installs[seq].stored = self._installs[seq].stored._replace(open=0)
            self._installs[seq].changed = True

    def _begin(self) -> dict[int, Anew]:
        """Have every install that may be decided; by seq, why those are that are."""
        causes = {}
        marks = []
        for told in self._work.installs:
            install = _Install(self._new(told), new=True)
            install.learn(told.known)
            self._installs[told.conversion.seq] = install
            causes[told.conversion.seq] = Anew(told.conversion.seq, told.conversion.received_at)
            marks += self._marked(install)
        self.done.installs = len(self._work.installs)
        self._load({*self._work.anew, *self._work.closing})
        for seq, anew in self._work.anew.items():
            if self._installs[seq].learn(anew.known):
                marks += self._marked(self._installs[seq])
            causes.setdefault(seq, anew)
        for seq, known in self._work.closing.items():
            if self._installs[seq].learn(known):
                marks += self._marked(self._installs[seq])
                causes.setdefault(seq, Anew(0, 0))
        following.keep_identities(self._connection, self._app_key, marks)
        return causes

    def _new(self, told: Told) -> Stored:
        c = told.conversion
        open_until = c.received_at + self._work.rules.settle
        message_id, identities = bytes.fromhex(c.message_id), _encode(c.identities).decode()
        at = c.at, c.received_at, open_until
        return Stored(c.seq, told.partner_key, message_id, c.source, *at, 1, identities, 0, "", "", "", 0)

    def _marked(self, install: _Install) -> list[tuple[bytes, int]]:
        """By address and agent late evidence finds it, too, and no other install does."""
        return [(mark, install.stored.seq) for mark in _marks(install.conversion.identities, guessed=True)]

    def _load(self, seqs: Iterable[int]) -> None:
        missing = [seq for seq in seqs if seq not in self._installs]
        for stored in following.installs(self._connection, self._app_key, missing):
            self._installs[stored.seq] = _Install(stored)

    def _person(
        self, identities: Iterable[Identity], partner_key: str, install: _Install | None = None
    ) -> list[_Install]:
        """All installs that these ids lead to, directly or through others of them, by seq; an install of nobody who can
        be known again leads to itself."""
        asked: set[bytes] = set()
        found = {install.stored.seq: install} if install else {}
        ahead = set(_marks(identities))
        while ahead and len(found) < MOST_OF_ONE:
            seqs = set()
            for mark in sorted(ahead):
                seqs |= set(following.installs_of(self._connection, self._app_key, mark, MOST_INSTALLS))
            asked |= ahead
            self._load(seqs)
            new = [self._installs[seq] for seq in sorted(seqs - found.keys()) if seq in self._installs]
            new = [each for each in new if each.stored.partner_key == partner_key]
            found.update({each.stored.seq: each for each in new})
            ahead = {mark for each in new for mark in _marks(each.conversion.identities)} - asked
        return [found[seq] for seq in sorted(found)]

    def _decide_all(self, person: Sequence[_Install], causes: Mapping[int, Anew], cause: Anew) -> None:
        latest = max((causes[each.stored.seq].received_at for each in person if each.stored.seq in causes), default=0)
        closed = {each.stored.seq for each in person if not each.is_open or each.stored.open_until < latest}
        found = deciding.standings([each.conversion for each in person], self._work.rules, closed)
        for install in person:
            seq = install.stored.seq
            if seq not in closed or not install.stored.version:
                one = _together(install, person, found)
                self._decide(install, found[seq], one, causes.get(seq, cause).seq)

    def _decide(self, install: _Install, standing: Standing, one: Conversion, cause: int) -> None:
        before = self._newest(install)
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
        self._share_anew(install, before, after, standing)
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

    def _newest(self, install: _Install) -> Decision | None:
        """What was decided of it last."""
        if install.decision is None and install.stored.version:
            text = following.document(self._connection, self._app_key, install.stored.seq, install.stored.version)
            install.decision = decision.decode(text)
        return install.decision

    def _touchpoints(self, install: _Install, one: Conversion, rules: Rules) -> list[Touchpoint]:
        """What there is of somebody, of twice the longest window, so that what came too early can be told."""
        marks = _marks(one.identities, rules.by_network)
        since, until = one.at - 2 * rules.longest, one.at + rules.settle
        received_until = install.stored.open_until
        rows = touchpoints.of_any(self._connection, self._app_key, marks, since, until, received_until)
        return [_touchpoint(row) for row in rows if row.partner_key == install.stored.partner_key]

    # --- sums

    def _count(self, install: _Install, of: Decision | None, sign: int) -> None:
        if of is None:
            return
        partner_key, day = install.stored.partner_key, install.stored.converted_at // DAY_MS
        self._sums.days[partner_key, day, of.outcome] += sign
        for model, shares in models.credits_of(of).items():
            for key, credit in shares.items():
                self._sums.credit[partner_key, model, day, key] += sign * credit

    def _share_anew(self, install: _Install, before: Decision | None, after: Decision, standing: Standing) -> None:
        """What was earned after an install goes where its credit goes; after a reinstall, to the install before."""
        if before is None:
            return
        for row in sums.revenue(self._connection, self._app_key, install.stored.seq):
            row = self._revenue.get((row.seq, row.day, row.currency), row)
            self._share(install.stored.partner_key, before, row, -1)
            if standing.first is None or not standing.repeats:
                self._share(install.stored.partner_key, after, row, 1)
            else:
                self._orphans.append((standing.first.seq, row))
                self._revenue[row.seq, row.day, row.currency] = row._replace(amount=0, n=0)

    def _share(self, partner_key: str, of: Decision, row: Revenue, sign: int) -> None:
        for model, shares in models.credits_of(of, row.amount).items():
            for key, amount in shares.items():
                self._sums.money[partner_key, model, row.day, key, row.currency] += sign * amount

    def earn(self, earned: Sequence[Earned]) -> None:
        """What came in after installs, to the last of them before it; and what was another's for whom it was."""
        orphans, self._orphans = self._orphans, []
        for seq, row in orphans:
            self._load([seq])
            if seq in self._installs:
                self._give(self._installs[seq], row.day, row.currency, row.amount, row.n)
        for each in earned:
            person = self._person(each.identities, each.partner_key)
            before = [one for one in person if one.is_one and one.stored.converted_at <= each.at]
            if before:
                last = max(before, key=lambda one: (one.stored.converted_at, one.stored.message_id))
                self._give(last, each.at // DAY_MS, each.money.currency, each.money.amount, 1)

    def _give(self, install: _Install, day: int, currency: str, amount: int, n: int) -> None:
        """The whole of a day is shared anew, so that the shares of it are exact however it came."""
        seq = install.stored.seq
        place = seq, day, currency
        if place not in self._revenue:
            rows = sums.revenue(self._connection, self._app_key, seq)
            there = {(row.seq, row.day, row.currency): row for row in rows}
            self._revenue = there | self._revenue
        before = self._revenue.get(place, Revenue(*place, 0, 0))
        after = before._replace(amount=before.amount + amount, n=before.n + n)
        of = self._newest(install)
        if of is not None:
            self._share(install.stored.partner_key, of, before, -1)
            self._share(install.stored.partner_key, of, after, 1)
        self._revenue[place] = after

    # --- the end

    def keep(self) -> None:
        changed = [each.stored for each in self._installs.values() if each.changed]
        following.keep_installs(self._connection, self._app_key, changed)
        following.keep_decisions(self._connection, self._app_key, self._decided)
        sums.add(self._connection, self._app_key, self._sums)
        sums.keep_revenue(self._connection, self._app_key, self._revenue.values())
        following.count_up(self._connection, self._app_key, self._ordinal)
        self.done.cursor = self.done.cursor._replace(ordinal=self._ordinal)


def _together(install: _Install, person: Sequence[_Install], found: Mapping[int, Standing]) -> Conversion:
    """An install with the ids of whoever told of it again."""
    identities = dict.fromkeys(install.conversion.identities)
    for other in person:
        standing = found.get(other.stored.seq)
        first = standing.first if standing and standing.repeats == "told_again" else None
        if first is not None and first.seq == install.stored.seq:
            identities |= dict.fromkeys(other.conversion.identities)
    return msgspec.structs.replace(install.conversion, identities=tuple(identities))


def _marks(identities: Iterable[Identity], guessed: bool = False) -> list[bytes]:
    """The hashes, of what is somebody's alone, or of address and agent, too."""
    return [bytes.fromhex(each.mark) for each in identities if guessed or each.kind != NETWORK]


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
        _encode(t.identities).decode(),
    )
    return row, _marks(t.identities, guessed=True)


def _touchpoint(row: Touch) -> Touchpoint:
    return Touchpoint(
        row.seq,
        row.message_id.hex(),
        row.touched_at,
        row.received_at,
        row.way,  # type: ignore[arg-type] # one of the two
        row.origin,  # type: ignore[arg-type] # one of the four
        _campaign(row.campaign),
        _identities(row.identities),
        row.part,
        bool(row.timed),
    )


def touch_marks(identities: str) -> list[bytes]:
    """The hashes in a stored touchpoint's identities."""
    return _marks(_identities(identities), guessed=True)
