"""What a partner says of an event: from when on it holds, what it brings, and what cannot be said."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Cast
from rollup_cast import NOW

from store import event_rules
from store.database import Database
from store.engines import open_writer
from store.errors import ConfigError
from store.event_rules import AGAIN_AFTER, MOST_EVENT_NAMES, RESERVED, USUAL, Money, Rule, money_of
from store.rollups import event_names

APP = "com.owner.charts"
DOCS = (Path(__file__).parents[1] / "docs" / "reference" / "event-names.md").read_text()


def within(cast: Cast, work: Any) -> Any:
    async def opened() -> Any:
        async with await open_writer(cast.where, "registry") as db:
            return await work(db)

    return asyncio.run(opened())


def test_a_rule_holds_for_what_is_received_from_then_on(cast: Cast) -> None:
    async def work(db: Database) -> Any:
        await event_rules.say(db, NOW, APP, "Purchase", Rule(revenue=True), "a test")
        await event_rules.say(
            db, NOW + 10, APP, "Purchase", Rule(revenue=True, again_after=60, shown_as="Sale"), "a test"
        )
        await event_rules.say(
            db, NOW + 15, APP, "Purchase", Rule(revenue=True, again_after=60, shown_as="Sale"), "a test"
        )
        await event_rules.delete(db, NOW + 20, APP, "Purchase", "a test")
        await event_rules.say(db, NOW + 30, APP, "Purchase", Rule(refused=True), "a test")
        return await event_rules.of_app(db, APP)

    histories = within(cast, work)
    held = [event_rules.at(histories, "Purchase", NOW + moment) for moment in (-1, 0, 9, 10, 19, 20, 29, 30)]
    assert [(rule.revenue, rule.again_after, rule.refused) for rule in held] == [
        (False, AGAIN_AFTER, False),
        (True, AGAIN_AFTER, False),
        (True, AGAIN_AFTER, False),
        (True, 60, False),
        (True, 60, False),
        (False, AGAIN_AFTER, False),
        (False, AGAIN_AFTER, False),
        (False, AGAIN_AFTER, True),
    ]
    assert len(histories["Purchase"]) == 4  # the same once more is no change
    assert event_rules.called(histories, "Purchase") == "Purchase"
    assert event_rules.at(histories, "Sign Up", NOW) == USUAL
    lines = cast.rows("select action, detail from audit where action like 'event.%' order by at", nature="registry")
    assert lines == [
        ("event.set", "Purchase: brings revenue"),
        ("event.set", "Purchase: shown as Sale, re-engagement after 60 s"),
        ("event.delete", "Purchase"),
        ("event.set", "Purchase: disabled"),
    ]


def test_a_clock_that_was_set_back_makes_no_older_rule_the_newest(cast: Cast) -> None:
    async def work(db: Database) -> Any:
        await event_rules.say(db, NOW, APP, "Purchase", Rule(refused=True), "a test")
        await event_rules.say(db, NOW - 1_000, APP, "Purchase", Rule(), "a test")
        return await event_rules.of_app(db, APP)

    histories = within(cast, work)
    assert [rule.refused for rule in histories["Purchase"]] == [False]
    assert not event_rules.now_for(histories, "Purchase").refused


@pytest.mark.parametrize(
    ("rule", "properties", "money"),
    [
        (Rule(revenue=True), {"revenue": 12.5, "sum": 1, "currency": "eur"}, Money(Decimal("12.5"), "EUR")),
        (Rule(revenue=True), {"sum": "9.99", "value": 1}, Money(Decimal("9.99"), "")),
        (Rule(revenue=True), {"value": 3}, Money(Decimal(3), "")),
        (Rule(revenue=True), {"revenue": "free", "sum": True, "value": 0}, Money(Decimal(0), "")),
        (
            Rule(revenue=True, amount="total", currency="unit"),
            {"total": 5, "sum": 1, "unit": "USD"},
            Money(Decimal(5), "USD"),
        ),
        (Rule(revenue=True, amount="total"), {"sum": 1}, None),
        (Rule(revenue=True), {"revenue": "nan", "currency": 7}, None),
        (Rule(), {"revenue": 12.5}, None),
    ],
)
def test_what_an_event_brings(rule: Rule, properties: dict[str, Any], money: Money | None) -> None:
    assert money_of(rule, properties) == money


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", Rule()),
        ("…", Rule()),
        ("x" * 101, Rule()),
        ("Purchase", Rule(shown_as="…")),
        ("Purchase", Rule(shown_as="a\nb")),
        ("Purchase", Rule(amount="x" * 101)),
        ("Purchase", Rule(again_after=-1)),
        ("Purchase", Rule(again_after=3_651 * 86_400)),
    ],
)
def test_what_cannot_be_said(name: str, rule: Rule) -> None:
    with pytest.raises(ConfigError):
        event_rules.check(name, rule)


def test_no_more_names_are_prepared_than_an_app_may_have(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_rules, "MOST_EVENT_NAMES", 2)

    async def work(db: Database) -> None:
        for name in ("one", "two"):
            await event_rules.say(db, NOW, APP, name, USUAL, "a test")
        with pytest.raises(ConfigError, match="at most 2"):
            await event_rules.say(db, NOW, APP, "three", USUAL, "a test")
        await event_rules.say(db, NOW, APP, "two", Rule(refused=True), "a test")
        await event_rules.delete(db, NOW, APP, "one", "a test")
        await event_rules.say(db, NOW, APP, "three", USUAL, "a test")

    within(cast, work)


def test_deletions_have_numbers_that_only_grow(cast: Cast) -> None:
    async def work(db: Database) -> Any:
        for moment in (NOW, NOW, NOW - 5_000):
            await event_rules.delete(db, moment, APP, "Purchase", "a test")
        return await event_names.asked_deletions(db, 0)

    assert [deletion.deletion_id for deletion in within(cast, work)] == [NOW, NOW + 1, NOW + 2]


def test_the_reference_has_the_numbers_and_the_reserved_keys() -> None:
    section = DOCS.partition("## Reserved keys")[2].partition(":")[0]
    assert set(re.findall(r"`(\w+)`", section)) == RESERVED
    assert f"at most {MOST_EVENT_NAMES} names" in DOCS
    assert f"Of one name {event_names.MOST_PROPERTIES} properties are told apart" in DOCS
    assert f"Of one app {event_names.MOST_NAMES:,} names" in DOCS
