"""What is forgotten of subjects: links with the events that told of them, and a whole subject when somebody asks.

A link is forgotten when the day on which an event last named it is removed from the log. Who is in an audience stays as
long as that is so, because nothing says it again, with the newest that was said of it; who left is forgotten with the
events that said so, and so is all else that was said.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain

from store.audiences import noting as audiences
from store.database import Connection
from store.rollups.counting import hold
from store.subjects.naming import Id, Listing
from store.subjects.noting import graph_of, keep
from store.subjects.reading import read_ids

HOURS_A_DAY = 24


def forget(connection: Connection, limit: int, /) -> int:
    """Forget at most so many links, who left an audience, and what was said of members, of events that are no more; how
    many were. Nobody counts meanwhile: whoever comes back to an audience would be forgotten for having left it."""
    hold(connection)
    n = 0
    for app_key, hour, seq in connection.execute(_REMOVED).fetchall():
        n += _forget_links(connection, app_key, hour // HOURS_A_DAY, limit - n)
        n += _forget_members(connection, app_key, seq, limit - n)
        n += _forget_marks(connection, app_key, seq, limit - n)
        if n >= limit:
            break
    return n


def _forget_links(connection: Connection, app_key: str, day: int, limit: int) -> int:
    rows = connection.execute(_OLD_LINKS, (app_key, day, limit)).fetchall()
    by_listing: dict[Listing, set[tuple[Id, Id]]] = defaultdict(set)
    for partner_key, text, kind, other, other_kind in rows:
        by_listing[app_key, partner_key].add((Id(kind, text), Id(other_kind, other)))
    for listing, pairs in by_listing.items():
        _cut(connection, listing, pairs)
    return len(rows)


def _cut(connection: Connection, listing: Listing, pairs: set[tuple[Id, Id]]) -> None:
    graph = graph_of(connection, listing)
    graph.load(chain.from_iterable(pairs))
    graph.cut(pairs)
    touched = sorted(set(chain.from_iterable(pairs)))
    alone = [each for each in touched if not graph.nodes[each].links and not graph.nodes[each].shared]
    graph.changed_ids -= set(alone)
    keep(connection, listing, graph)
    connection.executemany(_FORGET_ID, [(*listing, each.id, each.kind) for each in alone])


def _forget_members(connection: Connection, app_key: str, seq: int, limit: int) -> int:
    rows = connection.execute(_LEFT, (app_key, seq, limit)).fetchall()
    for sql in (_FORGET_MARKS, _FORGET_MEMBER):
        connection.executemany(sql, [(app_key, *row) for row in rows])
    return len(rows)


def _forget_marks(connection: Connection, app_key: str, seq: int, limit: int) -> int:
    rows = connection.execute(_PAST_MARKS, (app_key, seq, limit)).fetchall()
    connection.executemany(_FORGET_MARK, [(app_key, *row) for row in rows])
    return len(rows)


def erase(connection: Connection, listing: Listing, kind: str, text: str, now: int) -> list[Id]:
    """Erase all ids of the subject that an id is of, with their links, audiences and traits, from one app; which they
    were. Audiences count them as having left now."""
    ids = read_ids(connection, listing, kind, text)
    graph = graph_of(connection, listing)
    graph.load(ids)
    _cut(connection, listing, {(each, other) for each in ids for other in graph.nodes[each].links})
    left: Counter[str] = Counter()
    for each in ids:
        place = (*listing, each.id, each.kind)
        left.update(audience for (audience,) in connection.execute(_IN, place).fetchall())
        for sql in (_ERASE_ID, _ERASE_MARKS, _ERASE_MEMBER, _ERASE_TRAITS):
            connection.execute(sql, place)
    audiences.leave(connection, listing, left, now)
    return ids


_REMOVED = """/* subjects.removed */
    select app_key, max(hour), max(last_seq)
    from removed
    group by app_key
    order by app_key"""

_OLD_LINKS = """/* subjects.old_links */
    select partner_key, id, kind, other_id, other_kind
    from subject_links
    where app_key = ? and day < ?
    order by day
    limit ?"""

_FORGET_ID = """/* subjects.forget_id */
    delete from subject_ids
    where app_key = ? and partner_key = ? and id = ? and kind = ?"""

_LEFT = """/* subjects.left */
    select partner_key, audience, id, kind
    from audience_members
    where app_key = ? and told_seq <= ? and member = 0
    order by told_seq
    limit ?"""

_FORGET_MARKS = """/* subjects.forget_marks */
    delete from audience_marks
    where app_key = ? and partner_key = ? and audience = ? and id = ? and kind = ?"""

_PAST_MARKS = """/* subjects.past_marks */
    select partner_key, audience, id, kind, at, seq
    from audience_marks
    where app_key = ? and seq <= ? and past = 1
    order by seq
    limit ?"""

_FORGET_MARK = """/* subjects.forget_mark */
    delete from audience_marks
    where app_key = ? and partner_key = ? and audience = ? and id = ? and kind = ? and at = ? and seq = ?"""

_FORGET_MEMBER = """/* subjects.forget_member */
    delete from audience_members
    where app_key = ? and partner_key = ? and audience = ? and id = ? and kind = ?"""

_IN = """/* subjects.in */
    select audience
    from audience_members
    where app_key = ? and partner_key = ? and id = ? and kind = ? and member = 1"""

_ERASE_ID = """/* subjects.erase_id */
    delete from subject_ids
    where app_key = ? and partner_key = ? and id = ? and kind = ?"""

_ERASE_MARKS = """/* subjects.erase_marks */
    delete from audience_marks
    where app_key = ? and partner_key = ? and id = ? and kind = ?"""

_ERASE_MEMBER = """/* subjects.erase_member */
    delete from audience_members
    where app_key = ? and partner_key = ? and id = ? and kind = ?"""

_ERASE_TRAITS = """/* subjects.erase_traits */
    delete from audience_traits
    where app_key = ? and partner_key = ? and id = ? and kind = ?"""
