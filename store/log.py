"""The event log: committing what the doors took in, and reading one app's run of events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from store.database import Connection, Database, Engine, Where
from store.engines import open_reader
from store.entry import HOUR_MS, Committed, Entry, Tally, Visitor
from store.errors import StoreUnavailable
from store.event import COLUMNS, Event, decode_events, event_of

NO_END = 2**63 - 1
MOST_VISITORS = 10  # as whom one user is looked for


async def commit(db: Database, entries: Sequence[Entry], carried: Counter[Tally]) -> Committed:
    """Store entries, and what was counted before, in one transaction; on return it is on disk.

    A row that the log cannot hold is found and left out. Raises StoreUnavailable when the store is unwell.
    """
    if db.engine == "postgresql":
        from store.postgres import append as postgres

        return await db.run(postgres.commit, entries, carried)
    from store.sqlite import append as sqlite

    return await db.atomic(sqlite.commit, entries, carried)


_VISITOR = ", ".join(Visitor._fields)


async def visitor(db: Database, app_key: str, anonymous_id: str) -> Visitor | None:
    """What page views of the app's listing said of a visitor."""
    row = await db.one(
        f"""/* log.visitor */
        select {_VISITOR}
        from visitors
        where app_key = ? and anonymous_id = ?""",  # noqa: S608 - our own column names
        (app_key, anonymous_id),
    )
    return Visitor(*row) if row else None


async def visitors_of_user(db: Database, app_key: str, user_id: str) -> list[Visitor]:
    """The visitors as whom a user saw the app's listing, the last one first."""
    rows = await db.all(
        f"""/* log.visitors_of_user */
        select {_VISITOR}
        from visitors
        where app_key = ? and user_id = ?
        order by seen_at desc
        limit {MOST_VISITORS}""",  # noqa: S608 - our own column names
        (app_key, user_id),
    )
    return [Visitor(*row) for row in rows]


async def head(db: Database) -> int:
    """The newest seq; 0 in an empty log."""
    value: int = await db.value("/* log.head */ select coalesce(max(seq), 0) from events")
    return value


async def run(
    db: Database, app_key: str, after: int, limit: int, most_bytes: int | None = None, up_to: int = NO_END
) -> list[Event]:
    """At most `limit` events of one app past seq `after`, none past `up_to`, in order; with `most_bytes`, only until
    their details reach that many characters, so that a run of large events is no larger in memory than one of small
    ones.

    SQLite puts the whole run into one JSON text, without the interpreter's lock; row by row the reading thread would
    ask for that lock again with every row. PostgreSQL gives all rows in one go, and would take several times as long
    for the text.
    """
    window = app_key, after, up_to
    if db.engine == "postgresql":
        return await db.run(_run_of_rows, window, limit, most_bytes)
    text = await db.run(_run, window, limit, most_bytes)
    try:
        return decode_events(text)
    except msgspec.DecodeError:
        return decode_events(await db.run(_run_checked, window, limit, most_bytes))


def _run_of_rows(
    connection: Connection, window: tuple[str, int, int], limit: int, most_bytes: int | None
) -> list[Event]:
    limit = _fitting(connection, window, limit, most_bytes)
    return list(map(event_of, connection.execute(_ROWS, (*window, limit)).fetchall()))


def _run(connection: Connection, window: tuple[str, int, int], limit: int, most_bytes: int | None) -> str:
    limit = _fitting(connection, window, limit, most_bytes)
    text: str = connection.execute(_RUN, (*window, limit)).fetchone()[0]
    return text


def _run_checked(connection: Connection, window: tuple[str, int, int], limit: int, most_bytes: int | None) -> str:
    """As `_run`, with null for details that are no JSON."""
    limit = _fitting(connection, window, limit, most_bytes)
    rows = []
    for seq, app_key, message_id, *told, details in connection.execute(_ROWS, (*window, limit)):
        try:
            read = msgspec.json.decode(details)
        except msgspec.DecodeError:
            read = None
        rows.append((seq, app_key, message_id.hex(), *told, read))
    return msgspec.json.encode(rows).decode()


def _fitting(connection: Connection, window: tuple[str, int, int], limit: int, most_bytes: int | None) -> int:
    """How many events fit."""
    if most_bytes is not None:
        size = connection.execute(_RUN_SIZE, (*window, limit)).fetchone()[0]
        if size is not None and size > most_bytes:
            return int(connection.execute(_RUN_FITTING, (*window, limit, most_bytes)).fetchone()[0])
    return limit


async def some(db: Database, app_key: str, seqs: Sequence[int]) -> list[Event]:
    """One app's events of just these seqs, in order; those that are gone are left out."""
    found = []
    for seq in sorted(seqs):
        found += await run(db, app_key, seq - 1, 1, up_to=seq)
    return found


_ROWS = f"""/* log.rows */
    select {COLUMNS}
    from events
    where app_key = ? and seq > ? and seq <= ?
    order by seq
    limit ?"""  # noqa: S608 - our own column names


_TOLD = COLUMNS.removesuffix(", details").replace("message_id", "lower(hex(message_id))")

_RUN = f"""/* log.run */
    select '[' || coalesce(group_concat(rtrim(json_array({_TOLD}), ']') || ',' || details || ']'), '') || ']'
    from ({_ROWS}) as run"""  # noqa: S608 - our own column names

_RUN_SIZE = """/* log.run_size */
    select sum(length(details))
    from (
      select details
      from events
      where app_key = ? and seq > ? and seq <= ?
      order by seq
      limit ?
    ) as run"""

_RUN_FITTING = """/* log.run_fitting */
    select count(*)
    from (
      select sum(length(details)) over (order by seq) - length(details) as before
      from (
        select seq, details
        from events
        where app_key = ? and seq > ? and seq <= ?
        order by seq
        limit ?
      ) as run
    ) as summed
    where before <= ?"""


async def head_or_zero(where: Where) -> int:
    """The newest seq; 0 also when nothing was ever collected."""
    try:
        async with await open_reader(where, "log") as db:
            return await head(db)
    except StoreUnavailable:
        return 0


async def settled(db: Database) -> int:
    """The seq up to which nothing can come any more. With one writer that is the newest."""
    if db.engine == "sqlite":
        return await head(db)
    from store.postgres.settled import settled

    return await db.run(settled)


async def heads(db: Database, after: int = 0, up_to: int = NO_END) -> dict[str, int]:
    """The newest seq, up to `up_to`, of every app that has events past `after`."""
    rows = await db.all(_HEADS[db.engine], (after, up_to))
    return dict(rows)


async def heads_of(db: Database, app_keys: Collection[str], up_to: int) -> dict[str, int]:
    """The newest seq, up to `up_to`, of each of these apps that has events."""
    return await db.run(_heads_of, app_keys, up_to)


def _heads_of(connection: Connection, app_keys: Collection[str], up_to: int) -> dict[str, int]:
    sql = "/* log.head_of */ select max(seq) from events where app_key = ? and seq <= ?"
    heads = {app_key: connection.execute(sql, (app_key, up_to)).fetchone()[0] for app_key in app_keys}
    return {app_key: seq for app_key, seq in heads.items() if seq is not None}


async def tails(db: Database, up_to: int) -> dict[str, int]:
    """The oldest seq of every app that has events up to that seq."""
    rows = await db.all(
        "/* log.tails */ select app_key, min(seq) from events where seq <= ? group by app_key", (up_to,)
    )
    return dict(rows)


# SQLite takes one step through its index per app, however long the log. PostgreSQL reads what is past `after` from
# an index of the newest partitions.
_HEADS: dict[Engine, str] = {
    "sqlite": """/* log.heads */
        with recursive
          bounds (after, up_to) as (select ?, ?),
          listed (app_key) as (
            select min(app_key) from events
            union all
            select (select min(app_key) from events where app_key > listed.app_key)
            from listed
            where app_key is not null
          ),
          newest (app_key, seq) as (
            select app_key, (select max(seq) from events where events.app_key = listed.app_key and seq <= up_to)
            from listed, bounds
            where app_key is not null
          )
        select app_key, seq
        from newest, bounds
        where seq > after""",
    "postgresql": """/* log.heads */
        select app_key, max(seq)
        from events
        where seq > ? and seq <= ?
        group by app_key""",
}


async def count_after(db: Database, app_key: str, after: int, up_to: int = NO_END) -> int:
    """How many events of one app lie past seq `after`, and not past `up_to`."""
    count: int = await db.value(
        "/* log.count_after */ select count(*) from events where app_key = ? and seq > ? and seq <= ?",
        (app_key, after, up_to),
    )
    return count


async def counts(db: Database, app_key: str, after: int, up_to: int) -> list[tuple[int, str, int]]:
    """One app's events past seq `after` up to `up_to`: (hour of reception, why suppressed or '', how many)."""
    rows = await db.all(
        f"""/* log.counts */
        select received_at / {HOUR_MS}, coalesce(suppressed, ''), count(*)
        from events
        where app_key = ? and seq > ? and seq <= ?
        group by 1, 2""",  # noqa: S608 - a constant
        (app_key, after, up_to),
    )
    return [(hour, suppressed, n) for hour, suppressed, n in rows]


class Window(NamedTuple):
    """What lies between two seqs: how many events, how many of them suppressed, characters of details, and how many
    of the others were received before a moment."""

    events: int
    suppressed: int
    size: int
    older: int


async def window(db: Database, app_key: str, after: int, up_to: int, moment: int) -> Window:
    row = await db.one(
        """/* log.window */
        select count(*), count(suppressed), coalesce(sum(length(details)), 0),
          coalesce(sum(case when received_at < ? and suppressed is null then 1 else 0 end), 0)
        from events
        where app_key = ? and seq > ? and seq <= ?""",
        (moment, app_key, after, up_to),
    )
    return Window(*(row or (0, 0, 0, 0)))


async def seq_before(db: Database, moment: int) -> int:
    """The seq up to which everything was received before that moment, epoch milliseconds; by bisection, because seq
    grows with time and no index on time is kept."""
    low = int(await db.value("/* log.oldest */ select coalesce(min(seq), 1) from events")) - 1
    high = await head(db)
    while low < high:
        middle = (low + high + 1) // 2
        row = await db.one(
            "/* log.at */ select seq, received_at from events where seq >= ? order by seq limit 1", (middle,)
        )
        if row is not None and row[1] < moment:
            low = int(row[0])
        else:
            high = middle - 1
    return low


async def find(db: Database, app_key: str, message_id: bytes) -> Event | None:
    """The event that an app's sender gave this id (see store.ids.message_id)."""
    table = "events" if db.engine == "sqlite" else "message_ids"
    seq = await db.value(
        f"/* log.find */ select seq from {table} where app_key = ? and message_id = ?",  # noqa: S608 - one of two
        (app_key, message_id),
    )
    return None if seq is None else next(iter(await some(db, app_key, [seq])), None)


async def received_after(db: Database, app_key: str, after: int, up_to: int = NO_END) -> int | None:
    """When the first event of one app past seq `after`, and not past `up_to`, was received; None when there is none."""
    found: int | None = await db.value(
        """/* log.received_after */
        select received_at
        from events
        where app_key = ? and seq > ? and seq <= ?
        order by seq
        limit 1""",
        (app_key, after, up_to),
    )
    return found


async def door_totals(db: Database) -> dict[str, int]:
    """The terms of the balance at the doors, over everything."""
    rows = await db.all(
        "/* log.door_totals */ select outcome, cast(sum(n) as bigint) from door_tallies group by outcome"
    )
    totals = {"received": 0, "stored": 0, "duplicate": 0, "rejected": 0, "shed": 0}
    totals.update(dict(rows))
    return totals


async def stored(db: Database, app_key: str) -> int:
    """How many events of one app the doors ever stored."""
    n: int = await db.value(
        """/* log.stored */
        select cast(coalesce(sum(n), 0) as bigint)
        from door_tallies
        where app_key = ? and outcome = 'stored'""",
        (app_key,),
    )
    return n


async def tallied(db: Database, since_hour: int) -> dict[tuple[str, str], int]:
    """What came to the doors from one epoch hour on: how many, by app ('' where none was told) and outcome."""
    rows = await db.all(
        """/* log.tallied */
        select app_key, outcome, cast(sum(n) as bigint)
        from door_tallies
        where hour >= ?
        group by app_key, outcome""",
        (since_hour,),
    )
    return {(app_key, outcome): n for app_key, outcome, n in rows}
