"""Removing what is old on a server: whole partitions, while collectors and exporters work, with every sum exact."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from shipping_cast import NOON, OWNER, SECRET_KEY, STRANGER, Silence, an_event

from exporter.run import run_once
from selftest.cluster import Databases
from selftest.processes import wait_until
from store import balance, destinations, log, purging, registry
from store.accounts import Accounts
from store.database import Database, Server
from store.destinations import Change
from store.engines import migrate_all, open_writer
from store.entry import Entry, Visitor
from store.errors import Busy, Conflict
from store.event import encode_details
from store.instant import instant
from store.postgres import partitions
from store.postgres.settled import BEGIN
from store.removal import Removed
from store.secrets import Vault
from store.settings import Settings
from wire.verdict import Reply

DAY = 24 * 3_600_000
OLD = NOON - 100 * DAY
RECENT_OLD = NOON - 91 * DAY  # old enough to go, and not yet to go by rows
ROOT = Path(__file__).parents[1]
on_one_machine = pytest.mark.skipif("TEST_CITUS_URL" in os.environ, reason="what is locked there lies on other nodes")


def accepted(host: str, write_key: str, messages: Sequence[bytes], attempt: int, seconds: float = 1) -> Reply:
    return Reply(200, '{"success": true}')


class Stage:
    """An owner and a stranger with an app and a destination each, on a server; partitions of ten events."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.where = Server(url)
        self.settings = Settings(database_url=url, secret_key=SECRET_KEY, retention_days=90)
        self._made = 0
        self._lock = threading.Lock()
        asyncio.run(migrate_all(self.where))
        self.in_registry(self._fill)

    async def _fill(self, db: Database) -> None:
        for partner, app, number in (("owner", OWNER, "1211971"), ("stranger", STRANGER, "1213333")):
            await registry.add_partner(db, NOON, partner, number, partner)
            await registry.add_app(db, NOON, app, partner, number, app)
            await self._set(db, app, "main", 0)

    async def _set(self, db: Database, app: str, name: str, start: int) -> None:
        change = Change(segment_write_key=f"WRITEKEYOF{app}{name}", new_source=True)
        await destinations.set_destination(db, Vault(SECRET_KEY), NOON, app, change, start, name)

    def in_registry(self, work: Callable[[Database], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            async with await open_writer(self.where, "registry") as db:
                return await work(db)

        return asyncio.run(run())

    def add(self, name: str, start: int = 0, app: str = OWNER) -> None:
        self.in_registry(lambda db: self._set(db, app, name, start))

    def replay(self, first: int, last: int) -> None:
        async def work(db: Database) -> None:
            to = await destinations.named(db, OWNER, "main")
            await destinations.add_replay(db, NOON, to, first, last, False)

        self.in_registry(work)

    def collect(self, count: int, received_at: int = OLD, app: str = OWNER, ids: Sequence[int] = ()) -> Counter[str]:
        """Store events under fresh message ids, or these; how many were stored and were duplicates."""
        with self._lock:
            first, self._made = self._made + 1, self._made + count
        rows = []
        for number in ids or range(first, first + count):
            partner = "owner" if app == OWNER else "stranger"
            event = an_event(app_key=app, partner_key=partner, received_at=received_at)
            told = msgspec.structs.astuple(event)[1:-1]
            message_id = uuid.UUID(int=number, version=4).bytes
            rows.append((told[0], message_id, *told[2:], encode_details(event.details).decode()))

        async def store() -> set[int]:
            async with await open_writer(self.where, "log") as db:
                return (await log.commit(db, [Entry("test", received_at, rows, [], [])], Counter())).duplicates

        duplicates = len(asyncio.run(store()))
        return Counter(stored=len(rows) - duplicates, duplicate=duplicates)

    def export(self) -> None:
        kept = msgspec.structs.replace(self.settings, retention_days=3_660)
        asyncio.run(run_once(kept, Silence(), asyncio.Event(), send=accepted))

    def purge(self, patience: float = 20) -> Removed:
        return asyncio.run(purging.purge(self.settings, NOON, patience))

    def footfall(self, *words: str) -> subprocess.Popen[str]:
        env = {"FOOTFALL_DATABASE_URL": self.url, "FOOTFALL_SECRET_KEY": SECRET_KEY, "PATH": os.environ["PATH"]}
        command = [sys.executable, str(ROOT / "footfall.py"), *words]
        return subprocess.Popen(command, env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def count(self, table: str) -> int:
        return int(self.sql(f"select count(*) from {table}")[0][0])

    def partitions(self) -> list[str]:
        """Every table that holds events, but for those ahead; whether they are in the log or not."""
        rows = self.sql(
            "select relname from pg_class where relnamespace = 'log'::regnamespace and relname ~ '^events_\\d+$'"
            " and relkind = 'r' and substr(relname, 8)::bigint <= (select last_value from log.events_seq) order by oid"
        )
        return [name for (name,) in rows]

    def owed(self) -> dict[tuple[str, str], tuple[int, int, int]]:
        """(collected, accepted, pending) by app and destination; everything must balance, also by the hour."""
        findings = asyncio.run(balance.examine(self.where, hours=True))
        assert findings.balanced, findings.lines()
        return {(o.app, o.name): (o.collected, o.accepted, o.pending) for o in findings.destinations}

    @contextmanager
    def holding(self, *statements: str) -> Iterator[None]:
        """A transaction that somebody has open meanwhile."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in ("begin", *statements):
                connection.execute(statement)  # type: ignore[arg-type]
            yield

    def waits(self, statement: str) -> bool:
        """Whether somebody waits for a lock with such a statement."""
        return bool(
            self.sql(
                "select 1 from pg_stat_activity where datname = current_database() and query like %s"
                " and wait_event_type = 'Lock'",
                f"%{statement}%",
            )
        )


@pytest.fixture
def stage(cluster: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(partitions, "LEAST", 10)
    monkeypatch.setattr("store.postgres.purging.PAUSE_SECONDS", 0.05)
    url = cluster.database()
    yield Stage(url)
    cluster.drop(url)


# --- whole partitions


def test_partitions_that_are_old_and_passed_go_as_a_whole_and_leave_their_counts(stage: Stage) -> None:
    stage.collect(15)
    stage.collect(10, app=STRANGER)
    stage.collect(7, NOON)
    stage.export()
    before = stage.owed()
    assert stage.purge() == Removed(events=25)
    assert stage.partitions() == ["events_21", "events_31"]  # the first of these is not all old: it lost rows
    assert stage.count("log.events") == 7
    assert stage.count("log.message_ids") == 7
    assert stage.owed() == before == {(OWNER, "main"): (22, 22, 0), (STRANGER, "main"): (10, 10, 0)}


def test_a_partition_with_young_events_stays_for_a_while_and_its_old_ones_go_by_rows_then(stage: Stage) -> None:
    stage.collect(3, RECENT_OLD)
    stage.collect(3, NOON)
    stage.export()
    assert stage.purge() == Removed()
    stage.sql("update log.events set received_at = %s where received_at < %s", OLD, NOON)
    stage.sql("update ledger.tallies set hour = %s where hour = %s", OLD // 3_600_000, RECENT_OLD // 3_600_000)
    assert stage.purge() == Removed(events=3)
    assert (stage.count("log.events"), stage.count("log.message_ids")) == (3, 3)
    assert stage.owed()[OWNER, "main"] == (6, 6, 0)


def test_what_is_pending_keeps_its_partition_and_others_are_not_kept_with_it_for_long(stage: Stage) -> None:
    stage.collect(5)
    stage.export()
    stage.collect(5, app=STRANGER)
    stage.collect(15)
    assert stage.purge() == Removed(events=5, held_back=20)
    stage.export()
    stage.collect(5, app=STRANGER)
    assert stage.purge() == Removed(events=20, held_back=5)
    assert stage.owed() == {(OWNER, "main"): (20, 20, 0), (STRANGER, "main"): (10, 5, 5)}


def test_counts_are_kept_apart_where_courses_begin_and_end_within_a_partition(stage: Stage) -> None:
    stage.collect(25)
    stage.collect(5, NOON)
    stage.add("warehouse", 4)
    stage.replay(7, 18)
    stage.export()
    before = stage.owed()
    assert before[OWNER, "warehouse"] == (26, 26, 0)
    assert stage.purge() == Removed(events=25)
    assert stage.owed() == before
    assert stage.sql("select first_seq, last_seq, n from log.removed order by 1") == [
        (1, 4, 4),
        (5, 7, 3),
        (8, 10, 3),
        (11, 18, 8),
        (19, 25, 7),
    ]


def test_rows_that_go_before_older_ones_are_counted_where_they_belong(stage: Stage) -> None:
    stage.collect(4, app=STRANGER)
    stage.collect(4)
    stage.collect(12)
    stage.add("warehouse", 9)
    stage.export()
    stage.add("late", 0, app=STRANGER)  # keeps the first partition
    assert stage.purge(patience=5) == Removed(events=16, held_back=4)
    before = stage.owed()
    assert (before[OWNER, "main"], before[OWNER, "warehouse"]) == ((16, 16, 0), (11, 11, 0))
    assert stage.sql("select first_seq, last_seq, n from log.removed order by 1") == [(5, 9, 5), (10, 20, 11)]


def test_the_newest_partitions_stay_while_somebody_may_still_write_into_them(stage: Stage) -> None:
    stage.collect(10)
    stage.export()
    with stage.holding(BEGIN.partition(";")[2]):
        stage.collect(10)
        stage.export()
        assert stage.purge() == Removed(events=10)
        assert len(stage.partitions()) == 1
    stage.export()
    assert stage.purge() == Removed(events=10)


def test_a_message_that_comes_again_is_a_duplicate_until_its_event_is_gone(stage: Stage) -> None:
    stage.collect(10)
    stage.export()
    assert stage.collect(1, NOON, ids=[3]) == Counter(duplicate=1, stored=0)
    stage.purge()
    assert stage.collect(1, NOON, ids=[3]) == Counter(stored=1, duplicate=0)


@on_one_machine
def test_a_destination_at_the_beginning_that_comes_in_the_middle_loses_nothing(stage: Stage) -> None:
    stage.collect(10)
    stage.export()
    with ThreadPoolExecutor(1) as thread:
        with stage.holding("select count(*) from log.events_1"):
            purge: Future[Removed] = thread.submit(stage.purge)
            wait_until(lambda: stage.waits("detach partition"), "the purge waits for the partition")
            stage.add("warehouse", 0)
        assert purge.result() == Removed(held_back=10)
    assert stage.owed()[OWNER, "warehouse"] == (10, 0, 10)
    stage.export()
    assert stage.purge() == Removed(events=10)
    assert stage.owed()[OWNER, "warehouse"] == (10, 10, 0)


def test_rejections_and_visitors_go_at_their_own_ages(stage: Stage) -> None:
    stage.sql(
        "insert into log.rejections (app_key, door, received_at, reason, detail, body)"
        " select 'a', 'd', %s::bigint - days * %s::bigint, 'no', '', '' from unnest(array[29, 31]) as days",
        NOON,
        DAY,
    )
    seen = [("no", "consent", 91), ("forgotten", "gpc", 396), ("yes", "", 91), ("fresh", None, 89)]
    visitors = [Visitor(OWNER, name, None, None, word, NOON - days * DAY) for name, word, days in seen]

    async def store() -> None:
        async with await open_writer(stage.where, "log") as db:
            await log.commit(db, [Entry("test", NOON, [], visitors, [])], Counter())

    asyncio.run(store())
    assert stage.purge() == Removed(rejections=1, visitors=2)
    assert stage.sql("select anonymous_id from log.visitors order by 1") == [("fresh",), ("no",)]


# --- interrupted, and beside others


@on_one_machine
def test_a_purge_that_is_killed_before_a_partition_went_has_changed_nothing(stage: Stage) -> None:
    stage.collect(20)
    stage.export()
    before = stage.owed()
    with stage.holding("select count(*) from log.events_1"):
        killed = stage.footfall("purge")
        wait_until(lambda: stage.waits("detach partition"), "the purge waits for the partition")
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert stage.owed() == before
    assert (stage.count("log.events"), stage.count("log.removed")) == (20, 0)
    assert stage.purge() == Removed(events=20)
    assert stage.owed() == before


@on_one_machine
def test_a_purge_that_is_killed_after_a_partition_went_is_taken_up_by_the_next(stage: Stage) -> None:
    stage.collect(20)
    stage.export()
    before = stage.owed()
    with stage.holding("select * from log.message_ids where seq = 3 for update"):
        killed = stage.footfall("purge")
        wait_until(lambda: stage.waits("purging.forget"), "the purge waits for a message")
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        assert stage.owed() == before
    assert stage.partitions() == ["events_1", "events_11"]
    assert stage.count("log.events") == 10
    assert stage.purge() == Removed(events=10)
    assert (stage.partitions(), stage.count("log.message_ids")) == ([], 0)
    assert stage.owed() == before


@on_one_machine
def test_whoever_counts_keeps_every_partition_until_it_has(stage: Stage) -> None:
    stage.collect(10)
    stage.export()

    async def work() -> None:
        async with instant(stage.where) as seen:
            with pytest.raises(Busy, match="is being read for too long"):
                await purging.purge(stage.settings, NOON, 0.3)
            assert await log.count_after(seen.log, OWNER, 0) == 10

    asyncio.run(work())
    assert stage.purge() == Removed(events=10)


@on_one_machine
def test_two_purges_work_one_after_the_other(stage: Stage) -> None:
    stage.collect(40)
    stage.export()
    with ThreadPoolExecutor(2) as threads:
        with stage.holding("select count(*) from log.events_1"):
            purges = [threads.submit(stage.purge) for _ in range(2)]
            wait_until(lambda: stage.waits("detach partition"), "one waits for the partition")
            with pytest.raises(Busy, match="another `footfall purge` is at work"):
                stage.purge(patience=0)
        found = sorted(purge.result().events for purge in purges)
    assert found == [0, 40]
    assert stage.sql("select sum(n) from log.removed") == [(40,)]
    assert stage.owed()[OWNER, "main"] == (40, 40, 0)


def test_every_sum_holds_at_every_instant_while_all_work(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collectors store old events, an exporter moves cursors, purges follow it."""
    monkeypatch.setattr(partitions, "LEAST", 50)
    stage.purge()
    stage.collect(30)
    stage.export()
    accounts = Accounts(stage.where)
    done = threading.Event()

    def collector(app: str) -> int:
        n = 0
        while not done.is_set():
            n += stage.collect(3, OLD, app)["stored"]
        return n

    def again(work: Callable[[], Any]) -> None:
        while not done.is_set():
            work()

    removed: list[int] = []
    looked = 0
    with ThreadPoolExecutor(4) as threads:
        stored = [threads.submit(collector, app) for app in (OWNER, STRANGER)]
        others = [threads.submit(again, work) for work in (stage.export, lambda: removed.append(stage.purge().events))]
        try:
            while (len(removed) < 6 or sum(removed) < 200 or looked < 4) and not any(
                other.done() for other in (*stored, *others)
            ):
                stage.owed()
                assert {a.difference for a in asyncio.run(accounts.look(NOON)).accounts} == {0}
                looked += 1
        finally:
            done.set()
        for other in others:
            other.result()
        total = 30 + sum(each.result() for each in stored)
    stage.export()
    removed.append(stage.purge().events)
    owed = stage.owed()
    assert sum(collected for collected, _, _ in owed.values()) == total
    assert sum(removed) + stage.count("log.events") == total
    assert stage.count("log.message_ids") == stage.count("log.events")
    assert looked > 3


# --- partitions ahead, and the rest


def test_there_is_always_a_partition_ahead_from_the_first_event_on(stage: Stage) -> None:
    stage.collect(10)
    assert stage.count("log.events_rest") == 0
    stage.purge()
    stage.collect(60, NOON)
    assert stage.count("log.events_rest") == 0
    stage.purge()
    assert stage.sql(
        "select max(substr(relname, 8)::int) from pg_class where relname ~ '^events_\\d+$' and relkind = 'r'"
    ) == [(131,)]


def test_what_nobody_made_a_partition_for_goes_to_the_rest_and_from_there_as_any(stage: Stage) -> None:
    stage.collect(200)
    assert stage.count("log.events_rest") == 120
    stage.purge()
    stage.collect(300)
    in_rest = stage.count("log.events_rest")
    assert 120 < in_rest < 500
    stage.purge()
    stage.collect(10)
    assert stage.count("log.events_rest") == in_rest + 9  # what is on its way when partitions are made
    stage.export()
    assert stage.owed()[OWNER, "main"] == (510, 510, 0)
    assert stage.purge() == Removed(events=510)
    assert (stage.count("log.events"), stage.count("log.message_ids")) == (0, 0)
    assert stage.owed()[OWNER, "main"] == (510, 510, 0)


def test_partitions_are_made_while_others_write_into_the_rest(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.collect(300)
    monkeypatch.setattr(partitions, "LEAST", 500)
    done = threading.Event()

    def collector() -> int:
        n = 0
        while not done.is_set():
            n += stage.collect(2, NOON)["stored"]
        return n

    with ThreadPoolExecutor(2) as threads:
        collectors = [threads.submit(collector) for _ in range(2)]
        try:
            for _ in range(5):
                stage.purge()
        finally:
            done.set()
        stored = sum(each.result() for each in collectors)
    assert stage.count("log.events") == 300 + stored
    assert stage.sql("select sum(n) from log.door_tallies where outcome = 'stored'") == [(300 + stored,)]


def test_a_bar_that_a_killed_process_left_is_removed_before_it_keeps_anything_out(stage: Stage) -> None:
    stage.collect(100)
    stage.sql("alter table log.events_rest add constraint events_rest_bar check (seq < 150 or seq >= 1000) not valid")
    with pytest.raises(Conflict):  # nothing is taken for unstorable: all of it is refused, to come again
        stage.collect(60)
    assert stage.count("log.events") == 100
    stage.purge()
    assert stage.collect(60) == Counter(stored=60, duplicate=0)
