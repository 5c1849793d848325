"""The sums that must hold in attribution: conversions = attributed + organic + reinstalls, and every model's credit is
that of all attributed and organic installs. Both sides are counted on their own.
"""

from __future__ import annotations

import msgspec

from store.database import Database

WHOLE = 1_000_000  # an install's credit, as in attribution/decision.py


class Balance(msgspec.Struct, frozen=True):
    """One app's installs: `conversions` from the installs themselves, all else from the sums. `models` are those whose
    credit is another than it should be."""

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
    found = []
    for app_key, of in sorted(sums.items()):
        attributed, organic = of.get("attributed", 0), of.get("organic", 0)
        whole = (attributed + organic) * WHOLE
        off = tuple(model for model, n in sorted(credit.get(app_key, {}).items()) if n != whole)
        missing = ("every model",) if whole and app_key not in credit else ()
        reinstalls = of.get("reinstall", 0)
        found.append(Balance(app_key, conversions.get(app_key, 0), attributed, organic, reinstalls, off + missing))
    return found


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
