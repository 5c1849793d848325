"""Noting who enters and leaves an audience, in the transaction that counts the message that says so.

Every statement finds its place by its time, so that what was said late, twice or again changes nothing but what it
should: somebody entered where the statement before said that they were not in it, or there was none.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from store.audiences.statements import COMPUTED, ENTERED, EXITED, Membership, Statement, Trait, statements
from store.database import Connection
from store.event import PARTNER
from store.lookup import MARKS, look_up
from store.rollups.facets import Counted
from store.subjects.naming import ANONYMOUS, Id, Listing, node

SLOT_MS = 1_800_000
MOST_NAMES = 300  # of audiences, and of traits, of one app; the first that came
AUDIENCE, TRAIT = "audience", "trait"


class Mark(NamedTuple):
    """One statement; `changed` tells whether somebody entered or left with it."""

    at: int
    seq: int
    member: bool
    changed: bool


class Standing(msgspec.Struct):
    """How somebody stands in an audience by the newest statement, and the seq of whatever came last."""

    at: int
    seq: int
    member: bool
    told_seq: int


Place = tuple[str, Id]  # an audience, and who


def note(connection: Connection, events: Sequence[Counted], users: Mapping[int, Id]) -> None:
    """Note what these events say, which follow each other in the log; `users` is whom each names, by seq."""
    by_listing: dict[Listing, list[Counted]] = defaultdict(list)
    for event in events:
        if event.source == PARTNER and event.suppressed is None and event.type in ("identify", "track"):
            by_listing[event.app_key, event.partner_key].append(event)
    for listing, of_listing in by_listing.items():
        told = _Told(connection, listing)
        for event in of_listing:
            told.take(event, users.get(event.seq) or node(ANONYMOUS, event.anonymous_id))
        told.keep()


class _Told:
    """What a run of one listing's events says."""

    def __init__(self, connection: Connection, listing: Listing) -> None:
        self._connection = connection
        self._listing = listing
        self._names: dict[tuple[str, str], tuple[int, int]] | None = None
        self._seen: set[tuple[str, str]] = set()
        self._memberships: list[tuple[Counted, Id, Membership]] = []
        self._traits: list[tuple[Any, ...]] = []

    def take(self, event: Counted, who: Id) -> None:
        for statement in self._statements(event):
            if isinstance(statement, Membership) and self._is_kept(AUDIENCE, statement.audience, event):
                self._memberships.append((event, who, statement))
            elif isinstance(statement, Trait) and self._is_kept(TRAIT, statement.trait, event):
                moment = event.occurred_at, event.seq
                self._traits.append((*self._listing, statement.trait, who.id, who.kind, statement.value, *moment))

    def keep(self) -> None:
        """Write it."""
        names = self._names or {}
        self._connection.executemany(_KEEP_NAME, [(*self._listing, *key, *names[key]) for key in sorted(self._seen)])
        self._connection.executemany(_KEEP_TRAIT, self._traits)
        if self._memberships:
            _Members(self._connection, self._listing, self._memberships).keep()

    def _statements(self, event: Counted) -> list[Statement]:
        if event.type == "track" and event.name not in (ENTERED, EXITED, COMPUTED) and not _has_personas(event):
            return []
        if event.type == "identify" and not _has_personas(event) and not self._known():
            return []
        said, context = event.told.properties or {}, _object(event.told.context)
        return statements(event.type, event.name, said, context, lambda name: (AUDIENCE, name) in self._known())

    def _known(self) -> dict[tuple[str, str], tuple[int, int]]:
        """The names that were told of so far, each with when first and last."""
        if self._names is None:
            rows = self._connection.execute(_NAMES, self._listing).fetchall()
            self._names = {(form, name): (first_at, last_at) for form, name, first_at, last_at in rows}
        return self._names

    def _is_kept(self, form: str, name: str, event: Counted) -> bool:
        known, at = self._known(), event.occurred_at
        if (form, name) not in known and sum(each == form for each, _ in known) >= MOST_NAMES:
            return False
        first_at, last_at = known.get((form, name), (at, at))
        known[form, name] = min(first_at, at), max(last_at, at)
        self._seen.add((form, name))
        return True


def _has_personas(event: Counted) -> bool:
    return b'"personas"' in bytes(event.told.context)


def _object(text: msgspec.Raw) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any]) if bytes(text) else {}
    except msgspec.DecodeError:
        return {}


class _Members:
    """Puts statements of membership where they belong."""

    def __init__(
        self, connection: Connection, listing: Listing, told: Sequence[tuple[Counted, Id, Membership]]
    ) -> None:
        self._connection = connection
        self._listing = listing
        self._told = told
        self._standing = dict(self._stood())
        self._new: list[tuple[Any, ...]] = []
        self._past: list[tuple[Any, ...]] = []  # where marks are that are no longer the newest
        self._moved: Counter[tuple[str, int, bool]] = Counter()  # who entered or left an audience in a half-hour

    def keep(self) -> None:
        for event, who, said in self._told:
            self._put((said.audience, who), event.occurred_at, event.seq, said.member)
        self._write_marks()
        rows = [
            (*self._where(place), int(s.member), s.at, s.seq, s.told_seq)
            for place in sorted({(said.audience, who) for _, who, said in self._told})
            for s in [self._standing[place]]
        ]
        self._connection.executemany(_KEEP_MEMBER, rows)
        self._connection.executemany(_SET_PAST, self._past)
        self._connection.executemany(_MOVE, list(_moves(self._listing, self._moved)))

    def _stood(self) -> Iterator[tuple[Place, Standing]]:
        ids = sorted({who.id for _, who, _ in self._told})
        rows = look_up(self._connection, _MEMBERS, self._listing, ids)
        for audience, text, kind, member, moment, seq, told_seq in rows:
            yield (audience, Id(kind, text)), Standing(moment, seq, bool(member), told_seq)

    def _put(self, place: Place, at: int, seq: int, member: bool) -> None:
        stood = self._standing.get(place)
        if stood is not None and (at, seq) < (stood.at, stood.seq):
            self._put_before(place, at, seq, member)
            self._past.append((*self._where(place), at, seq))
            stood.told_seq = max(stood.told_seq, seq)
            return
        if stood is not None:
            self._past.append((*self._where(place), stood.at, stood.seq))
        changed = member != (stood is not None and stood.member)
        self._mark(place, Mark(at, seq, member, changed))
        self._standing[place] = Standing(at, seq, member, max(seq, stood.told_seq if stood else 0))

    def _put_before(self, place: Place, at: int, seq: int, member: bool) -> None:
        """A late one: the next one says how it was before, whatever of that is forgotten, and changes something else
        now."""
        self._write_marks()
        later = self._connection.execute(_LATER, (*self._where(place), at, seq)).fetchone()
        following = Mark(later[0], later[1], bool(later[2]), bool(later[3]))
        self._mark(place, Mark(at, seq, member, member != (following.member != following.changed)))
        changes = following.member != member
        if changes != following.changed:
            self._count(place[0], following, 1 if changes else -1)
            self._connection.execute(_CHANGE, (int(changes), *self._where(place), following.at, following.seq))

    def _where(self, place: Place) -> tuple[str, ...]:
        audience, who = place
        return (*self._listing, audience, who.id, who.kind)

    def _mark(self, place: Place, mark: Mark) -> None:
        self._new.append((*self._where(place), mark.at, mark.seq, int(mark.member), int(mark.changed)))
        if mark.changed:
            self._count(place[0], mark, 1)

    def _count(self, audience: str, mark: Mark, n: int) -> None:
        self._moved[audience, mark.at // SLOT_MS, mark.member] += n

    def _write_marks(self) -> None:
        self._connection.executemany(_KEEP_MARK, self._new)
        self._new = []


def _moves(listing: Listing, moved: Counter[tuple[str, int, bool]]) -> Iterator[tuple[Any, ...]]:
    for audience, slot in sorted({(audience, slot) for audience, slot, _ in moved}):
        entered, departed = moved[audience, slot, True], moved[audience, slot, False]
        if entered or departed:
            yield (*listing, audience, slot, entered, departed)


def leave(connection: Connection, listing: Listing, audiences: Counter[str], at: int) -> None:
    """Count that so many left each audience at a moment, of whom nothing else is known any more."""
    moved = Counter({(audience, at // SLOT_MS, False): n for audience, n in audiences.items()})
    connection.executemany(_MOVE, list(_moves(listing, moved)))


_NAMES = """/* audiences.names */
    select form, name, first_at, last_at
    from audiences
    where app_key = ? and partner_key = ?"""

_KEEP_NAME = """/* audiences.keep_name */
    insert into audiences (app_key, partner_key, form, name, first_at, last_at)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, form, name) do update
    set first_at = excluded.first_at, last_at = excluded.last_at"""

_KEEP_TRAIT = """/* audiences.keep_trait */
    insert into audience_traits (app_key, partner_key, trait, id, kind, value, at, seq)
    values (?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, trait, id, kind) do update
    set value = excluded.value, at = excluded.at, seq = excluded.seq
    where (excluded.at, excluded.seq) > (audience_traits.at, audience_traits.seq)"""

_MEMBERS = f"""/* audiences.members */
    select audience, id, kind, member, at, seq, told_seq
    from audience_members
    where app_key = ? and partner_key = ? and id in ({MARKS})"""  # noqa: S608 - a number of question marks

_KEEP_MEMBER = """/* audiences.keep_member */
    insert into audience_members (app_key, partner_key, audience, id, kind, member, at, seq, told_seq)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, audience, id, kind) do update
    set member = excluded.member, at = excluded.at, seq = excluded.seq, told_seq = excluded.told_seq"""

_KEEP_MARK = """/* audiences.keep_mark */
    insert into audience_marks (app_key, partner_key, audience, id, kind, at, seq, member, changed)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict do nothing"""

_LATER = """/* audiences.later */
    select at, seq, member, changed
    from audience_marks
    where app_key = ? and partner_key = ? and audience = ? and id = ? and kind = ? and (at, seq) > (?, ?)
    order by at, seq
    limit 1"""

_CHANGE = """/* audiences.change */
    update audience_marks
    set changed = ?
    where app_key = ? and partner_key = ? and audience = ? and id = ? and kind = ? and at = ? and seq = ?"""

_SET_PAST = """/* audiences.set_past */
    update audience_marks
    set past = 1
    where app_key = ? and partner_key = ? and audience = ? and id = ? and kind = ? and at = ? and seq = ?"""

_MOVE = """/* audiences.move */
    insert into audience_slots (app_key, partner_key, audience, slot, entered, departed)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, audience, slot) do update
    set entered = audience_slots.entered + excluded.entered, departed = audience_slots.departed + excluded.departed"""
