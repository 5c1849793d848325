"""The fake Segment's other side: scripted faults, and what it tells about itself."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fake_segment_calls import KEY, OK, OTHER_KEY, TRACK, basic, batch, ids, reasons, received, say, send
from starlette.testclient import TestClient

from exporter.fake_segment.app import create_app
from exporter.fake_segment.record import Record, Seen


@pytest.fixture
def segment() -> Iterator[TestClient]:
    with TestClient(create_app(), follow_redirects=False) as client:
        yield client


# --- scripted faults


def test_a_fault_holds_for_one_request_unless_told_otherwise(segment: TestClient) -> None:
    say(segment, "fault", status=503)
    statuses = [segment.post("/v1/batch", json=batch(TRACK)).status_code for _ in range(2)]
    assert statuses == [503, 200]
    assert len(received(segment)) == 1


@pytest.mark.parametrize("times", [0, "always"])
def test_a_fault_can_hold_until_it_is_taken_away(segment: TestClient, times: object) -> None:
    say(segment, "fault", status=500, times=times)
    statuses = [segment.post("/v1/batch", json=batch(TRACK)).status_code for _ in range(3)]
    assert segment.get("/_/faults").json()[0]["left"] == "always"
    assert segment.delete("/_/faults").json() == []
    statuses.append(segment.post("/v1/batch", json=batch(TRACK)).status_code)
    assert statuses == [500, 500, 500, 200]


def test_pending_faults_are_used_in_the_order_they_were_asked_for(segment: TestClient) -> None:
    say(segment, "fault", status=500, times=2)
    say(segment, "fault", status=408)
    pending = [(each["fault"]["status"], each["left"]) for each in segment.get("/_/faults").json()]
    statuses = [segment.post("/v1/batch", json=batch(TRACK)).status_code for _ in range(4)]
    assert pending == [(500, 2), (408, 1)]
    assert statuses == [500, 500, 408, 200]


@pytest.mark.parametrize(
    "match", [{"writeKey": KEY}, {"path": "/eu/v1/batch"}, {"messageId": "m1"}, {"writeKey": KEY, "messageId": "m1"}]
)
def test_a_fault_waits_for_the_request_that_it_is_for(segment: TestClient, match: dict[str, str]) -> None:
    say(segment, "fault", status=503, match=match)
    other = segment.post("/v1/batch", json=batch(TRACK | {"messageId": "m2"}, key=OTHER_KEY))
    meant = segment.post("/eu/v1/batch/", json=batch(TRACK | {"messageId": "m0"}, TRACK | {"messageId": "m1"}))
    assert (other.status_code, meant.status_code) == (200, 503)


def test_a_rate_limit_names_its_seconds_in_both_headers(segment: TestClient) -> None:
    say(segment, "fault", status=429, retryAfter=7)
    answer = segment.post("/v1/batch", json=batch(TRACK))
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "7"
    assert answer.headers["X-RateLimit-Reset"] == "7"
    assert answer.text == "  Too Many Requests  \n"


def test_retry_after_can_be_a_date(segment: TestClient) -> None:
    say(segment, "fault", status=503, retryAfter="Fri, 02 Jan 2026 00:00:00 GMT")
    answer = segment.post("/v1/batch", json=batch(TRACK))
    assert answer.headers["Retry-After"] == "Fri, 02 Jan 2026 00:00:00 GMT"
    assert "X-RateLimit-Reset" not in answer.headers


@pytest.mark.parametrize(
    ("body", "content_type", "sent"),
    [
        ({"success": False}, "application/json", b'{"success":false}'),
        ("html", "text/html; charset=utf-8", b"<!doctype html>"),
        ("gibberish", "text/plain; charset=utf-8", b"gibberish"),
    ],
)
def test_a_200_with_another_body_lands_nothing(
    segment: TestClient, body: object, content_type: str, sent: bytes
) -> None:
    say(segment, "fault", body=body)
    answer = segment.post("/v1/batch", json=batch(TRACK))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.content.startswith(sent)
    assert received(segment) == []


def test_a_200_can_be_a_lie(segment: TestClient) -> None:
    say(segment, "fault", status=200)
    assert send(segment, TRACK) == OK
    assert received(segment) == []


def test_an_error_can_follow_messages_that_landed(segment: TestClient) -> None:
    say(segment, "fault", status=500, land=True)
    assert segment.post("/v1/batch", json=batch(TRACK | {"messageId": "m1"})).status_code == 500
    send(segment, TRACK | {"messageId": "m1"})
    assert ids(segment) == ["m1"]
    assert reasons(segment) == ["duplicate"]


def test_a_302_leads_to_a_page_that_looks_like_success(segment: TestClient) -> None:
    say(segment, "fault", redirect=302)
    answer = segment.post("/v1/batch", json=batch(TRACK), follow_redirects=True)
    assert [step.status_code for step in answer.history] == [302]
    assert answer.request.method == "GET"
    assert segment.get("/_/requests").json()[0]["status"] == 302
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert received(segment) == []


def test_a_307_makes_the_client_post_the_body_again_elsewhere(segment: TestClient) -> None:
    say(segment, "fault", redirect=307, location="/eu/v1/import")
    answer = segment.post("/v1/batch", json=batch(TRACK), follow_redirects=True)
    assert [step.status_code for step in answer.history] == [307]
    assert answer.content == OK
    assert len(received(segment)) == 1


def test_a_lost_reply_lands_the_messages_all_the_same(segment: TestClient) -> None:
    say(segment, "fault", dropReply=True)
    with pytest.raises(ConnectionResetError):
        segment.post("/v1/batch", json=batch(TRACK))
    assert len(received(segment)) == 1
    assert segment.get("/_/requests").json()[0]["status"] is None


@pytest.mark.parametrize("match", [{}, {"messageId": "m1"}])
def test_a_reset_lands_nothing(segment: TestClient, match: dict[str, str]) -> None:
    say(segment, "fault", reset=10, match=match)
    with pytest.raises(ConnectionResetError):
        segment.post("/v1/batch", json=batch(TRACK | {"messageId": "m1"}))
    assert received(segment) == []
    assert segment.get("/_/faults").json() == []


def test_a_reset_can_come_after_the_messages_landed(segment: TestClient) -> None:
    say(segment, "fault", reset=0, land=True)
    with pytest.raises(ConnectionResetError):
        segment.post("/v1/batch", json=batch(TRACK | {"messageId": "m1"}))
    assert ids(segment) == ["m1"]


def test_a_reset_of_one_message_leaves_other_requests_alone(segment: TestClient) -> None:
    say(segment, "fault", reset=10, match={"messageId": "m2"})
    assert send(segment, TRACK | {"messageId": "m1"}) == OK
    with pytest.raises(ConnectionResetError):
        segment.post("/v1/batch", json=batch(TRACK | {"messageId": "m2"}))


def test_a_fault_comes_before_the_refusal_of_a_bad_body(segment: TestClient) -> None:
    say(segment, "fault", status=503)
    assert [segment.post("/v1/batch", content=b"{").status_code for _ in range(2)] == [503, 400]


@pytest.mark.parametrize(
    "fault",
    [
        {"stauts": 500},
        {"status": 99},
        {"times": -1},
        {"times": "often"},
        {"hang": -1},
        {"retryAfter": 7},
        {"redirect": 200},
        {"match": {"key": KEY}},
        {"refuse": 1},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(segment: TestClient, fault: dict[str, Any]) -> None:
    answer = segment.post("/_/fault", json=fault)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert segment.get("/_/faults").json() == []


# --- what the fake tells


def test_each_request_is_listed_with_what_was_answered_and_what_it_carried(segment: TestClient) -> None:
    say(segment, "clock", now="2026-01-01T00:00:01Z")
    items = [TRACK | {"messageId": "m1"}, {"type": "track"}]
    segment.post("/v1/batch", json=batch(*items), headers={"X-Retry-Count": "2"})
    segment.post("/v1/batch", content=b"{", headers=basic(f"{OTHER_KEY}:"))
    first, second = segment.get("/_/requests").json()
    assert first == {
        "path": "/v1/batch",
        "status": 200,
        "writeKey": KEY,
        "bytes": 184,
        "items": 2,
        "landed": 1,
        "refused": None,
        "fault": False,
        "retryCount": 2,
        "sentAt": "2026-01-01T00:00:00.000Z",
        "receivedAt": "2026-01-01T00:00:01.000Z",
        "messageIds": ["m1"],
    }
    assert (second["status"], second["writeKey"]) == (400, OTHER_KEY)
    assert second["refused"].startswith("not the JSON of a call")
    assert [each["items"] for each in segment.get(f"/_/requests?writeKey={KEY}").json()] == [2]


def test_received_can_be_read_by_key_and_in_pages(segment: TestClient) -> None:
    for number in range(5):
        send(segment, TRACK | {"messageId": f"m{number}"}, key=(KEY, OTHER_KEY)[number % 2])
    assert ids(segment, f"?writeKey={KEY}") == ["m0", "m2", "m4"]
    assert ids(segment, "?since=3") == ["m3", "m4"]
    page = segment.get(f"/_/received?writeKey={KEY}&since=1&limit=1")
    assert [message["messageId"] for message in page.json()] == ["m2"]
    rest = segment.get(f"/_/received?writeKey={KEY}&since={page.headers['X-Next']}")
    assert [message["messageId"] for message in rest.json()] == ["m4"]
    assert rest.headers["X-Next"] == "5"
    assert ids(segment, "?since=5") == []
    assert segment.get("/_/received?limit=many").status_code == 400


def test_only_the_newest_messages_are_kept_and_their_indexes_stay_true() -> None:
    record = Record(received_kept=2)
    for number in range(4):
        record.add_landed({"messageId": f"m{number}", "writeKey": KEY})
    m2, m3 = {"messageId": "m2", "writeKey": KEY}, {"messageId": "m3", "writeKey": KEY}
    assert record.page(None, 0, None) == ([m2, m3], 4)
    assert record.page(None, 1, None) == ([m2, m3], 4)
    assert record.page(None, 3, None) == ([m3], 4)
    assert record.page(None, 0, 1) == ([m2], 3)
    assert record.landed_count == 4


def test_only_the_newest_ids_are_remembered() -> None:
    seen, now = Seen(kept=2), datetime(2026, 1, 1, tzinfo=UTC)
    assert [seen.is_repeat(each, now) for each in ("m1", "m2", "m2", "m3", "m1")] == [False, False, True, False, False]


def test_without_keeping_the_fake_only_counts(segment: TestClient) -> None:
    send(segment, TRACK | {"messageId": "m1"}, {})
    say(segment, "mode", keep=False)
    send(segment, TRACK | {"messageId": "m2"}, TRACK | {"messageId": "m2"})
    assert received(segment) == []
    assert reasons(segment) == []
    assert segment.get("/_/requests").json() == []
    say(segment, "mode", keep=True)
    send(segment, TRACK | {"messageId": "m3"})
    assert ids(segment, "?since=2") == ["m3"]
    assert segment.get("/_/counts").json() == {
        "requests": 3,
        "landed": 3,
        "landedByKey": {KEY: 3},
        "dropped": {"bad_request": 1, "duplicate": 1},
    }


def test_a_mode_changes_only_what_is_named_and_knows_its_names(segment: TestClient) -> None:
    say(segment, "mode", strict=True)
    assert say(segment, "mode", keep=False) == {"keep": False, "strict": True, "tooMany": "whole"}
    assert segment.post("/_/mode", json={"kep": False}).status_code == 400


def test_the_clock_stops_at_an_instant_and_can_be_moved_on(segment: TestClient) -> None:
    assert say(segment, "clock")["stopped"] is False
    stopped = say(segment, "clock", now="2026-01-01T01:00:00+01:00")
    assert stopped == {"now": "2026-01-01T00:00:00.000Z", "stopped": True}
    assert say(segment, "clock", advance=90.5)["now"] == "2026-01-01T00:01:30.500Z"
    assert say(segment, "clock", now="2026-02-01T00:00:00Z", advance=1)["now"] == "2026-02-01T00:00:01.000Z"
    assert segment.post("/_/clock", json={"now": "noon"}).status_code == 400


def test_a_reset_forgets_everything(segment: TestClient) -> None:
    say(segment, "clock", now="2026-01-01T00:00:00Z")
    say(segment, "keys", writeKey=KEY, disabled=True)
    say(segment, "mode", strict=True)
    send(segment, TRACK | {"messageId": "m1"})
    say(segment, "fault", status=500)
    say(segment, "reset")
    assert segment.get("/_/faults").json() == []
    assert segment.get("/_/dropped").json() == []
    assert say(segment, "clock")["stopped"] is False
    send(segment, TRACK | {"messageId": "m1"})
    assert ids(segment) == ["m1"]
