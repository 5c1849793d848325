"""The collector's wire: the quick lane does what the ordinary way does, and no client takes memory or time from others.

A raw socket is used where an HTTP client would not send what is needed.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE_SECONDS, Cast, Footfall, Process, wait_until

VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"
SITE = "https://marketplace.example"
SLOWEST = 2.0  # seconds that a test's collector gives a request to arrive


@pytest.fixture(scope="module")
def footfall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Footfall]:
    settings = {"FOOTFALL_TEST": "1", "FOOTFALL_TEST_RECEIVE_SECONDS": str(SLOWEST)}
    directory = tmp_path_factory.mktemp("wire")
    with Footfall(directory / "data", FOOTFALL_ALLOWED_ORIGINS=SITE, **settings) as footfall:
        yield footfall


@pytest.fixture(scope="module")
def cast(footfall: Footfall) -> Cast:
    return footfall.seed()


@pytest.fixture(scope="module")
def running(footfall: Footfall, cast: Cast) -> Iterator[Process]:
    with footfall.collector() as collector:
        yield collector


@pytest.fixture
def collector(running: Process) -> Iterator[Process]:
    """The module's collector; a test must leave it well, balanced and without a complaint."""
    said = running.log()
    yield running
    assert running.get("/readyz").status_code == 200
    assert "Traceback" not in running.log()[len(said) :]


def event(**changed: Any) -> dict[str, Any]:
    return {
        "messageId": str(uuid.uuid4()),
        "name": "page_view",
        "app": "com.owner.charts",
        "occurredAt": datetime.now(UTC).isoformat(),
        "anonymousId": VISITOR,
        "url": f"{SITE}/apps/1219125/charts?x=1",
    } | changed


def body_of(*events: dict[str, Any]) -> bytes:
    return json.dumps({"events": list(events)}).encode()


HEADERS = (
    "Host: collector.example\r\n"
    f"Origin: {SITE}\r\n"
    "User-Agent: Firefox/148.0\r\n"
    "Accept-Language: en-GB,en;q=0.5\r\n"
    "Content-Type: text/plain;charset=UTF-8\r\n"
    "Sec-Fetch-Site: same-site\r\n"
)


def request(body: bytes, more: str = "", version: str = "1.1", target: str = "/e", method: str = "POST") -> bytes:
    head = f"{method} {target} HTTP/{version}\r\n{HEADERS}{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def chunked(*pieces: bytes, more: str = "", trailer: bytes = b"") -> bytes:
    head = f"POST /e HTTP/1.1\r\n{HEADERS}{more}Transfer-Encoding: chunked\r\n\r\n".encode()
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return head + b"".join(chunks) + b"0\r\n" + trailer + b"\r\n"


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One answer: status, headers but the date's value, body. ConnectionError when the other side closes before."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(1)
        if not piece:
            raise ConnectionError(f"closed after {received!r}")
        received += piece
    head = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers.pop("date")) or head[0].endswith(
        "Continue"
    )
    body = b""
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(int(headers["content-length"]) - len(body))
    return int(head[0].split()[1]), headers, body


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side closes (or resets) within the socket's timeout."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def row_of(footfall: Footfall, message_id: str) -> tuple[Any, ...]:
    """The stored row without its place and its time of receiving."""
    (row,) = footfall.rows(
        "events",
        "select app_key, type, name, source, occurred_at, partner_key, anonymous_id, user_id, partner_anonymous_id,"
        " suppressed, details from events where message_id = ?",
        bytes.fromhex(message_id.replace("-", "")),
    )
    return row


def events_stored(footfall: Footfall) -> int:
    count: int = footfall.value("events", "select count(*) from events")
    return count


# --- the quick lane and the ordinary way

LANES: dict[str, Callable[[bytes, str], list[bytes]]] = {
    "whole": lambda body, more: [request(body, more)],
    "head and body": lambda body, more: [request(body, more)[: -len(body)], body],
    "every byte": lambda body, more: [bytes([byte]) for byte in request(body, more)],
    "in pieces": lambda body, more: pieces_of(request(body, more), 100),
    "chunked": lambda body, more: [chunked(body, more=more)],
    "many chunks": lambda body, more: [chunked(*pieces_of(body, 1), more=more)],
    "query": lambda body, more: [request(body, more, target="/e?x=1")],
    "escaped path": lambda body, more: [request(body, more, target="/%65")],
    "absolute target": lambda body, more: [request(body, more, target="http://elsewhere.example/e")],
    "upgrade": lambda body, more: [request(body, more + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n")],
    "keep alive": lambda body, more: [request(body, more + "Connection: keep-alive\r\n")],
}


def pieces_of(text: bytes, size: int) -> list[bytes]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("lane", LANES)
def test_however_a_request_arrives_the_same_row_is_stored_and_the_same_answer_given(
    collector: Process, footfall: Footfall, lane: str
) -> None:
    young = base36(int(time.time()) - 60)
    cookie = f"Cookie: footfall_id={young}.{VISITOR}\r\n"
    details = event(title="\u00fc \U0001f642", label="x", consent={"sharing": True}, target=f"{SITE}/get?token=1#a")
    ordinary = details | {"messageId": str(uuid.uuid4())}
    with collector.connect() as connection:
        connection.sendall(request(body_of(ordinary), cookie + "Connection: close\r\n"))  # never the quick lane
        expected = read_answer(connection)
        assert is_closed(connection)
    assert expected[0] == 204
    assert expected[1].pop("connection") == "close"
    assert f"footfall_id={young}.{VISITOR}" in expected[1]["set-cookie"]

    with collector.connect() as connection:
        for _ in range(2):  # twice on one connection
            again = details | {"messageId": str(uuid.uuid4())}
            for piece in LANES[lane](body_of(again), cookie):
                connection.sendall(piece)
            status, headers, _ = read_answer(connection)
            assert (status, without_age(headers)) == (204, without_age(expected[1]))
            assert row_of(footfall, again["messageId"]) == row_of(footfall, ordinary["messageId"])


def without_age(headers: dict[str, str]) -> dict[str, str]:
    return {name: re.sub(r"Max-Age=\d+", "", value) for name, value in headers.items()}


def base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (base36(number // 36) if number >= 36 else "") + digits[number % 36]


def test_a_duplicate_is_a_success_on_the_quick_lane_too(collector: Process, footfall: Footfall) -> None:
    before = events_stored(footfall)
    body = body_of(event(), event())
    with collector.connect() as connection:
        for _ in range(3):
            connection.sendall(request(body))
            assert read_answer(connection)[0] == 204
    assert events_stored(footfall) == before + 2


def test_two_requests_sent_at_once_are_answered_in_order_or_the_second_is_not_taken(
    collector: Process, footfall: Footfall
) -> None:
    for second in (request(body_of(event())), request(b"", method="GET", target="/healthz")):
        first = event()
        with collector.connect() as connection:
            connection.sendall(request(body_of(first)) + second)
            assert read_answer(connection)[0] == 204
            assert is_closed(connection)
        assert row_of(footfall, first["messageId"])


def test_pipelined_requests_of_the_ordinary_way_are_all_answered(collector: Process) -> None:
    with collector.connect() as connection:
        connection.sendall(request(b"", method="GET", target="/healthz") * 3 + request(body_of(event())))
        assert [read_answer(connection)[0] for _ in range(4)] == [200, 200, 200, 204]


def test_what_is_bad_goes_the_ordinary_way_and_the_connection_lives_on(collector: Process) -> None:
    with collector.connect() as connection:
        for body, status in [
            (body_of(event(), event(name="no")), 200),
            (b"nonsense", 400),
            (body_of(event()), 204),
            (b" " * 70_000, 413),
            (body_of(event(app="com.nobody")), 400),
            (body_of(event()), 204),
        ]:
            connection.sendall(request(body))
            answer = read_answer(connection)
            assert answer[0] == status
            assert answer[1]["access-control-allow-origin"] == SITE


@pytest.mark.parametrize(
    ("more", "version", "closes"),
    [("", "1.0", True), ("Connection: close\r\n", "1.1", True), ("Connection: keep-alive\r\n", "1.1", False)],
)
def test_the_clients_wish_on_the_connection_is_followed(
    collector: Process, footfall: Footfall, more: str, version: str, closes: bool
) -> None:
    told = event()
    with collector.connect() as connection:
        connection.sendall(request(body_of(told), more, version))
        assert read_answer(connection)[0] == 204
        if not closes:
            connection.settimeout(1)
        assert is_closed(connection) == closes
    assert row_of(footfall, told["messageId"])


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(collector: Process, footfall: Footfall) -> None:
    told = event()
    whole = request(body_of(told), "Expect: 100-continue\r\n")
    head, end, body = whole.partition(b"\r\n\r\n")
    with collector.connect() as connection:
        connection.sendall(head + end)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answer(connection)[0] == 204
    assert row_of(footfall, told["messageId"])


@pytest.mark.parametrize(("method", "status"), [("GET", 405), ("HEAD", 405), ("PUT", 405), ("OPTIONS", 204)])
def test_other_methods_on_the_doors_path_are_answered_and_store_nothing(
    collector: Process, footfall: Footfall, method: str, status: int
) -> None:
    before = events_stored(footfall)
    with collector.connect() as connection:
        connection.sendall(request(b"", method=method))
        assert read_answer(connection)[0] == status
        connection.sendall(request(body_of(event())))
        assert read_answer(connection)[0] == 204
    assert events_stored(footfall) == before + 1


def test_a_foreign_page_is_refused_on_the_wire(collector: Process) -> None:
    with collector.connect() as connection:
        connection.sendall(request(body_of(event())).replace(SITE.encode(), b"https://evil.example", 1))
        status, headers, _ = read_answer(connection)
        assert (status, headers["x-footfall-reason"]) == (403, "origin")
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("at", ["Upgrade: h2c", "pgrade: h2c", "de: h2c", ": h2c", " h2c", "c\r\nConn"])
def test_a_wish_for_another_protocol_that_the_network_cuts_is_ignored_too(
    collector: Process, cast: Cast, at: str
) -> None:
    body = json.dumps({"app": cast.owner_app, "accountId": "account-17"}).encode()
    more = f"Upgrade: h2c\r\nConnection: Upgrade\r\nAuthorization: Bearer {cast.token}\r\n"
    whole = request(body, more, target="/api/v1/installs")
    cut = whole.index(at.encode())
    with collector.connect() as connection:
        for pieces in ([whole[:cut], whole[cut:]], [bytes([byte]) for byte in whole]):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.001)  # so that it is read on its own
            status, _, answer = read_answer(connection)
            assert (status, json.loads(answer)["stored"]) == (200, 1)


def test_a_back_ends_request_with_a_wish_for_another_protocol_is_read(collector: Process, cast: Cast) -> None:
    """Some HTTP clients wish for HTTP/2 with every request in the clear."""
    body = json.dumps({"app": cast.owner_app, "accountId": "account-17"}).encode()
    more = f"Authorization: Bearer {cast.token}\r\nConnection: Upgrade, HTTP2-Settings\r\nUPGRADE : h2c\r\n"
    with collector.connect() as connection:
        for _ in range(2):
            connection.sendall(request(body, more.replace("UPGRADE :", "UPGRADE:"), target="/api/v1/installs"))
            status, _, answer = read_answer(connection)
            assert (status, json.loads(answer)) == (200, {"stored": 1, "duplicate": 0, "rejected": []})


# --- framing


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5x\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Content-Length: 5\r\n",
        "Content\x00-Length: 5\r\n",
    ],
)
def test_a_malformed_framing_is_answered_once_and_never_read_as_two_requests(
    collector: Process, footfall: Footfall, framing: str
) -> None:
    before = events_stored(footfall)
    smuggled = request(body_of(event()))
    with collector.connect() as connection:
        connection.sendall(f"POST /e HTTP/1.1\r\n{HEADERS}{framing}\r\n".encode() + b"0\r\n\r\n" + smuggled)
        answered = b""
        while piece := receive(connection):
            answered += piece
    assert answered.count(b"HTTP/1.1 ") <= 1
    assert events_stored(footfall) == before


def receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def test_what_is_no_http_is_answered_with_400(collector: Process) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"):
        with collector.connect() as connection:
            connection.sendall(nonsense)
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
            assert is_closed(connection)


# --- floods


MIB = 1024 * 1024


@pytest.fixture
def flat(collector: Process) -> Iterator[Process]:
    """Whatever a test sends, the collector's memory stays where it was, give or take a little."""
    collector.get("/healthz")
    collector.forget_peak()
    before = collector.resident_kib()
    yield collector
    grown = collector.peak_kib() - before
    assert grown < 8 * 1024, f"{grown} KiB more"
    assert collector.get("/healthz").status_code == 200


def pour(connection: socket.socket, piece: bytes, total: int) -> int:
    """Send until the other side closes or `total` is sent; how much went out."""
    sent = 0
    try:
        while sent < total:
            connection.sendall(piece)
            sent += len(piece)
    except (ConnectionError, TimeoutError):
        pass
    return sent


HEAD = f"POST /e HTTP/1.1\r\n{HEADERS}".encode()
CHUNKED_HEAD = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
FLOODS: dict[str, tuple[bytes, bytes, int]] = {
    "one header of 50 MiB": (HEAD + b"X: ", b"x" * 65_536, 50 * MIB),
    "100,000 headers": (HEAD, b"X-Header: 1\r\n" * 5_000, 100_000 * 13),
    "a URL of 5 MiB": (b"POST /e?", b"x" * 65_536, 5 * MIB),
    "a method of 5 MiB": (b"", b"X" * 65_536, 5 * MIB),
    "one trailer of 50 MiB": (CHUNKED_HEAD + b"1\r\nx\r\n0\r\nX: ", b"x" * 65_536, 50 * MIB),
    "100,000 trailers": (CHUNKED_HEAD + b"0\r\n", b"X-Header: 1\r\n" * 5_000, 100_000 * 13),
    "a chunk extension of 50 MiB": (CHUNKED_HEAD + b"1;x=", b"x" * 65_536, 50 * MIB),
    "a trailer elsewhere": (CHUNKED_HEAD.replace(b"/e", b"/x", 1) + b"0\r\nX: ", b"x" * 65_536, 50 * MIB),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_that_is_no_body_is_cut_off_at_once(flat: Process, flood: str) -> None:
    begin, piece, total = FLOODS[flood]
    with flat.connect() as connection:
        connection.sendall(begin)
        sent = pour(connection, piece, total)
        assert is_closed(connection)
    assert sent < 8 * MIB  # what the system's own buffers take


def test_a_head_of_nearly_the_limit_is_taken_and_one_over_it_is_not(collector: Process) -> None:
    for size, taken in ((31_000, True), (34_000, False)):
        whole = request(body_of(event()), f"X: {'x' * size}\r\n")
        for pieces in ([whole], [whole[at : at + 1_000] for at in range(0, len(whole), 1_000)]):
            with collector.connect() as connection:
                try:
                    for piece in pieces:
                        connection.sendall(piece)
                    assert (read_answer(connection)[0] == 204) == taken
                except ConnectionError:
                    assert not taken


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
def test_a_head_that_ends_between_two_pieces_before_a_long_body_is_not_taken_for_a_long_one(
    collector: Process, cut: int
) -> None:
    body = body_of(*(event(title="x" * 900) for _ in range(45)))
    assert 40_000 < len(body) < 65_536
    whole = request(body)
    at = whole.index(b"\r\n\r\n") + cut
    with collector.connect() as connection:
        connection.sendall(whole[:at])
        time.sleep(0.02)  # so that it is read on its own
        connection.sendall(whole[at:])
        assert read_answer(connection)[0] == 204


@pytest.mark.parametrize("door", ["/e", "/api/v1/installs"])
def test_an_endless_chunked_body_is_refused_and_cut_off(flat: Process, cast: Cast, door: str) -> None:
    head = CHUNKED_HEAD.replace(b"/e", door.encode(), 1).replace(
        b"\r\n\r\n", f"\r\nAuthorization: Bearer {cast.token}\r\n\r\n".encode()
    )
    with flat.connect() as connection:
        deadline = time.monotonic() + PATIENCE_SECONDS
        connection.sendall(head)
        connection.setblocking(False)
        answer = b""
        chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
        sent = at = 0
        while sent < 100 * MIB:
            try:
                at += connection.send(chunk[at:])
                if at == len(chunk):
                    sent, at = sent + at, 0
            except BlockingIOError:
                time.sleep(0.001)
            except ConnectionError:
                break
            with contextlib.suppress(BlockingIOError, ConnectionError):
                answer += connection.recv(65536)
            assert time.monotonic() < deadline
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_read(flat: Process) -> None:
    with flat.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 104857600\r\n\r\n" + b"{")
        assert pour(connection, b" " * 65_536, 2 * MIB) <= 2 * MIB
        assert read_answer(connection)[0] == 413


def test_many_connections_with_half_a_long_body_take_little(flat: Process) -> None:
    """Each may hold back what the quick lane holds back, and no more."""
    connections = [flat.connect() for _ in range(40)]
    for connection in connections:
        connection.sendall(HEAD + b"Content-Length: 50000000\r\n\r\n")
    for connection in connections:
        pour(connection, b" " * 65_536, MIB)
    for connection in connections:
        assert read_answer(connection)[0] == 413
        connection.close()


def test_a_body_of_many_tiny_chunks_costs_little(flat: Process) -> None:
    body = body_of(*(event() for _ in range(90))).ljust(30_000)
    with flat.connect() as connection:
        before = flat.processor_seconds()
        connection.sendall(chunked(*pieces_of(body, 1)))
        assert read_answer(connection)[0] in (204, 413)
        assert flat.processor_seconds() - before < 2


def test_who_never_reads_the_answers_takes_no_memory(flat: Process) -> None:
    """Answers that nobody reads must not pile up here; those with twenty cookies are long."""
    young = base36(int(time.time()) - 60)
    cookies = "; ".join(f"footfall_p_{number}={young}.a:{'x' * 690}" for number in range(20))
    one = request(body_of(event()), f"Cookie: {cookies}\r\n")
    with flat.connect(timeout=1) as connection:
        sent = 0
        with contextlib.suppress(TimeoutError, ConnectionError):
            while sent < 3_000:
                connection.sendall(one)
                sent += 1
                time.sleep(0.004)  # one after another: two at once would be answered by closing
    assert sent < 3_000, "the other side stops reading"


def test_thousands_of_requests_in_one_piece_are_not_queued(flat: Process) -> None:
    for target in ("/js/footfall.js", "/e", "/nothing"):
        for _ in range(10):
            with flat.connect() as connection, contextlib.suppress(ConnectionError):
                connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 4_000)
                assert is_closed(connection)


# --- slow clients


SLOW: dict[str, tuple[bytes, bytes]] = {
    "nothing but the first byte": (b"P", b""),
    "a byte at a time in the head": (b"POST /e HTTP/1.1\r\nX: ", b"x"),
    "a byte at a time in the body": (HEAD + b"Content-Length: 1000\r\n\r\n", b" "),
    "a chunk at a time": (CHUNKED_HEAD, b"1\r\n \r\n"),
    "a body for another door": (HEAD.replace(b"/e", b"/api/v1/installs") + b"Content-Length: 1000\r\n\r\n", b" "),
    "a second request that never ends": (request(b"", method="GET", target="/healthz") + b"POST", b" "),
}


def test_slow_requests_end_at_the_deadline_and_hold_up_nobody(collector: Process) -> None:
    slow = [(collector.connect(), drip) for begin, drip in SLOW.values() for _ in range(20)]
    for (connection, _), (begin, _) in zip(slow, [pair for pair in SLOW.values() for _ in range(20)], strict=True):
        connection.sendall(begin)
    deadline, waited = time.monotonic() + PATIENCE_SECONDS, []
    open_still = list(slow)
    while open_still and time.monotonic() < deadline:
        for connection, drip in list(open_still):
            try:
                connection.sendall(drip)
                connection.setblocking(False)
                if connection.recv(4096) == b"":
                    open_still.remove((connection, drip))
            except BlockingIOError:
                pass
            except ConnectionError:
                open_still.remove((connection, drip))
        began = time.monotonic()
        assert collector.post("/e", content=body_of(event()), headers={"Origin": SITE}).status_code == 204
        if open_still:
            waited.append(time.monotonic() - began)
        time.sleep(0.1)
    assert open_still == []
    assert min(waited) < SLOWEST / 2, "whoever is held up waits for their end"
    for connection, _ in slow:
        connection.close()


def test_a_client_that_goes_away_leaves_nothing_behind(collector: Process, footfall: Footfall) -> None:
    before = events_stored(footfall)
    whole = request(body_of(event()))
    for at in (1, 100, len(whole) - 1):
        with collector.connect() as connection:
            connection.sendall(whole[:at])
    told = event()
    with collector.connect() as connection:
        connection.sendall(request(body_of(told)))  # and goes before the answer
    wait_until(lambda: events_stored(footfall) == before + 1, "the whole one is stored")
    assert collector.get("/healthz").status_code == 200


def test_at_the_end_every_sum_is_exact_and_no_address_is_at_rest(collector: Process, footfall: Footfall) -> None:
    findings = footfall.say("doctor")
    assert findings["balanced"], findings
    assert findings["doors"]["received"] > 100
    every_byte = b"".join(path.read_bytes() for path in Path(footfall.data_dir).iterdir())
    assert b"127.0.0.1" not in every_byte
