"""Counting a run of events into the rollups, in one transaction with the seq up to which they are counted.

What is already there is read, joined with what is new, and written back. So only one process counts at a time: it takes
the right to with its first statement, and loses the transaction when another was quicker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from store.audiences import noting as audiences
from store.database import Connection
from store.event import PARTNER
from store.lookup import MARKS, look_up
from store.rollups import event_names
from store.rollups.facets import CTA, FACETS, REST, TAB, Counted, facets, label, most_values
from store.rollups.journeys import Journey, advance, step_of
from store.rollups.sets import NOBODY, stored, union
from store.subjects import noting as subjects

SLOT_MS = 1_800_000
SLOTS_A_DAY = 48
LEASE_MS = 30_000
MOST_APPS_KNOWN = 500

Listing = tuple[str, str]  # an app's key, and the partner's whose it was
Place = tuple[str, str, str, int]  # a listing, a facet, and a slot or a day
Known = dict[Listing, dict[str, set[str]]]  # the values of each facet


class Turn(NamedTuple):
    """Who counts from which seq on, and when by the clock, epoch milliseconds."""

    name: str
    seq: int
    now: int


class Sum(msgspec.Struct):
    """How many events, and the numbers of their visitors."""

    events: int
    visitors: list[int]


def take_turn(connection: Connection, turn: Turn) -> bool:
    """Take the right to count, or keep it. False: another process has it, or has counted on since."""
    values = (turn.name, turn.now + LEASE_MS, turn.seq, turn.name, turn.now)
    return connection.execute(_TAKE_TURN, values).rowcount == 1


def hold(connection: Connection) -> None:
    """Have nobody count until this transaction ends; waits for who does."""
    connection.execute(_HOLD)


def count(connection: Connection, turn: Turn, events: Sequence[Counted], known: Known, up_to: int) -> bool:
    """Count events that follow each other in the log, the last of them being `up_to`'s or before it. `known` may hold
    what an earlier call of the same process left there. False: it was another's turn, and nothing was done."""
    if not take_turn(connection, turn):
        return False
    try:
        _count(connection, events, known)
    except BaseException:
        known.clear()  # of what is undone nothing is known, when it is run again
        raise
    newest = events[-1].received_at if events else 0
    connection.execute(_MOVE_ON, (up_to, newest))
    return True


def _count(connection: Connection, events: Sequence[Counted], known: Known) -> None:
    audiences.note(connection, events, subjects.note(connection, events))
    numbers = _numbered(connection, [(event.partner_key, event.anonymous_id) for event in events if _is_shown(event)])
    _learn(connection, known, {(event.app_key, event.partner_key) for event in events})
    sums = _summed(connection, events, numbers, known)
    _write(connection, sums)
    _note_events(connection, events, numbers)
    event_names.count(connection, events)
    _close_days(connection, events)


def _is_shown(event: Counted) -> bool:
    """Whether its visitor may be told from others."""
    return event.suppressed is None


def _is_step(event: Counted) -> bool:
    """Whether it belongs to a journey on the listing."""
    return event.suppressed is None and event.source != PARTNER


# --- who


def _numbered(connection: Connection, visitors: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The number of every visitor of a partner; who is new gets the next, in the order in which they came."""
    by_partner = defaultdict(list)
    for partner_key, anonymous_id in dict.fromkeys(visitors):
        by_partner[partner_key].append(anonymous_id)
    numbers = {}
    new = []
    for partner_key, ids in by_partner.items():
        found = dict(look_up(connection, _NUMBERS, (partner_key,), ids))
        next_number = last_number(connection, partner_key) + 1
        for number, anonymous_id in enumerate((each for each in ids if each not in found), next_number):
            found[anonymous_id] = number
            new.append((partner_key, anonymous_id, number))
        numbers.update({(partner_key, anonymous_id): number for anonymous_id, number in found.items()})
    connection.executemany(_NEW_NUMBER, new)
    return numbers


def last_number(connection: Connection, partner_key: str) -> int:
    """The greatest number of a partner's visitors; 0: there are none."""
    return int(connection.execute(_LAST_NUMBER, (partner_key,)).fetchone()[0])


# --- what


def _learn(connection: Connection, known: Known, listings: set[Listing]) -> None:
    """Read the values that these listings have had, where they are not known yet."""
    if len(known) > MOST_APPS_KNOWN:
        known.clear()
    for listing in listings - known.keys():
        of_facet: dict[str, set[str]] = defaultdict(set)
        for facet, value in connection.execute(_VALUES, listing).fetchall():
            of_facet[facet].add(value)
        known[listing] = of_facet


def _kept_apart(known: dict[str, set[str]], facet: str, value: str, new: list[tuple[str, str]]) -> str:
    """The value itself, or REST when the facet has too many already."""
    if value in known[facet] or value == REST:
        return value
    if len(known[facet]) >= most_values(facet):
        return REST
    known[facet].add(value)
    new.append((facet, value))
    return value


def _summed(
    connection: Connection, events: Sequence[Counted], numbers: dict[tuple[str, str], int], known: Known
) -> dict[Place, dict[str, Sum]]:
    """What the events add to each place's values."""
    sums: dict[Place, dict[str, Sum]] = defaultdict(dict)
    journeys = _journeys(connection, events, numbers)
    new: dict[Listing, list[tuple[str, str]]] = defaultdict(list)
    for event in events:
        listing = event.app_key, event.partner_key
        there, fresh = known[listing], new[listing]
        number = numbers.get((event.partner_key, event.anonymous_id)) if _is_shown(event) else None
        apart = dict.fromkeys([(facet, _kept_apart(there, facet, value, fresh)) for facet, value in facets(event)])
        counted = [(facet, value, event.occurred_at) for facet, value in apart]  # the rest once, too
        if number is not None and _is_step(event):
            said = next((value for facet, value, _ in counted if facet in (TAB, CTA)), label(event.told))
            step = step_of(event.name, said)
            journeys[*listing, number], marks = advance(
                journeys.get((*listing, number)), event.name, step, event.occurred_at
            )
            for facet, value, at in marks:
                counted.append((facet, _kept_apart(there, facet, value, fresh), at))
        for facet, value, at in counted:
            values = sums[*listing, facet, at // SLOT_MS]
            added = values.get(value)
            if added is None:
                added = values[value] = Sum(0, [])
            added.events += 1
            if number is not None:
                added.visitors.append(number)
    connection.executemany(_NEW_VALUE, [(*listing, *pair) for listing, pairs in new.items() for pair in pairs])
    _keep_journeys(connection, journeys)
    return sums


def _journeys(
    connection: Connection, events: Sequence[Counted], numbers: dict[tuple[str, str], int]
) -> dict[tuple[str, str, int], Journey]:
    """Where the journeys of these events' visitors stand."""
    of_listing: dict[Listing, set[int]] = defaultdict(set)
    for event in events:
        if _is_step(event):
            of_listing[event.app_key, event.partner_key].add(numbers[event.partner_key, event.anonymous_id])
    return {
        (*listing, visitor): _journey(told, trail)
        for listing, visitors in of_listing.items()
        for visitor, *told, trail in look_up(connection, _JOURNEYS, listing, sorted(visitors))
    }


def _journey(told: list[Any], trail: str) -> Journey:
    values: tuple[Any, ...] = (*told, msgspec.json.decode(trail, type=list[str]))
    return Journey(*values)


def _keep_journeys(connection: Connection, journeys: dict[tuple[str, str, int], Journey]) -> None:
    connection.executemany(
        _KEEP_JOURNEY,
        [
            (*key, j.begun_at, j.viewed_at, j.last_at, j.done, j.steps, msgspec.json.encode(j.trail).decode())
            for key, j in journeys.items()
        ],
    )


# --- where


def _write(connection: Connection, sums: dict[Place, dict[str, Sum]]) -> None:
    """Join the sums with what is there: in their half-hours, and in the days that are there already."""
    open_days = {listing: open_day(connection, listing) for listing in {place[:2] for place in sums}}
    days: dict[Place, dict[str, Sum]] = defaultdict(dict)
    for (app_key, partner_key, facet, slot), values in sums.items():
        day = slot // SLOTS_A_DAY
        if day < open_days[app_key, partner_key]:
            _add(days[app_key, partner_key, facet, day], values)
    _join(connection, _SLOT, _PUT_SLOT, sums)
    _join(connection, _DAY, _PUT_DAY, days)


def _add(to: dict[str, Sum], values: dict[str, Sum]) -> None:
    for value, added in values.items():
        before = to.get(value)
        events, visitors = (before.events, before.visitors) if before else (0, [])
        to[value] = Sum(events + added.events, visitors + added.visitors)


def _join(connection: Connection, read: str, write: str, sums: dict[Place, dict[str, Sum]]) -> None:
    rows: list[tuple[Any, ...]] = []
    for place, values in sums.items():
        there = {value: (events, data) for value, events, data in connection.execute(read, place).fetchall()}
        for value, added in values.items():
            events, data = there.get(value, (0, NOBODY))
            visitors = union([data])
            visitors.update(added.visitors)
            rows.append((*place, value, events + added.events, stored(visitors)))
    connection.executemany(write, rows)


def open_day(connection: Connection, listing: Listing) -> int:
    """The first day that has no row of its own."""
    row = connection.execute(_OPEN_DAY, listing).fetchone()
    return int(row[0]) if row else 0


def _close_days(connection: Connection, events: Iterable[Counted]) -> None:
    """Sum up the days before the newest of each listing."""
    newest: dict[Listing, int] = {}
    for event in events:
        listing = event.app_key, event.partner_key
        newest[listing] = max(newest.get(listing, 0), event.occurred_at // SLOT_MS // SLOTS_A_DAY)
    for listing, today in newest.items():
        first = open_day(connection, listing)
        if first < today:
            for facet in FACETS:
                _close(connection, (*listing, facet), first, today)
            connection.execute(_SET_OPEN_DAY, (*listing, today))


def _close(connection: Connection, of: tuple[str, str, str], first: int, end: int) -> None:
    window = (*of, first * SLOTS_A_DAY, end * SLOTS_A_DAY)
    days: dict[tuple[int, str], tuple[int, list[bytes]]] = {}
    for slot, value, events, data in slots(connection, window):
        key = slot // SLOTS_A_DAY, value
        before, sets = days.get(key, (0, []))
        days[key] = before + events, [*sets, data]
    rows = [(*of, day, value, events, stored(union(sets))) for (day, value), (events, sets) in days.items()]
    connection.executemany(_PUT_DAY, rows)


def slots(connection: Connection, window: tuple[str, str, str, int, int]) -> list[tuple[int, str, int, bytes]]:
    """(slot, value, events, stored set) of a listing's facet, from a slot up to another."""
    rows: list[tuple[int, str, int, bytes]] = connection.execute(_SLOTS, window).fetchall()
    return rows


# --- whose events, and under which ids


def _note_events(connection: Connection, events: Sequence[Counted], numbers: dict[tuple[str, str], int]) -> None:
    pointers, names = [], set()
    for event in events:
        if not _is_shown(event):
            continue
        number = numbers[event.partner_key, event.anonymous_id]
        pointers.append((event.partner_key, number, event.seq, event.app_key))
        if event.user_id:
            names.add((event.partner_key, "user", event.user_id, number))
        if event.partner_anonymous_id:
            names.add((event.partner_key, "partner", event.partner_anonymous_id, number))
    connection.executemany(_NOTE_EVENT, sorted(pointers))
    connection.executemany(_NOTE_NAME, sorted(names))


_TAKE_TURN = """/* rollups.take_turn */
    update rollups
    set taken_by = ?, taken_until = ?
    where one = 1 and seq = ? and (taken_by = ? or taken_until < ?)"""

# It changes nothing but who may go on: whoever counts takes a turn first, which is this row.
_HOLD = """/* rollups.hold */
    update rollups
    set seq = seq
    where one = 1"""

_MOVE_ON = """/* rollups.move_on */
    update rollups
    set seq = ?, received_at = ?
    where one = 1"""

_NUMBERS = f"""/* rollups.numbers */
    select anonymous_id, visitor
    from rollup_visitors
    where partner_key = ? and anonymous_id in ({MARKS})"""  # noqa: S608 - a number of question marks

_LAST_NUMBER = """/* rollups.last_number */
    select coalesce(max(visitor), 0)
    from rollup_visitors
    where partner_key = ?"""

_NEW_NUMBER = """/* rollups.new_number */
    insert into rollup_visitors (partner_key, anonymous_id, visitor)
    values (?, ?, ?)"""

_VALUES = """/* rollups.values */
    select facet, value
    from rollup_values
    where app_key = ? and partner_key = ?"""

_NEW_VALUE = """/* rollups.new_value */
    insert into rollup_values (app_key, partner_key, facet, value)
    values (?, ?, ?, ?)"""

_JOURNEYS = f"""/* rollups.journeys */
    select visitor, begun_at, viewed_at, last_at, done, steps, trail
    from rollup_journeys
    where app_key = ? and partner_key = ? and visitor in ({MARKS})"""  # noqa: S608 - a number of question marks

_KEEP_JOURNEY = """/* rollups.keep_journey */
    insert into rollup_journeys (app_key, partner_key, visitor, begun_at, viewed_at, last_at, done, steps, trail)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (partner_key, visitor, app_key) do update
    set begun_at = excluded.begun_at, viewed_at = excluded.viewed_at, last_at = excluded.last_at,
        done = excluded.done, steps = excluded.steps, trail = excluded.trail"""

_SLOT = """/* rollups.slot */
    select value, events, visitors
    from rollup_slots
    where app_key = ? and partner_key = ? and facet = ? and slot = ?"""

_PUT_SLOT = """/* rollups.put_slot */
    insert into rollup_slots (app_key, partner_key, facet, slot, value, events, visitors)
    values (?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, facet, slot, value) do update
    set events = excluded.events, visitors = excluded.visitors"""

_DAY = """/* rollups.day */
    select value, events, visitors
    from rollup_days
    where app_key = ? and partner_key = ? and facet = ? and day = ?"""

_PUT_DAY = """/* rollups.put_day */
    insert into rollup_days (app_key, partner_key, facet, day, value, events, visitors)
    values (?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, facet, day, value) do update
    set events = excluded.events, visitors = excluded.visitors"""

_OPEN_DAY = """/* rollups.open_day */
    select open_day
    from rollup_apps
    where app_key = ? and partner_key = ?"""

_SET_OPEN_DAY = """/* rollups.set_open_day */
    insert into rollup_apps (app_key, partner_key, open_day)
    values (?, ?, ?)
    on conflict (app_key, partner_key) do update
    set open_day = excluded.open_day"""

_SLOTS = """/* rollups.slots */
    select slot, value, events, visitors
    from rollup_slots
    where app_key = ? and partner_key = ? and facet = ? and slot >= ? and slot < ?
    order by slot"""

_NOTE_EVENT = """/* rollups.note_event */
    insert into rollup_events (partner_key, visitor, seq, app_key)
    values (?, ?, ?, ?)
    on conflict do nothing"""

_NOTE_NAME = """/* rollups.note_name */
    insert into rollup_names (partner_key, kind, id, visitor)
    values (?, ?, ?, ?)
    on conflict do nothing"""
