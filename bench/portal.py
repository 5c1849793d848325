"""How long each page of the portal takes for an app of ten million events, against a limit and against bare queries.

The real application answers in this process, without sockets, so that only its own time is measured; a page is asked
for again and again in turn with the others, so that none has its pages of the files to itself. The first answer of each
after a start is told apart.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench import history
from bench.figure import Figure
from bench.history import DAY_MS
from bench.server import durable, fill_log, on
from bench.stage import FIRST_APP, NOW_MS
from collector.app import Collector
from store.database import Connection
from store.engines import open_reader
from store.settings import Settings

CACHE = "BENCH_CACHE"  # names a directory where what takes minutes to make is kept
EVENTS = 10_000_000
EVENTS_ON_A_SERVER = 1_000_000
ROUNDS = 40
LIMIT_MS = 100.0
OF_APP = {
    "overview": "overview",
    "overview, 90 days": "overview?period=90d",
    "overview, 90 days of a zone": "overview?period=90d&tz=Asia%2FKolkata",
    "overview, 12 months": "overview?period=12m",
    "overview, today": "overview?period=today",
    "overview, filtered": "overview?f=utm_source:newsletter&f=hosting:cloud",
    "funnel": "funnel",
    "funnel, 90 days": "funnel?period=90d",
    "sources": "sources",
    "sources, 90 days": "sources?period=90d",
    "sources, one facet": "sources?facet=utm_campaign&period=90d",
    "clicks": "clicks",
    "journeys": "journeys",
    "journeys, 90 days": "journeys?period=90d&steps=8",
    "journeys, back": "journeys?back=install",
    "visitors": "visitors",
    "visitors, one": "visitors?q={visitor}",
    "overview as csv": "overview.csv?table=over-time",
    "overview as json": "overview.json",
    "details": "details",
    "destination": "details/destination",
    "live": "live",
    "live, a name": "live?event=install",
    "live, a visitor": "live?q={visitor}",
    "live, a sent id": "live?q=99e491a1-d2c7-4b68-ab97-cc7c3497e011",
    "live, older": "live?before={middle}",
    "live, news": "live/news?after={news}",
    "event": "events/{middle}",
    "deliveries": "deliveries",
    "deliveries, refused": "deliveries?outcome=refused",
    "parked": "deliveries/parked",
    "replays": "deliveries/replays",
    "receipts": "deliveries/receipts",
}
OF_ALL = {
    "apps": "/",
    "partner, overview": "/partners/bench/overview",
    "partner, sources": "/partners/bench/sources",
    "account": "/account",
    "people": "/people",
    "tokens": "/tokens",
    "operator": "/operator",
    "operator, health": "/operator/health",
    "operator, apps": "/operator/apps",
    "operator, partners": "/operator/partners",
    "operator, settings": "/operator/settings",
    "audit": "/operator/audit",
}


def pages(scratch: Path) -> Iterator[Figure]:
    """Every page of one app's, and those of all, on SQLite."""
    kept = os.environ.get(CACHE)
    directory = Path(kept or scratch) / f"history-{EVENTS}"
    yield from asyncio.run(timed(history.installation(directory, EVENTS), "portal"))


def pages_on_a_server(scratch: Path) -> Iterator[Figure]:
    """The same on PostgreSQL, for an app with a tenth of the events and nothing sent yet."""
    with durable() as cluster:
        settings = on(cluster, scratch, with_destinations=True)
        fill_log(settings, EVENTS_ON_A_SERVER, counted=False)
        asyncio.run(history.move_in(settings, NOW_MS))
        asyncio.run(history.count(settings))
        yield from asyncio.run(timed(settings, "pg portal"))


async def timed(settings: Settings, prefix: str) -> list[Figure]:
    """What half and nearly all of a page's answers take, and its first."""
    tokens = await history.sign_in(settings)
    addresses = {name: f"/apps/{FIRST_APP}/{rest}" for name, rest in OF_APP.items()} | OF_ALL
    told = await _told(settings)
    async with running(Collector(settings)) as client:
        took: dict[str, list[float]] = {name: [] for name in addresses}
        bare = []
        for _ in range(ROUNDS):
            for name, address in addresses.items():
                role = "operator" if address.startswith("/operator") else "owner"
                took[name].append(await client(address.format(**told), tokens[role]))
            bare.append(await bare_query(settings))
    peer = statistics.median(bare)
    figures = []
    for name, times in took.items():
        figures.append(Figure(f"{prefix} {name} first", times[0], "ms", peer, "a bare query"))
        figures.append(Figure(f"{prefix} {name} p50", statistics.median(times), "ms", peer, "a bare query"))
        nearly = statistics.quantiles(times, n=20)[-1]
        figures.append(Figure(f"{prefix} {name} p95", nearly, "ms", LIMIT_MS, "limit", "at most", 1.0))
    return figures


async def bare_query(settings: Settings) -> float:
    """Milliseconds of the least that a page of numbers asks: the sets of visitors of its days, over an open reader."""
    async with await open_reader(settings.where, "log") as log:
        return await log.run(_bare)


def _bare(connection: Connection) -> float:
    began = time.perf_counter()
    today = NOW_MS // DAY_MS
    connection.execute(_DAYS, (FIRST_APP, today - 28, today)).fetchall()
    return (time.perf_counter() - began) * 1_000


_DAYS = """/* bench.days */
    select value, events, visitors
    from rollup_days
    where app_key = ? and partner_key = 'bench' and facet = 'event' and day >= ? and day < ?"""


async def _told(settings: Settings) -> dict[str, Any]:
    """What addresses are made of: a seq in the middle of the log, one shortly before its end, and somebody."""
    async with await open_reader(settings.where, "log") as log:
        head = await log.value("select max(seq) from events")
        sql = "select anonymous_id from events where seq <= ? and suppressed is null order by seq desc limit 1"
        return {"middle": head // 2, "news": head - 100, "visitor": await log.value(sql, (head - 10_000,))}


class Client:
    """Asks the application as a server would, and takes the time until the answer's last byte."""

    def __init__(self, app: Collector) -> None:
        self._app = app

    async def __call__(self, address: str, token: str) -> float:
        """Milliseconds. Raises RuntimeError unless the page is there."""
        path, _, query = address.partition("?")
        headers = [(b"host", b"bench.example"), (b"cookie", f"__Host-footfall={token}".encode())]
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
        }
        scope |= {"raw_path": path.encode(), "scheme": "https", "root_path": "", "http_version": "1.1"}
        scope |= {"client": ("127.0.0.1", 1), "server": ("bench.example", 443), "state": {}}
        statuses: list[int] = []

        async def send(message: Any) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        began = time.perf_counter()
        await self._app(scope, _nothing, send)
        took = (time.perf_counter() - began) * 1_000
        if statuses != [200]:
            raise RuntimeError(f"{address} was answered with {statuses}")
        return took


async def _nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


@asynccontextmanager
async def running(app: Collector) -> AsyncIterator[Client]:
    """The application between its start and its end."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {}, "state": {}}
    life = asyncio.create_task(app(scope, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    started = await from_app.get()
    if started["type"] != "lifespan.startup.complete":
        raise RuntimeError(f"the collector does not start: {started}")
    try:
        yield Client(app)
    finally:
        await to_app.put({"type": "lifespan.shutdown"})
        await life
