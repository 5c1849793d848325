"""The fixed cast and the doors in-process, on real databases of the test's own, of either engine; no network.

The surprising things: the registry with the cast is made once and copied, because making databases takes longer than
most tests; and whatever needs a store runs once for each engine, but for what is marked `only`.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from engines import ENGINES, Stores, Templates, columns, every_byte, look
from httpx2 import Response
from portal_cast import Browser, House, move_in, opened
from pytest_socket import disable_socket, enable_socket
from shipping_cast import Installation
from starlette.testclient import TestClient

from collector.app import Collector
from selftest.cluster import Databases
from store import registry
from store.database import Engine, Server, Where
from store.engines import migrate_all, open_writer
from store.secrets import Vault
from store.settings import Settings

# No deadline: other work on the machine must not fail a test. The same examples in every run, so that a change is not
# blamed for an old fault; others, and more of them: HYPOTHESIS_MAX_EXAMPLES=1000.
_SEARCHES = os.environ.get("HYPOTHESIS_MAX_EXAMPLES")
hypothesis.settings.register_profile(
    "ours", deadline=None, max_examples=int(_SEARCHES or "40"), derandomize=_SEARCHES is None
)
hypothesis.settings.load_profile("ours")

SECRET_KEY = "b1d8a2c47f603e95d2b8e6a1c3f5079d"  # noqa: S105 - of tests only
VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"
OTHER_VISITOR = "0123456789abcdef0123456789abcdef01234567"
SITE = "https://marketplace.example"
LISTING = f"{SITE}/apps/1219125/charts"
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def no_network() -> Iterator[None]:
    """Event loops need socket pairs, which are Unix sockets; nothing else is let through."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("only")
        if only is None:
            engines = ENGINES
        else:
            engine, _reason = only.args
            engines = (engine,)
        metafunc.parametrize("engine", engines, indirect=True)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of the engines in turn, or the one that a test is marked with as its `only` one."""
    which: Engine = request.param
    return which


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Templates:
    """The server is started for the first test that needs it, and has to find itself a port for that."""

    def started() -> Databases:
        enable_socket()
        try:
            server: Databases = request.getfixturevalue("cluster")
        finally:
            disable_socket(allow_unix_socket=True)
        request.session.addfinalizer(made.close)  # before the server's
        return server

    made = Templates(tmp_path_factory.mktemp, started)
    return made


@pytest.fixture
def stores(engine: Engine, templates: Templates) -> Iterator[Stores]:
    """Makes stores of the engine, gone after the test."""
    made = Stores(engine, templates)
    yield made
    made.close()


@pytest.fixture
def where(stores: Stores, tmp_path: Path) -> Where:
    """An empty store."""
    return stores.new(tmp_path / "data")


@dataclass(frozen=True)
class Cast:
    """An owner with two apps, a stranger with one, and the back end's tokens. Nobody has sent anything yet."""

    data_dir: Path
    where: Where
    token: str
    installs_token: str
    vault: Vault
    owner: str = "owner"
    stranger: str = "stranger"
    owner_app: str = "com.owner.charts"
    sibling_app: str = "com.owner.boards"
    stranger_app: str = "com.stranger.notes"

    def settings(self, **changed: Any) -> Settings:
        url = self.where.url if isinstance(self.where, Server) else None
        given = {"data_dir": self.data_dir, "database_url": url, "secret_key": SECRET_KEY}
        return Settings(**(given | {"allowed_origins": frozenset({SITE})} | changed))

    def rows(self, sql: str, *values: Any, nature: str = "log") -> list[tuple[Any, ...]]:
        """Read a database with the database's own tool, not ours."""
        return look(self.where, nature, sql, *values)

    def events(self) -> list[dict[str, Any]]:
        """Every stored event by column name, `details` decoded, in order."""
        names = columns(self.where, "log", "events")
        stored = [dict(zip(names, row, strict=True)) for row in self.rows("select * from events order by seq")]
        return [event | {"details": json.loads(event["details"])} for event in stored]

    def event(self) -> dict[str, Any]:
        """The one stored event."""
        (event,) = self.events()
        return event

    def rejections(self) -> list[tuple[str, str, bytes]]:
        """(app, reason, what was kept) of every rejection, in order."""
        return self.rows("select app_key, reason, body from rejections order by rejection_id")

    def balance(self) -> dict[str, int]:
        """The sums at the doors, checked against each other and against the events that are there."""
        sums = {"received": 0, "stored": 0, "duplicate": 0, "rejected": 0, "shed": 0}
        sums |= dict(self.rows("select outcome, sum(n) from door_tallies where n > 0 group by outcome"))
        assert sums["received"] == sums["stored"] + sums["duplicate"] + sums["rejected"] + sums["shed"]
        assert sums["stored"] == self.rows("select count(*) from events")[0][0]
        return sums

    def every_byte(self) -> bytes:
        """All that is stored."""
        return every_byte(self.where)


async def the_cast(where: Where) -> tuple[str, str]:
    """Fill a store with the cast; the two tokens."""
    await migrate_all(where)
    async with await open_writer(where, "registry") as db:
        await registry.add_partner(db, 0, "owner", "1211971", "Owner")
        await registry.add_partner(db, 0, "stranger", "1213333", "Stranger")
        await registry.add_app(db, 0, "com.owner.charts", "owner", "1219125", "Charts")
        await registry.add_app(db, 0, "com.owner.boards", "owner", "1219126", "Boards")
        await registry.add_app(db, 0, "com.stranger.notes", "stranger", "1219127", "Notes")
        token = await registry.add_token(db, 0, "back-end", frozenset(registry.SCOPES))
        return token, await registry.add_token(db, 0, "installs-only", frozenset({"installs"}))


@pytest.fixture
def cast(stores: Stores, tmp_path: Path) -> Cast:
    data_dir = tmp_path / "data"
    return Cast(data_dir, stores.new(data_dir, the_cast), *stores.filled(the_cast).given, Vault(SECRET_KEY))


class Doors:
    """A running collector, called in-process, and shorthand for what is said at its doors."""

    def __init__(self, client: TestClient, cast: Cast) -> None:
        self.client = client
        self._cast = cast

    def send(self, *events: dict[str, Any], sent_at: str | None = None, **headers: str) -> Response:
        """One request of the snippet's; `headers` with _ for -."""
        body = {"events": list(events)} | ({"sentAt": sent_at} if sent_at else {})
        return self.post(json.dumps(body).encode(), **headers)

    def post(self, body: bytes, **headers: str) -> Response:
        sent = {"Origin": SITE} | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post("/e", content=body, headers=sent)

    def tell(self, door: str, body: Any, token: str | None = None) -> Response:
        """One request of the back end's; bytes go as they are, all else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token or self._cast.token}"}
        return self.client.post(f"/api/v1/{door}", content=content, headers=headers)


@pytest.fixture
def open_doors(cast: Cast) -> Iterator[Callable[..., Doors]]:
    """Start a collector with other settings than usual; ended after the test."""
    with ExitStack() as stack:

        def start(**changed: Any) -> Doors:
            client = TestClient(Collector(cast.settings(**changed)), headers={"user-agent": "Firefox/148.0"})
            return Doors(stack.enter_context(client), cast)

        yield start


@pytest.fixture
def doors(open_doors: Callable[..., Doors]) -> Doors:
    return open_doors()


def view(**changed: Any) -> dict[str, Any]:
    """A page view that is good, with the fields given; None takes a field away."""
    event = {
        "messageId": str(uuid.uuid4()),
        "name": "page_view",
        "app": "com.owner.charts",
        "occurredAt": iso(-1000),
        "anonymousId": VISITOR,
        "url": LISTING,
    } | changed
    return {name: value for name, value in event.items() if value is not None}


def iso(offset_ms: int = 0) -> str:
    """A time that far from now, as the snippet writes it."""
    moment = time.time() + offset_ms / 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment * 1000) % 1000:03}Z"


@pytest.fixture
def installation(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """What the exporter's tests run on. Its waits keep their number and order, and take a thousandth of the time."""
    monkeypatch.setattr("wire.verdict.BASE_SECONDS", 0.0005)
    return Installation(stores, tmp_path)


async def the_house(where: Where) -> tuple[str, str]:
    """The cast, and the portal's people."""
    tokens = await the_cast(where)
    async with await open_writer(where, "registry") as db:
        await move_in(db)
    return tokens


@pytest.fixture
def house(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    data_dir = tmp_path / "data"
    given = stores.filled(the_house).given
    return House(Cast(data_dir, stores.new(data_dir, the_house), *given, Vault(SECRET_KEY)), monkeypatch)


@pytest.fixture
def browser(house: House) -> Iterator[Browser]:
    with opened(house) as found:
        yield found
