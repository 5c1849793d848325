"""The sums that must hold in attribution: conversions = attributed + organic + reinstalls, and every model's credit is
that of all attributed and organic installs, and its money what these brought. Both sides are counted on their own.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from store.attribution.sums import MOST_MONEY
from store.database import Database

MILLION = 1_000_000
WHOLE = 1_000_000  # an install's credit, as in attribution/decision.py


class Balance(msgspec.Struct, frozen=True):
    """One app's installs: `conversions` from the installs themselves, all else from the sums. `models` are those whose
    credit or money is another than it should be."""

    app: str
    conversions: int
    attributed: int
    organic: int
    reinstalls: int
    models: tuple[str, ...] = ()

    @property
    def difference(self) -> int:
        return self.conversions - self.attributed - self.organic - self.reinstalls

    @property
    def holds(self) -> bool:
        return not self.difference and not self.models


async def count(db: Database) -> list[Balance]:
    """Every app's, by key. `db` is the ledger, which stands still meanwhile or is counted as it was at one moment."""
    conversions: dict[str, int] = dict(await db.all(_CONVERSIONS))
    sums: dict[str, dict[str, int]] = {app_key: {} for app_key in conversions}
    for app_key, outcome, n in await db.all(_SUMS):
        sums.setdefault(app_key, {})[outcome] = n
    credit: dict[str, dict[str, int]] = {}
    for app_key, model, n in await db.all(_CREDIT):
        credit.setdefault(app_key, {})[model] = n
    brought = await _money(db, _BROUGHT)
    shared = await _money(db, _SHARED)
    found = []
    for app_key, of in sorted(sums.items()):
        attributed, organic = of.get("attributed", 0), of.get("organic", 0)
        whole = (attributed + organic) * WHOLE
        money = brought.get((app_key, ""), {})
        off = tuple(
            model
            for model, n in sorted(credit.get(app_key, {}).items())
            if n != whole or _differ(money, shared.get((app_key, model), {}))
        )
        missing = ("every model",) if whole and app_key not in credit else ()
        reinstalls = of.get("reinstall", 0)
        found.append(Balance(app_key, conversions.get(app_key, 0), attributed, organic, reinstalls, off + missing))
    return found


async def _money(db: Database, sql: str) -> dict[tuple[str, str], dict[str, int | None]]:
    """By app and model what there is of each currency; None where a sum went as far as it can."""
    found: dict[tuple[str, str], dict[str, int | None]] = {}
    for app_key, model, currency, millions, rest, most in await db.all(sql, (MOST_MONEY,)):
        found.setdefault((app_key, model), {})[currency] = None if most else millions * MILLION + rest
    return found


def _differ(one: Mapping[str, int | None], other: Mapping[str, int | None]) -> bool:
    """Whether any sum that is known of both is not the same."""
    pairs = ((one.get(currency, 0), other.get(currency, 0)) for currency in one.keys() | other.keys())
    return any(a is not None and b is not None and a != b for a, b in pairs)


_CONVERSIONS = """/* attribution_balance.conversions */
    select app_key, count(*)
    from conversions
    where outcome <> 'told_again'
    group by app_key"""

_SUMS = """/* attribution_balance.sums */
    select app_key, outcome, cast(sum(n) as bigint)
    from attribution_days
    group by app_key, outcome"""

_CREDIT = """/* attribution_balance.credit */
    select app_key, model, cast(sum(credit) as bigint)
    from attribution_sums
    group by app_key, model"""

# Of amounts that no engine could add up as they are.
_ADDED = f"""cast(sum(amount / {MILLION}) as bigint), cast(sum(amount % {MILLION}) as bigint), max(abs(amount)) >= ?"""

_BROUGHT = f"""/* attribution_balance.brought */
    select app_key, '', currency, {_ADDED}
    from conversion_revenue
    group by app_key, currency"""  # noqa: S608 - as above

_SHARED = f"""/* attribution_balance.shared */
    select app_key, model, currency, {_ADDED}
    from attribution_revenue
    group by app_key, model, currency"""  # noqa: S608 - as above
