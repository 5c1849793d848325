"""Removing what is old: only what every course has passed, in small steps, and with every sum exact afterwards."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from engines import Stores
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rollup_cast import count
from shipping_cast import NOON, OWNER, SECRET_KEY, STRANGER, Installation, an_event
from waiting import PATIENCE_SECONDS, until_async

from store import balance, destinations, ledger, purging, removal, runs
from store.database import Database
from store.destinations import Change
from store.engines import open_reader, open_writer
from store.errors import Busy
from store.ledger import Answer, Batch, Cursor
from store.purging import Asked
from store.removal import Removed, pieces
from store.secrets import Vault

pytestmark = pytest.mark.only("sqlite", "a file is emptied row by row and shrunk")

DAY = 24 * 3_600_000
OLD = NOON - 100 * DAY


def purged(installation: Installation, retention_days: int = 90, rejection_days: int = 30) -> Removed:
    """As `footfall purge` at noon, with no collector running."""
    kept = msgspec.structs.replace(installation.settings, retention_days=retention_days, rejection_days=rejection_days)
    return asyncio.run(purging.purge(kept, NOON, 5))


def in_log(installation: Installation, sql: str, *rows: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(installation.data_dir / "events.db", isolation_level=None)
    try:
        return connection.executemany(sql, rows).fetchall() if rows else connection.execute(sql).fetchall()
    finally:
        connection.close()


def in_registry(installation: Installation, work: Callable[[Database], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with await open_writer(installation.data_dir, "registry") as db:
            return await work(db)

    return asyncio.run(run())


def add(installation: Installation, name: str, start: int = 0) -> None:
    change = Change(segment_write_key=f"WRITEKEYOFTHEOWNERS{name}", new_source=True)
    in_registry(
        installation,
        lambda db: destinations.set_destination(db, Vault(SECRET_KEY), NOON, OWNER, change, start, name),
    )


def replay(installation: Installation, first: int, last: int) -> str:
    async def work(db: Database) -> str:
        to = await destinations.named(db, OWNER, "main")
        return await destinations.add_replay(db, NOON, to, first, last, False)

    made: str = in_registry(installation, work)
    return made


def left(installation: Installation) -> dict[str, int]:
    return dict(in_log(installation, "select app_key, count(*) from events group by app_key"))


def owed(installation: Installation) -> list[tuple[str, str, int, int, int]]:
    """(name, state, collected, accepted, pending) of each course of the owner's; all must balance, also by the hour."""
    findings = asyncio.run(balance.examine(installation.data_dir, hours=True))
    assert findings.balanced, findings.lines()
    ours = [item for item in findings.destinations if item.app == OWNER]
    return [(item.name, item.state, item.collected, item.accepted, item.pending) for item in ours]


# --- events


def test_what_was_sent_and_is_old_goes_and_the_rest_stays(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 3)
    installation.views(2)
    installation.export()
    assert purged(installation) == Removed(events=3)
    assert left(installation) == {OWNER: 2}
    assert installation.owed() == {"collected": 5, "accepted": 5}


def test_what_is_pending_stays_however_old(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 2)
    installation.export()
    installation.collect(*[an_event(received_at=OLD)] * 3)
    assert purged(installation) == Removed(events=2, held_back=3)
    assert installation.owed() == {"collected": 5, "accepted": 2, "pending": 3}


def test_what_expired_goes_too(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 3)
    kept, installation.settings = (
        installation.settings,
        msgspec.structs.replace(installation.settings, retention_days=90),
    )
    installation.export()
    installation.settings = kept
    assert purged(installation) == Removed(events=3)
    assert installation.owed() == {"collected": 3, "expired": 3}


def test_an_app_that_is_sent_nowhere_goes_by_age_alone(installation: Installation) -> None:
    (app,) = installation.add_apps(1, with_keys=False)
    installation.collect(*[an_event(received_at=OLD)] * 3, app=app)
    installation.collect(an_event(), app=app)
    assert purged(installation) == Removed(events=3)
    assert left(installation) == {app: 1}


def test_the_slowest_of_an_apps_destinations_decides(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 4)
    installation.export()
    add(installation, "warehouse", start=1)
    assert purged(installation) == Removed(events=1, held_back=3)
    assert owed(installation) == [("main", "live", 4, 4, 0), ("warehouse", "live", 3, 0, 3)]
    installation.export()
    assert purged(installation) == Removed(events=3)
    assert owed(installation) == [("main", "live", 4, 4, 0), ("warehouse", "live", 3, 3, 0)]


def test_another_apps_backlog_holds_nothing_back(installation: Installation) -> None:
    installation.collect(an_event(received_at=OLD), app=STRANGER)
    installation.collect(*[an_event(received_at=OLD)] * 3)
    installation.export(only=OWNER)
    assert purged(installation) == Removed(events=3, held_back=1)
    assert left(installation) == {STRANGER: 1}


def test_what_begins_at_the_beginning_later_begins_after_what_was_removed(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 3)
    installation.views(2)
    installation.export()
    purged(installation)
    add(installation, "warehouse", start=0)
    assert owed(installation) == [("main", "live", 5, 5, 0), ("warehouse", "live", 2, 0, 2)]
    installation.export()
    assert owed(installation) == [("main", "live", 5, 5, 0), ("warehouse", "live", 2, 2, 0)]


def test_a_destination_that_was_replaced_keeps_its_sum(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 3)
    installation.export()
    installation.set(OWNER, 3, segment_write_key="WRITEKEYOFANOTHERSOURCE000000008", new_source=True)
    installation.collect(*[an_event(received_at=OLD)] * 2)
    installation.export()
    assert purged(installation) == Removed(events=5)
    assert sorted(owed(installation)) == [("main", "ended", 3, 3, 0), ("main", "live", 2, 2, 0)]


def test_a_replay_that_is_done_holds_nothing_back_and_keeps_its_sum(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 6)
    installation.export()
    replay(installation, 1, 4)
    assert purged(installation) == Removed(events=1, held_back=5)
    installation.export()
    assert purged(installation) == Removed(events=5)
    assert owed(installation) == [("main", "live", 6, 6, 0), ("main", "replay", 3, 3, 0)]


def test_a_seq_is_not_used_again_when_the_newest_event_was_removed(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 3)
    installation.export()
    purged(installation)
    installation.views(1)
    assert in_log(installation, "select seq from events") == [(4,)]
    installation.export()
    assert installation.owed() == {"collected": 4, "accepted": 4}


def test_steps_are_small_and_their_counts_grow_together(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.removal.STEP_ROWS", 7)
    installation.collect(*[an_event(received_at=OLD)] * 20)
    installation.export()
    count(installation.data_dir)
    changes: list[int] = []

    async def work() -> None:
        async with await open_writer(installation.data_dir, "log") as db:

            async def look() -> None:
                changes.append(await db.value("select count(*) from events"))

            await removal.remove_old(installation.data_dir, db, removal.ages(installation.settings, NOON), look)
            old = msgspec.structs.replace(installation.settings, retention_days=90)
            await removal.remove_old(installation.data_dir, db, removal.ages(old, NOON), look)

    asyncio.run(work())
    assert list(dict.fromkeys(changes)) == [20, 13, 6, 0]
    assert in_log(installation, "select app_key, first_seq, last_seq, reason, n from removed") == [
        (OWNER, 1, 20, "retention", 20)
    ]


def test_counts_are_kept_apart_by_hour_and_at_cuts() -> None:
    hour = 3_600_000
    rows = [(1, 0), (2, 5), (3, hour), (4, hour), (5, hour), (9, 0)]
    assert pieces(rows, [4]) == [(0, 0, 1, 2, 2), (0, 1, 3, 4, 2), (4, 0, 9, 9, 1), (4, 1, 5, 5, 1)]
    assert pieces(rows[:2], []) == [(0, 0, 1, 2, 2)]


class Deeds:
    """Whatever may happen to an app, in any order."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.made = 0

    def collect_old(self) -> None:
        self.made += 3
        self.installation.collect(*[an_event(received_at=OLD + self.made * 3_600_000)] * 3)

    def export(self) -> None:
        self.installation.export()

    def purge(self) -> None:
        purged(self.installation)

    def add_at_the_beginning(self) -> None:
        add(self.installation, f"d{self.made}")

    def replace(self) -> None:
        self.installation.set(OWNER, max(0, self.made - 2), segment_write_key="WRITEKEYNEXT", new_source=True)

    def replay(self) -> None:
        replay(self.installation, self.made // 3, self.made * 2 // 3)

    def cancel_replays(self) -> None:
        async def work(db: Database) -> None:
            for found in await destinations.replays(db):
                if not found.cancelled:
                    await destinations.cancel_replay(db, NOON, OWNER, found.replay_id)

        in_registry(self.installation, work)


DEEDS = [name for name in vars(Deeds) if not name.startswith("_")]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds=st.lists(st.sampled_from([*DEEDS, "collect_old", "export", "purge"]), min_size=5, max_size=14))
def test_every_sum_holds_whatever_happens_in_whatever_order(stores: Stores, deeds: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        stage = Deeds(Installation(stores, Path(place)))
        for deed in ["collect_old", *deeds]:
            getattr(stage, deed)()
            owed(stage.installation)


# --- the rest


def test_rejections_go_at_their_own_age(installation: Installation) -> None:
    sql = "insert into rejections (app_key, door, received_at, reason, detail, body) values ('', 'x', ?, 'no', '', x'')"
    in_log(installation, sql, (NOON - 31 * DAY,), (NOON - 29 * DAY,))
    assert purged(installation) == Removed(rejections=1)
    assert in_log(installation, "select received_at from rejections") == [(NOON - 29 * DAY,)]


def test_a_visitor_goes_and_a_visitors_no_stays_as_long_as_the_cookie(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.removal.STEP_ROWS", 2)
    sql = "insert into visitors (app_key, anonymous_id, suppressed, seen_at) values (?, ?, ?, ?)"
    ages = [
        ("unsaid", None, 91),
        ("yes", "", 91),
        ("fresh", None, 89),
        ("no", "consent", 394),
        ("forgotten", "gpc", 396),
    ]
    in_log(installation, sql, *[(OWNER, name, word, NOON - days * DAY) for name, word, days in ages])
    assert purged(installation) == Removed(visitors=3)
    assert in_log(installation, "select anonymous_id from visitors order by 1") == [("fresh",), ("no",)]


def test_the_file_grows_smaller(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 2_000)
    installation.export()
    before = in_log(installation, "pragma page_count")[0][0]
    purged(installation)
    assert in_log(installation, "pragma page_count")[0][0] < before / 4
    assert in_log(installation, "pragma freelist_count") == [(0,)]


def test_old_attempts_and_runs_go_at_a_runs_end_and_the_sums_stay(installation: Installation) -> None:
    installation.views(2)
    installation.export()
    installation.ledger(f"update batches set closed_at = {NOON - 91 * DAY}")
    installation.ledger(f"update runs set began_at = {NOON - 91 * DAY}")
    installation.views(1)
    installation.export()
    assert installation.batches() == [("accepted", 200, 1)]
    assert len(installation.ledger("select * from runs")) == 1
    assert installation.owed() == {"collected": 3, "accepted": 3}


def test_an_attempt_that_is_open_is_never_old(installation: Installation) -> None:
    async def work() -> None:
        async with await open_writer(installation.data_dir, "ledger") as db:
            await ledger.begin(db, [(OWNER, "d", 0)])
            for batch_id in ("a", "b"):
                await ledger.open_batch(db, OWNER, "d", Batch(batch_id, "r", 1, 1, 2, 2, 100), OLD)
            await ledger.lease(db, OWNER, "d", "r", OLD, OLD + 1)
            await ledger.close_batch(db, Cursor(OWNER, "d", 0, 0), "r", "a", Answer("deferred"), OLD)
            assert await runs.forget(db, NOON) == 1

    asyncio.run(work())
    assert installation.ledger("select batch_id from batches") == [("b",)]


def test_every_run_leaves_a_row(installation: Installation) -> None:
    installation.views(1)
    installation.fault(status=403)
    report = installation.export()

    async def read() -> runs.Run | None:
        async with await open_reader(installation.data_dir, "ledger") as db:
            return await runs.latest(db, ended=True)

    run = asyncio.run(read())
    assert run is not None
    assert (run.run_id, run.deferred) == (report.run, 1)
    assert run.ended_at is not None
    assert run.ended_at >= run.began_at


# --- who does it


def test_a_command_that_finds_the_log_taken_asks_and_is_answered(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 3)
    installation.export()
    count(installation.data_dir)
    kept = msgspec.structs.replace(installation.settings, retention_days=90)

    async def breathe() -> None:
        await asyncio.sleep(0)

    async def collector(db: Database) -> None:
        asked = await until_async(lambda: purging.wanted(installation.data_dir))
        assert asked is not None
        await purging.carry_out(kept, db, asked, NOON, breathe)

    async def work() -> Removed:
        async with await open_writer(installation.data_dir, "log") as db:
            removed, _ = await asyncio.gather(
                purging.purge(installation.settings, NOON, PATIENCE_SECONDS), collector(db)
            )
            return removed

    assert asyncio.run(work()) == Removed(events=3)
    assert purging.wanted(installation.data_dir) is None


def test_what_is_not_in_the_rollups_yet_stays(installation: Installation) -> None:
    installation.collect(*[an_event(received_at=OLD)] * 3)
    installation.export()
    shares, _ = asyncio.run(removal.plan(installation.data_dir, NOON))
    assert shares == []
    count(installation.data_dir)
    (share,), _ = asyncio.run(removal.plan(installation.data_dir, NOON))
    assert share.up_to == 3


def test_nobody_waits_for_ever_and_nothing_asked_is_left_behind(installation: Installation) -> None:
    async def work() -> None:
        async with await open_writer(installation.data_dir, "log"):
            await purging.purge(installation.settings, NOON, 0.05)

    with pytest.raises(Busy, match="the collector has not done it"):
        asyncio.run(work())
    assert purging.wanted(installation.data_dir) is None


def test_another_commands_wish_is_left_alone(installation: Installation) -> None:
    asked = Asked("somebody else's")
    (installation.data_dir / purging.ASKED).write_bytes(msgspec.json.encode(asked))

    async def work() -> None:
        async with await open_writer(installation.data_dir, "log"):
            await purging.purge(installation.settings, NOON, 0.05)

    with pytest.raises(Busy):
        asyncio.run(work())
    assert purging.wanted(installation.data_dir) == asked
