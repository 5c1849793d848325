"""What people brought lately, with whose it is: money finds its install whichever of the two is told of first.

An identity is a hash here. All of it is on a connection's own thread, within the caller's transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple

from store.database import Connection
from store.lookup import MARKS, look_up

MOST_EARNINGS = 1_000  # of one identity, the newest


class Earning(NamedTuple):
    """A row of the table but for its app."""

    seq: int
    partner_key: str
    earned_at: int
    open_until: int
    currency: str
    amount: int
    identities: str
    install_seq: int


_EARNING = ", ".join(Earning._fields)


def keep(connection: Connection, app_key: str, rows: Iterable[Earning]) -> None:
    """New ones, and those of which more is known or that count for another install."""
    connection.executemany(_KEEP, [(app_key, *row) for row in rows])


_KEEP = f"""/* earnings.keep */
    insert into earnings (app_key, {_EARNING})
    values (?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, seq) do update
    set identities = excluded.identities, install_seq = excluded.install_seq"""  # noqa: S608 - our own column names


def keep_identities(connection: Connection, app_key: str, rows: Iterable[tuple[bytes, int]]) -> None:
    """Pairs of an identity's hash and an earning's seq."""
    connection.executemany(_IDENTITY, sorted((app_key, *row) for row in rows))


_IDENTITY = """/* earnings.identity */
    insert into earning_identities (app_key, identity, seq)
    values (?, ?, ?)
    on conflict do nothing"""


def are_any(connection: Connection, app_key: str) -> bool:
    """Whether the app has any; most apps have none, and are spared all other questions."""
    return connection.execute(_ANY, (app_key,)).fetchone() is not None


_ANY = "/* earnings.any */ select 1 from earnings where app_key = ? limit 1"


def at(connection: Connection, app_key: str, seqs: Iterable[int]) -> list[Earning]:
    """Some of an app's, by their seqs."""
    return [Earning(*row) for row in look_up(connection, _AT, (app_key,), sorted(seqs))]


_AT = f"""/* earnings.at */
    select {_EARNING}
    from earnings
    where app_key = ? and seq in ({MARKS})"""  # noqa: S608 - our own column names, and question marks


def of(connection: Connection, app_key: str, mark: bytes, since: int) -> list[Earning]:
    """An identity's newest MOST_EARNINGS of those that what is received at a moment may change."""
    return [Earning(*row) for row in connection.execute(_OF, (app_key, mark, since, MOST_EARNINGS))]


_OF = f"""/* earnings.of */
    select {", ".join(f"earnings.{name}" for name in Earning._fields)}
    from earning_identities
    join earnings on earnings.app_key = earning_identities.app_key and earnings.seq = earning_identities.seq
    where earning_identities.app_key = ? and identity = ? and open_until >= ?
    order by earning_identities.seq desc
    limit ?"""  # noqa: S608 - our own column names


def open_of(
    connection: Connection, app_key: str, marks: Collection[bytes], since: int
) -> Iterator[tuple[bytes, int, int, int, str]]:
    """(identity, seq, open until, whose it is, all identities) of what these identities brought that evidence of then
    may change, of each its newest MOST_EARNINGS."""
    n: Counter[bytes] = Counter()
    for row in sorted(look_up(connection, _OPEN_OF, (app_key, since), sorted(marks)), key=itemgetter(1), reverse=True):
        n[row[0]] += 1
        if n[row[0]] <= MOST_EARNINGS:
            yield row


_OPEN_OF = f"""/* earnings.open_of */
    select identity, earnings.seq, open_until, install_seq, identities
    from earning_identities
    join earnings on earnings.app_key = earning_identities.app_key and earnings.seq = earning_identities.seq
    where earning_identities.app_key = ? and open_until >= ? and identity in ({MARKS})"""  # noqa: S608 - as above


def hand_over(connection: Connection, app_key: str, before: int, after: int) -> None:
    """All that counted for an install counts for another."""
    connection.execute(_HAND_OVER, (after, app_key, before))


_HAND_OVER = """/* earnings.hand_over */
    update earnings
    set install_seq = ?
    where app_key = ? and install_seq = ?"""


def oldest(connection: Connection, app_key: str, before: int, limit: int) -> list[tuple[int, str]]:
    """(seq, identities) of the oldest that nothing received since a moment can change."""
    rows = connection.execute(_OLDEST, (app_key, limit)).fetchall()
    return [row[:2] for row in rows if row[2] < before]


_OLDEST = """/* earnings.oldest */
    select seq, identities, open_until
    from earnings
    where app_key = ?
    order by seq
    limit ?"""


def forget(connection: Connection, app_key: str, gone: Iterable[tuple[int, Collection[bytes]]]) -> None:
    """Earnings by seq, with their identities' hashes. What they brought stays with its install."""
    rows = list(gone)
    connection.executemany(_FORGET_IDENTITY, sorted((app_key, mark, seq) for seq, marks in rows for mark in marks))
    connection.executemany(_FORGET, [(app_key, seq) for seq, _ in rows])


_FORGET_IDENTITY = """/* earnings.forget_identity */
    delete from earning_identities
    where app_key = ? and identity = ? and seq = ?"""

_FORGET = "/* earnings.forget */ delete from earnings where app_key = ? and seq = ?"
