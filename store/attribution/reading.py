"""What the exporter decided of installs, as people page through it and as postbacks follow it.

A decision is a JSON text here; attribution/decision.py reads it. Times are epoch milliseconds, days are UTC days since
the epoch. Whose the app was when its install came is part of every question: another partner is shown nothing of it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from store import ids, log, registry
from store.database import Database, Row, Where
from store.engines import open_reader
from store.errors import ConfigError
from store.log import NO_END

PAGE = 50
CONVERSIONS = ("attributed", "organic", "reinstall")  # the outcomes that are an install of its own


class Listing(NamedTuple):
    """An app, and the partner whose it was."""

    app_key: str
    partner_key: str


class Install(msgspec.Struct, frozen=True):
    """One event that told of an install, and what is decided of it now."""

    seq: int
    message_id: str
    told_by: str  # marketplace or partner
    converted_at: int
    received_at: int
    open: bool  # later evidence may still change it
    version: int
    outcome: str
    reason: str
    campaign_key: str
    decided_at: int


class Wanted(msgspec.Struct, frozen=True):
    """Which installs: '' for any; `since` up to, and not including, `until`."""

    since: int = 0
    until: int = 1 << 53
    outcome: str = ""
    campaign_key: str = ""


class Made(msgspec.Struct, frozen=True):
    """One decision. `ordinal` grows with every decision of an app; `cause_seq` is the event that made it necessary."""

    ordinal: int
    seq: int
    version: int
    decided_at: int
    cause: str
    cause_seq: int
    document: str


class Credit(NamedTuple):
    """What one model gives to a campaign, in millionths of an install; '' is organic."""

    model: str
    campaign_key: str
    credit: int


class Earned(NamedTuple):
    """What one model gives to a campaign of what was earned, in minor units; '' is organic."""

    model: str
    campaign_key: str
    currency: str
    amount: int


_INSTALL = ", ".join(Install.__struct_fields__)


async def installs(
    db: Database, of: Listing, wanted: Wanted, before: tuple[int, int] = (NO_END, NO_END), limit: int = PAGE
) -> list[Install]:
    """The newest first; `before` is (converted_at, seq) of the last that the page before showed."""
    w = wanted
    until = min(w.until, before[0] + 1)
    if w.campaign_key:
        values = (*of, w.campaign_key, w.outcome, w.outcome, w.since, until, *before, limit)
        rows = await db.all(_OF_CAMPAIGN, values)
    elif w.outcome:
        rows = await db.all(_OF_OUTCOME, (*of, w.outcome, w.since, until, *before, limit))
    else:
        rows = await db.all(_OF_ANY, (*of, w.since, until, *before, limit))
    return [_install(row) for row in rows]


def _install(row: Row) -> Install:
    seq, message_id, told_by, converted_at, received_at, is_open, *decided = row
    return Install(seq, message_id.hex(), told_by, converted_at, received_at, bool(is_open), *decided)


_PAGED = """and converted_at >= ? and converted_at < ? and (converted_at, seq) < (?, ?)
    order by converted_at desc, seq desc
    limit ?"""

_OF_ANY = f"""/* attribution.installs */
    select {_INSTALL}
    from conversions
    where app_key = ? and partner_key = ? {_PAGED}"""  # noqa: S608 - our own column names

_OF_OUTCOME = f"""/* attribution.of_outcome */
    select {_INSTALL}
    from conversions
    where app_key = ? and partner_key = ? and outcome = ? {_PAGED}"""  # noqa: S608 - our own column names

_OF_CAMPAIGN = f"""/* attribution.of_campaign */
    select {_INSTALL}
    from conversions
    where app_key = ? and partner_key = ? and campaign_key = ? and (? = '' or outcome = ?) {_PAGED}"""  # noqa: S608 - as above


async def install(db: Database, of: Listing, seq: int) -> Install | None:
    """The one that this event told of."""
    row = await db.one(
        f"""/* attribution.install */
        select {_INSTALL}
        from conversions
        where app_key = ? and partner_key = ? and seq = ?""",  # noqa: S608 - our own column names
        (*of, seq),
    )
    return _install(row) if row else None


_MADE = ", ".join(Made.__struct_fields__)


async def history(db: Database, app_key: str, seq: int) -> list[Made]:
    """Every decision of one install, the one that holds first."""
    rows = await db.all(
        f"""/* attribution.history */
        select {_MADE}
        from decisions
        where app_key = ? and seq = ?
        order by version desc""",  # noqa: S608 - our own column names
        (app_key, seq),
    )
    return [Made(*row) for row in rows]


async def of_message(where: Where, app_key: str, text: str) -> tuple[Install, list[Made]]:
    """The install that an event told of which its sender gave this message id, with every decision, the one that holds
    first. Raises ConfigError when there is none."""
    async with await open_reader(where, "registry") as db:
        app = await registry.app(db, app_key)
    async with await open_reader(where, "log") as db:
        event = await log.find(db, app_key, ids.message_id(text, app_key)[0])
    if event is None:
        raise ConfigError(f"no stored event of {app_key} has the message id {text}")
    async with await open_reader(where, "ledger") as db:
        found = await install(db, Listing(app_key, app.partner_key), event.seq)
        if found is None:
            raise ConfigError("that event told of no install, or no run of the exporter has read it yet")
        return found, await history(db, app_key, event.seq)


# --- sums


async def outcomes(db: Database, of: Listing, first_day: int, end_day: int) -> dict[str, int]:
    """How many installs of each outcome on the days from the first up to, and not including, the end."""
    rows = await db.all(
        """/* attribution.outcomes */
        select outcome, cast(sum(n) as bigint)
        from attribution_days
        where app_key = ? and partner_key = ? and day >= ? and day < ?
        group by outcome""",
        (*of, first_day, end_day),
    )
    return dict(rows)


async def outcomes_by_day(db: Database, of: Listing, first_day: int, end_day: int) -> dict[int, dict[str, int]]:
    """The same for each day that has any."""
    rows = await db.all(
        """/* attribution.outcomes_by_day */
        select day, outcome, n
        from attribution_days
        where app_key = ? and partner_key = ? and day >= ? and day < ?
        order by day""",
        (*of, first_day, end_day),
    )
    found: dict[int, dict[str, int]] = {}
    for day, outcome, n in rows:
        found.setdefault(day, {})[outcome] = n
    return found


async def shares(db: Database, of: Listing, first_day: int, end_day: int) -> list[Credit]:
    """What each model gives to each campaign of the installs of these days; those of one model are all attributed and
    organic installs."""
    rows = await db.all(
        """/* attribution.credits */
        select model, campaign_key, cast(sum(credit) as bigint)
        from attribution_sums
        where app_key = ? and partner_key = ? and day >= ? and day < ?
        group by model, campaign_key
        order by model, campaign_key""",
        (*of, first_day, end_day),
    )
    return [Credit(*row) for row in rows if row[2]]


async def credits_by_day(
    db: Database, of: Listing, model: str, campaign_key: str, first_day: int, end_day: int
) -> dict[int, int]:
    """What one model gives to one campaign on each day that has any."""
    rows = await db.all(
        """/* attribution.credits_by_day */
        select day, credit
        from attribution_sums
        where app_key = ? and partner_key = ? and model = ? and campaign_key = ? and day >= ? and day < ?
        order by day""",
        (*of, model, campaign_key, first_day, end_day),
    )
    return {day: credit for day, credit in rows if credit}


async def earned(db: Database, of: Listing, first_day: int, end_day: int) -> list[Earned]:
    """What each model gives to each campaign of what was earned on these days."""
    rows = await db.all(
        """/* attribution.earned */
        select model, campaign_key, currency, cast(sum(amount) as bigint)
        from attribution_revenue
        where app_key = ? and partner_key = ? and day >= ? and day < ?
        group by model, campaign_key, currency
        order by model, campaign_key, currency""",
        (*of, first_day, end_day),
    )
    return [Earned(*row) for row in rows if row[3]]


class Parked(NamedTuple):
    """An event that could not be read for attribution."""

    seq: int
    reason: str
    parked_at: int


async def parked(db: Database, app_key: str, limit: int = PAGE) -> list[Parked]:
    """The newest first."""
    rows = await db.all(
        """/* attribution.parked */
        select seq, reason, parked_at
        from attribution_parked
        where app_key = ?
        order by seq desc
        limit ?""",
        (app_key, limit),
    )
    return [Parked(*row) for row in rows]
