"""Browsers for the tests in this directory, and the fixtures that they share.

The surprising thing: Playwright's default switches are partly taken back. It starts Chromium without the back-forward
cache, and these tests are about pages that come back from there. Nothing here intercepts requests inside the browser
either: that takes them out of the path that keepalive and its quota belong to, so what was sent is read at the server.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from landed import Landed
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright
from portal_tour import Tour, Visitors
from processes import COMMAND, PATIENCE_SECONDS, Footfall, Process, free_port
from recorder import Recorder
from shipping_stage import Prepared, Stage
from siege import SITE, Siege

from selftest.cluster import Databases

ROOT = Path(__file__).parent.parent

expect.set_options(timeout=PATIENCE_SECONDS * 1_000)

ARGUMENTS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.test 127.0.0.1",  # any name in .test: plain http that is no secure context
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]

# What takes half a minute or more, the longest first: whatever is begun last is waited for alone.
LONGEST = {
    f"test_{name}": place
    for place, name in enumerate(
        "portal_sweep pipeline_kills selftest rollup_kills failover demo_pages no_key_anywhere exporters "
        "collector_durability snippet_sending portal_keyboard export_answers restarts docs_run".split()
    )
}


def launch_options(quick: bool = False) -> dict[str, Any]:
    """For `launch` and `launch_persistent_context` alike. With `quick`, if it is there, Chromium without its windows,
    which opens a page in a fifth of the time."""
    return {
        "executable_path": (quick and shutil.which("chromium-headless-shell")) or shutil.which("chromium"),
        "args": ARGUMENTS,
        "ignore_default_args": ["--disable-back-forward-cache"],
    }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--browsers", choices=["with", "without"], help="Run only tests with a browser, or only others.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Browsers come last: while one is open, Playwright keeps an event loop running in this thread, and a test that
    has work of its own for one could not begin it. Side by side, each kind has a run of its own, the longest files
    first."""
    items.sort(key=lambda item: (_has_browser(item), LONGEST.get(item.path.stem, len(LONGEST))))
    wanted = config.getoption("--browsers")
    if wanted is not None:
        items[:] = [item for item in items if _has_browser(item) == (wanted == "with")]


def _has_browser(item: pytest.Item) -> bool:
    return "playwright" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def snippet() -> dict[str, Any]:
    """The snippet's manifest, freshly built."""
    built = subprocess.run([sys.executable, "scripts/build_snippet.py"], cwd=ROOT, capture_output=True, check=True)
    manifest: dict[str, Any] = json.loads(built.stdout)
    return manifest


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(**launch_options(quick=True))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def whole_browser(playwright: Playwright) -> Iterator[Browser]:
    """For tests of what a browser does with a page that is left: a quick one keeps none to come back to."""
    browser = playwright.chromium.launch(**launch_options())
    yield browser
    browser.close()


@pytest.fixture
def recorder(snippet: dict[str, Any]) -> Iterator[Recorder]:
    """Each test has its own, on its own port: what an earlier page still sends reaches nobody."""
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Makes a visitor with an empty browser; closed after the test."""
    contexts = []

    def make(**options: Any) -> BrowserContext:
        contexts.append(browser.new_context(**options))
        return contexts[-1]

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def context(new_context: Callable[..., BrowserContext]) -> BrowserContext:
    return new_context()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    with Prepared(tmp_path_factory.mktemp("prepared")) as prepared:
        yield prepared


@pytest.fixture(scope="session")
def prepared_on_server(cluster: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    with Prepared(tmp_path_factory.mktemp("prepared"), cluster) as prepared:
        yield prepared


@pytest.fixture
def stage(prepared: Prepared, tmp_path: Path) -> Iterator[Stage]:
    """What the exporter's tests stand on: an installation to fill by hand, and nothing at Segment yet."""
    with prepared.stage(tmp_path) as stage:
        yield stage


@pytest.fixture(scope="session")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    """One collector for all attacks, so that what one leaves behind is there for the next."""
    settings = {"FOOTFALL_TEST": "1", "FOOTFALL_TEST_RECEIVE_SECONDS": "2"}
    data_dir = tmp_path_factory.mktemp("siege") / "data"
    with Footfall(data_dir, FOOTFALL_ALLOWED_ORIGINS=SITE, **settings) as footfall:
        cast = footfall.seed()
        with footfall.collector() as collector:
            yield Siege(footfall, cast, collector)


@pytest.fixture
def siege(besieged: Siege) -> Iterator[Siege]:
    besieged.begin()
    yield besieged
    besieged.check_well()


class RunningDemo:
    """Where `footfall demo` is, and what landed at its fake Segment."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = process.url
        self._landed = Landed(process.port + 1)

    def landed(self, app_key: str) -> list[dict[str, Any]]:
        """The messages of one app that the fake Segment has."""
        return [message for message in self._landed.all() if message["properties"].get("pluginKey") == app_key]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, snippet: dict[str, Any]) -> Iterator[RunningDemo]:
    """One demo for all tests that only look at it."""
    home = tmp_path_factory.mktemp("demo")
    env = Footfall(home / "data").env
    port = free_port(and_next=1)
    with Process([*COMMAND, "demo", "--port", str(port)], env, port, home / "demo.log", "/healthz") as process:
        yield RunningDemo(process)


@pytest.fixture(scope="session")
def tours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tour]]:
    """The portal in each of its states, for tests that only look."""
    with (
        Tour(tmp_path_factory.mktemp("full"), "full") as full,
        Tour(tmp_path_factory.mktemp("empty"), "empty") as empty,
    ):
        yield {"full": full, "empty": empty}


@pytest.fixture(scope="session")
def visitors(browser: Browser) -> Iterator[Visitors]:
    """For tests that look at page after page of a tour."""
    visitors = Visitors(browser)
    yield visitors
    visitors.close()
