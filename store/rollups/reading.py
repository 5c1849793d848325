"""The portal's numbers, from the rollups: exact sets of visitors over any half-hours, joined and cut.

Times are spans of half-hours since the epoch (`SLOT_MS` each). Nothing here looks at an event. A visitor is counted
once for all listings of a partner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from store.database import Connection, Database
from store.log import NO_END
from store.lookup import MARKS, look_up
from store.rollups import stored
from store.rollups.counting import SLOTS_A_DAY
from store.rollups.facets import BEFORE, EVENT, NAMES, NEXT, REST, SUPPRESSED, TIME
from store.rollups.journeys import BUCKETS, MOST_STEPS, Link, link_of
from store.rollups.sets import Visitors, union
from store.rollups.stored import Scope, Sets, Span

FUNNEL = ("page_view", "tab_click", "cta_click", "app_request", "install")
MOST_ROWS = 100  # of a breakdown
MOST_LINKS = 400  # of journeys …
MOST_FILTERED = 150  # … and of the visitors whom filters leave, which takes their sets
WENT_ON = ("cta_click", "install")  # what a breakdown says of its visitors


class Bin(msgspec.Struct, frozen=True):
    """A time's visitors, who viewed the listing, and its events by name. With filters, both are of those visitors and
    `events` is None: how many events were theirs is not kept."""

    visitors: int
    events: Mapping[str, int] | None


class Step(msgspec.Struct, frozen=True):
    """Of the visitors who viewed the listing: how many did this. `after` is the nearest step before it that anybody
    did, and `both` how many did that one too."""

    name: str
    visitors: int
    after: str
    both: int


class Overview(msgspec.Struct, frozen=True):
    """A time in its bins, the whole of it, and the funnel. `unseen` is how many installed without a page view in that
    time; `suppressed` is the number of events that no partner may get, by reason, and that are counted nowhere else."""

    bins: list[Bin]
    total: Bin
    funnel: list[Step]
    unseen: int
    suppressed: Mapping[str, int]


class Row(msgspec.Struct, frozen=True):
    """One value of a facet: its visitors, how often it was (None with filters), and how many of the visitors did what,
    by name, at any moment of the same time."""

    value: str
    visitors: int
    events: int | None
    did: Mapping[str, int]


class Breakdown(msgspec.Struct, frozen=True):
    """The values of a facet, most visitors first; `further` is how many values there are besides, and `visitors` who
    came under any value."""

    rows: list[Row]
    further: int
    visitors: int


class Flow(msgspec.Struct, frozen=True):
    """How often a link was taken: `n` journeys, or with filters so many visitors."""

    link: Link
    n: int


class Flows(msgspec.Struct, frozen=True):
    """Links, the most travelled first; `further` is how many there are besides, and `left_out` how many times those
    were taken."""

    links: list[Flow]
    further: int
    left_out: int


class Found(msgspec.Struct, frozen=True):
    """A visitor by one of the ids: `kind` is 'anonymous', 'user', 'partner', or 'linked': by what was named with it."""

    anonymous_id: str
    number: int
    kind: str


class Series(msgspec.Struct, frozen=True):
    """How often something was in each of several bins, how many visitors there were in each, and in all of them."""

    events: list[int]
    visitors: list[int]
    everybody: int


# --- the questions


async def overview(db: Database, scope: Scope, bins: Sequence[Span]) -> Overview:
    """Bins that follow each other, in order."""
    return await db.run(_overview, scope, bins)


async def breakdown(db: Database, scope: Scope, facet: str, span: Span, most: int = MOST_ROWS) -> Breakdown:
    """A facet's values in a time."""
    return await db.run(_breakdown, scope, facet, span, most)


async def visitors(db: Database, scope: Scope, facet: str, span: Span, wanted: Sequence[str]) -> dict[str, int]:
    """How many visitors came under each of these values in a time."""
    return await db.run(_visitors, scope, facet, span, wanted)


async def flows(db: Database, scope: Scope, span: Span, back: bool = False, places: int = MOST_STEPS) -> Flows:
    """The links at the first places of the journeys that began in a time, or `back` from the installs in it."""
    return await db.run(_flows, scope, span, BEFORE if back else NEXT, places)


async def times(db: Database, scope: Scope, name: str, span: Span) -> list[int]:
    """How many visitors took how long from their first page view until they did this, by the buckets of
    store.rollups.journeys.BUCKETS and one more; counted when they did it."""
    return await db.run(_times, scope, name, span)


async def values(db: Database, scope: Scope, facet: str) -> list[str]:
    """The values that a facet ever had, in order."""
    return await db.run(_values, scope, facet)


async def first_slot(db: Database, scope: Scope) -> int | None:
    """When counting begins; None where there is nothing."""
    return await db.run(_first_slot, scope)


async def called(db: Database, partner_key: str, text: str, limit: int = 20) -> list[Found]:
    """The visitors that an id is, or stands for: an anonymous id, a user id or a partner anonymous id."""
    return await db.run(_called, partner_key, text, limit)


async def among(db: Database, scope: Scope, span: Span, anonymous_ids: Sequence[str]) -> set[str]:
    """Which of these visitors came under every filter in a time."""
    return await db.run(_among, scope, span, anonymous_ids)


async def seqs_of(
    db: Database, scope: Scope, number: int, before: int = NO_END, limit: int = 200
) -> list[tuple[str, int]]:
    """(app, seq) of a visitor's events on these listings, the newest first."""
    return await db.run(_seqs_of, scope, number, before, limit)


async def series(
    db: Database,
    scope: Scope,
    facet: str,
    bins: Sequence[Span],
    called: Mapping[str, str],
    wanted: Sequence[str] | None = None,
) -> dict[str, Series]:
    """A facet's values over bins, by what each is `called`, else by itself: those that are called the same are one. Of
    all values, or of a few; without filters."""
    return await db.run(_series, scope, facet, bins, called, wanted)


async def events_a_day(db: Database, first: int, end: int) -> list[tuple[str, str, int, str, int]]:
    """(app, partner, day, name, events) of all listings, by days since the epoch: the marketplace's own totals."""
    return await db.all(_EVENTS_A_DAY, (first, end, first * SLOTS_A_DAY, end * SLOTS_A_DAY))


# --- the answers


def _overview(connection: Connection, scope: Scope, bins: Sequence[Span]) -> Overview:
    whole = Span(bins[0].first, bins[-1].end)
    among = stored.filtered(connection, scope, whole)
    shown = []
    for sets in stored.by_bin(connection, scope, EVENT, bins, of="page_view"):
        viewers = union(sets["page_view"].stored) if "page_view" in sets else Visitors()
        shown.append(_bin(viewers, {name: found.events for name, found in sets.items()}, among))
    did = stored.every(connection, scope, EVENT, whole)
    totals = {name: union(did[name].stored) if name in did else Visitors() for name in NAMES}
    events = dict(sum((Counter(each.events) for each in shown if each.events), Counter()))
    suppressed = stored.every(connection, scope, SUPPRESSED, whole)
    return Overview(
        shown,
        _bin(totals["page_view"], events, among),
        _funnel(totals, among),
        len(_cut(totals["install"], among) - totals["page_view"]),
        {reason: found.events for reason, found in suppressed.items()},
    )


def _bin(viewers: Visitors, events: Mapping[str, int], among: Visitors | None) -> Bin:
    return Bin(len(_cut(viewers, among)), events if among is None else None)


def _cut(visitors: Visitors, among: Visitors | None) -> Visitors:
    return visitors if among is None else visitors & among


def _funnel(totals: Mapping[str, Visitors], among: Visitors | None) -> list[Step]:
    viewers = _cut(totals["page_view"], among)
    steps = []
    after, before = FUNNEL[0], viewers
    for name in FUNNEL:
        did = viewers & totals[name]
        steps.append(Step(name, len(did), after, did.intersection_cardinality(before)))
        if did:
            after, before = name, did
    return steps


def _breakdown(connection: Connection, scope: Scope, facet: str, span: Span, most: int) -> Breakdown:
    among = stored.filtered(connection, scope, span)
    counts = stored.how_often(connection, scope, facet, span)
    chosen = [value for value, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:most]]
    sets = {
        value: _cut(union(found.stored), among) for value, found in stored.some(connection, scope, facet, span, chosen)
    }
    doers = {name: union(sets.stored) for name, sets in stored.some(connection, scope, EVENT, span, WENT_ON)}
    rows = [
        Row(
            value,
            len(visitors),
            counts[value] if among is None else None,
            {name: visitors.intersection_cardinality(doers.get(name, Visitors())) for name in WENT_ON},
        )
        for value, visitors in sets.items()
        if visitors
    ]
    rows.sort(key=lambda row: (-row.visitors, row.value))
    return Breakdown(rows, len(counts) - len(chosen), len(Visitors.union(*sets.values())) if sets else 0)


def _visitors(connection: Connection, scope: Scope, facet: str, span: Span, wanted: Sequence[str]) -> dict[str, int]:
    among = stored.filtered(connection, scope, span)
    counts = dict.fromkeys(wanted, 0)
    for value, sets in stored.some(connection, scope, facet, span, wanted):
        counts[value] = len(_cut(union(sets.stored), among))
    return counts


def _flows(connection: Connection, scope: Scope, span: Span, facet: str, places: int) -> Flows:
    among = stored.filtered(connection, scope, span)
    counts = stored.how_often(connection, scope, facet, span)
    links = {value: link_of(value) for value in counts if value != REST}
    near = sorted((value for value, link in links.items() if link.place < places), key=lambda v: (-counts[v], v))
    most = MOST_LINKS if among is None else MOST_FILTERED
    taken = {value: counts[value] for value in near[:most]}
    if among is not None:
        some = stored.some(connection, scope, facet, span, near[:most])
        taken = {value: len(union(sets.stored) & among) for value, sets in some}
    found = [Flow(links[value], n) for value, n in taken.items() if n]
    found.sort(key=lambda flow: (-flow.n, flow.link))
    left_out = near[most:]
    return Flows(found, len(left_out), sum(counts[value] for value in left_out) + counts[REST])


def _times(connection: Connection, scope: Scope, name: str, span: Span) -> list[int]:
    among = stored.filtered(connection, scope, span)
    wanted = {f"{name} {at}": at for at in range(len(BUCKETS) + 1)}
    counts = [0] * len(wanted)
    for value, sets in stored.some(connection, scope, TIME, span, sorted(wanted)):
        counts[wanted[value]] = len(_cut(union(sets.stored), among))
    return counts


def _values(connection: Connection, scope: Scope, facet: str) -> list[str]:
    found: set[str] = set()
    for listing in scope.listings:
        found |= {value for (value,) in connection.execute(_VALUES_OF, (*listing, facet)).fetchall()}
    return sorted(found)


def _first_slot(connection: Connection, scope: Scope) -> int | None:
    firsts = [connection.execute(_FIRST, (*listing, EVENT)).fetchone()[0] for listing in scope.listings]
    return min((slot for slot in firsts if slot is not None), default=None)


def _called(connection: Connection, partner_key: str, text: str, limit: int) -> list[Found]:
    row = connection.execute(_NUMBER_OF, (partner_key, text)).fetchone()
    found = [Found(text, row[0], "anonymous")] if row else []
    for kind in ("user", "partner"):
        rows = connection.execute(_NAMED, (partner_key, kind, text, limit)).fetchall()
        found += [Found(anonymous_id, number, kind) for anonymous_id, number in rows]
    return found[:limit]


def _among(connection: Connection, scope: Scope, span: Span, anonymous_ids: Sequence[str]) -> set[str]:
    among = stored.filtered(connection, scope, span)
    if among is None:
        return set(anonymous_ids)
    numbers = look_up(connection, _NUMBERS_OF, (scope.partner_key,), anonymous_ids)
    return {anonymous_id for anonymous_id, number in numbers if number in among}


def _seqs_of(connection: Connection, scope: Scope, number: int, before: int, limit: int) -> list[tuple[str, int]]:
    found = [
        (app_key, seq)
        for app_key, partner_key in scope.listings
        for (seq,) in connection.execute(_EVENTS_OF, (partner_key, number, before, app_key, limit)).fetchall()
    ]
    return sorted(found, key=lambda each: -each[1])[:limit]


def _series(
    connection: Connection,
    scope: Scope,
    facet: str,
    bins: Sequence[Span],
    called: Mapping[str, str],
    wanted: Sequence[str] | None,
) -> dict[str, Series]:
    if wanted is None:
        found = stored.by_bin(connection, scope, facet, bins)
    else:
        found = [dict(stored.some(connection, scope, facet, span, wanted)) for span in bins]
    by_name: dict[str, list[Sets]] = {}
    for nth, values in enumerate(found):
        for value, sets in values.items():
            there = by_name.setdefault(called.get(value, value), [Sets(0, []) for _ in bins])[nth]
            there.events += sets.events
            there.stored += sets.stored
    return {name: _added_up(sets) for name, sets in by_name.items()}


def _added_up(sets: Sequence[Sets]) -> Series:
    visitors = [union(each.stored) for each in sets]
    return Series([each.events for each in sets], [len(each) for each in visitors], len(Visitors.union(*visitors)))


_VALUES_OF = """/* rollups.values_of */
    select value
    from rollup_values
    where app_key = ? and partner_key = ? and facet = ?"""

_FIRST = """/* rollups.first */
    select min(slot)
    from rollup_slots
    where app_key = ? and partner_key = ? and facet = ?"""

_NUMBER_OF = """/* rollups.number_of */
    select visitor
    from rollup_visitors
    where partner_key = ? and anonymous_id = ?"""

_NUMBERS_OF = f"""/* rollups.numbers_of */
    select anonymous_id, visitor
    from rollup_visitors
    where partner_key = ? and anonymous_id in ({MARKS})"""  # noqa: S608 - a number of question marks

_NAMED = """/* rollups.named */
    select anonymous_id, rollup_names.visitor
    from rollup_names
    join rollup_visitors using (partner_key, visitor)
    where partner_key = ? and kind = ? and id = ?
    order by rollup_names.visitor desc
    limit ?"""

_EVENTS_OF = """/* rollups.events_of */
    select seq
    from rollup_events
    where partner_key = ? and visitor = ? and seq < ? and app_key = ?
    order by seq desc
    limit ?"""

_EVENTS_A_DAY = """/* rollups.events_a_day */
    select app_key, partner_key, day, value, events
    from rollup_days
    where facet = 'event' and day >= ? and day < ?
    union all
    select rollup_slots.app_key, rollup_slots.partner_key, slot / 48, value, cast(sum(events) as bigint)
    from rollup_slots
    join rollup_apps
      on rollup_apps.app_key = rollup_slots.app_key and rollup_apps.partner_key = rollup_slots.partner_key
    where facet = 'event' and slot >= ? and slot < ? and slot / 48 >= open_day
    group by rollup_slots.app_key, rollup_slots.partner_key, slot / 48, value"""
