"""Noting which ids events name together, in the transaction that counts them.

An event that names one id costs nothing here, and one that names what was named together before costs a look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

from store.database import Connection
from store.event import PARTNER
from store.ids import is_anonymous_id
from store.lookup import MARKS, look_up
from store.rollups.facets import Counted
from store.subjects.graph import Graph, Link, Node
from store.subjects.naming import (
    ACCOUNT,
    ANONYMOUS,
    PARTNER_MADE,
    PREVIOUS,
    USER,
    Id,
    Listing,
    Named,
    is_somebody,
    links,
    node,
    together,
)

DAY_MS = 86_400_000


def note(connection: Connection, events: Sequence[Counted]) -> dict[int, Id]:
    """Note what events name that follow each other in the log, before their visitors are numbered. Of those in which a
    partner names its user: who that is, by seq."""
    by_listing: dict[Listing, list[Counted]] = defaultdict(list)
    for event in events:
        if event.suppressed is None and _names_several(event):
            by_listing[event.app_key, event.partner_key].append(event)
    users: dict[int, Id] = {}
    if by_listing:
        visitors = _Visitors(connection, events)
        for listing, of_listing in by_listing.items():
            _note(connection, listing, of_listing, visitors, users)
    return users


def _names_several(event: Counted) -> bool:
    return bool(event.user_id or event.told.ids or (event.partner_anonymous_id and event.source != PARTNER))


def _note(
    connection: Connection, listing: Listing, events: Sequence[Counted], visitors: _Visitors, users: dict[int, Id]
) -> None:
    graph = graph_of(connection, listing)
    graph.load([each for event in events for each in _candidates(event)])
    prefetched = False
    for event in events:
        user = _user(event, graph, visitors)
        if user is not None and event.source == PARTNER:
            users[event.seq] = user
        named = _named(event, user, _previous(event, graph, visitors))
        if not prefetched and graph.is_new(named):
            graph.load([other for one in list(graph.nodes.values()) for other in one.links])
            prefetched = True
        graph.note(named, event.received_at // DAY_MS)
    keep(connection, listing, graph)


def _candidates(event: Counted) -> Iterator[Id]:
    """All that an event's ids may turn out to be."""
    yield node(ANONYMOUS, event.anonymous_id)
    if event.source != PARTNER:
        yield from (Id(ACCOUNT, event.user_id),) if event.user_id else ()
        yield from (node(PARTNER_MADE, event.partner_anonymous_id),) if event.partner_anonymous_id else ()
        return
    for text in (event.user_id, event.partner_anonymous_id, (event.told.ids or {}).get(PREVIOUS)):
        if text:
            yield from (node(PARTNER_MADE, text), Id(ACCOUNT, text), Id(USER, text))
    yield from links(event.told.ids or {})


def _named(event: Counted, user: Id | None, previous: Id | None) -> Named:
    """The ids that an event names together."""
    made = [event.partner_anonymous_id] if event.partner_anonymous_id else []
    ids = [node(ANONYMOUS, event.anonymous_id), *(each for each in (user, previous) if each)]
    kept = together([*ids, *(node(PARTNER_MADE, text) for text in made), *links(event.told.ids or {})])
    if user in kept and previous in kept and user and previous and user != previous:
        return Named(kept, (user, previous) if user.kind == previous.kind == USER else None)
    return Named(kept)


def _user(event: Counted, graph: Graph, visitors: _Visitors) -> Id | None:
    """A partner's user id is its own, or ours that it was sent: a visitor's, or an account's."""
    text = event.user_id
    if not text or not is_somebody(text):
        return None
    if event.source != PARTNER:
        return Id(ACCOUNT, text)
    if is_anonymous_id(text):
        if visitors.had(event, text):
            return node(ANONYMOUS, text)
        if graph.nodes[Id(ACCOUNT, text)].subject:
            return Id(ACCOUNT, text)
    return Id(USER, text)


def _previous(event: Counted, graph: Graph, visitors: _Visitors) -> Id | None:
    """What an alias call renames: a user id that we know as one, else an anonymous id, so that nobody's browser makes
    two users one."""
    text = (event.told.ids or {}).get(PREVIOUS)
    if not text:
        return None
    anonymous, user = node(PARTNER_MADE, text), Id(USER, text)
    if graph.nodes[anonymous].subject or visitors.had(event, text) or not graph.nodes[user].subject:
        return anonymous
    return user


class _Visitors:
    """Which anonymous ids the events of a partner had, up to each event of a run."""

    def __init__(self, connection: Connection, events: Sequence[Counted]) -> None:
        self._connection = connection
        self._before: dict[tuple[str, str], bool] = {}
        self._first: dict[tuple[str, str], int] = {}
        for event in events:
            if event.suppressed is None:
                self._first.setdefault((event.partner_key, event.anonymous_id), event.seq)

    def had(self, event: Counted, text: str) -> bool:
        """Whether an event before this one came from a visitor with this id."""
        place = event.partner_key, text
        if self._first.get(place, event.seq) < event.seq:
            return True
        if place not in self._before:
            self._before[place] = self._connection.execute(_IS_VISITOR, place).fetchone() is not None
        return self._before[place]


# --- reading and writing


def graph_of(connection: Connection, listing: Listing) -> Graph:
    """A listing's graph, of which only what is asked for is read."""
    graph = Graph(lambda ids: _read(connection, listing, graph, ids))
    return graph


def _read(connection: Connection, listing: Listing, graph: Graph, ids: Collection[Id]) -> None:
    wanted = set(ids)
    texts = sorted({each.id for each in wanted})
    for text, kind, subject, shared in look_up(connection, _IDS, listing, texts):
        if (each := Id(kind, text)) in wanted:
            graph.nodes[each] = Node({}, subject, shared)
    for text, kind, other, other_kind, alias, followed, day in look_up(connection, _LINKS, listing, texts):
        if (each := Id(kind, text)) in wanted:
            graph.nodes[each].links[Id(other_kind, other)] = Link(bool(alias), bool(followed), day)


def keep(connection: Connection, listing: Listing, graph: Graph) -> None:
    """Write what changed."""
    connection.executemany(
        _FORGET_LINK, [(*listing, one.id, one.kind, other.id, other.kind) for one, other in sorted(graph.removed_links)]
    )
    rows = []
    for one, other in sorted(graph.changed_links):
        link = graph.nodes[one].links[other]
        rows.append((*listing, one.id, one.kind, other.id, other.kind, int(link.alias), int(link.followed), link.day))
    connection.executemany(_KEEP_LINK, rows)
    nodes = [(each, graph.nodes[each]) for each in sorted(graph.changed_ids)]
    connection.executemany(_KEEP_ID, [(*listing, each.id, each.kind, n.subject, n.shared) for each, n in nodes])


_IS_VISITOR = """/* subjects.is_visitor */
    select 1
    from rollup_visitors
    where partner_key = ? and anonymous_id = ?"""

_IDS = f"""/* subjects.ids */
    select id, kind, subject, shared
    from subject_ids
    where app_key = ? and partner_key = ? and id in ({MARKS})"""  # noqa: S608 - a number of question marks

_LINKS = f"""/* subjects.links */
    select id, kind, other_id, other_kind, alias, followed, day
    from subject_links
    where app_key = ? and partner_key = ? and id in ({MARKS})"""  # noqa: S608 - a number of question marks

_KEEP_LINK = """/* subjects.keep_link */
    insert into subject_links (app_key, partner_key, id, kind, other_id, other_kind, alias, followed, day)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, id, kind, other_id, other_kind) do update
    set alias = excluded.alias, followed = excluded.followed, day = excluded.day"""

_KEEP_ID = """/* subjects.keep_id */
    insert into subject_ids (app_key, partner_key, id, kind, subject, shared)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, id, kind) do update
    set subject = excluded.subject, shared = excluded.shared"""

_FORGET_LINK = """/* subjects.forget_link */
    delete from subject_links
    where app_key = ? and partner_key = ? and id = ? and kind = ? and other_id = ? and other_kind = ?"""
