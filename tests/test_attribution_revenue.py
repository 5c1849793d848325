"""What is earned counts for the install that brought it, whichever of the two is told of first, on both engines."""

import asyncio
import itertools
import random
from collections import Counter
from typing import Any

import pytest
from attribution_runs import (
    AUTUMN,
    DAY,
    HOUR,
    LATER,
    SPRING,
    ask,
    check_sums,
    earned,
    follow,
    installed,
    installs,
    opened,
    order,
    say_of_orders,
    set_rules,
    view,
)
from shipping_cast import NOON, OWNER, VISITOR, Details, Installation, an_event

from attribution.rules import Rules
from store.attribution import earnings
from store.attribution.balance import count
from store.attribution.sums import MOST_MONEY, Revenue, Sums, add, keep_revenue
from store.engines import open_writer
from store.event import PARTNER, Event
from store.lookup import TOGETHER
from store.subjects.naming import PREVIOUS


def test_what_is_earned_after_an_install_is_shared_as_its_credit_is_and_goes_along(installation: Installation) -> None:
    say_of_orders(installation, revenue=True)
    known = {"partner_anonymous_id": "p1"}
    installation.collect(
        view(SPRING, NOON - 2 * DAY, **known),
        installed(**known),
        order("10.01", NOON - 1),
        order("10.01", NOON + 1),
        order(5, NOON + 2),
        order("-0.01", NOON + 3),
        order(700, NOON + 4, "JPY"),
        order(1, NOON + 5, anonymous_id="someone"),
    )
    follow(installation)
    assert earned(installation, "linear") == {("mail/spring", "EUR"): 1_500, ("mail/spring", "JPY"): 700}
    check_sums(installation)
    installation.collect(view(AUTUMN, NOON - DAY, received_at=NOON + DAY, **known))
    follow(installation, NOON + DAY)
    assert earned(installation, "decided") == {("mail/autumn", "EUR"): 1_500, ("mail/autumn", "JPY"): 700}
    assert earned(installation, "linear") == {
        ("mail/autumn", "EUR"): 750,
        ("mail/autumn", "JPY"): 350,
        ("mail/spring", "EUR"): 750,
        ("mail/spring", "JPY"): 350,
    }
    check_sums(installation)


def test_what_was_earned_after_a_reinstall_goes_to_the_install_when_that_is_told_late(
    installation: Installation,
) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(
        view(SPRING, NOON - 10 * DAY, partner_anonymous_id="p1"),
        opened(partner_anonymous_id="p1"),
        order(3, NOON + 1),
    )
    follow(installation)
    installation.collect(
        installed(NOON - 9 * DAY, partner_anonymous_id="p1", received_at=NOON + DAY),
    )
    follow(installation, NOON + DAY)
    assert {each.seq: each.outcome for each in installs(installation)} == {2: "reinstall", 4: "attributed"}
    assert installation.ledger("select seq, amount from conversion_revenue where amount <> 0") == [(4, 300)]
    assert earned(installation, "last") == {("mail/spring", "EUR"): 300}
    check_sums(installation)


def test_an_impossible_amount_holds_up_no_install(installation: Installation) -> None:
    say_of_orders(installation, revenue=True)
    for amount in ("1e9999999", "-1e9999999", 10**400):
        told = Details(properties={"revenue": amount})
        order = an_event("Order Completed", told, source=PARTNER, type="track", occurred_at=NOON, received_at=NOON)
        installation.collect(order)
    installation.collect(opened())
    sums = follow(installation)
    assert (sums.failed, sums.parked, sums.installs) == (0, 0, 1)
    check_sums(installation)


def test_sums_of_money_stop_where_no_engine_could_count_them(installation: Installation) -> None:
    follow(installation)
    most = MOST_MONEY

    async def earn(amount: int) -> None:
        place = "owner", "last", 1, "mail/spring", "EUR"
        sums = Sums(Counter(), Counter(), Counter({place: amount}))
        async with await open_writer(installation.where, "ledger") as db:
            await db.atomic(add, OWNER, sums)
            await db.atomic(keep_revenue, OWNER, [Revenue(1, 1, "EUR", amount, 1)])

    for amount, expected in ((most, most), (most, most), (10**30, most), (-(10**30), 0), (-most, -most), (-1, -most)):
        asyncio.run(earn(amount))
        assert installation.ledger("select amount from attribution_revenue") == [(expected,)]


# --- whichever is told of first


def check_money(installation: Installation) -> None:
    """What each install brought against what was earned, all of which is there still."""
    check_sums(installation)
    given: Counter[Any] = Counter()
    for seq, at, currency, amount in installation.ledger(
        "select install_seq, earned_at, currency, amount from earnings"
    ):
        given[seq, at // DAY, currency] += amount
    kept = installation.ledger("select seq, day, currency, amount from conversion_revenue where amount <> 0")
    assert {row[:3]: row[3] for row in kept} == {place: n for place, n in given.items() if n and place[0]}


def signed_in(at: int, **fields: Any) -> Event:
    """An event that names two ids of one person."""
    told = {"source": PARTNER, "occurred_at": at, "received_at": at, "anonymous_id": "p1", "user_id": "u1"}
    return an_event("Signed In", **told | fields)


def told() -> list[Event]:
    """Somebody comes by a campaign, installs, signs in elsewhere and buys as either."""
    received = {"received_at": NOON + DAY}
    return [
        view(SPRING, NOON - 2 * DAY, partner_anonymous_id="p1", **received),
        installed(partner_anonymous_id="p1", **received),
        signed_in(NOON + 30, **received),
        signed_in(NOON + 40, anonymous_id="web1", **received),
        order("10.01", NOON + 50, anonymous_id="web1", **received),
        order(5, NOON + 60, **received),
        order(700, NOON - 1, **received),
    ]


@pytest.mark.parametrize("order", list(itertools.islice(itertools.permutations(range(7)), 0, 5040, 720)), ids=str)
def test_in_whichever_order_it_is_told_the_same_is_earned(installation: Installation, order: tuple[int, ...]) -> None:
    say_of_orders(installation, revenue=True)
    events = told()
    for place in order:
        installation.collect(events[place])
        follow(installation, NOON + DAY)
        check_money(installation)
    assert earned(installation, "last") == {("mail/spring", "EUR"): 1_501}


def test_an_install_that_is_told_late_has_what_was_earned_after_it_from_the_one_before(
    installation: Installation,
) -> None:
    say_of_orders(installation, revenue=True)
    set_rules(installation, reprocess=2 * DAY)
    known = {"partner_anonymous_id": "p1"}
    installation.collect(
        view(SPRING, NOON - DAY, **known),
        installed(**known),
        view(AUTUMN, NOON + 3 * DAY, **known),
        order(1, NOON + 3 * DAY),
        order(10, NOON + 5 * DAY),
    )
    follow(installation, NOON + 5 * DAY)
    assert earned(installation, "decided") == {("mail/spring", "EUR"): 1_100}
    installation.collect(installed(NOON + 4 * DAY, received_at=NOON + 6 * DAY, **known))
    follow(installation, NOON + 6 * DAY)
    assert earned(installation, "decided") == {("mail/spring", "EUR"): 100, ("mail/autumn", "EUR"): 1_000}
    check_money(installation)


def test_what_comes_after_an_install_is_closed_finds_it_by_whatever_id(installation: Installation) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(view(SPRING, partner_anonymous_id="p1"), installed(partner_anonymous_id="p1"))
    follow(installation)
    assert follow(installation, LATER).closed == 1
    before = order(1, LATER, anonymous_id="web1", user_id="u1")
    installation.collect(before)
    follow(installation, LATER)
    assert earned(installation, "last") == {}
    installation.collect(signed_in(LATER + HOUR), order(10, LATER + HOUR, anonymous_id="web1", user_id="u1"))
    follow(installation, LATER + HOUR)
    assert earned(installation, "last") == {("mail/spring", "EUR"): 1_100}
    check_money(installation)


def test_what_one_install_has_goes_to_a_newer_one_of_whom_it_is_told_when_both_are_closed(
    installation: Installation,
) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(opened(NOON - DAY, received_at=NOON), opened(anonymous_id="p2"))
    follow(installation)
    assert follow(installation, LATER).closed == 2
    installation.collect(order(10, LATER), order(1, LATER, user_id="u1"))
    follow(installation, LATER)
    assert installation.ledger("select seq, amount from conversion_revenue") == [(1, 1_100)]
    installation.collect(signed_in(LATER + HOUR, anonymous_id="p2"))
    follow(installation, LATER + HOUR)
    assert installation.ledger("select seq, amount from conversion_revenue where amount <> 0") == [(2, 1_100)]
    check_money(installation)


def test_what_the_listing_alone_told_counts_with_the_next_event_of_the_same_one(installation: Installation) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(installed(anonymous_id=VISITOR))
    follow(installation)
    assert follow(installation, LATER).closed == 1
    installation.collect(order(10, LATER, user_id="u1"))
    follow(installation, LATER)
    known = {"anonymous_id": VISITOR, "partner_anonymous_id": "p1"}
    installation.collect(an_event("tab_click", occurred_at=LATER, received_at=LATER, **known))
    follow(installation, LATER)
    assert installation.ledger("select install_seq from earnings") == [(0,)]
    installation.collect(signed_in(LATER + HOUR))
    follow(installation, LATER + HOUR)
    assert installation.ledger("select install_seq from earnings") == [(1,)]
    check_money(installation)


@pytest.mark.parametrize("renamed", ["p1", "u1"])
def test_who_it_was_may_be_told_by_a_new_name(installation: Installation, renamed: str) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(opened(anonymous_id="p2", user_id="u2"))
    follow(installation)
    assert follow(installation, LATER).closed == 1
    installation.collect(order(10, LATER, user_id="u1"))
    follow(installation, LATER)
    alias = Details(ids={PREVIOUS: renamed})
    installation.collect(signed_in(LATER + HOUR, anonymous_id="p3", user_id="u2", type="alias", details=alias))
    follow(installation, LATER + HOUR)
    assert installation.ledger("select install_seq from earnings") == [(1 if renamed == "u1" else 0,)]
    check_money(installation)


def test_an_install_has_what_was_earned_after_it_though_more_came_too_late_in_the_same_run(
    installation: Installation,
) -> None:
    say_of_orders(installation, revenue=True)
    set_rules(installation, reprocess=2 * DAY)
    installation.collect(order(10, LATER))
    follow(installation, LATER)
    installation.collect(opened(LATER - DAY, received_at=LATER + HOUR), opened(LATER + 4 * DAY))
    follow(installation, LATER + 4 * DAY)
    assert installation.ledger("select seq, amount from conversion_revenue") == [(2, 1_000)]
    check_sums(installation)


def test_however_often_runs_come_the_same_is_earned(installation: Installation) -> None:
    (once,) = installation.add_apps(1)
    for app in (OWNER, once):
        say_of_orders(installation, app, revenue=True)
        set_rules(installation, app, reprocess=2 * DAY)
    events = [[anything(random.Random(f"{one} {n}"), one, n) for one in range(40)] for n in range(9)]  # noqa: S311
    for some in events:
        installation.collect(*some)
        follow(installation, LATER)
    check_money(installation)
    installation.collect(*itertools.chain(*events), app=once)
    follow(installation, LATER)
    for table in (
        "select seq, outcome from conversions where app_key = ?",
        "select seq, install_seq from earnings where app_key = ?",
        "select model, day, campaign_key, currency, amount from attribution_revenue where app_key = ? and amount <> 0",
    ):
        found = set(installation.ledger(table, OWNER))
        assert found
        by = sum(map(len, events)) if "seq" in table else 0
        assert found == {_earlier(row, by) for row in installation.ledger(table, once)}


def _earlier(row: tuple[Any, ...], by: int) -> tuple[Any, ...]:
    """With the seqs that the same events have in the app that was told of them before."""
    return tuple(each - by if isinstance(each, int) and each else each for each in row)


def anything(chance: random.Random, one: int, n: int) -> Event:
    """What somebody with three devices may do next."""
    device = f"p{one}{chance.choice('abc')}"
    at, received_at = NOON + chance.randrange(20) * 6 * HOUR + n, LATER - DAY + n * HOUR
    who = {"anonymous_id": device, "user_id": chance.choice([None, None, f"u{one}"])}
    match chance.randrange(8):
        case 0:
            return installed(at, partner_anonymous_id=device, anonymous_id=f"{one:040x}", received_at=received_at)
        case 1 | 2:
            return opened(at, received_at=received_at, **who)
        case 3:
            query = chance.choice([SPRING, AUTUMN])
            return view(
                query, at - DAY, partner_anonymous_id=device, anonymous_id=f"{one:040x}", received_at=received_at
            )
        case 4:
            return signed_in(at, anonymous_id=device, user_id=f"u{one}", received_at=received_at)
    return order(
        chance.choice(["10.01", "-1", "0.03"]), at, chance.choice(["EUR", "JPY"]), received_at=received_at, **who
    )


@pytest.mark.parametrize(("late", "amount"), [(0, 1_000), (1, 0)])
def test_who_it_was_may_be_told_for_as_long_as_late_evidence_counts(
    installation: Installation, late: int, amount: int
) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(installed(partner_anonymous_id="p1"))
    follow(installation)
    installation.collect(order(10, LATER, anonymous_id="web1", user_id="u1"))
    follow(installation, LATER)
    until = LATER + Rules().settle + late
    somebody_else = signed_in(LATER, anonymous_id="p2", user_id="u2")
    installation.collect(somebody_else, signed_in(LATER, received_at=until))
    follow(installation, until)
    assert sum(earned(installation, "last").values()) == amount
    check_money(installation)


@pytest.mark.parametrize(("late", "amount"), [(0, 1_000), (1, 0)])
def test_an_install_may_be_told_for_as_long_as_late_evidence_counts(
    installation: Installation, late: int, amount: int
) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(order(10, NOON + 1, received_at=NOON + 1))
    follow(installation)
    until = NOON + 1 + Rules().settle + late
    installation.collect(installed(partner_anonymous_id="p1", received_at=until))
    follow(installation, until)
    assert sum(earned(installation, "last").values()) == amount
    check_money(installation)


@pytest.mark.parametrize("most", [1, earnings.MOST_EARNINGS])
def test_money_that_went_to_another_install_stays_there_when_more_is_told(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(earnings, "MOST_EARNINGS", most)
    say_of_orders(installation, revenue=True)
    known = {"partner_anonymous_id": "p1"}
    installation.collect(view(SPRING, NOON - 10 * DAY, **known), opened(**known), order(3, NOON + 1))
    follow(installation)
    installation.collect(installed(NOON - 9 * DAY, received_at=NOON + DAY, **known))
    follow(installation, NOON + DAY)
    check_money(installation)
    installation.collect(signed_in(NOON + 1, received_at=NOON + DAY), order(4, NOON + 2, received_at=NOON + DAY))
    follow(installation, NOON + DAY)
    check_money(installation)
    assert earned(installation, "last") == {("mail/spring", "EUR"): 700}


def test_when_nothing_can_change_whose_it_is_it_is_forgotten_and_the_sum_stays(installation: Installation) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(installed(partner_anonymous_id="p1"), order(10, NOON + 1), order(1, NOON, anonymous_id="x"))
    follow(installation)
    at = NOON + Rules().settle + DAY
    follow(installation, at - HOUR)
    assert installation.ledger("select count(*) from earnings") == [(2,)]
    assert follow(installation, at + HOUR).forgotten == 2
    for table in ("earnings", "earning_identities"):
        assert installation.ledger(f"select count(*) from {table}") == [(0,)]
    assert earned(installation, "last") == {("", "EUR"): 1_000}
    check_sums(installation)


def test_what_another_partners_app_brought_is_nobodys(installation: Installation) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(installed(partner_anonymous_id="p1"), order(10, NOON + 1, partner_key="stranger"))
    follow(installation)
    assert installation.ledger("select count(*) from earnings") == [(0,)]


def test_the_sums_of_money_are_checked_against_the_installs(installation: Installation) -> None:
    say_of_orders(installation, revenue=True)
    installation.collect(view(SPRING, partner_anonymous_id="p1"), installed(partner_anonymous_id="p1"))
    installation.collect(order("-3.50", NOON + 1), order(MOST_MONEY, NOON + 2, "JPY"), order(700, NOON + 3, "USD"))
    follow(installation)
    assert [(each.holds, each.models) for each in ask(installation, count)] == [(True, ())]
    change = "update attribution_revenue set amount = amount + 1 where model = 'decay' and currency = ?"
    installation.ledger(change, "JPY")
    assert ask(installation, count)[0].holds, "a sum that went as far as it can says nothing"
    installation.ledger(change, "EUR")
    assert ask(installation, count)[0].models == ("decay",)
    installation.ledger("delete from attribution_revenue where model = 'last'")
    assert ask(installation, count)[0].models == ("decay", "last")


def test_many_are_looked_up_at_once_and_of_one_id_the_newest(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow(installation)
    mark, seqs = bytes(16), range(1, 2 * TOGETHER + 2)
    rows = [earnings.Earning(seq, "owner", NOON, NOON, "EUR", 1, "[]", 0) for seq in seqs]

    async def work() -> tuple[list[int], list[int]]:
        async with await open_writer(installation.where, "ledger") as db:
            await db.atomic(earnings.keep, OWNER, rows)
            await db.atomic(earnings.keep_identities, OWNER, [(mark, seq) for seq in seqs])
            there = await db.run(earnings.at, OWNER, seqs)
            monkeypatch.setattr(earnings, "MOST_EARNINGS", 2)
            newest = await db.run(lambda c: list(earnings.open_of(c, OWNER, [mark], NOON)))
            return sorted(row.seq for row in there), sorted(row[1] for row in newest)

    assert asyncio.run(work()) == ([*seqs], [*seqs][-2:])
