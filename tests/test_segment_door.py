"""Segment's HTTP API as a door: every dialect that its clients speak, what is stored of it, and what is refused."""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from conftest import DAY_MS, Cast, Doors, iso
from httpx2 import Response
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collector.doors import segment, segment_request, unzip

SUCCESS = {"success": True}
ZEROS = "00000000-0000-0000-0000-000000000000"
only_sqlite = pytest.mark.only("sqlite", "what is read and answered before any store is asked")


def key_of(cast: Cast, app: str = "com.owner.charts") -> str:
    ((key,),) = cast.rows(f"select ingest_key from apps where app_key = '{app}'", nature="registry")
    assert isinstance(key, str)
    return key


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


def call(**changed: Any) -> dict[str, Any]:
    """A track call that is good, with the fields given."""
    return {"type": "track", "event": "Report Exported", "userId": "user-1", "messageId": str(uuid.uuid4())} | changed


def post(doors: Doors, path: str, body: Any, **headers: str) -> Response:
    """Bytes go as they are, all else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = doors.client.post(path, content=content, headers={n.replace("_", "-"): v for n, v in headers.items()})
    assert isinstance(answer.json(), dict)
    assert answer.headers["access-control-allow-origin"] == "*"
    return answer


def said(answer: Response) -> tuple[int, Any]:
    """The status, and why not."""
    return answer.status_code, answer.json().get("code", answer.json()["success"])


# --- paths and keys


def test_every_path_of_every_client_is_taken_with_and_without_a_slash(doors: Doors, cast: Cast) -> None:
    key = key_of(cast)
    types = ["track", "page", "identify", "group", "alias", "screen"]
    ids = {"groupId": "acme", "previousId": "before"}
    for kind in types:
        for name in (kind, kind[0]):
            for end in ("", "/"):
                body = call(type=None, writeKey=key, **ids)
                assert post(doors, f"/v1/{name}{end}", body).json() == SUCCESS, name
    for name in ("batch", "import", "b"):
        for end in ("", "/"):
            assert post(doors, f"/v1/{name}{end}", {"batch": [call()], "writeKey": key}).json() == SUCCESS, name
    assert [event["type"] for event in cast.events()] == [kind for kind in types for _ in range(4)] + ["track"] * 6
    assert {(e["app_key"], e["partner_key"], e["source"]) for e in cast.events()} == {
        ("com.owner.charts", "owner", "partner")
    }
    assert cast.balance()["stored"] == 30


@only_sqlite
def test_the_browsers_own_numbers_are_taken_and_counted_nowhere(doors: Doors, cast: Cast) -> None:
    assert post(doors, "/v1/m", {"series": [{"type": "Counter"}]}).json() == SUCCESS
    assert post(doors, "/v1/m/", b"no JSON").json() == SUCCESS
    assert cast.balance()["received"] == 0


def test_a_key_is_taken_from_the_header_or_from_the_body(doors: Doors, cast: Cast) -> None:
    key, other = key_of(cast), key_of(cast, "com.stranger.notes")
    told: list[tuple[dict[str, str], Any, int]] = [
        (basic(f"{key}:"), ..., 200),
        (basic(key), ..., 200),
        (basic(f"{key}:password"), None, 200),
        ({"Authorization": basic(f"{key}:")["Authorization"].rstrip("=").replace("Basic", "basic")}, "", 200),
        ({}, key, 200),
        (basic(f"{key}:"), key, 200),
        ({"Authorization": "Bearer a.jwt.token"}, key, 200),
        (basic(f"{key}:"), other, 401),
        (basic(f"{other}x:"), ..., 401),
        (basic(key[:-1]), ..., 401),
        (basic(key.upper() if key != key.upper() else key.lower()), ..., 401),
        ({"Authorization": "Basic ????"}, ..., 401),
        ({"Authorization": "Basic /////w=="}, ..., 401),
        ({}, f"{key}\n", 401),
        ({}, "", 401),
        ({}, None, 401),
        ({}, 7, 401),
        ({}, ..., 401),
    ]
    for headers, in_body, status in told:
        body = call() if in_body is ... else call(writeKey=in_body)
        answer = post(doors, "/v1/track", body, **headers)
        assert answer.status_code == status, (headers, in_body)
        assert answer.json() == SUCCESS if status == 200 else answer.json()["code"] == "unknown_key"
    assert cast.balance() == {"received": 18, "stored": 7, "duplicate": 0, "rejected": 11, "shed": 0}
    assert cast.rejections() == [("", "unknown_key", b"")] * 11
    assert {event["app_key"] for event in cast.events()} == {"com.owner.charts"}


@only_sqlite
def test_an_unknown_key_is_answered_as_segment_does_where_that_is_asked_for(
    open_doors: Callable[..., Doors], cast: Cast
) -> None:
    doors = open_doors(unknown_key="pretend")
    assert post(doors, "/v1/track", call(writeKey="nobodys")).json() == SUCCESS
    assert said(post(doors, "/v1/track", b"{", **basic("nobodys:"))) == (400, "invalid")
    assert cast.balance() == {"received": 2, "stored": 0, "duplicate": 0, "rejected": 2, "shed": 0}
    assert doors.client.get("/v1/projects/nobodys/settings").status_code == 404


@only_sqlite
def test_any_page_may_ask_and_send(doors: Doors, cast: Cast) -> None:
    for path in ("/v1/t", "/v1/batch/", "/v1/m", "/v1/projects"):
        answer = doors.client.options(
            path,
            headers={
                "Origin": "https://shop.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,x-retry-count",
            },
        )
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "authorization, content-type, x-retry-count"
        assert int(answer.headers["access-control-max-age"]) == 86_400
        assert "access-control-allow-credentials" not in answer.headers
    answer = post(doors, "/v1/t", call(writeKey=key_of(cast)), origin="https://shop.example", content_type="text/plain")
    assert answer.json() == SUCCESS
    assert doors.client.get("/v1/track").status_code == 405
    assert said(post(doors, "/v1/nonsense", call())) == (404, "no_such_call")


@only_sqlite
def test_what_is_no_call_is_refused_as_json_wherever_it_lies(doors: Doors, cast: Cast) -> None:
    for path in ("/v1/", "/v1/track//", "/v1/track/more", "/v1/projects/nobodys", "/v1/Track", "/v1/%74rack%2F%2F"):
        assert said(post(doors, path, call(writeKey=key_of(cast)))) == (404, "no_such_call"), path
    answer = post(doors, "/v1/v1/batch", {"batch": [call()], "writeKey": key_of(cast)})
    assert said(answer) == (404, "no_such_call")
    assert answer.json()["message"].endswith("the client's host goes without /v1")
    assert cast.balance() == {"received": 7, "stored": 0, "duplicate": 0, "rejected": 7, "shed": 0}


# --- bodies


def test_a_body_may_be_packed_once_within_bounds(doors: Doors, cast: Cast) -> None:
    key = key_of(cast)
    good = json.dumps({"batch": [call() for _ in range(3)], "writeKey": key}).encode()
    bomb = gzip.compress(b" " * 100_000_000)
    fifty = gzip.compress(
        json.dumps({"batch": [call(messageId=f"m{n}") for n in range(1_000)], "writeKey": key}).encode()
    )
    told: list[tuple[bytes, str, tuple[int, Any]]] = [
        (gzip.compress(good), "gzip", (200, True)),
        (gzip.compress(good), "X-GZIP", (200, True)),
        (fifty, "gzip", (200, True)),
        (good, "identity", (200, True)),
        (good, "gzip", (415, "encoding")),
        (good, "br", (415, "encoding")),
        (gzip.compress(good), "gzip, gzip", (415, "encoding")),
        (gzip.compress(gzip.compress(good)), "gzip", (400, "not_utf8")),
        (gzip.compress(good) + gzip.compress(good), "gzip", (415, "encoding")),
        (gzip.compress(good)[:-9], "gzip", (415, "encoding")),
        (gzip.compress(good)[:-4] + b"abcd", "gzip", (415, "encoding")),
        (b"", "gzip", (415, "encoding")),
        (bomb, "gzip", (413, "too_large")),
        (gzip.compress(b" " * 400_000), "gzip", (413, "too_large")),
    ]
    for body, encoding, expected in told:
        assert said(post(doors, "/v1/batch", body, content_encoding=encoding)) == expected, (body[:40], encoding)
    assert cast.balance()["stored"] == 1_003


@only_sqlite
def test_a_body_that_unpacks_to_more_is_given_up_at_the_limit() -> None:
    plain = unzip.unzipped(gzip.compress(b"ab" * 32_768), 65_536)
    assert plain == b"ab" * 32_768
    with pytest.raises(unzip.Refused, match="too_large"):
        unzip.unzipped(gzip.compress(b"ab" * 32_769), 65_536)


@only_sqlite
def test_what_cannot_be_read_at_all_is_refused_as_a_whole(doors: Doors, cast: Cast) -> None:
    key = key_of(cast)
    told: list[tuple[str, bytes, tuple[int, str]]] = [
        ("track", b"", (400, "invalid")),
        ("track", b"[]", (400, "invalid")),
        ("track", b'"text"', (400, "invalid")),
        ("track", b"{", (400, "invalid")),
        ("track", b"\xff{}", (400, "not_utf8")),
        ("track", b"[" * 100_000, (400, "invalid")),
        ("track", b'{"properties":' + b"[" * 100_000, (400, "invalid")),
        ("track", b" " * (segment.MAX_BODY + 1), (413, "too_large")),
        ("batch", b"{}", (400, "invalid")),
        ("batch", b'{"batch":{}}', (400, "invalid")),
        ("batch", b'{"batch":[]}', (400, "invalid")),
        ("batch", b'{"batch":[' + b"{}," * 2_500 + b"{}]}", (413, "too_many")),
        ("batch", json.dumps({"batch": [call()], "context": {"a": "b" * 8_200}}).encode(), (413, "too_large")),
    ]
    for name, body, (status, reason) in told:
        answer = post(doors, f"/v1/{name}", body, **basic(f"{key}:"))
        told_reason = answer.json()["code"]
        assert (answer.status_code, told_reason) == (status, reason) or told_reason == "too_deep", (name, body[:40])
        assert answer.json()["success"] is False
        assert answer.json()["error"].startswith(f"{told_reason}: ")
        assert answer.json()["message"]
    assert cast.balance() == {"received": len(told), "stored": 0, "duplicate": 0, "rejected": len(told), "shed": 0}


def test_one_bad_message_does_not_sink_another(doors: Doors, cast: Cast) -> None:
    key = key_of(cast)
    bad: list[tuple[Any, str]] = [
        (call(userId=""), "no_user: an anonymousId, a userId or the id of a device is needed - at `$`"),
        (call(userId=ZEROS, anonymousId=" "), "no_user: an anonymousId, a userId or the id of a device is needed"),
        (call(userId=None), "no_user: an anonymousId, a userId or the id of a device is needed - at `$`"),
        (call(userId=7), "invalid: Expected `str | null`, got `int` - at `$.userId`"),
        (call(userId="u" * 201), "invalid: at most 200 characters, none of them NUL - at `$.userId`"),
        (call(userId="half \ud83d"), "invalid: a text holds NUL or half a character - at `$`"),
        (call(properties={"a": ["\0"]}), "invalid: a text holds NUL or half a character - at `$`"),
        (call(event=""), "no_event: a track call names its event - at `$.event`"),
        (call(event=None), "no_event: a track call names its event - at `$.event`"),
        (call(event={}), "invalid: Expected `str | null`, got `object` - at `$.event`"),
        (call(type="delete"), "deletion: "),
        (call(type="nothing"), "invalid: a type is one of track, identify, page, screen, group, alias - at `$.type`"),
        (call(type=None), "invalid: a type is one of track, identify, page, screen, group, alias - at `$.type`"),
        (call(type="group"), "no_group: a group call names its group - at `$.groupId`"),
        (call(type="alias"), "no_previous: "),
        (call(properties=[1]), "invalid: Expected `object | null`, got `array` - at `$.properties`"),
        (call(type="identify", traits="t"), "invalid: Expected `object | null`, got `str` - at `$.traits`"),
        (call(context=1), "invalid: Expected `object | null`, got `int` - at `$.context`"),
        (call(messageId="m" * 101), "invalid: at most 100 characters - at `$.messageId`"),
        (call(messageId=5), "invalid: Expected `str | null`, got `int` - at `$.messageId`"),
        (call(timestamp="yesterday"), "invalid: this is no time as ISO 8601 writes it - at `$.timestamp`"),
        (call(timestamp="1999-12-31T23:59:59Z"), "invalid: the time is not between the year 2000 and tomorrow"),
        (call(timestamp=iso(2 * DAY_MS)), "invalid: the time is not between the year 2000 and tomorrow"),
        (call(originalTimestamp="0001-01-01T00:00:00+14:00"), "invalid: the time is not between the year 2000"),
        (call(properties={"text": "x" * 33_000}), "too_large: a message has at most 32768 bytes"),
        (call(properties={"text": "é" * 16_500}), "too_large: a message has at most 32768 bytes"),
        (call(properties=nested(60)), "too_deep: at most 50 objects and lists in one another - at `$.properties`"),
        (call(context={"a": nested(60), "ip": nested(60)}), "too_deep: at most 50 objects and lists in one another"),
        (call(context={"campaign": {f"part{n}": "x" for n in range(51)}}), "invalid: at most 50 parts"),
        ("text", "invalid: Expected `object`, got `str`"),
        (None, "invalid: Expected `object`, got `null`"),
        ([], "invalid: Expected `object`, got `array`"),
    ]
    for message, reason in bad:
        good = [call(), call()]
        body = {"batch": [good[0], message, good[1]], "writeKey": key}
        answer = post(doors, "/v1/batch", body).json()
        assert (answer["success"], answer["stored"], answer["duplicate"]) == (True, 2, 0), message
        (rejected,) = answer["rejected"]
        assert rejected["index"] == 1
        assert rejected["reason"].startswith(reason), rejected
    raw = b'{"batch":[{"type":"track","event":"E","userId":"u","properties":{"n":1e999}},' + json.dumps(call()).encode()
    assert post(doors, "/v1/batch", raw + b'],"writeKey":"' + key.encode() + b'"}').json()["stored"] == 1
    assert cast.balance() == {
        "received": 3 * len(bad) + 2,
        "stored": 2 * len(bad) + 1,
        "duplicate": 0,
        "rejected": len(bad) + 1,
        "shed": 0,
    }
    assert {app for app, _, _ in cast.rejections()} == {"com.owner.charts"}


def nested(depth: int) -> Any:
    part: Any = "deep"
    for level in range(depth):
        part = [part] if level % 2 else {"in": part}
    return {"part": part}


@only_sqlite
def test_when_nothing_of_a_request_is_on_disk_its_sender_is_told_so(doors: Doors, cast: Cast) -> None:
    key = key_of(cast)
    answer = post(doors, "/v1/track", call(event="", writeKey=key))
    assert answer.status_code == 400
    assert answer.json() == {
        "success": False,
        "code": "no_event",
        "message": "a track call names its event - at `$.event`",
        "error": "no_event: a track call names its event - at `$.event`",
        "stored": 0,
        "duplicate": 0,
        "rejected": [{"index": 0, "reason": "no_event: a track call names its event - at `$.event`"}],
    }
    assert post(doors, "/v1/batch", {"batch": [1, 2], "writeKey": key}).status_code == 400
    again = call(writeKey=key)
    assert [post(doors, "/v1/track", again).json() for _ in range(3)] == [SUCCESS] * 3
    body = {"batch": [again, 1], "writeKey": key}
    assert post(doors, "/v1/batch", body).json()["duplicate"] == 1
    assert cast.balance() == {"received": 8, "stored": 1, "duplicate": 3, "rejected": 4, "shed": 0}


def test_what_is_kept_of_a_refused_message_holds_no_key_and_no_address(doors: Doors, cast: Cast) -> None:
    key = key_of(cast)
    secret = {
        "writeKey": key,
        "context": {"ip": "203.0.113.9", "device": {"ip": "203.0.113.9"}},
        "properties": {"k": key},
    }
    for path, body in [
        ("/v1/track", call(event="", **secret)),
        ("/v1/track", call(event=5, **secret)),
        ("/v1/batch", {"batch": [call(event="", **secret), call(event=5, **secret)], "writeKey": key}),
    ]:
        assert post(doors, path, body).status_code == 400
    kept = [bytes(body) for _, _, body in cast.rejections()]
    assert len(kept) == 4
    for body in kept:
        assert key.encode() not in body
        assert b"203.0.113.9" not in body
        assert json.loads(body)["userId"] == "user-1"
        assert json.loads(body)["properties"] == {"k": "[taken out]"}


# --- what is stored


def stored(doors: Doors, cast: Cast, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The newest event, after one more was sent."""
    before = len(cast.events())
    assert post(doors, path, body | {"writeKey": key_of(cast)}).json() == SUCCESS
    (event,) = cast.events()[before:]
    return event


def test_a_track_call_is_stored_with_all_that_it_says(doors: Doors, cast: Cast) -> None:
    body = {
        "event": "Application Installed",
        "messageId": "node-next-1774775493000-1f0e1a6c-6f5e-4f9b-9d0a-0c4b2f1d9a11",
        "anonymousId": "89c0e9c6-9b5c-4c14-9f0a-0d9f4f1a2b3c",
        "userId": "user-1",
        "timestamp": iso(-5_000),
        "properties": {"version": "1.2.3", "build": 42, "nothing": None, "list": [1, {"a": 1.5}]},
        "context": {
            "ip": "203.0.113.9",
            "userAgent": "Mozilla/5.0",
            "locale": "de-DE",
            "timezone": "Europe/Berlin",
            "library": {"name": "analytics-node", "version": "3.1.0"},
            "campaign": {"utm_campaign": "spring", "source": "news", "adGroup": "g", "ad_creative": "c", "utm_id": 7},
            "device": {
                "type": "ios",
                "id": "B5372DB0-C21E-11E4-8DFC-AA07A5B093DB",
                "advertisingId": "7A3CBEA0-BDF5-11E4-8DFC-AA07A5B093DB",
                "model": "iPhone7,2",
                "ip": "203.0.113.9",
            },
        },
        "integrations": {"All": True},
        "_metadata": {"nodeVersion": "24"},
    }
    event = stored(doors, cast, "/v1/track", body)
    details = event["details"]
    assert (event["type"], event["name"], event["source"]) == ("track", "Application Installed", "partner")
    assert (event["anonymous_id"], event["user_id"]) == (body["anonymousId"], "user-1")
    assert (event["partner_anonymous_id"], event["suppressed"]) == (body["anonymousId"], None)
    assert 4_000 < event["received_at"] - event["occurred_at"] < 60_000
    assert details == {
        "user_agent": "Mozilla/5.0",
        "locale": "de-DE",
        "message_id": body["messageId"],
        "door": "segment",
        "ids": {
            "idfa": "7A3CBEA0-BDF5-11E4-8DFC-AA07A5B093DB",
            "idfv": "B5372DB0-C21E-11E4-8DFC-AA07A5B093DB",
        },
        "campaign": {"source": "news", "ad_creative": "c", "name": "spring", "ad_group": "g", "id": "7"},
        "properties": {"version": "1.2.3", "build": 42, "nothing": None, "list": [1, {"a": 1.5}]},
        "context": {
            "timezone": "Europe/Berlin",
            "library": {"name": "analytics-node", "version": "3.1.0"},
            "device": {
                "type": "ios",
                "id": "B5372DB0-C21E-11E4-8DFC-AA07A5B093DB",
                "advertisingId": "7A3CBEA0-BDF5-11E4-8DFC-AA07A5B093DB",
                "model": "iPhone7,2",
            },
        },
    }
    assert b"203.0.113.9" not in cast.every_byte()


def on(device: Any, **context: Any) -> dict[str, Any]:
    return {"context": {"device": device, **context}}


@only_sqlite
def test_each_type_keeps_what_is_its_own(doors: Doors, cast: Cast) -> None:
    user = {"userId": "user-1"}
    told: list[tuple[str, dict[str, Any], str, dict[str, Any], dict[str, Any]]] = [
        ("identify", {"traits": {"plan": "pro"}, "properties": {"x": 1}}, "", {"plan": "pro"}, {}),
        ("page", {"name": "Home", "category": "Docs"}, "Home", {"category": "Docs"}, {}),
        ("page", {"properties": {"name": "Home", "category": "A"}, "category": "B"}, "Home", {"category": "A"}, {}),
        ("page", {"name": None, "properties": {"name": 7}}, "", {"name": 7}, {}),
        ("page", {"properties": {"url": "https://a.test/?token=s&b=1#f"}}, "", {"url": "https://a.test/?b=1"}, {}),
        ("screen", {"name": "Main"}, "Main", {}, {}),
        ("group", {"groupId": "acme", "traits": {"groupId": "x", "seats": 3}}, "", {"groupId": "acme", "seats": 3}, {}),
        ("alias", {"previousId": "anonymous-1"}, "", {}, {"previous_id": "anonymous-1"}),
        ("screen", on({"type": "Android", "id": "a", "advertisingId": ZEROS}), "", {}, {"android_id": "a"}),
        ("screen", on({"advertisingId": "b"}, os={"name": "iOS"}), "", {}, {"idfa": "b"}),
        ("screen", on({"id": "c", "advertisingId": 5}), "", {}, {"device_id": "c"}),
        ("screen", on({"idfv": "d", "idfa": "", "gaid": "e"}), "", {}, {"idfv": "d", "adid": "e"}),
        ("screen", on("none"), "", {}, {}),
    ]
    for kind, body, name, properties, ids in told:
        event = stored(doors, cast, f"/v1/{kind}", user | body)
        assert (event["type"], event["name"]) == (kind, name), body
        details = event["details"]
        assert {n: v for n, v in details.get("properties", {}).items() if n != "name" or v == 7} == properties, body
        assert details.get("ids", {}) == ids, body


@only_sqlite
def test_a_device_alone_names_somebody_the_same_one_every_time(doors: Doors, cast: Cast) -> None:
    device = {
        "event": "E",
        "context": {"device": {"type": "android", "advertisingId": "38400000-8cf0-11bd-b23e-10b96e40"}},
    }
    first, again = (stored(doors, cast, "/v1/track", device) for _ in range(2))
    assert first["anonymous_id"] == again["anonymous_id"]
    assert len(first["anonymous_id"]) == 40
    assert (first["user_id"], first["partner_anonymous_id"]) == (None, None)


@only_sqlite
@pytest.mark.parametrize("context", [[], "text", 7])
def test_what_php_writes_for_an_empty_object_counts_as_missing(doors: Doors, cast: Cast, context: Any) -> None:
    empty = call(properties=[], traits=[], context=[], event="Bought")
    body = {"batch": [empty, call(context={"library": {"name": "own"}})], "context": context}
    assert post(doors, "/v1/batch", body, **basic(f"{key_of(cast)}:")).json() == SUCCESS
    assert post(doors, "/v1/track", {**empty, "messageId": "m2"}, **basic(f"{key_of(cast)}:")).json() == SUCCESS
    events = cast.events()
    assert [event["name"] for event in events] == ["Bought", "Report Exported", "Bought"]
    assert [event["details"].get("context") for event in events] == [None, {"library": {"name": "own"}}, None]


@only_sqlite
def test_what_a_batch_says_of_all_is_under_what_a_message_says_itself(doors: Doors, cast: Cast) -> None:
    body = {
        "batch": [
            call(context={"library": {"name": "own"}, "app": {"name": "A"}}),
            call(context=None),
            call(context={"ip": "203.0.113.9"}),
        ],
        "context": {"library": {"name": "shared", "version": "1"}, "ip": "203.0.113.9", "timezone": "UTC"},
        "integrations": {"All": False},
        "sequence": 3,
    }
    assert post(doors, "/v1/import/", body, **basic(f"{key_of(cast)}:")).json() == SUCCESS
    contexts = [event["details"]["context"] for event in cast.events()]
    shared = {"library": {"name": "shared", "version": "1"}, "timezone": "UTC"}
    assert contexts == [{"library": {"name": "own"}, "timezone": "UTC", "app": {"name": "A"}}, shared, shared]


@only_sqlite
def test_the_senders_clock_is_corrected_by_when_it_says_it_sent(doors: Doors, cast: Cast) -> None:
    hour = 3_600_000
    passed_on = {"originalTimestamp": iso(-8 * hour), "sentAt": iso(-9 * hour), "receivedAt": iso(-hour)}
    told: list[tuple[dict[str, Any], int]] = [
        ({}, 0),
        ({"timestamp": iso(-hour)}, -hour),
        ({"timestamp": iso(-hour).replace("Z", "+00:00"), "sentAt": iso()}, -hour),
        ({"timestamp": iso(-hour).replace("Z", "")}, -hour),
        ({"timestamp": iso(-26 * hour), "sentAt": iso(-25 * hour)}, -hour),
        ({"timestamp": iso(71 * hour), "sentAt": iso(72 * hour)}, -hour),
        ({"timestamp": "1970-01-01T00:00:00Z", "sentAt": "1970-01-01T01:00:00Z"}, -hour),
        ({"originalTimestamp": iso(-hour), "timestamp": iso(-9 * hour), "sentAt": iso()}, -hour),
        ({"originalTimestamp": "", "timestamp": iso(-hour), "sentAt": ""}, -hour),
        ({"timestamp": "", "receivedAt": iso(-hour)}, 0),
        ({"timestamp": iso(-hour), "sentAt": "no time"}, -hour),
        ({"timestamp": iso(-hour), "sentAt": {"a": 1}}, -hour),
        ({"timestamp": iso(-hour), "sentAt": "1970-01-01T01:00:00Z"}, -hour),
        ({"timestamp": iso(hour)}, 0),
        (passed_on | {"timestamp": iso(-hour)}, -hour),
    ]
    for times, offset in told:
        event = stored(doors, cast, "/v1/track", call(**times))
        assert abs(event["occurred_at"] - event["received_at"] - offset) < 60_000, times


@only_sqlite
def test_a_message_without_an_id_is_an_event_of_its_own(doors: Doors, cast: Cast) -> None:
    for message_id in (None, ""):
        stored(doors, cast, "/v1/track", call(messageId=message_id))
    assert cast.balance()["stored"] == 2


# --- the browser's settings


@only_sqlite
def test_the_browsers_client_is_told_to_send_here_and_to_load_nothing(
    open_doors: Callable[..., Doors], cast: Cast
) -> None:
    path, doors = f"/v1/projects/{key_of(cast)}/settings", open_doors()
    told = [
        ("footfall.example", "https", "footfall.example/v1"),
        ("Footfall.Example:8443", "https", "footfall.example:8443/v1"),
        ("127.0.0.1:8000", "http", "127.0.0.1:8000/v1"),
        ("localhost", "http", "localhost/v1"),
        ("[::1]:8000", "http", "[::1]:8000/v1"),
    ]
    for host, protocol, there in told:
        answer = doors.client.get(path, headers={"Host": host})
        segment_io = answer.json()["integrations"]["Segment.io"]
        assert (segment_io["protocol"], segment_io["apiHost"]) == (protocol, there)
        assert list(answer.json()["integrations"]) == ["Segment.io"]
        assert answer.json()["metrics"]["sampleRate"] == 0
        assert (answer.headers["cache-control"], answer.headers["access-control-allow-origin"]) == ("no-store", "*")
    for host in ("evil.example/a?", "a@evil.example", "a b", "-a.example", "a.example:99999999", '"'):
        answer = doors.client.get(path, headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert doors.client.get(f"{path}/").json() == doors.client.get(path).json()
    asked = doors.client.options(
        path, headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
    )
    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, "*")
    unknown = doors.client.get("/v1/projects/nobodys/settings")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_key")


@only_sqlite
def test_a_configured_address_is_stronger_than_what_the_request_names(
    open_doors: Callable[..., Doors], cast: Cast
) -> None:
    doors = open_doors(public_url="https://footfall.example")
    answer = doors.client.get(f"/v1/projects/{key_of(cast)}/settings", headers={"Host": "evil.example"})
    assert answer.json()["integrations"]["Segment.io"]["apiHost"] == "footfall.example/v1"
    assert "evil" not in answer.text
    assert answer.headers["cache-control"] == "public, max-age=300"


# --- whatever comes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    "type event name category messageId userId anonymousId previousId groupId properties traits context timestamp"
    " originalTimestamp sentAt receivedAt writeKey batch integrations".split()
)
MESSAGES = st.dictionaries(FIELDS, JSON | st.sampled_from(["track", "page", "2026-03-29", ""]), max_size=8) | JSON


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([*segment.CALLS, "m", "other"]),
    body=MESSAGES.map(lambda part: json.dumps(part).encode())
    | st.lists(MESSAGES, max_size=5).map(lambda batch: json.dumps({"batch": batch}).encode())
    | st.binary(max_size=60),
    packed=st.sampled_from(["", "gzip", "deflate"]),
    zipped=st.booleans(),
    keyed=st.booleans(),
)
@example(name="batch", body=b'{"batch":[{"userId":"\\ud83d"}]}', packed="", zipped=False, keyed=True)
@example(
    name="t", body=b'{"type":"track","event":"E","userId":"u","timestamp":9e99}', packed="", zipped=False, keyed=True
)
@only_sqlite
def test_whatever_comes_is_answered_with_an_object_and_the_sums_are_exact(
    doors: Doors, cast: Cast, name: str, body: bytes, packed: str, zipped: bool, keyed: bool
) -> None:
    headers = basic(f"{key_of(cast)}:") if keyed else {}
    if packed:
        headers["Content-Encoding"] = packed
    answer = post(doors, f"/v1/{name}", gzip.compress(body) if zipped else body, **headers)
    assert answer.status_code in (200, 400, 401, 404, 413, 415)
    assert answer.json()["success"] is (answer.status_code == 200)
    cast.balance()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(others=st.lists(MESSAGES, max_size=6), at=st.integers(0, 6))
@only_sqlite
def test_whatever_stands_beside_a_good_message_it_is_stored(
    doors: Doors, cast: Cast, others: list[Any], at: int
) -> None:
    good = call()
    body = {"batch": [*others[:at], good, *others[at:]], "writeKey": key_of(cast)}
    answer = post(doors, "/v1/batch", body)
    assert answer.json()["success"] is True
    assert uuid.UUID(good["messageId"]).bytes in {bytes(row[0]) for row in cast.rows("select message_id from events")}
    cast.balance()


@only_sqlite
def test_the_limits_are_segments_or_a_little_over() -> None:
    assert (segment_request.MAX_MESSAGES, segment.MAX_BODY) == (2_500, 524_288)
