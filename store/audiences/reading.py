"""Audiences for people and programs: how large, who entered and left when, and which visitors are in one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from store.audiences.noting import AUDIENCE, TRAIT
from store.database import Connection, Database
from store.rollups.sets import Visitors
from store.subjects.naming import Id, Listing

MOST_CHANGES = 200  # that one page shows
MOST_VALUES = 50  # of a trait


class Audience(msgspec.Struct, frozen=True):
    """An audience as it is now, and how many entered and left in a time. Moments in epoch milliseconds."""

    name: str
    size: int
    entered: int
    left: int
    first_at: int
    last_at: int


class Change(msgspec.Struct, frozen=True):
    """Somebody entered, or left."""

    at: int
    kind: str
    id: str
    entered: bool


class Trait(msgspec.Struct, frozen=True):
    """A computed trait: of how many users it is known, and its values with how many have each, most first; `further` is
    how many values there are besides."""

    name: str
    users: int
    values: Sequence[tuple[str, int]]
    further: int


async def audiences(db: Database, listing: Listing, first: int, end: int) -> list[Audience]:
    """Every audience, the largest first; entered and left from one half-hour up to another."""
    return await db.run(_audiences, listing, first, end)


def _audiences(connection: Connection, listing: Listing, first: int, end: int) -> list[Audience]:
    sizes = dict(connection.execute(_SIZES, listing).fetchall())
    moved = {
        name: (entered, left) for name, entered, left in connection.execute(_MOVED, (*listing, first, end)).fetchall()
    }
    names = connection.execute(_NAMES, (*listing, AUDIENCE)).fetchall()
    found = [
        Audience(name, sizes.get(name, 0), *moved.get(name, (0, 0)), first_at, last_at)
        for name, first_at, last_at in names
    ]
    return sorted(found, key=lambda each: (-each.size, each.name))


async def sizes(db: Database, listing: Listing, audience: str, ends: Sequence[int]) -> list[int]:
    """How large an audience was at each of these half-hours, in order."""
    return await db.run(_sizes_at, listing, audience, ends)


def _sizes_at(connection: Connection, listing: Listing, audience: str, ends: Sequence[int]) -> list[int]:
    found, size, before = [], 0, -1
    for end in ends:
        size += connection.execute(_GREW, (*listing, audience, before, end)).fetchone()[0]
        before = end
        found.append(size)
    return found


async def moves(db: Database, listing: Listing, audience: str, first: int, end: int) -> list[tuple[int, int, int]]:
    """(half-hour, entered, left) of those in a time in which anybody did, in order."""
    return [(slot, entered, left) for slot, entered, left in await db.all(_MOVES, (*listing, audience, first, end))]


async def changes(
    db: Database, listing: Listing, audience: str, begin: int, end: int, limit: int = MOST_CHANGES
) -> list[Change]:
    """Who entered and left between two moments, the newest first; not those who are forgotten."""
    rows = await db.all(_CHANGES, (*listing, audience, begin, end, limit))
    return [Change(at, kind, text, bool(member)) for at, kind, text, member in rows]


async def traits(db: Database, listing: Listing, most: int = MOST_VALUES) -> list[Trait]:
    """Every computed trait with its values."""
    return await db.run(_traits, listing, most)


def _traits(connection: Connection, listing: Listing, most: int) -> list[Trait]:
    found = []
    for name, _, _ in connection.execute(_NAMES, (*listing, TRAIT)).fetchall():
        values, users = connection.execute(_TRAIT, (*listing, name)).fetchone()
        rows = connection.execute(_VALUES, (*listing, name, most)).fetchall()
        found.append(Trait(name, users, [(value, n) for value, n in rows], values - len(rows)))
    return found


async def of_subject(db: Database, listing: Listing, ids: Sequence[Id]) -> list[tuple[str, int]]:
    """(audience, since when) that any of these ids is in."""
    found: dict[str, int] = {}
    for each in ids:
        for audience, at in await db.all(_IN, (*listing, each.id, each.kind)):
            found[audience] = min(at, found.get(audience, at))
    return sorted(found.items())


def visitors_in(connection: Connection, listing: Listing, audience: str) -> Visitors:
    """The numbers of all visitors who are in an audience now, by any id of theirs."""
    linked = connection.execute(_VISITORS, (*listing, audience)).fetchall()
    alone = connection.execute(_VISITORS_ALONE, (*listing, audience)).fetchall()
    return Visitors(number for (number,) in [*linked, *alone])


_NAMES = """/* audiences.of_app */
    select name, first_at, last_at
    from audiences
    where app_key = ? and partner_key = ? and form = ?
    order by name"""

_SIZES = """/* audiences.sizes */
    select audience, count(*)
    from audience_members
    where app_key = ? and partner_key = ? and member = 1
    group by audience"""

_MOVED = """/* audiences.moved */
    select audience, cast(sum(entered) as bigint), cast(sum(departed) as bigint)
    from audience_slots
    where app_key = ? and partner_key = ? and slot >= ? and slot < ?
    group by audience"""

_GREW = """/* audiences.grew */
    select cast(coalesce(sum(entered - departed), 0) as bigint)
    from audience_slots
    where app_key = ? and partner_key = ? and audience = ? and slot >= ? and slot < ?"""

_MOVES = """/* audiences.moves */
    select slot, entered, departed
    from audience_slots
    where app_key = ? and partner_key = ? and audience = ? and slot >= ? and slot < ?
      and (entered <> 0 or departed <> 0)
    order by slot"""

_CHANGES = """/* audiences.changes */
    select at, kind, id, member
    from audience_marks
    where app_key = ? and partner_key = ? and audience = ? and changed = 1 and at >= ? and at < ?
    order by at desc, seq desc
    limit ?"""

_TRAIT = """/* audiences.trait */
    select count(distinct value), count(*)
    from audience_traits
    where app_key = ? and partner_key = ? and trait = ? and value <> ''"""

_VALUES = """/* audiences.values */
    select value, count(*)
    from audience_traits
    where app_key = ? and partner_key = ? and trait = ? and value <> ''
    group by value
    order by count(*) desc, value
    limit ?"""

_IN = """/* audiences.in */
    select audience, at
    from audience_members
    where app_key = ? and partner_key = ? and id = ? and kind = ? and member = 1"""

_VISITORS = """/* audiences.visitors */
    select visitor
    from audience_members
    join subject_ids as named
      on named.app_key = audience_members.app_key and named.partner_key = audience_members.partner_key
        and named.id = audience_members.id and named.kind = audience_members.kind
    join subject_ids as own
      on own.app_key = named.app_key and own.partner_key = named.partner_key and own.subject = named.subject
    join rollup_visitors
      on rollup_visitors.partner_key = own.partner_key and rollup_visitors.anonymous_id = own.id
    where audience_members.app_key = ? and audience_members.partner_key = ? and audience_members.audience = ?
      and audience_members.member = 1 and own.kind in ('anonymous', 'partner')"""

_VISITORS_ALONE = """/* audiences.visitors_alone */
    select visitor
    from audience_members
    join rollup_visitors
      on rollup_visitors.partner_key = audience_members.partner_key
        and rollup_visitors.anonymous_id = audience_members.id
    where audience_members.app_key = ? and audience_members.partner_key = ? and audience_members.audience = ?
      and audience_members.member = 1 and audience_members.kind in ('anonymous', 'partner')"""
