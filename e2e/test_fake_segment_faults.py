"""The fake Segment as a process on loopback: what only a real socket can show, and the real client against it."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import requests
from processes import PATIENCE_SECONDS, free_port, wait_until
from segment.analytics import Client
from segment.analytics.request import APIError, parse_retry_after, post

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
KEY = "FOOTFALLEXAMPLEWRITEKEY000000001"
TRACK = {"type": "track", "event": "Listing Viewed", "userId": "ann"}
SERVE = """
import functools, sys
from exporter.fake_segment.app import serve
serve(int(sys.argv[1]), announce=functools.partial(print, flush=True))
"""


def start() -> tuple[subprocess.Popen[str], str]:
    """Start a fake of its own process; it says its URL once it listens."""
    root, command = Path(__file__).parents[1], [sys.executable, "-c", SERVE, str(free_port())]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root)
    assert running.stdout
    return running, running.stdout.readline().strip()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    running, url = start()
    yield url
    running.terminate()
    assert running.communicate(timeout=PATIENCE_SECONDS) == ("", ""), "the fake complained"


@pytest.fixture
def segment(url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=url, trust_env=False, timeout=PATIENCE_SECONDS) as client:
        client.post("/_/reset")
        yield client


def say(segment: httpx2.Client, route: str, **fields: object) -> None:
    segment.post(f"/_/{route}", json=fields).raise_for_status()


def send(url: str, *ids: str, timeout: float = PATIENCE_SECONDS, **more: Any) -> requests.Response:
    return post(KEY, url, timeout=timeout, batch=[TRACK | {"messageId": each} for each in ids], **more)


def ids(segment: httpx2.Client) -> list[str]:
    return [message["messageId"] for message in segment.get("/_/received").json()]


def address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


# --- the real client


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
def test_a_documented_payload_sent_with_the_real_client_lands_in_the_documented_form(
    url: str, segment: httpx2.Client, name: str, message_id: str, sent_at: str, received_at: str
) -> None:
    item = json.loads((GOLDEN / f"mpac-{name}-event.json").read_text())
    stored, message = Client(KEY, send=False).track(
        user_id=item["userId"],
        event=item["event"],
        properties=item["properties"],
        timestamp=datetime.fromisoformat(item["timestamp"]),
        integrations=item["integrations"],
        message_id=message_id,
    )
    assert stored
    say(segment, "clock", now=received_at)
    present = {key: value for key, value in message.items() if value is not None}
    answer = post(KEY, url, batch=[present], sentAt=sent_at)
    assert (answer.status_code, answer.json(), answer.history) == (200, {"success": True}, [])
    (landed,) = segment.get("/_/received").json()
    expected = json.loads((GOLDEN / "landed" / f"mpac-{name}-event.json").read_text())
    assert landed.keys() == expected.keys()
    for key, value in expected.items():
        assert landed[key] == value, key


def test_the_real_client_lands_in_the_eu_and_packed(url: str, segment: httpx2.Client) -> None:
    say(segment, "keys", writeKey=KEY, region="eu")
    send(url, "m1", gzip=True)
    send(url + "/eu", "m2", gzip=True)
    assert ids(segment) == ["m2"]
    assert [drop["reason"] for drop in segment.get("/_/dropped").json()] == ["wrong_region"]


def test_the_real_client_reads_the_rate_limit(url: str, segment: httpx2.Client) -> None:
    say(segment, "fault", status=429, retryAfter=7)
    with pytest.raises(APIError) as refused:
        send(url, "m1")
    assert refused.value.status == 429
    assert parse_retry_after(refused.value.response) == 7


def test_the_real_client_takes_a_redirect_to_a_page_for_success(url: str, segment: httpx2.Client) -> None:
    say(segment, "fault", redirect=302)
    answer = send(url, "m1")
    assert answer.status_code == 200
    assert [step.status_code for step in answer.history] == [302]
    assert ids(segment) == []


def test_a_batch_with_a_bare_nan_from_the_real_client_is_a_400(url: str, segment: httpx2.Client) -> None:
    with pytest.raises(APIError) as refused:
        post(KEY, url, batch=[TRACK, TRACK | {"properties": {"price": float("nan")}}])
    assert (refused.value.status, refused.value.message) == (400, "  Bad Request  \n")
    assert ids(segment) == []


# --- the wire


def test_a_lost_reply_lands_the_batch_and_a_second_try_lands_nothing_more(url: str, segment: httpx2.Client) -> None:
    say(segment, "fault", dropReply=True)
    with pytest.raises(requests.ConnectionError, match="closed connection without response"):
        send(url, "m1", "m2")
    send(url, "m1", "m2", retry_count=1)
    assert ids(segment) == ["m1", "m2"]
    attempts = segment.get("/_/requests").json()
    assert [(each["status"], each["landed"], each["retryCount"]) for each in attempts] == [(None, 2, 0), (200, 0, 1)]


def test_a_reset_is_a_reset_and_lands_nothing(url: str, segment: httpx2.Client) -> None:
    say(segment, "fault", reset=0)
    with pytest.raises(requests.ConnectionError, match="Connection reset by peer"):
        send(url, "m1")
    assert ids(segment) == []


def test_a_reset_comes_in_the_middle_of_the_body(url: str, segment: httpx2.Client) -> None:
    say(segment, "fault", reset=1000)
    with socket.create_connection(address(url), timeout=PATIENCE_SECONDS) as client:
        client.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: fake\r\nContent-Length: 100000\r\n\r\n" + b"{" * 1000)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert segment.get("/_/requests").json()[0]["bytes"] == 1000


def test_a_hanging_reply_runs_into_the_clients_timeout_after_the_batch_landed(url: str, segment: httpx2.Client) -> None:
    say(segment, "fault", hang=30)
    with pytest.raises(requests.ReadTimeout):
        send(url, "m1", timeout=0.3)
    wait_until(lambda: ids(segment) == ["m1"], "it landed")


def test_a_hang_before_an_error_lands_nothing(url: str, segment: httpx2.Client) -> None:
    say(segment, "fault", hang=0.2, status=503)
    started = time.monotonic()
    with pytest.raises(APIError) as refused:
        send(url, "m1")
    assert refused.value.status == 503
    assert time.monotonic() - started >= 0.2
    assert ids(segment) == []


def test_a_hanging_request_does_not_hold_up_another(url: str, segment: httpx2.Client) -> None:
    say(segment, "fault", hang=600, match={"messageId": "slow"})
    with pytest.raises(requests.ReadTimeout):
        send(url, "slow", timeout=0.1)
    wait_until(lambda: ids(segment) == ["slow"], "the slow one is under way")
    assert send(url, "quick").status_code == 200


def test_a_slow_drip_outlasts_a_read_timeout_that_it_never_trips(url: str, segment: httpx2.Client) -> None:
    say(segment, "fault", slowDrip=0.15)
    started = time.monotonic()
    answer = send(url, "m1", timeout=2)
    assert answer.json() == {"success": True}
    assert time.monotonic() - started >= 17 * 0.15


def test_a_refusing_fake_refuses_connections_and_comes_back_on_the_same_port(url: str, segment: httpx2.Client) -> None:
    send(url, "m1")
    say(segment, "fault", refuse=2)
    with pytest.raises(requests.ConnectionError, match="Connection refused"):
        send(url, "m2")
    wait_until(lambda: answers(url), "the fake came back")
    assert send(url, "m3").status_code == 200
    assert ids(segment) == ["m1", "m3"]


def answers(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address(url)) == 0


def test_https_to_the_fake_is_a_tls_error(url: str, segment: httpx2.Client) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        send(url.replace("http:", "https:"), "m1")
    assert ids(segment) == []


def test_a_client_that_dies_while_sending_leaves_no_trace(url: str, segment: httpx2.Client) -> None:
    with socket.create_connection(address(url), timeout=PATIENCE_SECONDS) as client:
        client.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: fake\r\nContent-Length: 100000\r\n\r\n{")
    send(url, "m1")
    assert ids(segment) == ["m1"]
    assert len(segment.get("/_/requests").json()) == 1


def test_twenty_thousand_events_land_once_each(url: str, segment: httpx2.Client) -> None:
    batches = [[f"{batch}-{number}" for number in range(500)] for batch in range(40)]
    for batch in batches:
        send(url, *batch)
    assert ids(segment) == [each for batch in batches for each in batch]


def test_a_request_that_hangs_does_not_keep_the_fake_from_stopping() -> None:
    running, url = start()
    httpx2.post(url + "/_/fault", json={"hang": 600}, trust_env=False)
    with socket.create_connection(address(url), timeout=PATIENCE_SECONDS) as client:
        body = json.dumps({"batch": [TRACK], "writeKey": KEY}).encode()
        client.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: fake\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        while not httpx2.get(url + "/_/received", trust_env=False).json():
            time.sleep(0.01)
        running.terminate()
        running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode is not None
