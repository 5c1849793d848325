"""Hostile request lines, headers and encodings, on raw sockets to a real collector: nothing of a request's head gets
into an answer's headers, the log or a file name, and no body is unpacked.
"""

from __future__ import annotations

import gzip
import re
import time
import zlib

import brotli
import pytest
from siege import DOORS, SITE, VISITOR, Siege, body_of, message

each_door = pytest.mark.parametrize("door", DOORS)


# --- encodings: the doors take none


def bomb(size: int) -> bytes:
    return gzip.compress(bytes(size), compresslevel=9)


GOOD = b'{"events":[]}'
PACKED = {
    "1 GB in gzip in gzip": ("gzip", gzip.compress(bomb(100_000_000) * 10)),
    "60 MB in 60 kB": ("gzip", bomb(60_000_000)),
    "gzip": ("gzip", gzip.compress(GOOD)),
    "gzip twice": ("gzip, gzip", gzip.compress(gzip.compress(GOOD))),
    "two members": ("gzip", gzip.compress(GOOD) + gzip.compress(GOOD)),
    "a cut member": ("gzip", gzip.compress(GOOD)[:-6]),
    "gzip that says it is not": ("identity", gzip.compress(GOOD)),
    "deflate": ("deflate", zlib.compress(GOOD)),
    "brotli": ("br", brotli.compress(bytes(50_000_000))),
    "an encoding that nobody knows": ("rot13", b"\x8f" + GOOD),
}


@each_door
@pytest.mark.parametrize("name", PACKED)
def test_a_packed_body_is_refused_and_never_unpacked(siege: Siege, door: str, name: str) -> None:
    encoding, body = PACKED[name]
    siege.collector.forget_peak()
    before = siege.collector.resident_kib()
    answer = siege.post(door, body, f"Content-Encoding: {encoding}")
    assert (answer.status, answer.reason in ("not_utf8", "invalid")) in [(400, True), (413, False)]
    assert siege.collector.peak_kib() - before < 8 * 1024


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json", "multipart/form-data; boundary=x", "\x80", "a/b;" * 500]
)
@each_door
def test_the_type_that_a_body_claims_changes_nothing(siege: Siege, door: str, kind: str) -> None:
    answer = siege.post(door, body_of(door, message(door)), f"Content-Type: {kind}".encode("latin-1"))
    assert answer.status in (200, 204)


@each_door
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n" * 7_000),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % number for number in range(8_000))),
        ("application/xml", b'<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><a>&c;</a>'),
        ("application/x-yaml", b"!!python/object/apply:os.system ['true']"),
        ("application/x-python-serialize", b"cos\nsystem\n(S'true'\ntR."),
    ],
)
def test_what_other_parsers_read_is_refused(siege: Siege, door: str, kind: str, body: bytes) -> None:
    answer = siege.post(door, body, f"Content-Type: {kind}")
    assert answer.status in (400, 413)


# --- header and log injection

BAD_BYTES = [b"\r", b"\n", b"\x00", b"\x1b[31m", b"\r\n folded", b"\x7f"]
LINES = [b"X-Any: a%sb", b"Origin: %s", b"User-Agent: a%sb", b"Cookie: footfall_id=%s", b"X-A%sb: c", b"Host: a%sb"]


@pytest.mark.parametrize("line", LINES, ids=str)
@pytest.mark.parametrize("byte", BAD_BYTES, ids=repr)
def test_a_control_character_in_a_header_ends_the_request_and_is_never_repeated(
    siege: Siege, line: bytes, byte: bytes
) -> None:
    body = body_of("/e", message("/e"))
    head = f"POST /e HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n".encode()
    answered = siege.raw(head + line % (byte + b"Injected: yes") + b"\r\n\r\n" + body)
    assert answered.count(b"HTTP/1.1 ") == 1
    assert b"njected" not in answered
    assert b"njected" not in siege.collector.log().encode()


def test_what_is_repeated_of_an_origin_is_one_that_is_allowed(siege: Siege) -> None:
    body = body_of("/e", message("/e"))
    for origin in (
        "null",
        "https://marketplace.example.evil.example",
        f"{SITE}/",
        f"{SITE} x",
        "\x80",
        "*",
        "https://",
    ):
        answer = siege.ask("POST", "/e", body, f"Origin: {origin}".encode("latin-1"))
        assert (answer.status, answer.reason) == (403, "origin")
        assert "access-control-allow-origin" not in dict(answer.headers)


def test_a_value_planted_in_a_cookie_never_comes_back(siege: Siege) -> None:
    born = format_base36(int(time.time()) - 60)
    for value in (
        f"{born}.<script>",
        f"{born}.{VISITOR}x",
        f"{born}.{VISITOR.upper()}",
        f"-1.{VISITOR}",
        f".{VISITOR}",
    ):
        cookie = f"Cookie: footfall_id={value}; footfall_p_a={born}.a:<b>\u2028".encode()
        answer = siege.post("/e", body_of("/e", message("/e")), "Sec-Fetch-Site: same-site", cookie)
        assert (answer.status, dict(answer.headers).get("set-cookie")) == (204, None)


def test_a_flood_of_cookies_brings_twenty_back_and_the_good_one_among_the_tossed(siege: Siege) -> None:
    born = format_base36(int(time.time()) - 60)
    ours = f"footfall_id={born}.{VISITOR}"
    for cookies in (
        [ours] + [f"x{number}=y" for number in range(3_000)],
        ["footfall_id=tossed", ours],
        [f"footfall_p_{number}={born}.a:b" for number in range(900)],
        ["=" * 20_000],
        [";" * 20_000],
    ):
        line = f"Cookie: {'; '.join(cookies)}"
        answer = siege.post("/e", body_of("/e", message("/e")), "Sec-Fetch-Site: same-site", line)
        back = [value for name, value in answer.headers if name == "set-cookie"]
        assert (answer.status, len(back) <= 20) == (204, True)
        assert [value for value in back if value.startswith("footfall_id")] == [v for v in back if v.startswith(ours)]


def format_base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (format_base36(number // 36) if number >= 36 else "") + digits[number % 36]


# --- paths and hosts

UP = ["..", "%2e%2e", "%2E.", "..%2f..", "%252e%252e", "..%5c..", "....//", "..;", ".%00.", "%c0%ae%c0%ae", "%ff"]
PLACES = ["/js/{}/{}/pyproject.toml", "/static/css/{}/{}/footfall.py", "/{}/{}/{}/etc/passwd", "/js/footfall.{}.js"]
TARGETS = [place.replace("{}", up) for place in PLACES for up in UP]
TARGETS += [
    "/C:/Windows/win.ini",
    "//evil.example/share/x.js",
    "/\\\\evil.example\\x",
    "/js/footfall.js%00.css",
    "/js/CON",
]
TARGETS += ["/js/footfall.js/", "/e/", "/%65/..", "/data/events.db", "/.git/config", "/static/js/footfall.js", "*"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_path_leads_to_what_is_served_or_nowhere(siege: Siege, target: str) -> None:
    answer = siege.ask("GET", target)
    assert answer.status in (400, 404)
    assert b"root:" not in answer.body
    assert "location" not in dict(answer.headers)


@pytest.mark.parametrize(
    "lines",
    [
        ("Host: evil.example",),
        ("Host: evil.example", "Host: collector.example"),
        ("Host: a/../healthz?",),
        ("Host: " + "a" * 20_000,),
        ("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: gopher", "X-Original-URL: /healthz"),
    ],
)
def test_a_foreign_host_gets_into_no_answer(siege: Siege, lines: tuple[str, ...]) -> None:
    for target in ("/", "/nothing", "/js", "http://evil.example/nothing", "/openapi.json"):
        answer = siege.ask("GET", target, b"", *lines)
        assert answer.status == {"/": 303, "/openapi.json": 200}.get(target, 404)
        assert "evil" not in str(answer.headers) + answer.body.decode()


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "PRI", "M-SEARCH", "get", "POSTX", "PURGE"])
@pytest.mark.parametrize("target", ["/e", "/api/v1/installs", "/healthz", "/js/footfall.js"])
def test_another_method_is_refused_and_its_headers_are_not_sent_back(siege: Siege, method: str, target: str) -> None:
    answer = siege.raw(
        f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Secret: s3cret\r\n\r\n".encode()
    )
    assert re.match(rb"HTTP/1.1 40[05] ", answer), answer
    assert b"s3cret" not in answer


def test_nothing_behind_a_tunnel_is_read_as_a_request(siege: Siege) -> None:
    for target in ("/e", "/healthz", "evil.example:443"):
        tunnel = f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        answer = siege.raw(tunnel + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (answer.count(b"HTTP/1.1 4"), answer.count(b"HTTP/1.1 ")) == (1, 1)


def test_a_range_of_ten_thousand_parts_brings_the_whole_file_once(siege: Siege) -> None:
    whole = siege.ask("GET", "/js/footfall.js").body
    parts = ",".join(f"{number}-" for number in range(4_000))
    answer = siege.ask("GET", "/js/footfall.js", b"", f"Range: bytes={parts}", "Accept-Encoding: " + "br;q=0," * 1_000)
    assert (answer.status, answer.body) == (200, whole)
