"""What the measurements share: a filled data directory, processes on free ports, and the load of wrk."""

from __future__ import annotations

import asyncio
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from store import destinations, registry
from store.engines import migrate_all, open_writer
from store.event import Details, NewRow, encode_details
from store.ids import uuid7
from store.secrets import Vault
from store.settings import Settings, load
from store.sqlite.append import insert_statement

LUA = Path(__file__).with_name("browser.lua")
NOW_MS = time.time_ns() // 1_000_000
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
FIRST_APP = "com.example.bench0"
WRITE_KEY = "FOOTFALLBENCHWRITEKEY00000000001"


def prepare(
    data_dir: Path, apps: int = 1, with_destinations: bool = False, url: str | None = None, start_seq: int = 0
) -> Settings:
    """A data directory, or a PostgreSQL database, with `apps` apps of one partner, `com.example.bench0` and so on.

    Events up to `start_seq` are not owed to their destinations.
    """
    settings = load({}, data_dir=data_dir, database_url=url)

    async def fill() -> None:
        await migrate_all(settings.where)
        async with await open_writer(settings.where, "registry") as db:
            await registry.add_partner(db, NOW_MS, "bench", "1", "Bench")
            await registry.add_app(db, NOW_MS, FIRST_APP, "bench", "1000", "Bench")
            if with_destinations:
                change = destinations.Change(segment_write_key=WRITE_KEY)
                await destinations.set_destination(db, Vault(settings.secret_key), NOW_MS, FIRST_APP, change, start_seq)
            if apps > 1:
                await db.execute(MORE_APPS, (apps - 1,))
                await db.execute(MORE_DESTINATIONS, (apps - 1,))

    asyncio.run(fill())
    return settings


# The first app and its destination again and again, in one statement however many there are.
_NUMBERS = """
    with recursive numbers (n) as (select cast(1 as bigint) union all select n + 1 from numbers where n < ?)"""

MORE_APPS = f"""/* bench.apps */{_NUMBERS}
    insert into apps (app_key, partner_key, plugin_id, name, guid, ingest_key, created_at)
    select 'com.example.bench' || n, partner_key, plugin_id || '-' || n, name, guid || n, ingest_key || n, created_at
    from apps cross join numbers"""

MORE_DESTINATIONS = f"""/* bench.destinations */{_NUMBERS}
    insert into destinations (app_key, destination_id, name, region, url, profile, segment_write_key, write_key_last4,
      write_key_fingerprint, start_seq, active, created_at, updated_at)
    select 'com.example.bench' || n, substr(destination_id, 1, 24) || (100000000000 + n), name, region, url, profile,
      segment_write_key, write_key_last4, write_key_fingerprint, start_seq, active, created_at, updated_at
    from destinations cross join numbers"""


def row(number: int, apps: int = 1) -> NewRow:
    """One page view of about the usual size, with a time-ordered message id."""
    details = Details(
        url=f"https://marketplace.example/apps/1219125/board-charts-{number % 97}?hosting=cloud&tab=overview",
        query={"hosting": "cloud", "tab": "overview"},
        referrer="https://www.google.com/",
        title="Board charts for teams | Marketplace",
        user_agent=AGENT,
        locale="en-GB",
        version="0.1.0",
    )
    at = NOW_MS + number // 8
    app = f"com.example.bench{number % apps}"
    body = encode_details(details).decode()
    message_id = uuid7(at).bytes
    return (
        app,
        message_id,
        "track",
        "page_view",
        "browser",
        at,
        at,
        "bench",
        f"{number % 5000:040x}",
        None,
        None,
        None,
        body,
    )


def connect(path: Path) -> sqlite3.Connection:
    """The bare peer's connection: the same file format and durability, and nothing of ours around it."""
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("journal_mode = wal", "synchronous = full", "cache_size = -65536", "wal_autocheckpoint = 4000"):
        connection.execute(f"pragma {setting}")
    return connection


def fill_log(data_dir: Path, events: int, apps: int = 1) -> None:
    """Put events straight into the log, as quickly as SQLite takes them."""
    connection = connect(data_dir / "events.db")
    statement = insert_statement(500)
    for start in range(0, events, 50_000):
        connection.execute("begin immediate")
        for at in range(start, min(start + 50_000, events), 500):
            connection.execute(
                statement, tuple(chain.from_iterable(row(number, apps) for number in range(at, at + 500)))
            )
        connection.execute("commit")
    connection.execute("update rollups set seq = (select max(seq) from events)")  # as if they had been counted
    connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(
    *command: str, port: int, path: str = "/", env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that serves `port`, for the time of a `with`; what it says is shown only when it ends too early."""
    with tempfile.TemporaryFile() as said:
        running = subprocess.Popen([sys.executable, *command], env=env, stderr=said)
        try:
            for _ in range(400):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).close()
                    break
                except OSError:
                    if running.poll() is not None:
                        said.seek(0)
                        raise RuntimeError(f"{command} ended: {said.read().decode()}") from None
                    time.sleep(0.02)
            yield running
        finally:
            running.terminate()
            running.wait(timeout=30)


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """What a process of the product needs to find the stage."""
    env = {"FOOTFALL_DATA_DIR": str(settings.data_dir), "FOOTFALL_SECRET_KEY": settings.secret_key}
    if settings.database_url:
        env["FOOTFALL_DATABASE_URL"] = settings.database_url
    return env | more


@contextmanager
def collector(settings: Settings, **more: str) -> Iterator[str]:
    """The collector as an operator runs it; gives the URL of the browser's door. `more` is of its environment."""
    port, env = free_port(), environment(settings, **more)
    with process("-m", "footfall", "serve", "--port", str(port), port=port, path="/readyz", env=env):
        yield f"http://127.0.0.1:{port}/e"


def wrk(url: str, events: int, seconds: float, connections: int, script: Path = LUA, key: str = FIRST_APP) -> float:
    """Requests a second that `url` answers, when every connection POSTs `events` events again and again, made by
    `script` for the app that `key` names."""
    seed = str(time.time_ns() % 1_000_000)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), url, "--"]
    arguments = [str(events), key, seed]
    said = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if rate is None or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"requests failed: {said}")
    return float(rate[1])
