"""What an answer of Segment's means, and how long to wait for the next attempt."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.verdict import Reply, judge, retry_after, wait

SUCCESS = '{"success": true}'
RETRIED = {408, 410, 429, 460} | (set(range(500, 600)) - {501, 505})


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_the_verdict_that_segments_own_clients_give_it(status: int) -> None:
    expected = (
        "accepted"
        if 200 <= status < 300
        else "content"
        if status in (400, 413, 422)
        else "transient"
        if status in RETRIED
        else "destination"
    )
    assert judge(Reply(status, SUCCESS)).kind == expected


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
@pytest.mark.parametrize("body", ['{"success": true}', ' {"success":true} ', '{"success": true, "more": {"a": [1]}}'])
def test_success_is_a_2xx_whose_json_object_says_so(status: int, body: str) -> None:
    assert judge(Reply(status, body)).kind == "accepted"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "OK",
        "true",
        "[]",
        "{}",
        "null",
        '{"success": false}',
        '{"success": "true"}',
        '{"success": 1}',
        '{"success": null}',
        '[{"success": true}]',
        '{"success": true',
        "<!doctype html><title>Sign in</title>",
        "[" * 100_000,
    ],
)
def test_a_200_with_any_other_body_is_not_accepted_and_tried_again(body: str) -> None:
    verdict = judge(Reply(200, body))
    assert (verdict.kind, verdict.detail) == ("transient", "unknown reply")


@given(st.text())
def test_no_other_text_is_taken_for_success(body: str) -> None:
    assert judge(Reply(200, body)).kind == "transient"


@pytest.mark.parametrize("reply", [Reply(302), Reply(307), Reply(301, SUCCESS)])
def test_a_redirect_is_the_destinations_fault_even_when_it_ends_in_success(reply: Reply) -> None:
    verdict = judge(reply)
    assert verdict.kind == "destination"
    assert "FOOTFALL_SEGMENT_URL_US" in verdict.detail


def test_without_an_answer_it_depends_on_whether_anything_had_left() -> None:
    assert judge(Reply(error="ReadTimeout", sent=True)).kind == "ambiguous"
    assert judge(Reply(error="ConnectTimeout", sent=False)).kind == "transient"


@pytest.mark.parametrize("status", [400, 503])
def test_only_an_excerpt_of_an_answer_is_kept(status: int) -> None:
    assert len(judge(Reply(status, "x" * 10_000)).detail) == 200


def test_the_waits_double_from_half_a_second_and_end_with_the_fifth_attempt() -> None:
    assert [wait(attempt, None, 0.0) for attempt in range(1, 7)] == [0.5, 1.0, 2.0, 4.0, None, None]


@given(attempt=st.integers(1, 4), jitter=st.floats(0, 1, exclude_max=True))
def test_jitter_adds_up_to_a_tenth(attempt: int, jitter: float) -> None:
    plain, jittered = wait(attempt, None, 0.0), wait(attempt, None, jitter)
    assert plain is not None
    assert jittered is not None
    assert plain <= jittered <= plain * 1.1


@pytest.mark.parametrize(("asked", "waits"), [(0.5, 0.5), (7, 7), (30, 30), (30.5, None), (31, None), (3_600, None)])
def test_what_a_destination_asks_for_is_waited_for_up_to_half_a_minute_and_otherwise_left_to_a_later_run(
    asked: float, waits: float | None
) -> None:
    assert wait(1, asked, 0.9) == waits


NOW = 1_771_243_200.0  # Mon, 16 Feb 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        ("300", 300),
        ("3600", 3_600),
        ("86400", 86_400),
        ("999999999", 86_400),
        ("9" * 5_000, None),  # more digits than Python reads
        ("0", None),
        ("-5", None),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("Mon, 16 Feb 2026 12:10:00 GMT", 600),
        ("Monday, 16-Feb-26 12:10:00 GMT", 600),
        ("Mon, 16 Feb 2026 13:10:00 +0100", 600),
        ("Mon, 16 Feb 2026 12:10:00 -0000", 600),
        ("Mon, 16 Feb 2026 11:59:59 GMT", None),
        ("Fri, 16 Feb 2126 12:00:00 GMT", 86_400),
        ("Mon, 16 Feb 99999 12:00:00 GMT", None),
    ],
)
def test_a_retry_after_is_read_as_seconds_or_as_a_date(header: str, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


def test_a_date_of_no_known_zone_is_one_of_utc_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Pacific/Kiritimati")
        time.tzset()
        seconds = retry_after("Mon, 16 Feb 2026 12:10:00 -0000", NOW)
    time.tzset()
    assert seconds == 600


@given(header=st.text() | st.dates().map(lambda date: f"{date:%a, %d %b %Y} 12:00:00 GMT"))
def test_no_retry_after_asks_for_nothing_or_for_more_than_a_day(header: str) -> None:
    seconds: Any = retry_after(header, NOW)
    assert seconds is None or 0 < seconds <= 86_400


@pytest.mark.parametrize("body", ["OK", '"OK"', '{"ok": true, "receivedEvents": 2, "okEvents": 2}', SUCCESS])
def test_what_is_not_segment_may_say_success_in_its_own_words(body: str) -> None:
    assert judge(Reply(200, body, elsewhere=True)).kind == "accepted"


@pytest.mark.parametrize(
    "body", ["", "ok then", '{"ok": false, "errors": ["x"]}', '{"ok": 1}', "<title>OK</title>", "[]"]
)
def test_but_not_in_any_words(body: str) -> None:
    assert judge(Reply(200, body, elsewhere=True)).kind == "transient"


def test_a_redirect_says_which_address_to_check() -> None:
    assert judge(Reply(302)).detail == "the endpoint redirects: check FOOTFALL_SEGMENT_URL_US and _EU"
    assert judge(Reply(307, elsewhere=True)).detail == "the endpoint redirects: check the destination's URL"
