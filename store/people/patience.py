"""Patience with those who try passwords: it runs out for an address, and for an address at one account, and comes back
with time. Nobody is locked out: whoever knows the password gets in from an address that did not try at random.
"""

from __future__ import annotations

import hashlib

from store.database import Connection, Database

COST_MS = 30_000  # of patience, per try
MOST_MS = {"account": 5 * COST_MS, "address": 30 * COST_MS, "codes": 100 * COST_MS}  # that can be spent at once


def buckets(address: str, email: str, codes_of: str = "") -> dict[str, int]:
    """The names of what a try is counted under, and the most that each bears. Kept as hashes, not as addresses.

    `codes_of` is the person at whose second factor it is a try: there from wherever it comes, because codes are short,
    and only who has the password gets as far as that.
    """
    names = {"account": f"{address}\n{email.strip().lower()}", "address": address}
    names |= {"codes": codes_of} if codes_of else {}
    return {hashlib.sha256(f"{kind}\n{name}".encode()).hexdigest(): MOST_MS[kind] for kind, name in names.items()}


async def spend(db: Database, now: int, address: str, email: str, codes_of: str = "") -> int:
    """Count a try; 0, or in how many milliseconds the next will be looked at."""
    return await db.atomic(_spend, now, buckets(address, email, codes_of))


def _spend(connection: Connection, now: int, limits: dict[str, int]) -> int:
    """A try that is not looked at costs nothing, so that whoever waits as long as they were told gets their turn."""
    connection.execute("/* patience.forget */ delete from patience where at + spent <= ?", (now,))
    spent = {bucket: _spent(connection, now, bucket) for bucket in sorted(limits)}
    wait = max(spent[bucket] + COST_MS - most for bucket, most in limits.items())
    if wait <= 0:
        for bucket, before in spent.items():
            connection.execute(_SPEND, (bucket, before + COST_MS, now))
    return max(0, wait)


def _spent(connection: Connection, now: int, bucket: str) -> int:
    row = connection.execute(_SPENT, (bucket,)).fetchone()
    return max(0, row[0] - max(0, now - row[1])) if row else 0


_SPENT = "/* patience.spent */ select spent, at from patience where bucket = ?"

_SPEND = """/* patience.spend */
    insert into patience (bucket, spent, at)
    values (?, ?, ?)
    on conflict (bucket) do update
    set spent = excluded.spent, at = excluded.at"""


async def restore(db: Database, address: str, email: str) -> None:
    """The password was right: the account's bucket is full again; what the address spent elsewhere stays spent."""
    account, _ = buckets(address, email)
    await db.change("/* patience.restore */ delete from patience where bucket = ?", (account,))
