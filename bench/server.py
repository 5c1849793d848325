"""The stage for measurements on PostgreSQL: a server of their own that waits for its disk, and bulk fills.

The server has PostgreSQL's own defaults, so that a figure says nothing about tuning.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg

from bench.stage import NOW_MS, prepare
from selftest.cluster import Cluster
from store.database import Server
from store.entry import HOUR_MS
from store.event import COLUMNS
from store.postgres import partitions
from store.postgres.connection import Connection, connect
from store.settings import Settings

CHUNK = 100_000
LOOK_SECONDS = 0.05


@contextmanager
def durable() -> Iterator[Cluster]:
    """A server whose commits are on disk."""
    with Cluster(durable=True) as cluster:
        yield cluster


def on(cluster: Cluster, scratch: Path, apps: int = 1, with_destinations: bool = False, start_seq: int = 0) -> Settings:
    """A database of its own with the product's schemas, and apps as `stage.prepare` makes them."""
    url = cluster.database()
    return prepare(scratch / url.rpartition("/")[2], apps, with_destinations, url, start_seq)


def bare(settings: Settings) -> Connection:
    """A peer's connection: the best that psycopg has, on the product's schema, and nothing else of the product."""
    assert settings.database_url is not None
    return connect(Server(settings.database_url), "log", None, read_only=False)


def fill_log(settings: Settings, events: int, apps: int = 1, counted: bool = True) -> None:
    """Put events and their ids straight into the log, into partitions as wide as for a day of that many; in the rollups
    they count as `counted` without being in them."""
    connection = bare(settings)
    connection.raw.execute("set statement_timeout = 0")
    day = ("com.example.bench0", "browser", NOW_MS // HOUR_MS, "stored", "", 0, events)
    connection.execute("insert into door_tallies values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing", day)
    newest = connection.execute("select case when is_called then last_value else 0 end from events_seq").fetchone()[0]
    for first in range(newest + 1, newest + events + 1, CHUNK):
        last = min(first + CHUNK - 1, newest + events)
        connection.execute(_FILL, (apps, NOW_MS, first, last))
        connection.execute(
            "insert into message_ids select app_key, message_id, seq from events where seq >= ?", (first,)
        )
        connection.execute("select setval('events_seq', ?)", (last,))
        partitions.prepare(connection)
    if counted:
        connection.execute("update rollups set seq = ?", (newest + events,))
    connection.raw.execute("vacuum analyze")
    connection.close()


# About what stage.row makes, on the server.
_FILL = f"""/* bench.fill */
    insert into events ({COLUMNS})
    select n, 'com.example.bench' || (n % ?), decode(
        lpad(to_hex(at), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 4, 15), 'hex'
      ), 'track', 'page_view', 'browser', at, at, 'bench', lpad(to_hex(n % 5000), 40, '0'), null, null, null,
      json_build_object(
        'url', 'https://marketplace.example/apps/1219125/board-charts-' || n % 97 || chr(63) || 'tab=overview',
        'query', json_build_object('hosting', 'cloud', 'tab', 'overview'), 'referrer', 'https://www.google.com/',
        'title', 'Board charts for teams | Marketplace', 'user_agent', 'Mozilla/5.0 (X11; Linux x86_64) '
          'AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36',
        'locale', 'en-GB', 'version', '0.1.0'
      )::text
    from (select n, ? + n / 8 as at from generate_series(cast(? as bigint), cast(? as bigint)) as n) as numbered"""


class Watch:
    """How often, while a `with` lasts, one of the product's connections was seen waiting for a lock."""

    def __init__(self, cluster: Cluster) -> None:
        self._url = cluster.url
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch")
        self.busy = self.waiting = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        sql: LiteralString = """
            select count(*), count(*) filter (where wait_event_type = 'Lock')
            from pg_stat_activity
            where application_name like 'footfall %%' and state <> 'idle'"""
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._done.wait(LOOK_SECONDS):
                busy, waiting = connection.execute(sql).fetchone() or (0, 0)
                self.busy += busy
                self.waiting += waiting
