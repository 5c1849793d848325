"""The fake Segment in-process: what lands, what is dropped, what is refused. What needs a real socket is in e2e/."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_segment_calls import KEY, OK, OTHER_KEY, TRACK, basic, batch, ids, reasons, received, say, send
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from exporter.fake_segment.app import create_app

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def segment() -> Iterator[TestClient]:
    with TestClient(create_app(), follow_redirects=False) as client:
        yield client


# --- what lands, and in which form


@pytest.mark.parametrize(
    ("name", "message_id", "sent_at", "received_at"),
    [
        ("user", "a50a9aeb-a73c-5c1b-b36a-c5ea733ad219", "2022-03-29T09:39:57.093+00:00", "2022-03-29T09:39:58.641Z"),
        (
            "install",
            "906a9690-46d8-5787-b3a9-5e8a43bf4966",
            "2022-03-29T09:35:12.581+00:00",
            "2022-03-29T09:35:15.377Z",
        ),
        (
            "app-request",
            "a696dbec-430a-530e-8d80-5c5950f0b5f1",
            "2022-03-29T09:35:54.997+00:00",
            "2022-03-29T09:35:56.509Z",
        ),
    ],
)
def test_a_documented_payload_lands_in_the_documented_form(
    segment: TestClient, name: str, message_id: str, sent_at: str, received_at: str
) -> None:
    item = json.loads((GOLDEN / f"mpac-{name}-event.json").read_text())
    item |= {"messageId": message_id, "context": {"library": {"name": "analytics-python", "version": "2.4.0"}}}
    say(segment, "clock", now=received_at)
    send(segment, item, key="FOOTFALLEXAMPLEWRITEKEY000000001", sentAt=sent_at)
    assert received(segment) == [json.loads((GOLDEN / "landed" / f"mpac-{name}-event.json").read_text())]


def test_the_landed_time_is_corrected_by_the_clock_of_the_sender(segment: TestClient) -> None:
    say(segment, "clock", now="2026-01-01T12:00:10Z")
    send(segment, TRACK | {"timestamp": "2026-01-01T08:30:00.5+01:00"}, sentAt="2026-01-01T12:00:00Z")
    (message,) = received(segment)
    assert message["originalTimestamp"] == "2026-01-01T07:30:00.500Z"
    assert message["sentAt"] == "2026-01-01T12:00:00.000Z"
    assert message["receivedAt"] == "2026-01-01T12:00:10.000Z"
    assert message["timestamp"] == "2026-01-01T07:30:10.500Z"


@pytest.mark.parametrize("timestamp", [None, "yesterday", 1767225600000, "0001-01-01T00:00:00Z"])
def test_a_message_without_a_readable_time_lands_at_the_time_it_was_received(
    segment: TestClient, timestamp: object
) -> None:
    say(segment, "clock", now="2026-01-01T12:00:10Z")
    send(segment, TRACK | {"timestamp": timestamp}, sentAt="2026-01-01T12:00:00Z")
    assert received(segment)[0]["timestamp"] == "2026-01-01T12:00:10.000Z"


def test_without_sent_at_the_time_is_not_corrected(segment: TestClient) -> None:
    say(segment, "clock", now="2026-01-01T12:00:10Z")
    send(segment, TRACK | {"timestamp": "2026-01-01T07:00:00Z"}, sentAt=None)
    assert received(segment)[0]["timestamp"] == "2026-01-01T07:00:00.000Z"


def test_context_and_integrations_of_the_batch_are_merged_into_each_message_whose_own_win(segment: TestClient) -> None:
    send(
        segment,
        TRACK | {"context": {"locale": "de"}, "integrations": {"X": True}},
        TRACK,
        context={"locale": "en", "ip": "192.0.2.1"},
        integrations={"All": False},
    )
    first, second = received(segment)
    assert first["context"] == {"locale": "de", "ip": "192.0.2.1"}
    assert first["integrations"] == {"All": False, "X": True}
    assert second["context"] == {"locale": "en", "ip": "192.0.2.1"}
    assert second["integrations"] == {"All": False}


def test_a_message_without_an_id_gets_one_so_that_sending_it_again_makes_a_second(segment: TestClient) -> None:
    send(segment, TRACK)
    send(segment, TRACK | {"messageId": ""}, TRACK | {"messageId": 7})
    first, second, third = ids(segment)
    assert first.startswith("api-")
    assert second.startswith("api-")
    assert third.startswith("api-")
    assert first != second


def test_an_explicit_null_id_lands_as_it_was_sent(segment: TestClient) -> None:
    send(segment, TRACK | {"anonymousId": None})
    assert received(segment)[0]["anonymousId"] is None


# --- what is dropped behind a 200


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("text", "bad_request"),
        ({"userId": "ann", "event": "e"}, "bad_request"),
        (TRACK | {"type": ["track"]}, "bad_request"),
        ({"type": "track", "event": "e"}, "no_user_anon_id"),
        ({"type": "track", "event": "e", "userId": None, "anonymousId": None}, "no_user_anon_id"),
        (TRACK | {"userId": ""}, "id_not_string"),
        (TRACK | {"anonymousId": ""}, "id_not_string"),
        (TRACK | {"userId": 7}, "id_not_string"),
        ({"type": "track", "userId": "ann"}, "event_not_defined"),
        (TRACK | {"event": ""}, "event_not_defined"),
        (TRACK | {"event": 7}, "event_not_string"),
        (TRACK | {"properties": []}, "properties_not_object"),
        ({"type": "page", "userId": "ann", "properties": "x"}, "properties_not_object"),
        ({"type": "page", "userId": "ann", "name": ""}, "name_not_string"),
        ({"type": "screen", "userId": "ann", "category": 7}, "category_not_string"),
        ({"type": "identify", "userId": "ann", "traits": []}, "traits_not_object"),
        (TRACK | {"messageId": "x" * 100}, "message_id_too_long"),
        (TRACK | {"writeKey": OTHER_KEY}, "item_write_key"),
    ],
)
def test_a_bad_message_is_dropped_behind_a_200_and_its_neighbours_land(
    segment: TestClient, item: object, reason: str
) -> None:
    assert send(segment, TRACK | {"messageId": "before"}, item, TRACK | {"messageId": "after"}) == OK
    assert ids(segment) == ["before", "after"]
    assert reasons(segment) == [reason]
    assert segment.get("/_/dropped").json()[0]["message"] == item


@pytest.mark.parametrize(
    "item",
    [
        TRACK | {"messageId": "x" * 99},
        TRACK | {"properties": None},
        TRACK | {"writeKey": None},
        TRACK | {"writeKey": KEY},
        {"type": "page", "anonymousId": "a", "name": None, "category": None},
        {"type": "screen", "anonymousId": "a", "name": "Home"},
        {"type": "identify", "userId": "ann", "traits": {"plan": "free"}},
        {"type": "group", "userId": "ann", "groupId": "g"},
        {"type": "alias", "userId": "ann", "previousId": "a"},
    ],
)
def test_a_good_message_of_each_type_lands(segment: TestClient, item: object) -> None:
    send(segment, item)
    assert len(received(segment)) == 1


@pytest.mark.parametrize("body", [{"batch": [], "writeKey": KEY}, {"writeKey": KEY}])
def test_an_empty_batch_is_answered_200_and_noted(segment: TestClient, body: object) -> None:
    assert segment.post("/v1/batch", json=body).content == OK
    assert reasons(segment) == ["empty_batch"]


def test_a_batch_of_2500_lands_and_one_more_loses_the_whole_batch(segment: TestClient) -> None:
    send(segment, *[TRACK] * 2500)
    assert segment.get("/_/counts").json()["landed"] == 2500
    assert send(segment, *[TRACK] * 2501) == OK
    assert segment.get("/_/counts").json()["landed"] == 2500
    assert segment.get("/_/counts").json()["dropped"] == {"too_many_events": 2501}


def test_the_other_reading_of_too_many_events_loses_only_the_excess(segment: TestClient) -> None:
    say(segment, "mode", tooMany="excess")
    send(segment, *[TRACK] * 2502)
    assert segment.get("/_/counts").json()["landed"] == 2500
    assert reasons(segment) == ["too_many_events", "too_many_events"]


def test_a_message_id_lands_once_across_all_keys(segment: TestClient) -> None:
    send(segment, TRACK | {"messageId": "m1"})
    send(segment, TRACK | {"messageId": "m1"})
    send(segment, TRACK | {"messageId": "m1"}, key=OTHER_KEY)
    assert [message["writeKey"] for message in received(segment)] == [KEY]
    assert reasons(segment) == ["duplicate", "duplicate"]


def test_a_message_id_lands_again_after_24_hours_on_the_fakes_clock(segment: TestClient) -> None:
    say(segment, "clock", now="2026-01-01T00:00:00Z")
    for seconds in (0, 86_399, 1, 1):
        say(segment, "clock", advance=seconds)
        send(segment, TRACK | {"messageId": "m1"})
    assert [message["receivedAt"] for message in received(segment)] == [
        "2026-01-01T00:00:00.000Z",
        "2026-01-02T00:00:00.000Z",
    ]


def test_an_id_that_was_dropped_may_land_later(segment: TestClient) -> None:
    say(segment, "keys", writeKey=OTHER_KEY, disabled=True)
    send(segment, TRACK | {"messageId": "m1"}, key=OTHER_KEY)
    send(segment, TRACK | {"messageId": "m1"})
    assert ids(segment) == ["m1"]


# --- keys, regions, sources


def test_every_key_lands_until_the_fake_is_strict(segment: TestClient) -> None:
    say(segment, "keys", writeKey=KEY)
    send(segment, TRACK, key=OTHER_KEY)
    say(segment, "mode", strict=True)
    send(segment, TRACK, key=KEY)
    assert send(segment, TRACK, key=OTHER_KEY) == OK
    assert [message["writeKey"] for message in received(segment)] == [OTHER_KEY, KEY]
    assert reasons(segment) == ["unknown_source"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [({"known": False}, "unknown_source"), ({"disabled": True}, "source_disabled"), ({"region": "eu"}, "wrong_region")],
)
def test_a_closed_source_answers_200_and_takes_nothing(
    segment: TestClient, source: dict[str, Any], reason: str
) -> None:
    say(segment, "keys", writeKey=KEY, **source)
    assert send(segment, TRACK, TRACK) == OK
    assert received(segment) == []
    assert reasons(segment) == [reason, reason]


def test_a_key_lands_only_at_the_host_of_its_region(segment: TestClient) -> None:
    say(segment, "keys", writeKey="KEYINDUBLIN", region="eu")
    say(segment, "keys", writeKey="KEYINOREGON", region="us")
    for path in ("/v1/batch", "/eu/v1/batch"):
        for key in ("KEYINDUBLIN", "KEYINOREGON"):
            send(segment, TRACK | {"messageId": f"{key} {path}"}, path=path, key=key)
    assert ids(segment) == ["KEYINOREGON /v1/batch", "KEYINDUBLIN /eu/v1/batch"]
    assert [(drop["writeKey"], drop["region"]) for drop in segment.get("/_/dropped").json()] == [
        ("KEYINDUBLIN", "us"),
        ("KEYINOREGON", "eu"),
    ]


def test_a_source_without_a_destination_is_disabled_after_14_days_though_it_receives(segment: TestClient) -> None:
    say(segment, "clock", now="2026-01-01T00:00:00Z")
    say(segment, "keys", writeKey=KEY, destinations=0)
    say(segment, "keys", writeKey=OTHER_KEY, destinations=1)
    for seconds in (0, 14 * 86_400 - 1, 1):
        say(segment, "clock", advance=seconds)
        send(segment, TRACK)
        send(segment, TRACK, key=OTHER_KEY)
    assert segment.get("/_/counts").json()["landedByKey"] == {KEY: 2, OTHER_KEY: 3}
    assert reasons(segment) == ["source_disabled"]


@pytest.mark.parametrize("key", ["", "abc123", None])
def test_an_empty_or_very_short_key_is_a_400(segment: TestClient, key: object) -> None:
    assert segment.post("/v1/batch", json={"batch": [TRACK], "writeKey": key}).status_code == 400


def test_a_key_of_seven_characters_is_taken(segment: TestClient) -> None:
    send(segment, TRACK, key="abc1234")
    assert received(segment)[0]["writeKey"] == "abc1234"


@pytest.mark.parametrize(
    ("headers", "body_key", "landed_under"),
    [
        ({}, KEY, KEY),
        (basic(f"{KEY}:"), None, KEY),
        (basic(KEY), None, KEY),
        (basic(f"{OTHER_KEY}:"), KEY, KEY),
        ({"Authorization": "Bearer eyJhbGciOi"}, KEY, KEY),
    ],
)
def test_the_key_is_found_in_the_body_or_in_the_basic_header(
    segment: TestClient, headers: dict[str, str], body_key: str | None, landed_under: str
) -> None:
    body = {"batch": [TRACK]} | ({"writeKey": body_key} if body_key else {})
    assert segment.post("/v1/batch", json=body, headers=headers).content == OK
    assert received(segment)[0]["writeKey"] == landed_under


@pytest.mark.parametrize("value", ["Bearer S0VZT0ZUSEVPV05FUjo=", "Basic ***", "Basic /w==", "Basic"])
def test_a_header_without_a_readable_key_and_no_key_in_the_body_is_a_400(segment: TestClient, value: str) -> None:
    answer = segment.post("/v1/batch", json={"batch": [TRACK]}, headers={"Authorization": value})
    assert answer.status_code == 400


# --- what is refused


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"batch": {}, "writeKey": "KEYOFTHEOWNER"}',
        b'{"batch": [], "writeKey": 1234567890}',
        b'{"batch": [{"type":"track","event":"e","userId":"u","properties":{"a":NaN}}], "writeKey": "KEYOFTHEOWNER"}',
        b'{"batch": [{"type":"track","event":"e","userId":"u","context":{"a":-Infinity}}],"writeKey": "KEYOFTHEOWNER"}',
        b'{"batch": [{"type":"track","event":"\\ud800","userId":"u"}], "writeKey": "KEYOFTHEOWNER"}',
        b'{"batch": [{"type":"track","event":"\xff","userId":"u"}], "writeKey": "KEYOFTHEOWNER"}',
        b'{"batch": [' + b"[" * 5000 + b"]" * 5000 + b'], "writeKey": "KEYOFTHEOWNER"}',
    ],
)
def test_a_body_that_is_not_the_json_of_a_batch_is_a_400_in_padded_plain_text(segment: TestClient, body: bytes) -> None:
    answer = segment.post("/v1/batch", content=body)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text == "  Bad Request  \n"
    assert received(segment) == []
    assert reasons(segment) == []


def sized(size: int) -> bytes:
    """Return a track item of exactly so many bytes."""
    head = b'{"type":"track","event":"e","userId":"u","properties":{"a":"'
    return head + b"x" * (size - len(head) - 3) + b'"}}'


def test_an_event_of_32_kib_lands_and_one_byte_more_is_a_400_for_the_whole_batch(segment: TestClient) -> None:
    for size, status in ((32_768, 200), (32_769, 400)):
        items = b",".join([sized(100), sized(size)])
        body = b'{"writeKey":"KEYOFTHEOWNER","batch":[' + items + b"]}"
        assert segment.post("/v1/batch", content=body).status_code == status
    assert len(received(segment)) == 2


def batch_of(size: int) -> bytes:
    """Return a batch body of exactly so many bytes."""
    items = [sized(30_000)] * (size // 30_000)
    frame = b'{"writeKey":"KEYOFTHEOWNER","batch":[%s]}'
    return frame % b",".join([*items, sized(size - len(frame % b",".join(items)) - 1)])


def test_a_batch_of_500_kib_lands_and_one_byte_more_is_a_400(segment: TestClient) -> None:
    assert len(batch_of(512_000)) == 512_000
    assert segment.post("/v1/batch", content=batch_of(512_000)).status_code == 200
    assert segment.post("/v1/batch", content=batch_of(512_001)).status_code == 400
    assert len(received(segment)) == 18


def test_the_limit_of_a_batch_holds_for_the_unpacked_size(segment: TestClient) -> None:
    for body, status in ((batch_of(512_000), 200), (batch_of(512_000) + b" ", 400), (b" " * 20_000_000, 400)):
        packed = gzip.compress(body)
        assert segment.post("/v1/batch", content=packed, headers={"Content-Encoding": "gzip"}).status_code == status


@settings(deadline=None)  # a loaded machine is not a failure
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["type", "event", "userId", "timestamp"]), inner)
        ),
        max_leaves=8,
    ),
    st.sampled_from(["batch", "track", "identify", "page", "import"]),
)
def test_whatever_is_sent_is_answered_200_or_400_and_every_message_is_accounted_for(item: object, call: str) -> None:
    segment = TestClient(create_app())
    body = (
        {"batch": [item, TRACK], "writeKey": KEY} if call in ("batch", "import") else {"writeKey": KEY, "event": item}
    )
    answer = segment.post(f"/v1/{call}", content=json.dumps(body))
    assert answer.status_code in (200, 400)
    counts = segment.get("/_/counts").json()
    items = sum(request["items"] for request in segment.get("/_/requests").json())
    assert counts["landed"] + sum(counts["dropped"].values()) == items


# --- paths, encodings, browsers


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("host", ["", "/eu"])
@pytest.mark.parametrize(
    ("call", "landed_type"),
    [
        ("track", "track"),
        ("identify", "identify"),
        ("page", "page"),
        ("screen", "screen"),
        ("group", "group"),
        ("alias", "alias"),
        ("t", "track"),
        ("i", "identify"),
        ("p", "page"),
        ("s", "screen"),
        ("g", "group"),
        ("a", "alias"),
    ],
)
def test_every_single_call_lands_under_its_long_and_its_short_path(
    segment: TestClient, call: str, landed_type: str, host: str, slash: str
) -> None:
    body = {"writeKey": KEY, "userId": "ann", "event": "e", "sentAt": "2026-01-01T00:00:00Z", "messageId": "m1"}
    assert segment.post(f"{host}/v1/{call}{slash}", json=body).content == OK
    (message,) = received(segment)
    assert (message["type"], message["writeKey"], message["sentAt"]) == (landed_type, KEY, "2026-01-01T00:00:00.000Z")


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/batch/", "/v1/b", "/v1/import", "/v1/import/", "/eu/v1/import/"])
def test_every_path_of_a_batch_takes_a_batch(segment: TestClient, path: str) -> None:
    send(segment, TRACK, TRACK, path=path)
    assert len(received(segment)) == 2


@pytest.mark.parametrize("path", ["/v1/v1/batch", "/v1/nothing", "/batch"])
def test_a_path_that_segment_does_not_have_is_a_404(segment: TestClient, path: str) -> None:
    assert segment.post(path, json=batch(TRACK)).status_code == 404


def test_the_browsers_own_metrics_are_accepted_and_forgotten(segment: TestClient) -> None:
    assert segment.post("/v1/m", json={"series": []}).content == OK
    assert segment.get("/_/counts").json() == {"requests": 0, "landed": 0, "landedByKey": {}, "dropped": {}}


def test_gzip_and_text_plain_bodies_are_read_as_json(segment: TestClient) -> None:
    body = json.dumps(batch(TRACK)).encode()
    packed = segment.post("/v1/batch", content=gzip.compress(body), headers={"Content-Encoding": "gzip"})
    plain = segment.post("/v1/b", content=body, headers={"Content-Type": "text/plain"})
    broken = segment.post("/v1/batch", content=body, headers={"Content-Encoding": "gzip"})
    assert (packed.status_code, plain.status_code, broken.status_code) == (200, 200, 400)
    assert len(received(segment)) == 2


def test_a_preflight_allows_what_the_browser_sdk_sends(segment: TestClient) -> None:
    answer = segment.options(
        "/v1/t",
        headers={
            "Origin": "https://partner.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type,x-retry-count",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "X-Retry-Count" in answer.headers["Access-Control-Allow-Headers"]


def test_settings_are_found_for_a_known_key_and_name_this_host_in_its_region(segment: TestClient) -> None:
    say(segment, "keys", writeKey=KEY, region="eu")
    say(segment, "keys", writeKey=OTHER_KEY, known=False)
    found = segment.get(f"/v1/projects/{KEY}/settings").json()["integrations"]["Segment.io"]
    missing = segment.get(f"/v1/projects/{OTHER_KEY}/settings")
    assert found == {"apiKey": KEY, "apiHost": "testserver/eu/v1", "protocol": "http"}
    assert (missing.status_code, missing.text) == (404, "Invalid path or write key provided.")
    assert segment.get("/v1/projects/abc123/settings").status_code == 404
    plain = segment.get("/v1/projects/KEYOFNOBODY/settings").json()
    assert plain["integrations"]["Segment.io"]["apiHost"] == "testserver/v1"
