"""Power cuts: both processes are killed again and again, and still every stored event lands exactly once. On SQLite
and on a server alike.

What counts as stored is what the collector answered 2xx to: a client writes down each such answer and nothing else.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx2
import pytest
from processes import Process, free_port, wait_until
from shipping_stage import Stage

seeded = random.Random  # the same instants every time, as far as the machine allows
VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"


@pytest.fixture(params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    prepared = request.getfixturevalue("prepared" if request.param == "sqlite" else "prepared_on_server")
    with prepared.stage(tmp_path) as stage:
        yield stage


def namespaces(stage: Stage) -> dict[str, UUID]:
    """The destination's id by app."""
    rows = stage.footfall.rows("registry", "select app_key, destination_id from destinations where active = 1")
    return {app: UUID(destination) for app, destination in rows}


def landed(stage: Stage, key: str) -> Counter[str]:
    return Counter(message["messageId"] for message in stage.segment.get(f"/_/received?writeKey={key}").json())


# --- the collector


class Client(threading.Thread):
    """Sends single events as fast as they are answered, through one door, and writes down the ids that got a 2xx."""

    def __init__(self, url: str, path: str, make: Callable[[str], Any], headers: dict[str, str]) -> None:
        super().__init__()
        self.acknowledged: list[str] = []
        self.tried: list[str] = []
        self._url = url + path
        self._make = make
        self._headers = headers
        self._enough = threading.Event()

    def run(self) -> None:
        with httpx2.Client(trust_env=False, timeout=5, headers=self._headers) as http:
            while not self._enough.is_set():
                event_id = str(uuid4())
                self.tried.append(event_id)
                try:
                    answer = http.post(self._url, content=json.dumps(self._make(event_id)))
                except httpx2.TransportError:
                    time.sleep(0.01)  # nobody is there
                    continue
                assert answer.is_success, answer.text
                if answer.status_code == 204 or answer.json()["stored"] == 1:
                    self.acknowledged.append(event_id)

    def stop(self) -> None:
        self._enough.set()
        self.join()


def test_every_acknowledged_event_survives_a_collector_that_is_killed_again_and_again(stage: Stage) -> None:
    port, chance = free_port(), seeded(20_260_216)
    url = f"http://127.0.0.1:{port}"
    collector = stage.footfall.collector(port)

    def view(event_id: str) -> Any:
        event = {"messageId": event_id, "name": "page_view", "app": stage.cast.owner_app, "anonymousId": VISITOR}
        event |= {"occurredAt": "2026-02-16T12:00:00.123Z", "url": "https://market.example/apps/1/a"}
        return {"events": [event]}

    def install(event_id: str) -> Any:
        return {"app": stage.cast.stranger_app, "accountId": "somebody", "messageId": event_id}

    clients = [Client(url, "/e", view, {"Origin": url}) for _ in range(3)]
    clients.append(Client(url, "/api/v1/installs", install, {"Authorization": f"Bearer {stage.cast.token}"}))
    for client in clients:
        client.start()
    try:
        for _ in range(5):
            wanted = sum(len(client.acknowledged) for client in clients) + chance.randrange(50, 300)
            wait_until(lambda: sum(len(client.acknowledged) for client in clients) >= wanted, "events came in")  # noqa: B023
            collector.kill()
            collector = stage.footfall.collector(port)
    finally:
        for client in clients:
            client.stop()
    collector.kill()

    stored = Counter(
        (app, str(UUID(bytes=event_id)))
        for app, event_id in stage.footfall.rows("events", "select app_key, message_id from events")
    )
    acknowledged = {(stage.cast.owner_app, each) for client in clients[:3] for each in client.acknowledged}
    acknowledged |= {(stage.cast.stranger_app, each) for each in clients[3].acknowledged}
    assert len(acknowledged) > 250
    assert acknowledged <= stored.keys()
    assert set(stored.values()) == {1}
    tried = {each for client in clients for each in client.tried}
    assert {event_id for _, event_id in stored} <= tried

    assert stage.footfall.export().returncode == 0
    for app, key in ((stage.cast.owner_app, stage.cast.owner_key), (stage.cast.stranger_app, stage.cast.stranger_key)):
        namespace = namespaces(stage)[app]
        assert landed(stage, key) == {str(uuid5(namespace, each)): 1 for of, each in stored if of == app}
    assert set(stage.balance()) == {stage.cast.owner_app, stage.cast.sibling_app, stage.cast.stranger_app}


# --- the exporter


def assert_everything_landed_once(stage: Stage, ids: dict[str, list[str]]) -> None:
    """Every event of every app under its own key, and nothing else anywhere."""
    cast = stage.cast
    keys = {cast.owner_app: cast.owner_key, cast.sibling_app: cast.sibling_key, cast.stranger_app: cast.stranger_key}
    for app, key in keys.items():
        namespace = namespaces(stage)[app]
        assert landed(stage, key) == {str(uuid5(namespace, str(UUID(hex=each)))): 1 for each in ids[app]}, app
    assert stage.segment.get("/_/counts").json()["landed"] == sum(map(len, ids.values()))
    assert {drop["reason"] for drop in stage.segment.get("/_/dropped").json()} <= {"duplicate"}
    for app, found in stage.balance().items():
        assert (found["accepted"], found["pending"], found["parked"]) == (len(ids[app]), 0, 0), app


def collected(stage: Stage, count: int) -> dict[str, list[str]]:
    """A backlog for every app, written in turns so that their seqs are mixed."""
    ids: dict[str, list[str]] = {stage.cast.owner_app: [], stage.cast.sibling_app: [], stage.cast.stranger_app: []}
    for _ in range(2):
        for app in ids:
            ids[app] += stage.collect(app, count // 2)
    return ids


@pytest.mark.parametrize("point", ["after_open", "after_send", "after_close"])
def test_an_exporter_that_dies_at_a_named_point_sends_nothing_twice_and_leaves_nothing_out(
    stage: Stage, point: str
) -> None:
    ids = collected(stage, 1_200)
    for _ in range(3):
        died = stage.footfall.export(FOOTFALL_TEST="1", FOOTFALL_TEST_CRASH_AT=point)
        assert died.returncode == -signal.SIGKILL
        stage.balance()
        stage.outlive_leases()
    assert stage.footfall.export().returncode == 0
    assert stage.footfall.value("ledger", "select count(*) from batches where outcome = 'open'") == 0
    if point != "after_close":
        assert stage.footfall.value("ledger", "select count(*) from batches where outcome = 'ambiguous'") >= 3
    assert_everything_landed_once(stage, ids)


def test_an_exporter_that_is_killed_at_any_instant_sends_nothing_twice_and_leaves_nothing_out(stage: Stage) -> None:
    """Meanwhile replies are lost, the other end is busy, and more events come in."""
    chance = seeded(20_260_217)
    ids = collected(stage, 3_000)
    kills = 0
    while kills < 8:
        for fault in (
            {"dropReply": True},
            {"status": 503},
            {"hang": 0.2},
            {"hang": 0.1},
            {"status": 500, "land": True},
        ):
            stage.fault(**fault)
        for app in ids:
            ids[app] += stage.collect(app, 100)
        asked = stage.segment.get("/_/counts").json()["requests"]
        running = stage.footfall.start_export()
        if killed_after(running, stage.segment, asked, chance.uniform(0, 0.5)):
            kills += 1
        stage.balance()
        if not any(found["pending"] for found in stage.balance().values()):
            for app in ids:
                ids[app] += stage.collect(app, 1_500)
    stage.mend()
    stage.outlive_leases()
    assert stage.footfall.export().returncode == 0
    assert_everything_landed_once(stage, ids)


def killed_after(running: subprocess.Popen[bytes], segment: Process, asked: int, seconds: float) -> bool:
    """Kill a run some time after its first request; False when it had ended by itself."""
    wait_until(
        lambda: running.poll() is not None or segment.get("/_/counts").json()["requests"] > asked, "a first request"
    )
    time.sleep(seconds)  # the instant of a power cut is anybody's choice
    running.kill()
    return running.wait() == -signal.SIGKILL


def test_both_are_killed_while_events_keep_coming(stage: Stage) -> None:
    """As in the demo: an exporter that runs again and again beside a collector."""
    port, chance = free_port(), seeded(20_260_218)
    collector = stage.footfall.collector(port)

    def install(event_id: str) -> Any:
        return {"app": stage.cast.owner_app, "accountId": "somebody", "messageId": event_id}

    headers = {"Authorization": f"Bearer {stage.cast.token}"}
    client = Client(collector.url, "/api/v1/installs", install, headers)
    client.start()
    try:
        for number in range(4):
            stage.fault(dropReply=True)
            exporter = stage.footfall.start_export("--every", "0.1")
            wanted = len(client.acknowledged) + chance.randrange(30, 120)
            wait_until(lambda: len(client.acknowledged) >= wanted, "events came in")  # noqa: B023
            if number % 2:
                collector.kill()
            exporter.kill()
            exporter.wait()
            if number % 2:
                collector = stage.footfall.collector(port)
    finally:
        client.stop()
    stage.outlive_leases()
    assert stage.footfall.export().returncode == 0
    stored = [str(UUID(bytes=row[0])) for row in stage.footfall.rows("events", "select message_id from events")]
    assert set(client.acknowledged) <= set(stored)
    namespace = namespaces(stage)[stage.cast.owner_app]
    assert landed(stage, stage.cast.owner_key) == {str(uuid5(namespace, each)): 1 for each in stored}
    assert stage.balance()[stage.cast.owner_app]["pending"] == 0
