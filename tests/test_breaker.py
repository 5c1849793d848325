"""When a course is sent to in full, tried with one event first, or left alone: what follows from what happened."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import breaker
from store.ledger import Health

NOW = 1_771_243_200_123
DAY = 24 * 3_600_000


def after(signs: str) -> Health:
    """What a course is after attempts: + accepted, - not."""
    health = Health()
    for sign in signs:
        health = breaker.succeeded(health, 0) if sign == "+" else breaker.failed(health, "it fails")
    return health


@pytest.mark.parametrize("signs", ["", "+", "-", "----", "+----", "----+----+----+", "+-" * 30, "++++++---+--+--"])
def test_it_stays_closed_while_failures_are_few(signs: str) -> None:
    assert after(signs).tripped == ""


@pytest.mark.parametrize("signs", ["-----", "+" * 40 + "-----", "+--+--+---", "---+---+---"])
def test_it_opens_on_five_in_a_row_and_on_seven_of_ten(signs: str) -> None:
    assert after(signs).tripped == "it fails"


@pytest.mark.parametrize(
    ("trips", "hurries"), [(0, False), (1, True), (2, True), (4, True), (5, False), (6, True), (9, True), (10, False)]
)
def test_the_event_that_tries_it_has_little_time_but_at_first_every_fifth_time_and_once_a_day(
    trips: int, hurries: bool
) -> None:
    opened = msgspec.structs.replace(after("-----"), trips=trips)
    assert breaker.hurries(opened) is hurries
    assert not breaker.hurries(msgspec.structs.replace(opened, tripped=""))


def test_an_accepted_attempt_closes_it_and_the_first_reason_stays_until_then() -> None:
    opened = breaker.trip(after("-----"), "it answers 403")
    assert breaker.failed(opened, "another").tripped == "it answers 403"
    closed = breaker.succeeded(breaker.asked_to_wait(breaker.ended(opened, NOW), NOW), 0)
    assert (closed.tripped, closed.trips, closed.failures, closed.not_before) == ("", 0, 0, 0)


def test_opened_ten_times_in_a_row_it_is_tried_once_a_day() -> None:
    health = after("-----")
    for number in range(1, 13):
        health = breaker.ended(breaker.failed(health, "it fails"), NOW)
        assert health.trips == number
        assert health.not_before == (NOW + DAY if number >= 10 else 0)


def test_a_course_that_is_well_has_no_trip_at_the_end_of_a_run() -> None:
    assert breaker.ended(after("+-+"), NOW).trips == 0


def test_what_is_in_doubt_is_known_until_it_was_accepted() -> None:
    health = breaker.doubted(breaker.doubted(Health(), NOW, 20), NOW + 5, 10)
    assert (health.ambiguous_since, health.ambiguous_seq) == (NOW, 20)
    assert breaker.succeeded(health, 19).ambiguous_seq == 20
    assert breaker.succeeded(health, 20).ambiguous_seq == breaker.succeeded(health, 20).ambiguous_since == 0


@pytest.mark.parametrize(
    ("first_seq", "later", "expected"),
    [(1, DAY + 1, True), (20, DAY + 1, True), (21, DAY + 1, False), (1, DAY, False), (1, 0, False)],
)
def test_what_is_sent_again_after_a_day_may_be_a_duplicate(first_seq: int, later: int, expected: bool) -> None:
    health = breaker.doubted(Health(), NOW, 20)
    assert breaker.possible_duplicate(health, first_seq, NOW + later) is expected


def test_without_a_doubt_there_is_no_duplicate() -> None:
    assert not breaker.possible_duplicate(Health(), 1, NOW)


@given(st.text("+-", max_size=60))
def test_only_the_newest_attempts_are_kept(signs: str) -> None:
    health = after(signs)
    assert health.recent == signs[-breaker.WINDOW :]
    assert health.failures == len(signs) - len(signs.rstrip("-"))
    assert msgspec.convert(msgspec.to_builtins(health), Health) == health
