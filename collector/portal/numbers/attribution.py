"""Attribution: how many installs came by a campaign, how many by none, and what each model gives to each campaign.

The surprising thing is how shares are rounded: to hundredths of an install that add up, column by column, to the whole
installs of the time, so that nobody looks for a missing cent. Days are days in UTC here, as the exporter sums them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from attribution.decision import WHOLE
from attribution.models import ORGANIC, apportioned
from collector.portal.charts.axis import place
from collector.portal.charts.series import Point, Series, TimeSeries, time_series
from collector.portal.frame import number
from collector.portal.numbers.money import amount, decimal, money
from collector.portal.numbers.page import Asked, Numbers, pages
from collector.portal.numbers.table import Cell, Column, Table
from collector.portal.numbers.wording import Figure, earlier_words, figure, time_words
from collector.portal.view import View
from collector.portal.words import share
from store.attribution import reading
from store.attribution.reading import Listing
from store.database import Database
from store.rollups.counting import SLOT_MS
from store.rollups.stored import Scope

MODELS = {
    "decided": "Decided",
    "first": "First touch",
    "last": "Last touch",
    "linear": "Linear",
    "position": "Position",
    "decay": "Time decay",
}
OUTCOMES = {
    "attributed": "Attributed",
    "organic": "Organic",
    "reinstall": "Reinstalls",
    "told_again": "Told of again",
}
CONVERSIONS = ("attributed", "organic", "reinstall")  # an install each; the rest repeats what another told
HUNDREDTH = WHOLE // 100
SLOTS_A_DAY = 86_400_000 // SLOT_MS
EPOCH = date(1970, 1, 1)
FEW = 100  # campaigns on the page


class Line(NamedTuple):
    """A campaign, '' for organic: what each model gives to it, in hundredths of an install or in a currency's smallest
    unit."""

    key: str
    shares: Mapping[str, int]


class Shares(NamedTuple):
    """Of all campaigns, the greatest share first and organic last; each model's column adds up to its total. `currency`
    is '' for installs."""

    currency: str
    lines: Sequence[Line]
    totals: Mapping[str, int]


class Bin(NamedTuple):
    """Days, the last not included, and how many installs of each outcome they have."""

    first: date
    end: date
    outcomes: Counter[str]


class Values(msgspec.Struct, frozen=True):
    """`began` is False before the exporter's first run; `before` is None where nothing is compared."""

    view: View
    model: str
    began: bool
    outcomes: Mapping[str, int]
    before: Mapping[str, int] | None
    bins: Sequence[Bin]
    installs: Shares
    earned: Sequence[Shares]

    @property
    def total(self) -> int:
        return sum(self.outcomes.get(name, 0) for name in CONVERSIONS)


class _Found:
    """Sums over apps as they are read."""

    def __init__(self) -> None:
        self.by_day: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self.before: Counter[str] = Counter()
        self.given: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.earned: defaultdict[str, defaultdict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))

    async def add(self, db: Database, listing: Listing, view: View, earlier: View | None) -> None:
        """What there is of one app."""
        for day, found in (await reading.outcomes_by_day(db, listing, *_days(view))).items():
            self.by_day[day].update(found)
        for credit in await reading.shares(db, listing, *_days(view)):
            self.given[credit.campaign_key][credit.model] += credit.credit
        for earned in await reading.earned(db, listing, *_days(view)):
            self.earned[earned.currency][earned.campaign_key][earned.model] += earned.amount
        if earlier is not None:
            self.before.update(await reading.outcomes(db, listing, *_days(earlier)))


async def read(db: Database | None, scope: Scope, view: View, more: Mapping[str, str]) -> Values:
    """See Values."""
    model = more.get("model", "") if more.get("model", "") in MODELS else "decided"
    found, earlier = _Found(), view.earlier()
    if db is not None:
        for app_key in scope.app_keys:
            await found.add(db, Listing(app_key, scope.partner_key), view, earlier)
    return Values(
        view,
        model,
        db is not None,
        sum(found.by_day.values(), Counter()),
        found.before if earlier is not None else None,
        [Bin(*each, _sum(found.by_day, *each)) for each in _bins(view)],
        _shares("", _rounded(found.given), model),
        [_shares(currency, earned, model) for currency, earned in sorted(found.earned.items())],
    )


def _days(view: View) -> tuple[int, int]:
    """The first day, and the one after the last: since the epoch."""
    return (view.first - EPOCH).days, (view.last - EPOCH).days + 1


def _bins(view: View) -> list[tuple[date, date]]:
    """The page's bins, none shorter than a day, and none that has not begun."""
    if view.step == "hour":
        days = [view.first + timedelta(n) for n in range((view.last - view.first).days + 1)]
        return [(day, day + timedelta(1)) for day in days]
    return [(_date(span.first), _date(span.end + SLOTS_A_DAY - 1)) for span in view.bins()]


def _date(slot: int) -> date:
    return EPOCH + timedelta(slot // SLOTS_A_DAY)


def _sum(by_day: Mapping[int, Counter[str]], first: date, end: date) -> Counter[str]:
    found: Counter[str] = Counter()
    for day in range((first - EPOCH).days, (end - EPOCH).days):
        found.update(by_day.get(day, {}))
    return found


def _rounded(given: Mapping[str, Mapping[str, int]]) -> dict[str, Counter[str]]:
    """Millionths of an install as hundredths, with the same sums."""
    found: dict[str, Counter[str]] = {key: Counter() for key in given}
    for model in MODELS:
        weights = [given[key].get(model, 0) for key in given]
        if sum(weights):
            for key, part in zip(given, apportioned(sum(weights) // HUNDREDTH, weights), strict=True):
                found[key][model] = part
    return found


def _shares(currency: str, found: Mapping[str, Mapping[str, int]], model: str) -> Shares:
    keys = sorted(found, key=lambda key: (key == ORGANIC, -found[key].get(model, 0), key))
    lines = [Line(key, found[key]) for key in keys]
    return Shares(currency, lines, {name: sum(line.shares.get(name, 0) for line in lines) for name in MODELS})


# --- tables


def tables(values: Values) -> list[Table]:
    """Campaigns by model, the outcomes, both over time, and what was earned."""
    return [_campaigns(values.installs), _outcomes(values), _over_time(values), _earned(values.earned)]


def _campaigns(shares: Shares) -> Table:
    columns = [Column("campaign", "Campaign", "text")]
    columns += [Column(model, words, "number") for model, words in MODELS.items()]
    rows: list[list[Cell]] = [
        [line.key, *(line.shares.get(model, 0) / 100 for model in MODELS)] for line in shares.lines
    ]
    return Table("campaigns", "Campaigns", columns, rows)


def _outcomes(values: Values) -> Table:
    columns = [
        Column("outcome", "Outcome", "text"),
        Column("installs", "Installs", "number"),
        Column("installs_before", "Installs, the time before", "number"),
    ]
    rows: list[list[Cell]] = [
        [name, values.outcomes.get(name, 0), None if values.before is None else values.before.get(name, 0)]
        for name in OUTCOMES
    ]
    return Table("outcomes", "Outcomes", columns, rows)


def _over_time(values: Values) -> Table:
    columns = [Column("begins", "Begins", "text")]
    columns += [Column(name, OUTCOMES[name], "number") for name in OUTCOMES]
    rows: list[list[Cell]] = [
        [_start(each.first), *(each.outcomes.get(name, 0) for name in OUTCOMES)] for each in values.bins
    ]
    return Table("over-time", "Over time", columns, rows)


def _earned(earned: Sequence[Shares]) -> Table:
    columns = [Column("currency", "Currency", "text"), Column("campaign", "Campaign", "text")]
    columns += [Column(model, words, "number") for model, words in MODELS.items()]
    rows: list[list[Cell]] = [
        [of.currency, line.key, *(amount(line.shares.get(model, 0), of.currency) for model in MODELS)]
        for of in earned
        for line in of.lines
    ]
    return Table("revenue", "Revenue", columns, rows)


def _start(day: date) -> str:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).isoformat(timespec="seconds")


# --- what the page says of them


class Shown(NamedTuple):
    """A table of campaigns as the page has it: each row's key ('' where it is of none or of several), its words, its
    cells, and its share of the greatest in percent."""

    title: str
    currency: str
    rows: Sequence[tuple[str, str, Sequence[str], float]]
    totals: Sequence[str]


def told(values: Values, asked: Asked) -> Mapping[str, Any]:
    """Pictures and sentences."""
    return {
        "models": MODELS,
        "outcome_names": OUTCOMES,
        "conversions": CONVERSIONS,
        "figures": _figures(values),
        "chart": _chart(values) if values.total else None,
        "shown": [_shown(each, values.model) for each in (values.installs, *values.earned) if each.lines],
        "again": values.outcomes.get("told_again", 0),
    }


def _figures(values: Values) -> list[Figure]:
    before = values.before
    return [
        figure(
            OUTCOMES[name],
            values.outcomes.get(name, 0),
            before.get(name, 0) if before is not None else None,
            values.view,
        )
        for name in CONVERSIONS
    ]


def _chart(values: Values) -> TimeSeries:
    kinds = {"attributed": "install", "organic": "view", "reinstall": "other"}
    series = [
        Series(
            OUTCOMES[name],
            kind,
            [Point(_label(each, values.view), _start(each.first), each.outcomes.get(name, 0)) for each in values.bins],
            values.outcomes.get(name, 0),
        )
        for name, kind in kinds.items()
    ]
    title = f"Installs, {time_words(values.view)}"
    return time_series(title, series, partial=values.view.is_running, takeaway=sentence(values))


def _label(each: Bin, view: View) -> str:
    if view.step == "month":
        return f"{each.first:%b %Y}"
    if view.step == "week":
        return f"{each.first:%-d %b} to {each.end - timedelta(1):%-d %b}"
    return f"{each.first:%-d %b}"


def sentence(values: Values) -> str:
    """What there is to see."""
    attributed = values.outcomes.get("attributed", 0)
    said = f"{share(attributed, values.total)} of {number(values.total)} installs came by a campaign"
    led = [line for line in values.installs.lines if line.key != ORGANIC and line.shares.get("decided")]
    if led:
        first = max(led, key=lambda line: line.shares["decided"])
        said += f", most of them by {first.key}"
    if values.before is not None and (before := sum(values.before.get(name, 0) for name in CONVERSIONS)):
        said += f"; it was {share(values.before.get('attributed', 0), before)} in {earlier_words(values.view)}"
    return f"{said}."


def _shown(shares: Shares, model: str) -> Shown:
    named = [line for line in shares.lines if line.key != ORGANIC]
    organic = [("", "Organic", line.shares) for line in shares.lines if line.key == ORGANIC]
    others: Counter[str] = Counter()
    for line in named[FEW:]:
        others.update(line.shares)
    rest = [("", f"{number(len(named) - FEW)} others", others)] if len(named) > FEW else []
    rows = [*((line.key, line.key, line.shares) for line in named[:FEW]), *rest, *organic]
    most = max((of.get(model, 0) for _, _, of in rows), default=0)
    shown = [
        (key, words, [_said(of.get(name, 0), shares.currency) for name in MODELS], place(of.get(model, 0), most))
        for key, words, of in rows
    ]
    title = f"Revenue in {shares.currency}" if shares.currency else "Installs by campaign"
    totals = [_said(shares.totals[name], shares.currency) for name in MODELS]
    return Shown(title, shares.currency, shown, totals)


def _said(units: int, currency: str) -> str:
    """Whole installs without a point."""
    if currency:
        return money(units, currency)
    return decimal(units, 2) if units % 100 else number(units // 100)


PAGES = pages(
    Numbers(
        "attribution",
        read,
        tables,
        ("model",),
        told,
        {"model": tuple(MODELS)},
        nature="ledger",
        in_utc=True,
    )
)
