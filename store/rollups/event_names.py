"""Which events a partner's own systems send, by name, and what properties each has: kept as the rollups count.

Of a property there is which kinds of values it had and how often, never a value. There is no end of names and of
properties: so many are kept apart, the first that came, and the rest are counted as one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import msgspec

from store.database import Connection, Database
from store.event import PARTNER
from store.rollups.facets import REST, Counted, cut

MOST_NAMES = 1_000  # of one listing: more than the doors let in, of which several overshoot
MOST_PROPERTIES = 200  # of one name

Listing = tuple[str, str]
Properties = dict[str, Counter[str]]  # by property and kind, how many events


class Deletion(msgspec.Struct, frozen=True):
    """That a name is to be forgotten."""

    deletion_id: int
    app_key: str
    name: str


class EventName(msgspec.Struct):
    """See the table: times are epoch milliseconds."""

    name: str
    events: int
    first_at: int
    last_at: int
    first_seq: int
    sample_seq: int
    more: int


def count(connection: Connection, events: Iterable[Counted]) -> None:
    """Add events that follow each other in the log."""
    of_listing: dict[Listing, list[Counted]] = defaultdict(list)
    for event in events:
        if event.source == PARTNER and event.type == "track" and event.suppressed is None:
            of_listing[event.app_key, event.partner_key].append(event)
    for listing, sent in of_listing.items():
        _count(connection, listing, sent)


def _count(connection: Connection, listing: Listing, sent: Sequence[Counted]) -> None:
    deleted = dict(connection.execute(_DELETED, listing[:1]).fetchall())
    rows: dict[str, EventName] = {}
    properties: dict[str, Properties] = {}
    known: int | None = None  # how many names there are: asked for with the first that is new
    for event in sent:
        name = cut(event.name)
        if event.seq <= deleted.get(name, 0):
            continue
        found = rows.get(name) or _read(connection, listing, name)
        if found is None and name != REST:
            known = connection.execute(_HOW_MANY, (*listing, REST)).fetchone()[0] if known is None else known
            if known >= MOST_NAMES:
                name = REST
                found = rows.get(name) or _read(connection, listing, name)
            else:
                known += 1
        if found is None:
            found = EventName(name, 0, event.occurred_at, event.occurred_at, event.seq, event.seq, 0)
        rows[name] = found
        if name != REST and name not in properties:
            properties[name] = _properties(connection, listing, name)
        _add(found, properties.get(name), event)
    connection.executemany(_PUT_NAME, [(*listing, *msgspec.structs.astuple(row)) for row in rows.values()])
    connection.executemany(
        _PUT_PROPERTY,
        [
            (*listing, name, property_name, kind, n)
            for name, of_name in properties.items()
            for property_name, kinds in of_name.items()
            for kind, n in kinds.items()
        ],
    )


def _add(row: EventName, properties: Properties | None, event: Counted) -> None:
    row.events += 1
    row.first_at, row.last_at = min(row.first_at, event.occurred_at), max(row.last_at, event.occurred_at)
    row.sample_seq = event.seq
    if properties is None:  # of events that have nothing in common
        return
    for property_name, kind in kinds(event.told.properties or {}).items():
        if property_name not in properties and len(properties) >= MOST_PROPERTIES:
            row.more += 1
        else:
            properties.setdefault(property_name, Counter())[kind] += 1


def _read(connection: Connection, listing: Listing, name: str) -> EventName | None:
    row = connection.execute(_NAME, (*listing, name)).fetchone()
    return EventName(name, *row) if row else None


def _properties(connection: Connection, listing: Listing, name: str) -> Properties:
    found: Properties = {}
    for property_name, kind, n in connection.execute(_PROPERTIES, (*listing, name)).fetchall():
        found.setdefault(property_name, Counter())[kind] = n
    return found


# --- what a value is


_FORMS = {
    "date-time": re.compile(
        r"\d{4}-(0\d|1[0-2])-([0-2]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII
    ),
    "date": re.compile(r"\d{4}-(0\d|1[0-2])-([0-2]\d|3[01])", re.ASCII),
    "uuid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "email": re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"),
    "uri": re.compile(r"https?://[A-Za-z0-9.-]+(:\d+)?([/?#][!-~]*)?"),
}


def kinds(properties: dict[str, Any]) -> dict[str, str]:
    """The kind of each property's value; names that are the same as far as they are kept are one."""
    found: dict[str, str] = {}
    for name, value in properties.items():
        found.setdefault(cut(name), kind(value))
    return found


def kind(value: Any) -> str:
    """A type of JSON Schema; of a text that looks like more than that `string:` and the form."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        form = next((name for name, form in _FORMS.items() if form.fullmatch(value)), "")
        if form in ("date", "date-time") and not _is_day(value[:10]):
            form = ""
        return f"string:{form}" if form else "string"
    of_type = {int: "integer", float: "number", list: "array", dict: "object"}
    return of_type.get(type(value), "null")


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


# --- deleting


def delete(connection: Connection, deletions: Sequence[Deletion], seq: int) -> None:
    """Forget names: what comes after a seq counts from zero. The caller's turn to count is taken."""
    for each in deletions:
        connection.execute(_NOTE_DELETED, (each.app_key, each.name, seq))
        connection.execute(_DELETE_PROPERTIES, (each.app_key, each.name))
        connection.execute(_DELETE_NAME, (each.app_key, each.name))
    connection.execute(_DELETED_UP_TO, (max(each.deletion_id for each in deletions),))


async def asked_deletions(registry: Database, after: int) -> list[Deletion]:
    """Deletions that are asked for, past a number, in order."""
    return [Deletion(*row) for row in await registry.all(_ASKED, (after,))]


# --- reading


class Name(msgspec.Struct, frozen=True):
    """A name with its properties: how many of the events had each, by kind."""

    row: EventName
    properties: Properties

    def is_always_there(self, property_name: str) -> bool:
        """Whether every event of the name had this property."""
        return self.properties[property_name].total() == self.row.events


async def names(db: Database, app_key: str, partner_key: str) -> list[Name]:
    """Every name of a listing, in order."""
    return await db.run(_names, (app_key, partner_key))


def _names(connection: Connection, listing: Listing) -> list[Name]:
    properties: dict[str, Properties] = defaultdict(dict)
    for name, property_name, kind_, n in connection.execute(_ALL_PROPERTIES, listing).fetchall():
        properties[name].setdefault(property_name, Counter())[kind_] = n
    rows = connection.execute(_ALL_NAMES, listing).fetchall()
    return [Name(EventName(*row), properties.get(row[0], {})) for row in rows]


async def known(db: Database, after: int) -> list[tuple[str, str, int]]:
    """(app, name, seq) of the names of all apps that became known past a seq."""
    return await db.all(_KNOWN, (after,))


_DELETED = """/* event_names.deleted */
    select name, seq
    from event_names_deleted
    where app_key = ?"""

_NAME = """/* event_names.name */
    select events, first_at, last_at, first_seq, sample_seq, more
    from event_names
    where app_key = ? and partner_key = ? and name = ?"""

_HOW_MANY = """/* event_names.how_many */
    select count(*)
    from event_names
    where app_key = ? and partner_key = ? and name <> ?"""

_PROPERTIES = """/* event_names.properties */
    select property, kind, events
    from event_properties
    where app_key = ? and partner_key = ? and name = ?"""

_PUT_NAME = """/* event_names.put_name */
    insert into event_names (app_key, partner_key, name, events, first_at, last_at, first_seq, sample_seq, more)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, name) do update
    set events = excluded.events, first_at = excluded.first_at, last_at = excluded.last_at,
        sample_seq = excluded.sample_seq, more = excluded.more"""

_PUT_PROPERTY = """/* event_names.put_property */
    insert into event_properties (app_key, partner_key, name, property, kind, events)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, name, property, kind) do update
    set events = excluded.events"""

_NOTE_DELETED = """/* event_names.note_deleted */
    insert into event_names_deleted (app_key, name, seq)
    values (?, ?, ?)
    on conflict (app_key, name) do update
    set seq = excluded.seq"""

_DELETE_PROPERTIES = """/* event_names.delete_properties */
    delete from event_properties
    where app_key = ? and name = ?"""

_DELETE_NAME = """/* event_names.delete_name */
    delete from event_names
    where app_key = ? and name = ?"""

_DELETED_UP_TO = """/* event_names.deleted_up_to */
    update rollups
    set deletion_id = ?
    where one = 1"""

_ASKED = """/* event_names.asked */
    select deletion_id, app_key, name
    from event_deletions
    where deletion_id > ?
    order by deletion_id"""

_ALL_NAMES = """/* event_names.all_names */
    select name, events, first_at, last_at, first_seq, sample_seq, more
    from event_names
    where app_key = ? and partner_key = ?
    order by name"""

_ALL_PROPERTIES = """/* event_names.all_properties */
    select name, property, kind, events
    from event_properties
    where app_key = ? and partner_key = ?
    order by name, property, kind"""

_KNOWN = """/* event_names.known */
    select app_key, name, first_seq
    from event_names
    where first_seq > ?"""
