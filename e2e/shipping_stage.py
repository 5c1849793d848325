"""What the tests of the exporter as a process stand on: an installation with a backlog, and Segment on a socket."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx2
import msgspec
import psycopg
from processes import SECRET_KEY, Cast, Footfall, Process, run, wait_until

from selftest.cluster import Databases
from store import balance, destinations, registry
from store.database import Server
from store.engines import open_writer
from store.secrets import Vault

NOON = 1_771_243_200_123  # 2026-02-16T12:00:00.123Z
VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"
DETAILS = {"url": "https://market.example/apps/1/a?tab=x", "query": {"tab": "x"}}
COLLECT = """
    with new as materialized (
      select nextval('log.events_seq') as seq, decode(lpad(to_hex(number), 32, '0'), 'hex') as message_id
      from generate_series(%(first)s::bigint, %(last)s) as number
    ), noted as (
      insert into log.message_ids select %(app)s, message_id, seq from new
    )
    insert into log.events (seq, app_key, message_id, type, name, source, occurred_at, received_at, partner_key,
      anonymous_id, details)
    select seq, %(app)s, message_id, 'track', 'page_view', 'browser', %(noon)s, %(noon)s, %(partner)s, %(visitor)s,
      %(details)s
    from new"""
LEASED = "select count(*) from cursors where lease_until >= extract(epoch from clock_timestamp()) * 1000"


class Prepared:
    """A fake Segment, and an installation to copy: making one takes longer than most tests. With `databases`, on that
    server."""

    def __init__(self, home: Path, databases: Databases | None = None) -> None:
        self._databases = databases
        self._url = databases.database() if databases else ""
        self._footfall = Footfall(home / "data", **({"FOOTFALL_DATABASE_URL": self._url} if databases else {}))
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
        self.segment.post("/_/reset").raise_for_status()
        env = {name: url for name, url in self._footfall.env.items() if name.startswith("FOOTFALL_SEGMENT_URL")}
        env["FOOTFALL_RETENTION_DAYS"] = "3660"
        if not self._databases:
            shutil.copytree(self._footfall.data_dir, home / "data")
            with Footfall(home / "data", **env) as footfall:
                yield Stage(footfall, self.cast, self.segment)
            return
        env["FOOTFALL_DATABASE_URL"] = self._databases.copy(self._url)
        with Footfall(home / "data", FOOTFALL_TEST="1", FOOTFALL_TEST_LEASE_SECONDS="1", **env) as footfall:
            yield Stage(footfall, self.cast, self.segment)
        self._databases.drop(env["FOOTFALL_DATABASE_URL"])


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
            async with await open_writer(self.footfall.where, "registry") as db:
                await db.execute("pragma synchronous = 0" if db.engine == "sqlite" else "set synchronous_commit = off")
                for number, app in enumerate(apps):
                    await registry.add_app(db, 0, app, "owner", f"77{number:04}", app)
                    change = destinations.Change(segment_write_key=f"WRITEKEYOF{app}")
                    await destinations.set_destination(db, Vault(SECRET_KEY), 0, app, change, 0)

        run(add())
        return apps

    def collect(self, app: str, count: int, title: str = "Charts") -> list[str]:
        """Store page views; their ids, as text."""
        partner = "stranger" if app == self.cast.stranger_app else "owner"
        numbers = range(self._made + 1, self._made + count + 1)
        self._made += count
        details = json.dumps(DETAILS | {"title": title})
        if isinstance(self.footfall.where, Server):
            span = {"first": numbers[0], "last": numbers[-1], "noon": NOON}
            who = {"app": app, "partner": partner, "visitor": VISITOR, "details": details}
            with psycopg.connect(self.footfall.where.url) as server:
                server.execute(COLLECT, span | who)
            return [number.to_bytes(16).hex() for number in numbers]
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

    def outlive_leases(self) -> None:
        """Wait until what dead exporters have leased on a server is free again; on SQLite the lock goes with them."""
        if isinstance(self.footfall.where, Server):
            wait_until(lambda: self.footfall.value("ledger", LEASED) == 0, "the leases of the dead have run out", 90)

    def balance(self) -> dict[str, dict[str, Any]]:
        """The doctor's findings by app; they must balance."""
        if isinstance(self.footfall.where, Server):
            found = run(balance.examine(self.footfall.where))
            assert found.balanced, found.lines()
            return {item.app: msgspec.to_builtins(item) for item in found.destinations}
        findings = json.loads(self.footfall.cli("doctor", "--json", "--max-age", "0", check=True).stdout)
        assert findings["balanced"]
        return {item["app"]: item for item in findings["destinations"]}
