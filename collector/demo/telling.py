"""Telling the collector what happened before the demo was started, through the doors that are there for everybody.

The collector is not listening yet: it runs here without sockets, which takes seconds where a server takes a minute. The
surprising thing is the order: what the back end tells of a visitor comes after what the listing told, as it would.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import TypeVar

import msgspec
from starlette.types import Message

from collector.app import Collector
from collector.demo.history import DAY_MS, Act, Visit
from store.errors import StoreUnavailable
from store.settings import Settings

T = TypeVar("T")
AT_ONCE = 1_000  # visits: few commits
WEEK_MS = 7 * DAY_MS
MOST_ACTS = 1_000  # in a list
DOORS = "app-requests", "installs", "uninstalls"

Sign = Callable[[str, str], str]
Headers = dict[bytes, bytes]


async def tell(settings: Settings, token: str, sign_visitor: Sign, past: Iterable[Visit | Act]) -> None:
    """Send everything, week by week. Raises StoreUnavailable when the collector cannot take it."""
    bearer = {b"authorization": f"Bearer {token}".encode()}
    async with _running(Collector(settings)) as collector:
        for _, week in groupby(past, key=lambda part: part.at // WEEK_MS):
            parts = list(week)
            visits = [part for part in parts if isinstance(part, Visit)]
            for some in _pieces(visits, AT_ONCE):
                await asyncio.gather(*(_tell_visit(collector, settings.ingest_path, one, sign_visitor) for one in some))
            for door in DOORS:
                messages = [part.message for part in parts if isinstance(part, Act) and part.door == door]
                for told in _pieces(messages, MOST_ACTS):
                    await _post(collector, f"/api/v1/{door}", bearer, msgspec.json.encode(told))


async def _tell_visit(collector: Collector, path: str, visit: Visit, sign_visitor: Sign) -> None:
    user = {"user": sign_visitor(visit.account, visit.app_key)} if visit.account else {}
    body = msgspec.json.encode({"events": [event | user for event in visit.events]})
    headers = {b"user-agent": visit.agent.encode(), b"accept-language": visit.locale.encode()}
    if visit.gpc:
        headers[b"sec-gpc"] = b"1"
    await _post(collector, path, headers, body)


async def _post(collector: Collector, path: str, headers: Headers, body: bytes) -> None:
    """One request. An answer that turns it away is as good as one that takes it: some of the past is like that."""
    sent: list[Message] = []
    received = iter([{"type": "http.request", "body": body}])

    async def receive() -> Message:
        return next(received, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": list(headers.items())}
    await collector(scope, receive, send)
    if sent[0]["status"] >= 500:
        raise StoreUnavailable(f"{path} answered {sent[0]['status']}")


@asynccontextmanager
async def _running(collector: Collector) -> AsyncIterator[Collector]:
    """The collector between its start and its end, as a server would start and end it."""
    to_it: asyncio.Queue[Message] = asyncio.Queue()
    from_it: asyncio.Queue[Message] = asyncio.Queue()

    async def step(name: str) -> None:
        await to_it.put({"type": f"lifespan.{name}"})
        answer = await from_it.get()
        if answer["type"] != f"lifespan.{name}.complete":
            raise StoreUnavailable(f"the collector's {name} failed: {answer.get('message', '')}")

    life = asyncio.create_task(collector({"type": "lifespan", "state": {}}, to_it.get, from_it.put))
    await step("startup")
    try:
        yield collector
    finally:
        await step("shutdown")
        await life


def _pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
