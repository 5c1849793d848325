"""The sums of attribution, and what was earned after each install, from which those of money follow.

All of it is on a connection's own thread, within the transaction that decides the installs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from store.database import Connection

MOST_MONEY = 4_000_000_000_000_000_000  # minor units, of any sum


class Sums(NamedTuple):
    """What a transaction adds to the sums: counts by (partner, day, outcome), credit by (partner, model, day,
    campaign), and money by (partner, model, day, campaign, currency)."""

    days: Counter[tuple[str, int, str]]
    credit: Counter[tuple[str, str, int, str]]
    money: Counter[tuple[str, str, int, str, str]]


def add(connection: Connection, app_key: str, sums: Sums) -> None:
    connection.executemany(_ADD_DAY, [(app_key, *key, n) for key, n in sorted(sums.days.items()) if n])
    connection.executemany(_ADD_CREDIT, [(app_key, *key, n) for key, n in sorted(sums.credit.items()) if n])
    money = [(app_key, *key, kept_amount(n)) for key, n in sorted(sums.money.items()) if n]
    connection.executemany(_ADD_MONEY, money)


def kept_amount(amount: int) -> int:
    """No amount is further from nothing than MOST_MONEY, so that two of them add up within 64 bits on any engine."""
    return max(-MOST_MONEY, min(amount, MOST_MONEY))


_ADD_DAY = """/* attribution_sums.add_day */
    insert into attribution_days (app_key, partner_key, day, outcome, n)
    values (?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, day, outcome) do update
    set n = attribution_days.n + excluded.n"""

_ADD_CREDIT = """/* attribution_sums.add_credit */
    insert into attribution_sums (app_key, partner_key, model, day, campaign_key, credit)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, model, day, campaign_key) do update
    set credit = attribution_sums.credit + excluded.credit"""

_ADD_MONEY = f"""/* attribution_sums.add_money */
    insert into attribution_revenue (app_key, partner_key, model, day, campaign_key, currency, amount)
    values (?, ?, ?, ?, ?, ?, ?)
    on conflict (app_key, partner_key, model, day, campaign_key, currency) do update
    set amount = case
      when attribution_revenue.amount + excluded.amount > {MOST_MONEY} then {MOST_MONEY}
      when attribution_revenue.amount + excluded.amount < -{MOST_MONEY} then -{MOST_MONEY}
      else attribution_revenue.amount + excluded.amount
    end"""  # noqa: S608 - our own number


class Revenue(NamedTuple):
    """What was earned after an install on one day, in minor units, by so many events."""

    seq: int
    day: int
    currency: str
    amount: int
    n: int


def revenue(connection: Connection, app_key: str, seq: int) -> list[Revenue]:
    return [Revenue(*row) for row in connection.execute(_REVENUE, (app_key, seq))]


_REVENUE = """/* attribution_sums.revenue */
    select seq, day, currency, amount, n
    from conversion_revenue
    where app_key = ? and seq = ?"""


def keep_revenue(connection: Connection, app_key: str, rows: Iterable[Revenue]) -> None:
    """Whole sums, in place of those that are there."""
    whole = [row._replace(amount=kept_amount(row.amount)) for row in rows]
    connection.executemany(_KEEP_REVENUE, [(app_key, *row) for row in whole])


_KEEP_REVENUE = """/* attribution_sums.keep_revenue */
    insert into conversion_revenue (app_key, seq, day, currency, amount, n)
    values (?, ?, ?, ?, ?, ?)
    on conflict (app_key, seq, day, currency) do update
    set amount = excluded.amount, n = excluded.n"""
