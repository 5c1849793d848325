"""Where a new destination or a replay begins: a word or a date, made into a seq."""

from __future__ import annotations

from datetime import UTC, datetime

from store import ledger, log
from store.database import Where
from store.destinations import Destination
from store.engines import open_reader
from store.errors import ConfigError, StoreUnavailable


async def beginning(where: Where, old: Destination | None, start: str | None) -> int:
    """The seq after which a new destination begins: now, at the beginning, at a date (see `moment`), or by default
    where the one that it replaces stands, so that what is pending there is not lost. Raises ConfigError."""
    if start is None and old is not None:
        return await _stands(where, old)
    if start in (None, "now"):
        return await log.head_or_zero(where)
    return 0 if start == "beginning" else await seq_at(where, moment(start))


async def _stands(where: Where, old: Destination) -> int:
    try:
        async with await open_reader(where, "ledger") as db:
            cursor = (await ledger.cursors(db)).get((old.app_key, old.destination_id))
    except StoreUnavailable:
        cursor = None
    return cursor.seq if cursor else old.start_seq


async def seq_at(where: Where, at: int) -> int:
    """The seq up to which everything was received before that moment, epoch milliseconds."""
    try:
        async with await open_reader(where, "log") as db:
            return await log.seq_before(db, at)
    except StoreUnavailable:
        return 0


def moment(text: str) -> int:
    """Epoch milliseconds of an ISO 8601 date, or date and time; UTC where it names no zone. Raises ConfigError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text} is no date such as 2026-02-16 or 2026-02-16T12:00Z") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)
