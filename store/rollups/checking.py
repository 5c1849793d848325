"""Whether the rollups say what the events say: everything is counted once more, beside them, and compared.

The second count is made in a database of its own in a directory for scratch, so that memory stays small for any log.
What removed events of an app counted for is there and cannot be counted again: the app is compared from when on all
events are in the log. Where visitors of a partner were forgotten, the others have smaller numbers in the second count:
how many they are is compared, not who.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from store.database import Connection, Database, Where
from store.engines import open_reader, open_writer
from store.entry import HOUR_MS
from store.log import NO_END
from store.rollups import counting, event_names
from store.rollups.counting import SLOT_MS, SLOTS_A_DAY, Known, Listing, Turn, open_day, slots
from store.rollups.event_names import EventName, Name
from store.rollups.facets import BEFORE, FACETS, NEXT, REST, TIME
from store.rollups.following import RUN, next_events, standing
from store.rollups.sets import NOBODY, stored, union

WINDOW_SLOTS = 7 * SLOTS_A_DAY  # that are compared at once
ROWS = 1_000  # of what is beside the rollups, that are read at once
OF_JOURNEYS = frozenset({NEXT, BEFORE, TIME})  # what began before what was removed cannot be known

Told = dict[tuple[int, str], tuple[int, bytes]]  # by a slot or day and a value: the events, and the stored set


class Difference(msgspec.Struct, frozen=True):
    """What the rollups say of one place, and what the events say. `at` is epoch milliseconds; None: of the whole."""

    app_key: str
    what: str
    at: int | None
    rollups: str
    events: str


class Checked(msgspec.Struct, frozen=True):
    """`events` were counted, up to `up_to`; `differences` are the first of those there are, in order."""

    events: int
    up_to: int
    differences: list[Difference]


async def check(where: Where, scratch: Path, now: int, tell: Callable[[int, int], None], most: int = 20) -> Checked:
    """Count again in an empty directory, and compare; `tell` is called with how far that is, and of how many.

    Raises StoreUnavailable.
    """
    async with await open_reader(where, "log") as there, await open_writer(scratch, "log") as again:
        await there.hold_still()
        up_to = (await standing(there)).seq
        events = await _count(there, again, up_to, now, tell)
        differences = []
        listings = await _listings(there, again)
        known = {listing: await there.run(_known_from, listing[0]) for listing in listings}
        forgetful = {partner_key for (_, partner_key), known_from in known.items() if known_from is not None}
        for listing, known_from in known.items():
            async for difference in _compared(there, again, listing, known_from, listing[1] not in forgetful):
                differences.append(difference)
                if len(differences) == most:
                    return Checked(events, up_to, differences)
            if known_from is None:
                differences += [each async for each in _compared_beside(there, again, listing)]
            differences += await _compared_names(there, again, listing, known_from is None)
            if len(differences) >= most:
                break
        return Checked(events, up_to, differences[:most])


async def _count(there: Database, again: Database, up_to: int, now: int, tell: Callable[[int, int], None]) -> int:
    known: Known = {}
    seq = events = 0
    deleted = await there.all("/* checking.deleted_names */ select app_key, name, seq from event_names_deleted")
    await again.atomic(_delete_again, deleted)
    while batch := await next_events(there, seq, up_to, RUN):
        await again.atomic(counting.count, Turn("check", seq, now), batch, known, batch[-1].seq)
        seq, events = batch[-1].seq, events + len(batch)
        tell(seq, up_to)
    return events


def _delete_again(connection: Connection, deleted: list[tuple[str, str, int]]) -> None:
    connection.executemany(_DELETE_AGAIN, deleted)


async def _listings(there: Database, again: Database) -> list[Listing]:
    sql = "/* checking.listings */ select app_key, partner_key from rollup_apps"
    return sorted({(app, partner) for db in (there, again) for app, partner in await db.all(sql)})


def _known_from(connection: Connection, app_key: str) -> int | None:
    """The first slot of which all events are in the log; None: none was ever removed."""
    sql = "/* checking.removed */ select max(hour) from removed where app_key = ?"
    hour = connection.execute(sql, (app_key,)).fetchone()[0]
    return None if hour is None else (int(hour) + 1) * HOUR_MS // SLOT_MS


async def _compared(
    there: Database, again: Database, listing: Listing, known_from: int | None, by_number: bool
) -> AsyncIterator[Difference]:
    for facet in FACETS:
        if known_from is not None and facet in OF_JOURNEYS:
            continue
        place = *listing, facet
        first, end = await there.run(_reach, place), await again.run(_reach, place)
        begin = max(min(first[0], end[0]), known_from or 0)
        for slot in range(begin // SLOTS_A_DAY * SLOTS_A_DAY, max(first[1], end[1]) + 1, WINDOW_SLOTS):
            window = (*place, max(slot, begin), slot + WINDOW_SLOTS)
            ours = await there.run(_slots, window)
            for found in _differences(listing, facet, SLOT_MS, ours, await again.run(_slots, window), by_number):
                yield found
            summed, days = await there.run(_days, (*place, slot, slot + WINDOW_SLOTS))
            for found in _differences(listing, f"{facet} by the day", SLOT_MS * SLOTS_A_DAY, days, summed, True):
                yield found


async def _compared_beside(there: Database, again: Database, listing: Listing) -> AsyncIterator[Difference]:
    """Subjects and audiences, which are kept with the rollups."""
    for what, sql in _BESIDE.items():
        said, true = await _sum(there, sql, listing), await _sum(again, sql, listing)
        if said != true:
            yield Difference(listing[0], what, None, said, true)


async def _sum(db: Database, sql: str, listing: Listing) -> str:
    """How many rows, and a sum of all of them whatever their order."""
    n, total, last = 0, 0, ("", "", "", "", 0)
    while rows := await db.all(sql, (*listing, *last, ROWS)):
        for row in rows:
            n += 1
            total ^= int.from_bytes(
                hashlib.blake2b(repr(tuple(row)).encode("utf-8", "replace"), digest_size=8).digest()
            )
        last = rows[-1][:5]
    return f"{n} of sum {total:016x}"


def _reach(connection: Connection, place: tuple[str, str, str]) -> tuple[int, int]:
    """The first slot and the last; without any, what changes no other's."""
    first, last = connection.execute(_REACH, place).fetchone()
    return (NO_END, -1) if first is None else (first, last)


def _slots(connection: Connection, window: tuple[str, str, str, int, int]) -> Told:
    return {(slot, value): (events, data) for slot, value, events, data in slots(connection, window)}


def _days(connection: Connection, window: tuple[str, str, str, int, int]) -> tuple[Told, Told]:
    """The days of a window as their half-hours add up to, and as they are there."""
    app_key, partner_key, facet, first, end = window
    closed = (first // SLOTS_A_DAY, min(end // SLOTS_A_DAY, open_day(connection, (app_key, partner_key))))
    sets: dict[tuple[int, str], tuple[int, list[bytes]]] = {}
    for (slot, value), (events, data) in _slots(connection, window).items():
        day = slot // SLOTS_A_DAY
        if day < closed[1]:
            before, several = sets.get((day, value), (0, []))
            sets[day, value] = before + events, [*several, data]
    summed = {place: (events, stored(union(several))) for place, (events, several) in sets.items()}
    rows = connection.execute(_DAYS, (app_key, partner_key, facet, *closed)).fetchall()
    return summed, {(day, value): (events, data) for day, value, events, data in rows}


def _differences(
    listing: Listing, facet: str, unit: int, ours: Told, theirs: Told, by_number: bool
) -> Iterator[Difference]:
    for place in sorted(ours.keys() | theirs.keys()):
        said, true = ours.get(place, (0, NOBODY)), theirs.get(place, (0, NOBODY))
        words = _words(said), _words(true)
        # One set has several stored forms, which depend on how it grew.
        if words[0] != words[1] or (by_number and union([said[1]]) != union([true[1]])):
            yield Difference(listing[0], f"{facet} {place[1]}".strip(), place[0] * unit, *words)


async def _compared_names(there: Database, again: Database, listing: Listing, all_there: bool) -> Iterator[Difference]:
    """Of names, and of their properties; what came before it was removed may have been more."""
    said = {name.row.name: name for name in await event_names.names(there, *listing)}
    true = {name.row.name: name for name in await event_names.names(again, *listing)}
    return _different_names(listing[0], said, true, all_there)


def _different_names(
    app_key: str, said: dict[str, Name], true: dict[str, Name], all_there: bool
) -> Iterator[Difference]:
    for name in sorted(said.keys() | true.keys()):
        ours, theirs = said.get(name), true.get(name)
        if all_there:
            differ = ours != theirs
        else:
            differ = REST not in said and (ours.row.events if ours else 0) < (theirs.row.events if theirs else 0)
        if differ:
            yield Difference(app_key, f"event name {name}", None, _words_of(ours), _words_of(theirs))


def _words_of(name: Name | None) -> str:
    if name is None:
        return "none"
    row: EventName = name.row
    parts = [f"{row.events} events, {row.first_at} to {row.last_at}, sample {row.sample_seq}"]
    parts += [f"{prop} {kind} {n}" for prop, kinds in sorted(name.properties.items()) for kind, n in kinds.items()]
    return ", ".join([*parts, *([f"{row.more} more"] if row.more else [])])[:500]


def _words(told: tuple[int, bytes]) -> str:
    return f"{told[0]} events, {len(union([told[1]]))} visitors"


# Each by five columns that tell every row apart.
_BESIDE = {
    "links of ids": """/* checking.links */
        select id, kind, other_id, other_kind, alias, followed, day
        from subject_links
        where app_key = ? and partner_key = ? and (id, kind, other_id, other_kind, alias) > (?, ?, ?, ?, ?)
        order by id, kind, other_id, other_kind, alias
        limit ?""",
    "subjects": """/* checking.subjects */
        select id, kind, subject, '', shared
        from subject_ids
        where app_key = ? and partner_key = ? and (id, kind, subject, '', shared) > (?, ?, ?, ?, ?)
        order by id, kind
        limit ?""",
    "members of audiences": """/* checking.members */
        select audience, id, kind, '', at, seq, member
        from audience_members
        where app_key = ? and partner_key = ? and (audience, id, kind, '', at) > (?, ?, ?, ?, ?)
        order by audience, id, kind
        limit ?""",
    "audiences entered and left": """/* checking.moves */
        select audience, '', '', '', slot, entered, departed
        from audience_slots
        where app_key = ? and partner_key = ? and (audience, '', '', '', slot) > (?, ?, ?, ?, ?)
          and (entered <> 0 or departed <> 0)
        order by audience, slot
        limit ?""",
    "computed traits": """/* checking.traits */
        select trait, id, kind, '', at, seq, value
        from audience_traits
        where app_key = ? and partner_key = ? and (trait, id, kind, '', at) > (?, ?, ?, ?, ?)
        order by trait, id, kind
        limit ?""",
}
_DELETE_AGAIN = """/* checking.delete_again */
    insert into event_names_deleted (app_key, name, seq)
    values (?, ?, ?)"""

_REACH = """/* checking.reach */
    select min(slot), max(slot)
    from rollup_slots
    where app_key = ? and partner_key = ? and facet = ?"""

_DAYS = """/* checking.days */
    select day, value, events, visitors
    from rollup_days
    where app_key = ? and partner_key = ? and facet = ? and day >= ? and day < ?"""
