"""Models share an install's credit, and money, among campaigns: as they are defined, and to the last unit."""

import pytest
from attribution_cast import DAY, NOON, install, touch
from hypothesis import given
from hypothesis import strategies as st

from attribution.deciding import decide
from attribution.decision import WHOLE, Step
from attribution.models import NAMES, apportioned, credits_of, shared
from attribution.rules import Rules


def path(*steps: tuple[str, int]) -> list[Step]:
    """Of campaigns and how many days before noon they were."""
    return [Step(name, NOON - days * DAY) for name, days in steps]


FOUR = path(("a", 14), ("b", 9), ("c", 7), ("d", 0))


@pytest.mark.parametrize(
    ("model", "steps", "total", "expected"),
    [
        ("first", FOUR, 100, {"a": 100, "b": 0, "c": 0, "d": 0}),
        ("last", FOUR, 100, {"a": 0, "b": 0, "c": 0, "d": 100}),
        ("linear", FOUR, 100, {"a": 25, "b": 25, "c": 25, "d": 25}),
        ("position", FOUR, 100, {"a": 40, "b": 10, "c": 10, "d": 40}),
        ("position", FOUR[:1], 100, {"a": 100}),
        ("position", FOUR[:2], 100, {"a": 50, "b": 50}),
        ("position", FOUR[:3], 100, {"a": 40, "b": 20, "c": 40}),
        ("decay", path(("a", 14), ("b", 7), ("c", 0)), 10_000, {"a": 1429, "b": 2857, "c": 5714}),
        ("decay", path(("a", 21), ("b", 14), ("c", 7)), 10_000, {"a": 1429, "b": 2857, "c": 5714}),
        ("linear", path(("a", 3), ("b", 2), ("a", 1)), 100, {"a": 67, "b": 33}),
        ("linear", FOUR[:3], -100, {"a": -34, "b": -33, "c": -33}),
        ("decay", path(("a", 30_000), ("b", 0)), WHOLE, {"a": 0, "b": WHOLE}),
    ],
)
def test_a_model_is_what_its_definition_says(
    model: str, steps: list[Step], total: int, expected: dict[str, int]
) -> None:
    assert shared(steps, model, total) == expected


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 1 << 40), min_size=1, max_size=30).filter(any))
def test_no_unit_is_lost_or_made_and_nobody_is_a_unit_off(total: int, weights: list[int]) -> None:
    shares = apportioned(total, weights)
    assert sum(shares) == total
    whole = sum(weights)
    assert all(abs(share * whole - total * weight) < whole for share, weight in zip(shares, weights, strict=True))


steps = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 400)), min_size=1, max_size=20)


@given(steps, st.sampled_from([name for name in NAMES if name != "decided"]), st.integers(-(10**9), 10**9))
def test_the_shares_of_a_model_are_the_whole(given: list[tuple[str, int]], model: str, total: int) -> None:
    in_order = sorted(given, key=lambda step: -step[1])
    assert sum(shared(path(*in_order), model, total).values()) == total


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 40 * DAY)), max_size=12))
def test_every_model_gives_an_install_once_to_campaigns_or_to_nobody(given: list[tuple[str, int]]) -> None:
    decision = decide(install(), [touch(name, ago) for name, ago in given], Rules())
    given_out = credits_of(decision)
    assert given_out.keys() == set(NAMES)
    assert {sum(shares.values()) for shares in given_out.values()} == {WHOLE}
    organic = {shares.get("", 0) for shares in given_out.values()}
    assert organic == ({WHOLE} if decision.outcome == "organic" else {0})
