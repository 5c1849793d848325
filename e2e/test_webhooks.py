"""Webhooks over real sockets: what a receiver hears and can check, answers that never end, and a kill at each point."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from processes import SECRET_KEY, Footfall, run

from store import log
from store.endpoint import allowed
from store.engines import open_writer
from store.entry import Entry
from store.event import Details, encode_details
from store.postbacks import targets
from store.postbacks.targets import Wishes
from store.secrets import Vault
from wire import webhook
from wire.hook import Hook
from wire.macros import DEFAULT, MACROS
from wire.signature import sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of tests only
VALUES = dict.fromkeys(MACROS) | {"message.id": "m-1", "campaign.name": 'a"&b\r\nX: y'}


class Receiver(ThreadingHTTPServer):
    """Keeps what it hears; `answers` are statuses in order, then 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("Location", f"http://{self.server.place}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made
        made.shutdown()


def hook(place: str, path: str = "/in?name={{campaign.name}}") -> Hook:
    return Hook(f"http://{place}{path}", "json", '{"name": "{{campaign.name}}"}', (SECRET,))


def test_a_receiver_can_check_what_it_hears(receiver: Receiver) -> None:
    reply = webhook.send(hook(receiver.place), VALUES, allowed(receiver.place))
    assert reply.status == 204
    ((path, headers, body),) = receiver.heard
    assert path == "/in?name=a%22%26b%0D%0AX%3A%20y"
    assert json.loads(body) == {"name": 'a"&b\r\nX: y'}
    assert (headers["webhook-id"], headers["content-type"]) == ("m-1", "application/json")
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    assert headers["webhook-signature"] == sign("m-1", int(headers["webhook-timestamp"]), body, SECRET)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    reply = webhook.send(hook(receiver.place), VALUES, allowed(receiver.place))
    assert (reply.status, webhook.judge(reply).kind, len(receiver.heard)) == (status, "deferred", 1)


def test_what_is_not_allowed_is_not_reached(receiver: Receiver) -> None:
    reply = webhook.send(hook(receiver.place), VALUES, allowed(""))
    assert (bool(reply.forbidden), webhook.judge(reply).kind, receiver.heard) == (True, "deferred", [])


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_comes_byte_by_byte_is_cut_when_its_time_is_up(begins: bytes) -> None:
    """Nothing at all for long enough would be the socket's own limit; this is less than that, again and again."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(begins)
                while not ended.wait(0.05):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        place = f"127.0.0.1:{server.getsockname()[1]}"
        done: list[Any] = []
        sender = threading.Thread(
            target=lambda: done.append(webhook.send(hook(place), VALUES, allowed(place), 0.5)), daemon=True
        )
        sender.start()
        sender.join(30)
        ended.set()
        thread.join()
    (reply,) = done
    assert (reply.error, reply.sent) == ("ReadTimeout", True)


# --- killed


class Scene:
    """One installation with a webhook, and installs that it is to hear of."""

    def __init__(self, home: Path, receiver: Receiver) -> None:
        self.footfall = Footfall(home / "data", FOOTFALL_ALLOWED_DESTINATIONS=receiver.place)
        self.app = self.footfall.seed().owner_app
        self.footfall.cli("migrate", check=True)  # there is a ledger
        self.now = time.time_ns() // 1_000_000
        run(self._add_webhook(f"http://{receiver.place}/"))

    async def _add_webhook(self, url: str) -> None:
        wishes, vault = Wishes(name="ours", url=url, template=DEFAULT), Vault(SECRET_KEY)
        async with await open_writer(self.footfall.data_dir, "registry") as db:
            await targets.add_webhook(db, vault, self.now - 9_000, self.app, wishes, SECRET, "test")

    def install(self, number: int) -> None:
        """The install with that seq, which the next run decides."""
        who = ("owner", f"{number:040}", None, None, None, encode_details(Details()).decode())
        row = (self.app, bytes([number] * 16), "track", "install", "server", self.now, self.now, *who)
        run(self._store(row))

    async def _store(self, row: Any) -> None:
        async with await open_writer(self.footfall.data_dir, "log") as db:
            await log.commit(db, [Entry("test", self.now, [row], [], [])], Counter())

    def ledger(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.footfall.data_dir / "ledger.db")) as db:
            return db.execute(sql).fetchall()


def test_killed_at_any_point_it_is_told_again_under_the_same_id_or_not_at_all(
    tmp_path: Path, receiver: Receiver
) -> None:
    scene = Scene(tmp_path, receiver)
    points = {"after_postback_open": 0, "after_postback_send": 1, "after_postback_close": 1}
    for number, (point, heard) in enumerate(points.items(), 1):
        receiver.heard.clear()
        scene.install(number)
        assert scene.footfall.export(FOOTFALL_TEST="1", FOOTFALL_TEST_CRASH_AT=point).returncode == -9
        assert len(receiver.heard) == heard
        closed = point == "after_postback_close"
        sql = f"select outcome from postback_attempts where seq = {number} order by attempt_id"
        assert scene.ledger(sql) == [("accepted" if closed else "open",)]
        assert scene.footfall.export().returncode == 0
        assert len(receiver.heard) == (heard if closed else heard + 1)
        assert len({headers["webhook-id"] for _, headers, _ in receiver.heard}) == 1
        assert scene.ledger(sql) == ([("accepted",)] if closed else [("ambiguous",), ("accepted",)])
    (told,) = scene.footfall.say("doctor")["postbacks"]
    assert (told["owed"], told["accepted"], told["pending"]) == (3, 3, 0)
