"""What somebody set for attribution: for the marketplace, for an app, for one campaign of an app; with the audit.

The surprising thing is that a decision keeps the rules that it was made by: a change is for installs that come later.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from store.database import Database, Row
from store.errors import ConfigError
from store.registry import COMMAND_LINE, app, audit

MARKETPLACE = ""  # in place of an app's key
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
# The least and the most of what can be set, in milliseconds; 0 is allowed for all: never.
LIMITS = {
    "click": (HOUR_MS, 90 * DAY_MS),
    "probabilistic": (HOUR_MS, 30 * DAY_MS),
    "view": (MINUTE_MS, 30 * DAY_MS),
    "settle": (HOUR_MS, 30 * DAY_MS),
    "reprocess": (DAY_MS, 365 * DAY_MS),
}
OF_CAMPAIGN = ("click", "probabilistic", "view")
_UNITS = {"d": DAY_MS, "h": HOUR_MS, "min": MINUTE_MS}


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be set, in milliseconds; None: it is left as it is. `unset` names what is to be as the next wider
    says."""

    click: int | None = None
    probabilistic: int | None = None
    view: int | None = None
    settle: int | None = None
    reprocess: int | None = None
    by_network: bool | None = None
    unset: tuple[str, ...] = ()


class Kept(msgspec.Struct, frozen=True):
    """One row: what is set at one place, None for what is not."""

    app_key: str
    campaign_key: str
    click: int | None
    probabilistic: int | None
    view: int | None
    settle: int | None
    reprocess: int | None
    by_network: bool | None
    changed_at: int


_NAMES = ("click", "probabilistic", "view", "settle", "reprocess", "by_network")
_COLUMNS = ", ".join(Kept.__struct_fields__)


async def kept(db: Database, app_key: str) -> list[Kept]:
    """What was set for the marketplace, for an app, and for its campaigns, in this order."""
    rows = await db.all(
        f"""/* attribution_rules.kept */
        select {_COLUMNS}
        from attribution_rules
        where app_key in ('', ?)
        order by app_key, campaign_key""",  # noqa: S608 - our own column names
        (app_key,),
    )
    return [_kept(row) for row in rows]


async def by_network(db: Database) -> dict[str, bool]:
    """Where matching by address and agent is set on or off: by app, '' for the marketplace."""
    rows = await db.all(
        """/* attribution_rules.by_network */
        select app_key, by_network
        from attribution_rules
        where campaign_key = '' and by_network is not null"""
    )
    return {app_key: bool(value) for app_key, value in rows}


def _kept(row: Row) -> Kept:
    values: Row = (*row[:7], None if row[7] is None else bool(row[7]), row[8])
    return Kept(*values)


async def set_rules(
    db: Database, now: int, app_key: str, campaign_key: str, change: Change, actor: str = COMMAND_LINE
) -> None:
    """Set some rules of the marketplace (`app_key` ''), of an app (`campaign_key` '') or of a campaign.

    Raises ConfigError when there is no such app, or a value is none that can be set there.
    """
    _check(app_key, campaign_key, change)
    async with db.transaction():
        if app_key != MARKETPLACE:
            await app(db, app_key)
        there = [
            each for each in await kept(db, app_key) if (each.app_key, each.campaign_key) == (app_key, campaign_key)
        ]
        before = {name: getattr(there[0], name) if there else None for name in _NAMES}
        after = {
            name: None
            if name in change.unset
            else before[name]
            if getattr(change, name) is None
            else getattr(change, name)
            for name in _NAMES
        }
        if after == before:
            return
        values = [int(value) if isinstance(value, bool) else value for value in after.values()]
        await db.execute(_SET, (app_key, campaign_key, *values, now))
        said = ", ".join(f"{name} {told(after[name])}" for name in _NAMES if after[name] != before[name])
        what, subject = ("app", app_key) if app_key else ("marketplace", "every app")
        detail = f"{campaign_key}: {said}" if campaign_key else said
        await audit(db, now, f"{what}.attribution", subject, detail, actor)


_SET = """/* attribution_rules.set */
    insert into attribution_rules (app_key, campaign_key, click, probabilistic, view, settle, reprocess, by_network,
      changed_at)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, campaign_key) do update
    set click = excluded.click, probabilistic = excluded.probabilistic, view = excluded.view,
        settle = excluded.settle, reprocess = excluded.reprocess, by_network = excluded.by_network,
        changed_at = excluded.changed_at"""


def _check(app_key: str, campaign_key: str, change: Change) -> None:
    given = {name: getattr(change, name) for name in _NAMES if getattr(change, name) is not None}
    unknown = sorted(set(change.unset) - set(_NAMES))
    if unknown:
        raise ConfigError(f"{', '.join(unknown)} is no rule; there are {', '.join(_NAMES)}")
    of_one = given.keys() | set(change.unset)
    if campaign_key and (app_key == MARKETPLACE or not of_one <= set(OF_CAMPAIGN)):
        raise ConfigError(f"of a campaign of an app can be set: {', '.join(OF_CAMPAIGN)}")
    for name, (least, most) in LIMITS.items():
        value = given.get(name)
        if value is not None and value != 0 and not least <= value <= most:
            raise ConfigError(f"{name} is 0, or from {told(least)} to {told(most)}")


def length(text: str) -> int:
    """Milliseconds of a length as a person writes it: 30d, 12h, 90min, 0. Raises ConfigError."""
    number = text.rstrip("dhmin ").strip()
    unit = text[len(number) :].strip()
    if text.strip() == "0":
        return 0
    if not number.isascii() or not number.isdigit() or unit not in _UNITS:
        raise ConfigError(f"{text} is no length such as 30d, 12h or 90min")
    return int(number) * _UNITS[unit]


def told(value: int | bool | None) -> str:
    """A value as a person writes it."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "on" if value else "off"
    return next((f"{value // size}{unit}" for unit, size in _UNITS.items() if value and value % size == 0), str(value))


def of_app(found: Iterable[Kept]) -> tuple[list[Kept], list[Kept]]:
    """The rows for all campaigns, the marketplace's first; and those for one."""
    rows = list(found)
    return [each for each in rows if not each.campaign_key], [each for each in rows if each.campaign_key]
