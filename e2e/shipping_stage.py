"""What the tests of the exporter as a process stand on: an installation with a backlog, and Segment on a socket."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx2
from processes import SECRET_KEY, Cast, Footfall, Process

from store import destinations, registry
from store.database import open_writer
from store.secrets import Vault

NOON = 1_771_243_200_123  # 2026-02-16T12:00:00.123Z
VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"


class Prepared:
    """A fake Segment, and an installation to copy: making one takes longer than most tests."""

    def __init__(self, home: Path) -> None:
        self._footfall = Footfall(home / "data")
        self.cast: Cast = self._footfall.seed(write_keys=True)
        self._footfall.cli("migrate", check=True)
        self.segment: Process = self._footfall.fake_segment()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.segment.stop()

    @contextmanager
    def stage(self, home: Path) -> Iterator[Stage]:
        """A copy of its own, and nothing at Segment yet."""
        shutil.copytree(self._footfall.data_dir, home / "data")
        self.segment.post("/_/reset").raise_for_status()
        urls = {name: url for name, url in self._footfall.env.items() if name.startswith("FOOTFALL_SEGMENT_URL")}
        with Footfall(home / "data", FOOTFALL_RETENTION_DAYS="3660", **urls) as footfall:
            yield Stage(footfall, self.cast, self.segment)


class Stage:
    """An installation whose log is filled by hand, as the collector would, and a fake Segment."""

    def __init__(self, footfall: Footfall, cast: Cast, segment: Process) -> None:
        self.footfall = footfall
        self.cast = cast
        self.segment = segment
        self._made = 0

    def add_apps(self, count: int) -> list[str]:
        """More apps of the owner's, each with a destination of its own."""
        apps = [f"com.owner.app{number:03}" for number in range(count)]

        async def add() -> None:
            async with await open_writer(self.footfall.data_dir, "registry") as db:
                await db.execute("pragma synchronous = 0")
                for number, app in enumerate(apps):
                    await registry.add_app(db, 0, app, "owner", f"77{number:04}", app)
                    change = destinations.Change(segment_write_key=f"WRITEKEYOF{app}")
                    await destinations.set_destination(db, Vault(SECRET_KEY), 0, app, change, 0)

        asyncio.run(add())
        return apps

    def collect(self, app: str, count: int, title: str = "Charts") -> list[str]:
        """Store page views; their ids, as text."""
        partner = "stranger" if app == self.cast.stranger_app else "owner"
        numbers = range(self._made + 1, self._made + count + 1)
        self._made += count
        details = json.dumps({"url": "https://market.example/apps/1/a?tab=x", "query": {"tab": "x"}, "title": title})
        rows = [
            (app, number.to_bytes(16), "track", "page_view", "browser", NOON, NOON, partner, VISITOR, details)
            for number in numbers
        ]
        with sqlite3.connect(self.footfall.data_dir / "events.db") as connection:
            connection.executemany(
                "insert into events (app_key, message_id, type, name, source, occurred_at, received_at, partner_key,"
                " anonymous_id, details) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        connection.close()
        return [row[1].hex() for row in rows]

    def fault(self, **fault: Any) -> None:
        self.segment.post("/_/fault", json=fault).raise_for_status()

    def mend(self) -> None:
        """Take away every fault."""
        httpx2.delete(self.segment.url + "/_/faults", trust_env=False).raise_for_status()

    def landed(self, key: str) -> int:
        return int(self.segment.get("/_/counts").json()["landedByKey"].get(key, 0))

    def requests(self) -> list[dict[str, Any]]:
        return self.segment.get("/_/requests").json()

    def balance(self) -> dict[str, dict[str, Any]]:
        """The doctor's findings by app; they must balance."""
        findings = json.loads(self.footfall.cli("doctor", "--json", "--max-age", "0", check=True).stdout)
        assert findings["balanced"]
        return {item["app"]: item for item in findings["destinations"]}
