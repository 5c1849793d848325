"""What the rollups forget when events are removed from the log: whose they were, and visitors who have none any more.

Numbers of events and sets of visitors stay, as does the greatest number of a visitor: none is ever given twice.
"""

from __future__ import annotations

from store.database import Connection
from store.rollups.counting import hold, last_number

Place = tuple[str, str]  # a partner, and one of the visitors' anonymous ids


def forget_events(connection: Connection, app_key: str, up_to: int) -> None:
    """Before an app's events up to a seq are removed: that they were their visitors'."""
    pointers = connection.execute(_POINTERS, (app_key, up_to)).fetchall()
    connection.executemany(_FORGET_EVENT, pointers)


def forget_visitors(connection: Connection, place: Place, limit: int, /) -> Place | None:
    """Look at the next visitors past a place; where to go on, None at the end. One who comes again is a new one; nobody
    counts meanwhile, or they would not be."""
    hold(connection)
    rows = connection.execute(_NEXT, (*place, limit)).fetchall()
    gone = [(partner_key, visitor) for partner_key, _, visitor in rows if _is_gone(connection, partner_key, visitor)]
    for sql in (_FORGET_NAMES, _FORGET_JOURNEYS, _FORGET_VISITOR):
        connection.executemany(sql, gone)
    return rows[-1][:2] if rows else None


def _is_gone(connection: Connection, partner_key: str, visitor: int) -> bool:
    """Whether no event is left; the greatest number stays in any case."""
    if connection.execute(_ANY_EVENT, (partner_key, visitor)).fetchone() is not None:
        return False
    return last_number(connection, partner_key) > visitor


_POINTERS = """/* forgetting.pointers */
    select events.partner_key, visitor, seq, app_key
    from events
    join rollup_visitors
      on rollup_visitors.partner_key = events.partner_key and rollup_visitors.anonymous_id = events.anonymous_id
    where app_key = ? and seq <= ?"""

_FORGET_EVENT = """/* forgetting.event */
    delete from rollup_events
    where partner_key = ? and visitor = ? and seq = ? and app_key = ?"""

_NEXT = """/* forgetting.next */
    select partner_key, anonymous_id, visitor
    from rollup_visitors
    where (partner_key, anonymous_id) > (?, ?)
    order by partner_key, anonymous_id
    limit ?"""

_ANY_EVENT = """/* forgetting.any_event */
    select 1
    from rollup_events
    where partner_key = ? and visitor = ?
    limit 1"""

_FORGET_NAMES = """/* forgetting.names */
    delete from rollup_names
    where partner_key = ? and visitor = ?"""

_FORGET_JOURNEYS = """/* forgetting.journeys */
    delete from rollup_journeys
    where partner_key = ? and visitor = ?"""

_FORGET_VISITOR = """/* forgetting.visitor */
    delete from rollup_visitors
    where partner_key = ? and visitor = ?"""
