"""How every destination stands, cheaply again and again: what a look counted is added to by the next, not counted anew.

Cursors only move forward and the log only grows at its end, so only what lies between two looks has to be counted. What
a first look would count long is what the doors have stored without the few that do not belong to it. A sum that seems
to be off is counted from the ground before it is told; the doctor counts everything, each time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from store import destinations, ledger, log, removal, runs, tallies
from store.database import Database, Where
from store.destinations import Destination
from store.instant import instant
from store.ledger import Cursor
from store.postbacks.reading import Faring, faring
from store.readers import Readers
from store.runs import Run

DAY_MS = 24 * 3_600_000
Keys = tuple[str, str]


class Account(msgspec.Struct, frozen=True):
    """One destination's live events. Times in epoch milliseconds, None where there is none; `fates` by fate and reason;
    `attempts` of the last 24 hours by outcome; `difference` is 0, or the sum is off."""

    app_key: str
    destination: str
    fates: Mapping[tuple[str, str], int]
    pending: int
    oldest_pending: int | None
    tripped: str
    attempts: Mapping[str, int]
    last_success: int | None
    difference: int


class Standing(msgspec.Struct, frozen=True):
    """All of them at one moment, and the newest run that came to its end; with the targets of postbacks, where
    everything is looked at."""

    at: int
    accounts: list[Account]
    last_run: Run | None
    targets: list[Faring] = []


class Kept(msgspec.Struct, frozen=True):
    """What was counted for one destination: past `start` and past `seq`, up to `head`."""

    start: int
    seq: int
    head: int
    parked: int
    collected: int
    pending: int
    fates: Mapping[tuple[str, str], int]
    last_success: int | None

    @property
    def difference(self) -> int:
        return self.collected - self.pending - sum(self.fates.values())


class Accounts:
    """The looks at one installation, by readers that are kept or by new ones."""

    def __init__(self, where: Where, readers: Readers | None = None) -> None:
        self._where = where
        self._readers = readers
        self._looked = 0  # every event up to here was seen …
        self._heads: dict[str, int] = {}  # … and is not newer than these
        self._kept: dict[Keys, Kept] = {}

    async def look(self, now: int, of: Collection[str] | None = None) -> Standing:
        """At everything, or at some apps. Raises StoreUnavailable when a database cannot be read."""
        async with instant(self._where, self._readers) as (registry_db, ledger_db, log_db, settled):
            live = await destinations.active(registry_db, of)
            cursors = await _cursors(ledger_db, live, of) if ledger_db else {}
            parked = await _parked(ledger_db, of) if ledger_db else {}
            attempts = await _attempts(ledger_db, now - DAY_MS, of) if ledger_db else {}
            if of is None:
                self._heads |= await log.heads(log_db, self._looked, settled)
                self._looked = settled
            else:
                self._heads |= await log.heads_of(log_db, of, settled)
            look = _Look(ledger_db, log_db, cursors, parked, self._heads, await removal.removed_up_to(log_db))
            before = self._kept
            self._kept = {} if of is None else {keys: kept for keys, kept in before.items() if keys[0] not in of}
            accounts = []
            for d in live:
                keys = d.app_key, d.destination_id
                kept = await look.count(d, before.get(keys))
                if kept.difference:
                    kept = await msgspec.structs.replace(look, from_the_ground=True).count(d, None)
                self._kept[keys] = kept
                waiting = await log.received_after(log_db, d.app_key, kept.seq) if kept.pending else None
                tripped = cursors[keys].health.tripped if keys in cursors else ""
                accounts.append(_account(d, kept, waiting, tripped, attempts.get(keys, {})))
            last_run = await runs.latest(ledger_db, ended=True) if ledger_db else None
            targets = await faring(registry_db, ledger_db) if ledger_db and of is None else []
            return Standing(now, accounts, last_run, targets)


def _account(
    d: Destination, kept: Kept, oldest_pending: int | None, tripped: str, attempts: Mapping[str, int]
) -> Account:
    return Account(
        d.app_key,
        d.name,
        kept.fates,
        kept.pending,
        oldest_pending,
        tripped,
        attempts,
        kept.last_success,
        kept.difference,
    )


class _Look(msgspec.Struct, frozen=True):
    """What was read for all destinations at once."""

    ledger_db: Database | None
    log_db: Database
    cursors: Mapping[Keys, Cursor]
    parked: Mapping[Keys, int]
    heads: Mapping[str, int]
    gone: Mapping[str, int]
    from_the_ground: bool = False

    async def count(self, d: Destination, before: Kept | None) -> Kept:
        """One destination's sums, from those before if they still hold."""
        app_key, keys = d.app_key, (d.app_key, d.destination_id)
        gone = self.gone.get(app_key, 0)
        begins = max(d.start_seq, gone)
        cursor = self.cursors.get(keys, Cursor(*keys, begins, begins))
        if before is not None and (before.start != cursor.start_seq or gone > before.head):
            before = None
        head = max(self.heads.get(app_key, 0), cursor.seq, before.head if before else 0)
        parked = self.parked.get(keys, 0)
        came = await self._between(app_key, before.head, head) if before else 0
        if before is not None and cursor.seq - before.seq < head - cursor.seq:
            pending = before.pending + came - await self._between(app_key, before.seq, cursor.seq)
        else:
            pending = await self._present(app_key, cursor.seq, head)
        if before is not None and (before.seq, before.parked) == (cursor.seq, parked):
            fates, last_success = before.fates, before.last_success
        else:
            fates = await tallies.reasons(self.ledger_db, *keys) if self.ledger_db else {}
            last_success = await _last_success(self.ledger_db, keys) if self.ledger_db else None
        collected = before.collected + came if before else await self._collected(app_key, cursor.start_seq, head)
        return Kept(cursor.start_seq, cursor.seq, head, parked, collected, pending, fates, last_success)

    async def _between(self, app_key: str, after: int, up_to: int) -> int:
        return await log.count_after(self.log_db, app_key, after, up_to) if up_to > after else 0

    async def _present(self, app_key: str, after: int, head: int) -> int:
        """How many lie between these: counted, or by what the doors have stored where fewer lie outside."""
        if self.from_the_ground or after - self.gone.get(app_key, 0) >= head - after:
            return await self._between(app_key, after, head)
        stored = await log.stored(self.log_db, app_key) - await removal.removed_after(self.log_db, app_key, 0)
        outside = await log.count_after(self.log_db, app_key, head) + await self._between(app_key, 0, after)
        return stored - outside

    async def _collected(self, app_key: str, start: int, head: int) -> int:
        return await self._present(app_key, start, head) + await removal.removed_after(self.log_db, app_key, start)


async def _cursors(db: Database, live: Iterable[Destination], of: Collection[str] | None) -> dict[Keys, Cursor]:
    if of is None:
        return await ledger.cursors(db)
    return await ledger.some_cursors(db, [(d.app_key, d.destination_id) for d in live])


async def _parked(db: Database, of: Collection[str] | None) -> dict[Keys, int]:
    sql = "/* accounts.parked */ select app_key, destination_id, count(*) from parked"
    rows = await db.each(sql, "app_key", of, "group by app_key, destination_id")
    return {(app_key, course_id): n for app_key, course_id, n in rows}


async def _attempts(db: Database, since: int, of: Collection[str] | None) -> dict[Keys, dict[str, int]]:
    """By course and outcome, through the index of each course's newest."""
    rows = []
    for app_key in [None] if of is None else sorted(of):
        rows += await db.all(_ATTEMPTS, (since, app_key, app_key))
    found: dict[Keys, dict[str, int]] = {}
    for app_key, course_id, outcome, n in rows:
        found.setdefault((app_key, course_id), {})[outcome] = n
    return found


_ATTEMPTS = """/* accounts.attempts */
    select cursors.app_key, cursors.destination_id, outcome, count(*)
    from cursors
    cross join batches
      on batches.app_key = cursors.app_key and batches.destination_id = cursors.destination_id and opened_at >= ?
    where cast(? as text) is null or cursors.app_key = ?
    group by cursors.app_key, cursors.destination_id, outcome"""


async def _last_success(db: Database, keys: Keys) -> int | None:
    last: int | None = await db.value(
        """/* accounts.last_success */
        select closed_at
        from batches
        where app_key = ? and destination_id = ? and outcome = 'accepted'
        order by opened_at desc
        limit 1""",
        keys,
    )
    return last
