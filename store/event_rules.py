"""What a partner says of the events that its own systems send, by name: how one is called, whether it is taken, whether
it brings money, and after how long it can come back to an ad.

A change holds for what is received after it, so that each is kept with its moment and no older one is lost; only what
a name is shown as holds for all time. Deciding what a rule says of an event is pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

from store.database import Database
from store.errors import ConfigError
from store.registry import audit
from store.rollups.facets import MOST_CHARACTERS, REST, cut

DAY_SECONDS = 86_400
AGAIN_AFTER = 7 * DAY_SECONDS
LONGEST_AGAIN = 3_650 * DAY_SECONDS
AMOUNTS = ("revenue", "sum", "value")  # the usual properties that say how much, the first that is there
CURRENCY = "currency"
MOST_EVENT_NAMES = 500  # of one app, until no new one is taken
# What Kochava keeps for itself in an event's data: support.kochava.com, "Post-Install Event Examples".
RESERVED = frozenset(
    "network source fb_campaign campaign site creative attribution_type integration_type integration_version"
    " cracked jailbroken".split()
)


class Rule(msgspec.Struct, frozen=True):
    """What holds for a name from `since` on, epoch milliseconds. `shown_as`, `amount` and `currency` are '' for the
    usual; `again_after` is in seconds; `gone`: it was deleted, so that nothing holds any more."""

    shown_as: str = ""
    refused: bool = False
    revenue: bool = False
    amount: str = ""
    currency: str = ""
    again_after: int = AGAIN_AFTER
    since: int = 0
    gone: bool = False

    @property
    def says(self) -> tuple[Any, ...]:
        """All but when."""
        return (self.shown_as, self.refused, self.revenue, self.amount, self.currency, self.again_after, self.gone)


USUAL = Rule()
Histories = Mapping[str, Sequence[Rule]]  # by name, the oldest first


class Money(NamedTuple):
    """How much an event brought; `currency` is '' where it does not say."""

    amount: Decimal
    currency: str


# --- what a rule says


def at(histories: Histories, name: str, received_at: int) -> Rule:
    """What holds for an event of this name that was received then."""
    found = USUAL
    for rule in histories.get(cut(name), ()):
        if rule.since <= received_at:
            found = rule
    return USUAL if found.gone else found


def now_for(histories: Histories, name: str) -> Rule:
    """What holds for the next event of this name."""
    newest = histories.get(cut(name), (USUAL,))[-1]
    return USUAL if newest.gone else newest


def prepared(histories: Histories) -> list[str]:
    """The names of which something is said, whether an event of theirs came or not."""
    return sorted(name for name, history in histories.items() if not history[-1].gone)


def called(histories: Histories, name: str) -> str:
    """What a name is shown as; those that are shown as the same are one event."""
    return now_for(histories, name).shown_as or name


def money_of(rule: Rule, properties: Mapping[str, Any]) -> Money | None:
    """What an event brought. None: nothing, or it does not say how much."""
    if not rule.revenue:
        return None
    for name in (rule.amount,) if rule.amount else AMOUNTS:
        amount = _amount(properties.get(name))
        if amount is not None:
            currency = properties.get(rule.currency or CURRENCY)
            return Money(amount, currency.strip().upper()[:3] if isinstance(currency, str) else "")
    return None


def _amount(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def reserved(properties: Iterable[str]) -> list[str]:
    """Which of these names are kept for somebody else's use."""
    return sorted(RESERVED.intersection(properties))


# --- what is stored


async def rules(db: Database, of: Collection[str] | None = None) -> dict[str, Histories]:
    """By app, for all or some."""
    found: dict[str, dict[str, list[Rule]]] = {}
    for app_key, name, *told in await db.each(_RULES, "app_key", of, "order by app_key, name, since"):
        found.setdefault(app_key, {}).setdefault(name, []).append(_rule(told))
    return dict(found)


def _rule(told: Sequence[Any]) -> Rule:
    since, shown_as, refused, revenue, amount, currency, again_after, gone = told
    return Rule(shown_as, bool(refused), bool(revenue), amount, currency, again_after, since, bool(gone))


async def of_app(db: Database, app_key: str) -> Histories:
    """One app's."""
    return (await rules(db, [app_key])).get(app_key, {})


async def say(db: Database, now: int, app_key: str, name: str, rule: Rule, actor: str) -> None:
    """Have a rule hold for what is received from now on. Raises ConfigError when it cannot."""
    check(name, rule)
    async with db.transaction():
        histories = await of_app(db, app_key)
        history = histories.get(name, ())
        if history and history[-1].says == rule.says:
            return
        if (not history or history[-1].gone) and len(prepared(histories)) >= MOST_EVENT_NAMES:
            raise ConfigError(f"an app has at most {MOST_EVENT_NAMES} events with settings of their own")
        before = now_for(histories, name)
        await _put(db, app_key, name, msgspec.structs.replace(rule, since=max(now, before.since)))
        await audit(db, now, "event.set", app_key, f"{name}: {', '.join(_changes(before, rule)) or 'added'}", actor)


def check(name: str, rule: Rule) -> None:
    """Raises ConfigError. Senders name events as they like; what people enter is held to more."""
    if name in ("", REST) or name != cut(name):
        raise ConfigError(f"an event has a name, of at most {MOST_CHARACTERS} characters")
    texts = {"name shown": rule.shown_as, "amount's property": rule.amount, "currency's property": rule.currency}
    for what, text in texts.items():
        if text != cut(text) or not text.isprintable() or text != text.strip() or text == REST:
            raise ConfigError(
                f"the {what} has at most {MOST_CHARACTERS} characters, all printable, none a space at an end"
            )
    if not 0 <= rule.again_after <= LONGEST_AGAIN:
        raise ConfigError(f"the time to re-engagement is from 0 to {LONGEST_AGAIN // DAY_SECONDS} days")


def _changes(before: Rule, after: Rule) -> list[str]:
    said = []
    if after.shown_as != before.shown_as:
        said.append(f"shown as {after.shown_as}" if after.shown_as else "shown by its name")
    if after.refused != before.refused:
        said.append("disabled" if after.refused else "enabled")
    if after.revenue != before.revenue:
        said.append("brings revenue" if after.revenue else "brings no revenue")
    if after.amount != before.amount:
        said.append(f"amount in {after.amount or ' or '.join(AMOUNTS)}")
    if after.currency != before.currency:
        said.append(f"currency in {after.currency or CURRENCY}")
    if after.again_after != before.again_after:
        said.append(f"re-engagement after {after.again_after} s")
    return said


async def delete(db: Database, now: int, app_key: str, name: str, actor: str) -> None:
    """Have a name forgotten, with all that is said of it: it is new when it comes again. The collector does it."""
    async with db.transaction():
        await audit(db, now, "event.delete", app_key, name, actor)  # who changes the registry meanwhile waits here
        history = (await of_app(db, app_key)).get(name, ())
        if history and not history[-1].gone:
            await _put(db, app_key, name, Rule(since=max(now, history[-1].since), gone=True))
        newest = await db.value("/* event_rules.newest */ select coalesce(max(deletion_id), 0) from event_deletions")
        # Greater than any that an older registry had, which may be put back.
        await db.execute(_DELETE, (max(newest + 1, now), app_key, name, now, actor))


async def _put(db: Database, app_key: str, name: str, rule: Rule) -> None:
    values = (rule.shown_as, int(rule.refused), int(rule.revenue), rule.amount, rule.currency, rule.again_after)
    await db.execute(_PUT, (app_key, name, rule.since, *values, int(rule.gone)))


async def deleted_after(db: Database, app_key: str, deletion_id: int) -> set[str]:
    """Names of an app that are to be forgotten, and that the collector has not forgotten yet."""
    rows = await db.all(_DELETED_AFTER, (app_key, deletion_id))
    return {name for (name,) in rows}


_RULES = """/* event_rules.rules */
    select app_key, name, since, shown_as, refused, revenue, amount, currency, again_after, gone
    from event_rules"""

_PUT = """/* event_rules.put */
    insert into event_rules
      (app_key, name, since, shown_as, refused, revenue, amount, currency, again_after, gone)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, name, since) do update
    set shown_as = excluded.shown_as, refused = excluded.refused, revenue = excluded.revenue,
        amount = excluded.amount, currency = excluded.currency, again_after = excluded.again_after,
        gone = excluded.gone"""

_DELETE = """/* event_rules.delete */
    insert into event_deletions (deletion_id, app_key, name, asked_at, asked_by)
    values (?, ?, ?, ?, ?)"""

_DELETED_AFTER = """/* event_rules.deleted_after */
    select name
    from event_deletions
    where app_key = ? and deletion_id > ?"""
