"""How fast a partner's own calls are taken in by Segment's API, durably: against the peers of the snippet's door."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Figure
from bench.ingest import CONNECTIONS, PAIRS, SECONDS, bare_rows, paired
from bench.stage import FIRST_APP, NOW_MS, collector, free_port, prepare, process, wrk
from store import registry
from store.engines import open_reader
from store.event import PARTNER, Details, NewRow, encode_details
from store.ids import uuid7
from store.settings import Settings

LUA = Path(__file__).with_name("segment.lua")
BATCH = 100


def single(scratch: Path) -> Iterator[Figure]:
    """Requests a second of one track call each, every one on disk before its answer, against uvicorn answering
    nothing."""
    settings = prepare(scratch)
    port, key = free_port(), _key(settings)
    ours, peers = [], []
    with process("-m", "bench.bare", str(port), port=port), collector(settings) as door:
        for _ in range(PAIRS):
            peers.append(wrk(f"http://127.0.0.1:{port}/e", 1, SECONDS, CONNECTIONS))
            ours.append(wrk(door, 1, SECONDS, CONNECTIONS, LUA, key))
    yield paired("segment single", ours, peers, "requests/s", "bare uvicorn", 0.4)


def batch(scratch: Path) -> Iterator[Figure]:
    """Rows a second from batches of a hundred track calls, against SQLite alone: the same rows, a hundred a commit."""
    settings = prepare(scratch / "ours")
    key = _key(settings)
    ours, peers = [], []
    with collector(settings) as door:
        for pair in range(PAIRS):
            peers.append(bare_rows(scratch / f"bare{pair}", row, BATCH))
            ours.append(wrk(door, BATCH, SECONDS, 16, LUA, key) * BATCH)
    yield paired(f"segment batch of {BATCH}", ours, peers, "rows/s", "bare SQLite", 0.5)


def _key(settings: Settings) -> str:
    async def read() -> str:
        async with await open_reader(settings.where, "registry") as db:
            return (await registry.app(db, FIRST_APP)).ingest_key

    return asyncio.run(read())


def row(number: int) -> NewRow:
    """What one of the calls in segment.lua is stored as."""
    details = Details(
        locale="en-GB",
        message_id=f"node-next-{NOW_MS + number // 8}-{number:08x}-0000-4000-8000-{number:012x}",
        door="segment",
        campaign={"name": "spring", "source": "newsletter", "medium": "email"},
        properties={
            "format": "pdf",
            "pages": number % 40,
            "plan": "standard",
            "board": "Sales by region",
            "shared": True,
        },
        context={
            "library": {"name": "@segment/analytics-node", "version": "3.1.0"},
            "page": {
                "path": f"/boards/{number % 97}",
                "title": "Board charts for teams",
                "url": f"https://app.example/boards/{number % 97}?tab=overview",
            },
            "timezone": "Europe/Berlin",
        },
    )
    at = NOW_MS + number // 8
    visitor = f"{number:08x}-0000-4000-8000-{number % 5000:012x}"
    return (
        FIRST_APP,
        uuid7(at).bytes,
        "track",
        "Report Exported",
        PARTNER,
        at,
        at,
        "bench",
        visitor,
        f"user-{number % 5000}",
        visitor,
        None,
        encode_details(details).decode(),
    )
