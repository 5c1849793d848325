"""An installation moves to a server while pages go on sending, and the copy is killed again and again."""

import json
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from processes import Cast, Footfall, Process, wait_until

KILLS = 4
WAIT_SECONDS = 60


@pytest.fixture
def footfall(tmp_path: Path) -> Iterator[Footfall]:
    with Footfall(tmp_path / "data") as installation:
        yield installation


def send(collector: Process, cast: Cast, count: int) -> list[str]:
    """One request of a page; the ids of its events, which are on disk."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    events = [
        {
            "messageId": each,
            "name": "page_view",
            "app": cast.owner_app,
            "occurredAt": datetime.now(UTC).isoformat(),
            "anonymousId": "89b60ff131fa6d32b85f0893a8670fbc2a9608d0",
            "url": "https://marketplace.example/apps/1219125/charts",
            "title": "x" * 300,
        }
        for each in ids
    ]
    answer = collector.post(
        "/e", content=json.dumps({"events": events}), headers={"Origin": "https://marketplace.example"}
    )
    assert answer.status_code in (200, 204), answer.text
    return ids


def events_there(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from log.events").fetchone()
        assert row is not None
        return int(row[0])


def test_nothing_is_lost_and_nothing_is_sent_twice(footfall: Footfall, postgres_url: str) -> None:
    footfall.env["FOOTFALL_ALLOWED_ORIGINS"] = "https://marketplace.example"
    cast = footfall.seed(write_keys=True)
    to = ("copy", "--from", "sqlite", "--to", postgres_url)
    footfall.cli("migrate", check=True)
    footfall.cli("migrate", check=True, FOOTFALL_DATABASE_URL=postgres_url)
    sent: list[str] = []
    with footfall.fake_segment() as segment:
        with footfall.collector() as collector:
            for _ in range(150):
                sent += send(collector, cast, 100)
            assert footfall.export().returncode == 0
            enough = threading.Event()

            def go_on() -> None:
                while not enough.is_set():
                    sent.extend(send(collector, cast, 2))

            sender = threading.Thread(target=go_on)
            sender.start()
            try:
                for _ in range(KILLS):
                    before = events_there(postgres_url)
                    copying = footfall.begin(*to)
                    wait_until(lambda: events_there(postgres_url) > before, "it copies", WAIT_SECONDS)  # noqa: B023
                    assert copying.kill() in (-9, 75)
                assert footfall.cli(*to).returncode == 75
            finally:
                enough.set()
                sender.join()
        pending = len(sent) - 15_000
        done = footfall.cli(*to)
        assert (done.returncode, done.stdout.split()[:2]) == (0, ["log.events", str(len(sent))]), done.stderr
        assert footfall.export().returncode == 78
        footfall.env["FOOTFALL_DATABASE_URL"] = postgres_url
        exported = json.loads(footfall.export("--json").stdout)
        assert [each["accepted"] for each in exported["destinations"]] == [pending]
        landed = segment.get(f"/_/received?writeKey={cast.owner_key}").json()
        assert len(landed) == len({message["messageId"] for message in landed}) == len(sent)
        with footfall.collector() as collector:
            sent += send(collector, cast, 3)
        assert json.loads(footfall.export("--json").stdout)["destinations"][0]["accepted"] == 3
