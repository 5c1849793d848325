"""Moving an installation from SQLite to a server: all of it, whatever happens on the way, and nothing sent twice."""

import asyncio
import json
import sqlite3
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from click.testing import CliRunner, Result
from engines import Stores, look
from shipping_cast import NOON, OWNER, SECRET_KEY, STRANGER, VISITOR, Details, Installation, an_event

import footfall
from exporter.run import run_once
from selftest.cluster import Databases
from store import authentication, balance, copying, event_rules, log, purging, registry
from store.attribution.rules import Change, set_rules
from store.copying import Copied, copy
from store.database import Server
from store.engines import migrate_all, open_reader, open_writer
from store.entry import Entry, Held, Rejection, Visitor
from store.errors import Busy, ConfigError, StoreUnavailable
from store.event_rules import Rule
from store.people import identities, patience, roster, sessions
from store.people.links import Links
from store.postgres.connection import Connection
from store.postgres.copying import CopyFailed
from store.rollups.rebuilding import rebuild
from store.secrets import Vault
from store.sqlite.database import FILES, WriterLock

pytestmark = pytest.mark.only("sqlite", "a copy is made of the files")

DAY_MS = 86_400_000
ATTRIBUTED = (
    "insert into attribution_cursors values ('a', 1, 2, 3, 4, 'a dead run', 9000000000000000000)",
    "insert into touchpoints values ('a', 1, 0, 'p', x'00ff', 1, 2, 1, 'click', 'listing', '{}', '[]')",
    "insert into touchpoint_identities values ('a', x'00ff', 1, 1, 0)",
    "insert into conversions values ('a', 2, 'p', x'00ff', 'partner', 1, 2, 3, 1, '[]', 1, 'organic', 'x', '', 4)",
    "insert into conversion_identities values ('a', x'00ff', 2)",
    "insert into decisions values ('a', 1, 2, 1, 3, 'install', 2, '{}')",
    "insert into attribution_days values ('a', 'p', 20000, 'organic', 1)",
    "insert into attribution_sums values ('a', 'p', 'linear', 20000, '', 1000000)",
    "insert into conversion_revenue values ('a', 2, 20000, 'EUR', -1, 1)",
    "insert into attribution_revenue values ('a', 'p', 'linear', 20000, '', 'EUR', -1)",
    "insert into earnings values ('a', 4, 'p', 3, 5, 'EUR', -1, '[]', 2)",
    "insert into earning_identities values ('a', x'00ff', 4)",
    "insert into attribution_parked values ('a', 3, 'unreadable', 5)",
)
TOLD = (
    "insert into postbacks values ('a', 't', 2, 1, 'given_up', 'attempts_spent', 1, 2, 3, 'x', 4)",
    "insert into postback_health values ('a', 't', 1, 'a dead run', 9000000000000000000, 1, 2, 3, 4, 'why')",
    "insert into postback_attempts values ('a', 'i', 't', 2, 1, 'r', 'm', 1, 2, 3, 4, 'deferred', 503, 'later')",
    "insert into postback_intents_done values ('i', 1, 'pending')",
)
TARGET = (
    "insert into postback_targets select app_key, 't', 'webhook', 'ours', 1, 'agency', 'a', 'b', 1, 2, 'p', 'u',"
    " 'json', '{}', x'00ff', 'last', null, 0, 1, null, 2, 3 from apps",
    "insert into postback_intents select 'i' || app_key, app_key, 't', 2, 'retry', 1 from apps",
)
ODD = 'a\ttab, a\nline, \\N, a \\ and "quotes", 💥, \u2028, \x7f and \x01'


@pytest.fixture
def server(postgres_url: str) -> Server:
    """A migrated, empty database."""
    server = Server(postgres_url)
    run(migrate_all(server))
    return server


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def copied(installation: Installation, server: Server) -> Copied:
    done: Copied = run(copy(installation.data_dir, server, NOON, lambda _seq, _newest: None))
    return done


def there(server: Server, sql: str) -> list[tuple[Any, ...]]:
    """Ask the server with its own client, or change something behind our back."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(sql)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def here(installation: Installation, nature: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(installation.data_dir / FILES[nature], isolation_level=None)) as connection:
        return connection.execute(sql).fetchall()


def tables(installation: Installation) -> dict[str, list[str]]:
    """Every table of ours, and its columns."""
    found = {}
    for nature in FILES:
        names = here(installation, nature, "select name from sqlite_schema where type = 'table'")
        for (name,) in names:
            if name != "schema_migrations" and not name.startswith("sqlite_"):
                columns = here(installation, nature, f"select name from pragma_table_info('{name}')")
                found[f"{nature}.{name}"] = [column for (column,) in columns]
    return found


def assert_same(installation: Installation, server: Server) -> None:
    """Row for row, read with the engines' own tools, but for leases, which are nobody's in the copy."""
    for table, columns in tables(installation).items():
        nature, _, name = table.partition(".")
        kept = ", ".join(column for column in columns if not column.startswith("lease_"))
        ours = here(installation, nature, f"select {kept} from {name}")
        theirs = there(server, f"select {kept} from {table}")
        assert Counter(theirs) == Counter(ours), table
    for cursors in ("cursors", "attribution_cursors", "postback_health"):
        held = there(server, f"select distinct lease_owner, lease_until from ledger.{cursors}")
        assert held in ([], [("", 0)])
    ids = here(installation, "log", "select app_key, message_id, seq from events")
    assert Counter(there(server, "select app_key, message_id, seq from log.message_ids")) == Counter(ids)


@pytest.fixture
def full(installation: Installation) -> Installation:
    """An installation with something in every table, some of it odd. Of the owner's events 3 are pending, of the
    stranger's 2 are parked and one of those is to be tried again; one attempt is open."""
    old = NOON - 100 * DAY_MS
    installation.collect(*[an_event(received_at=old, occurred_at=old)] * 4)
    installation.export()
    kept = msgspec.structs.replace(installation.settings, retention_days=90)
    run(purging.purge(kept, NOON, 5))
    details = Details(url="https://market.example/", title=ODD, query={"": "\0", "ключ": ""})
    installation.collect(an_event(details=details), an_event(suppressed="gpc"), an_event("install", user_id="u"))
    installation.views(3, app=STRANGER, details=Details(title="x" * 40_000))
    installation.export()
    installation.ask(STRANGER, "drop", 8)
    installation.export()
    installation.ask(STRANGER, "release", 9)
    installation.replay(OWNER, 4, 6)
    installation.export()
    installation.replay(OWNER, 4, 7, new_ids=True)
    installation.views(3)
    installation.collect(an_event(received_at=NOON + DAY_MS, occurred_at=NOON + DAY_MS))
    entry = Entry(
        "test",
        NOON,
        [],
        [Visitor(OWNER, VISITOR, None, ODD, "", NOON), Visitor(STRANGER, VISITOR, "u", None, None, -1)],
        [Rejection("", "browser", NOON, "invalid", ODD, bytes(range(256))), Rejection("", "e", 0, "x", "", b"")],
        [Held(OWNER, "1", "kochava", "/track/json", NOON, "no_proof", 256, bytes(range(256)))],
    )
    run(store_in(installation.data_dir, entry))
    run(rebuild(installation.data_dir, "test", 30, True, lambda *_: None))
    run(add_token(installation.data_dir))
    run(add_somebody(installation.data_dir))
    here(installation, "log", f"insert into audiences values ('{OWNER}', 'owner', 'audience', 'vips', 1, 2)")
    here(
        installation,
        "log",
        f"insert into audience_marks values ('{OWNER}', 'owner', 'vips', 'u', 'user', 1, 2, 1, 1, 1)",
    )
    here(
        installation,
        "log",
        f"insert into audience_members values ('{OWNER}', 'owner', 'vips', 'u', 'user', 1, 2, 3, 4)",
    )
    here(installation, "log", f"insert into audience_slots values ('{OWNER}', 'owner', 'vips', 1, 2, 3)")
    here(
        installation, "log", f"insert into audience_traits values ('{OWNER}', 'owner', 'plan', 'u', 'user', 'x', 1, 2)"
    )
    run(add_key_pair(installation.data_dir))
    run(say_of_events(installation.data_dir))
    here(installation, "log", f"insert into event_names values ('{OWNER}', 'owner', 'Purchase', 1, 2, 3, 4, 5, 6)")
    here(installation, "log", f"insert into event_properties values ('{OWNER}', 'owner', 'Purchase', 'sum', 'null', 1)")
    here(installation, "log", f"insert into event_names_deleted values ('{OWNER}', 'Purchase', 3)")
    installation.ledger("update cursors set lease_owner = 'a dead run', lease_until = 9000000000000000000")
    for statement in (*ATTRIBUTED, *TOLD):
        installation.ledger(statement)
    for statement in TARGET:
        look(installation.where, "registry", statement)
    installation.ledger(
        "insert into batches (app_key, batch_id, destination_id, run_id, attempt, first_seq, last_seq, events, bytes,"
        " opened_at, outcome, detail) select app_key, 'open', destination_id, 'a dead run', 1, 11, 12, 2, 9, 5, 'open',"
        f" '' from cursors where app_key = '{OWNER}' limit 1"
    )
    for table in tables(installation):
        nature, _, name = table.partition(".")
        assert here(installation, nature, f"select 1 from {name} limit 1"), table
    return installation


async def store_in(where: Any, *entries: Entry) -> None:
    async with await open_writer(where, "log") as db:
        await log.commit(db, entries, Counter())


async def add_key_pair(data_dir: Path) -> None:
    async with await open_writer(data_dir, "registry") as db:
        await authentication.add_pair(db, Vault(SECRET_KEY), NOON, OWNER, "test")


async def add_somebody(data_dir: Path) -> None:
    """Signed in, and with everything else that somebody can have."""
    async with await open_writer(data_dir, "registry") as db:
        who = await roster.add(db, NOON, "olga@owner.example", ODD, "owner", "owner", "test")
        await sessions.begin(db, NOON, who, "192.0.2.1", ODD)
        await Links(SECRET_KEY).make(db, NOON, who, "reset", "test")
        await patience.spend(db, NOON, "192.0.2.1", who.email)
        await identities.keep(db, NOON, "https://login.example", ODD, who)
        await db.change("insert into recovery_codes values (?, 'a hash', null)", (who.person_id,))


async def say_of_events(where: Any) -> None:
    async with await open_writer(where, "registry") as db:
        await event_rules.say(db, NOON, OWNER, "Purchase", Rule(shown_as="Sale", revenue=True), "a test")
        await event_rules.delete(db, NOON + 1, OWNER, "Purchase", "a test")


async def add_token(data_dir: Path) -> None:
    async with await open_writer(data_dir, "registry") as db:
        await registry.add_token(db, NOON, ODD, frozenset({"installs"}))
        await set_rules(db, NOON, "", "", Change(click=0, by_network=True))


def exported(installation: Installation, server: Server) -> dict[str, int]:
    """A run of the exporter on the copy; the sums of what became of everything."""
    settings = msgspec.structs.replace(installation.settings, database_url=server.url)
    report = run(run_once(settings, installation.voice, asyncio.Event(), send=installation.send))
    sums: dict[str, int] = report.sums()
    return sums


@contextmanager
def collecting(installation: Installation) -> Iterator[None]:
    """Somebody holds the log, as a collector does."""
    lock = WriterLock(installation.data_dir / FILES["log"])
    try:
        yield
    finally:
        lock.release()


# --- all of it


def test_every_row_of_every_table_is_there(full: Installation, server: Server) -> None:
    done = copied(full, server)
    assert (done.complete, done.left, done.busy, done.mended) == (True, 0, "", 0)
    assert_same(full, server)
    assert {each.table for each in done.tables} == set(tables(full))
    for each in done.tables:
        assert there(server, f"select count(*) from {each.table}") == [(each.rows,)]
    assert run(balance.examine(server)).balanced


def test_the_server_has_no_table_that_is_left_out(installation: Installation, server: Server) -> None:
    listed = there(
        server,
        "select schemaname || '.' || tablename from pg_tables join pg_class on relname = tablename"
        " where schemaname in ('registry', 'log', 'ledger') and not relispartition",
    )
    ours = {table for (table,) in listed if not table.endswith(".schema_migrations")}
    assert ours - set(tables(full_of_ledger(installation))) == {"log.message_ids"}


def full_of_ledger(installation: Installation) -> Installation:
    installation.export()
    return installation


def test_what_was_pending_is_sent_under_the_same_ids_and_nothing_twice(
    installation: Installation, server: Server
) -> None:
    before = installation.views(3)
    installation.export()
    after = installation.views(2)
    assert copied(installation, server).complete
    assert exported(installation, server)["accepted"] == 2
    assert exported(installation, server)["accepted"] == 0
    landed = [message["messageId"] for message in installation.landed()]
    assert landed == installation.sent_ids([*before, *after])


def test_everything_open_goes_on_where_it_was(full: Installation, server: Server) -> None:
    assert copied(full, server).complete
    exported(full, server)
    assert there(server, "select outcome from ledger.batches where batch_id = 'open'") == [("ambiguous",)]
    findings = run(balance.examine(server))
    assert findings.balanced
    assert sum(owed.pending for owed in findings.destinations) == 0


def test_an_installation_that_never_exported_is_copied(installation: Installation, server: Server) -> None:
    installation.views(2)
    assert copied(installation, server).complete
    assert_same(full_of_nothing(installation), server)
    assert exported(installation, server)["accepted"] == 2


def full_of_nothing(installation: Installation) -> Installation:
    """With the empty tables of a ledger that nobody began."""
    (installation.data_dir / "copied-to").unlink()
    run(migrate_all(installation.data_dir))
    return installation


def test_numbers_go_on_past_those_that_were_ever_taken(full: Installation, server: Server) -> None:
    here(full, "log", "update sqlite_sequence set seq = 500 where name = 'events'")
    here(full, "log", "update sqlite_sequence set seq = 77 where name = 'rejections'")
    copied(full, server)
    message = uuid.uuid4().bytes
    event = (OWNER, message, "track", "install", "server", NOON, NOON, "owner", VISITOR, None, None, None, "{}")
    run(store_in(server, Entry("t", NOON, [event], [], [Rejection("", "t", NOON, "invalid", "", b"")])))
    assert there(server, "select max(seq) from log.events") == [(501,)]
    assert there(server, "select max(rejection_id) from log.rejections") == [(78,)]


def test_a_message_that_came_before_is_a_duplicate_after(installation: Installation, server: Server) -> None:
    (message,) = installation.views(1)
    copied(installation, server)
    event = (
        OWNER,
        uuid.UUID(message).bytes,
        "track",
        "install",
        "server",
        0,
        0,
        "owner",
        VISITOR,
        None,
        None,
        None,
        "{}",
    )
    run(store_in(server, Entry("test", NOON, [event], [], [])))
    assert there(server, "select count(*) from log.events") == [(1,)]
    assert there(server, "select sum(n)::int from log.door_tallies where outcome = 'duplicate'") == [(1,)]


def test_old_events_lie_in_partitions(
    installation: Installation, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(installation, "log", "insert into sqlite_sequence values ('events', 5000000)")
    installation.views(3)
    there(server, "drop table log.events_1")
    copied(installation, server)
    assert there(server, "select tableoid::regclass::text, seq from log.events order by seq") == [
        ("log.events_5000001", 5_000_001),
        ("log.events_5000001", 5_000_002),
        ("log.events_5000001", 5_000_003),
    ]
    assert there(server, "select to_regclass('log.events_5200001')::text") == [("log.events_5200001",)]


# --- texts that PostgreSQL cannot hold


def test_a_character_that_the_server_cannot_hold_is_replaced_and_told(
    installation: Installation, server: Server
) -> None:
    installation.views(2)
    installation.export()
    installation.ledger("update batches set detail = 'no' || char(0) || 'such source'")
    here(installation, "log", "update events set details = cast(x'7b227469746c65223a2241ff227d' as text) where seq = 2")
    done = copied(installation, server)
    assert (done.complete, done.mended) == (True, 2)
    assert there(server, "select detail from ledger.batches") == [("no\ufffdsuch source",)]
    assert there(server, "select details from log.events where seq = 2") == [('{"title":"A\ufffd"}',)]


def test_escaped_halves_of_characters_stay_as_they_are(installation: Installation, server: Server) -> None:
    installation.views(1)
    odd = '{"title":"\\u0000 \\ud800"}'
    here(installation, "log", f"update events set details = '{odd}'")
    assert copied(installation, server).mended == 0
    assert there(server, "select details from log.events") == [(odd,)]


# --- while others work


def test_while_a_collector_works_the_events_go_and_the_rest_waits(installation: Installation, server: Server) -> None:
    installation.views(5)
    with collecting(installation):
        done = copied(installation, server)
    assert (done.complete, done.up_to, done.left, done.tables) == (False, 5, 0, [])
    assert done.busy.startswith("events.db is being written by process")
    assert there(server, "select count(*) from log.events") == [(5,)]
    assert there(server, "select count(*) from registry.apps") == [(0,)]
    installation.views(2)
    assert copied(installation, server).complete
    assert_same(full_of_nothing(installation), server)


def test_while_an_exporter_works_the_rest_waits(installation: Installation, server: Server) -> None:
    installation.views(1)
    installation.export()
    lock = WriterLock(installation.data_dir / FILES["ledger"])
    try:
        assert copied(installation, server).busy.startswith("ledger.db is being written by process")
    finally:
        lock.release()
    assert copied(installation, server).complete


def test_nothing_is_lost_of_what_comes_all_the_while(
    installation: Installation, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BLOCK_ROWS", 300)
    installation.views(50)
    enough = threading.Event()
    stored = []

    async def collect() -> None:
        async with await open_writer(installation.data_dir, "log") as db:
            while not enough.is_set():
                rows = [an_row(uuid.uuid4()) for _ in range(5)]
                await log.commit(db, [Entry("test", NOON, rows, [], [])], Counter())
                stored.extend(rows)

    thread = threading.Thread(target=run, args=(collect(),))
    thread.start()
    try:
        reached = []
        while len(reached) < 3:
            reached.append(copied(installation, server).up_to)
    finally:
        enough.set()
        thread.join()
    assert reached == sorted(reached)
    assert copied(installation, server).complete
    assert there(server, "select count(*) from log.events") == [(50 + len(stored),)]
    assert_same(full_of_nothing(installation), server)


def an_row(message: uuid.UUID) -> tuple[Any, ...]:
    return (OWNER, message.bytes, "track", "page_view", "browser", NOON, NOON, "owner", VISITOR, None, None, None, "{}")


def test_what_is_purged_between_two_runs_is_not_in_the_copy(
    installation: Installation, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BLOCK_ROWS", 3)
    old = NOON - 100 * DAY_MS
    installation.collect(*[an_event(received_at=old)] * 7)
    installation.views(2, app=STRANGER)
    installation.export()
    with collecting(installation):
        assert copied(installation, server).up_to == 9
    kept = msgspec.structs.replace(installation.settings, retention_days=90)
    assert run(purging.purge(kept, NOON, 5)).events == 7
    assert copied(installation, server).complete
    assert_same(installation, server)
    assert there(server, "select seq from log.events order by seq") == [(8,), (9,)]


# --- killed


class Killed(BaseException):
    """What a process does not survive."""


@contextmanager
def killed_at(monkeypatch: pytest.MonkeyPatch, statement: int) -> Iterator[Counter[str]]:
    """Die, as the server sees it, before the given statement, counted from 1."""
    counted: Counter[str] = Counter()

    def before(of: Connection) -> None:
        counted["statements"] += 1
        if counted["statements"] == statement:
            of.raw.pgconn.finish()
            raise Killed

    execute, put, read = Connection.execute, copying.copying.put, copying.copying.read

    def dying_execute(self: Connection, *args: Any) -> Any:
        before(self)
        return execute(self, *args)

    def dying_put(to: Connection, table: str, columns: str, rows: Any) -> None:
        def some() -> Iterator[Any]:
            yield from rows
            before(to)  # in the middle of the stream: what was sent is not yet ended

        put(to, table, columns, some())

    def dying_read(to: Connection, *args: Any) -> Any:
        before(to)
        return read(to, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "execute", dying_execute)
        patch.setattr(copying.copying, "put", dying_put)
        patch.setattr(copying.copying, "read", dying_read)
        yield counted


def test_killed_before_any_statement_it_goes_on_and_ends_the_same(
    full: Installation, cluster: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run dies seven statements later than the one before, until one ends."""
    monkeypatch.setattr(copying, "BLOCK_ROWS", 2)
    server = Server(cluster.database())
    try:
        run(migrate_all(server))
        done, at = None, 0
        while done is None:
            at += 7
            with killed_at(monkeypatch, at), suppress(Killed, StoreUnavailable):
                done = copied(full, server)
            full_or_nothing = {
                bool(there(server, f"select 1 from {table}")) for table in ("registry.apps", "ledger.runs")
            }
            assert full_or_nothing == {done is not None}
        assert at > 60
        assert_same(full, server)
        assert run(balance.examine(server)).balanced
    finally:
        cluster.drop(server.url)


def test_killed_just_before_the_end_the_files_are_given_up_for_that_server_alone(
    full: Installation, server: Server, cluster: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_up: Callable[[Path, str], None] = copying.give_up

    def dying(data_dir: Path, to: str) -> None:
        give_up(data_dir, to)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(copying, "give_up", dying)
        with pytest.raises(Killed):
            copied(full, server)
    assert there(server, "select 1 from registry.apps") == []
    other = Server(cluster.database())
    try:
        run(migrate_all(other))
        with pytest.raises(ConfigError, match=r"went on as PostgreSQL at .*copied-to"):
            copied(full, other)
    finally:
        cluster.drop(other.url)
    assert copied(full, server).complete
    assert_same(full, server)


# --- not the same


def test_rows_that_the_server_changes_are_found_and_nothing_is_kept(full: Installation, server: Server) -> None:
    there(
        server,
        "create function spoil() returns trigger language plpgsql as"
        " $$begin new.seen_at := new.seen_at + 1; return new; end$$;"
        " create trigger spoil before insert on log.visitors for each row execute function spoil()",
    )
    with pytest.raises(CopyFailed, match=r"^log\.visitors: other rows are there"):
        copied(full, server)
    assert there(server, "select 1 from registry.apps") == []
    there(server, "drop trigger spoil on log.visitors")
    assert copied(full, server).complete


def test_an_event_that_the_server_drops_is_found(installation: Installation, server: Server) -> None:
    installation.views(3)
    there(
        server,
        "create function swallow() returns trigger language plpgsql as $$begin return null; end$$;"
        " create trigger swallow before insert on log.events_1 for each row when (new.seq = 2)"
        " execute function swallow()",
    )
    with pytest.raises(CopyFailed, match=r"^log\.events: 3 rows are to be copied, 2 are there"):
        copied(installation, server)
    assert there(server, "select 1 from log.events") == []


def test_a_source_whose_sums_are_off_is_not_copied(full: Installation, server: Server) -> None:
    full.ledger("update tallies set n = n + 1 where fate = 'accepted'")
    with pytest.raises(CopyFailed, match="its sums are off"):
        copied(full, server)
    assert there(server, "select 1 from registry.apps") == []
    assert not (full.data_dir / "copied-to").exists()


# --- refused


def test_a_server_with_an_installation_of_its_own_is_refused(installation: Installation, server: Server) -> None:
    async def add() -> None:
        async with await open_writer(server, "registry") as db:
            await registry.add_partner(db, NOON, "other", "7", "Other")

    run(add())
    with pytest.raises(ConfigError, match=r"there is an installation already: registry\.audit is not empty"):
        copied(installation, server)
    assert there(server, "select to_regnamespace('copying')::text") == [(None,)]


def test_half_a_copy_of_another_installation_is_refused(
    installation: Installation, stores: Stores, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    installation.views(1)
    with collecting(installation):
        copied(installation, server)
    other = Installation(stores, tmp_path_factory.mktemp("other"))
    here(other, "registry", "update audit set audit_id = replace(audit_id, '-', '+')")
    with pytest.raises(ConfigError, match="half a copy of another installation"):
        copied(other, server)


def test_a_complete_copy_is_not_copied_over(installation: Installation, server: Server) -> None:
    installation.views(1)
    copied(installation, server)
    with pytest.raises(ConfigError, match=r"a complete copy since 2026-02-16"):
        copied(installation, server)


@pytest.mark.parametrize(
    ("written", "where"),
    [
        (Entry("test", NOON, [], [], [Rejection("", "t", NOON, "invalid", "", b"")]), r"log\.door_tallies"),
        (Entry("test", NOON, [an_row(uuid.uuid4())], [], []), r"log\.door_tallies"),
        (Entry("test", NOON, [], [Visitor(OWNER, VISITOR, None, None, None, 0)], []), r"log\.visitors"),
    ],
)
def test_half_a_copy_that_somebody_wrote_to_is_refused(
    installation: Installation, server: Server, written: Entry, where: str
) -> None:
    installation.views(1)
    with collecting(installation):
        copied(installation, server)
    there(server, "select setval('log.events_seq', 1)")
    run(store_in(server, written))
    with pytest.raises(ConfigError, match=f"somebody else wrote to the half copy, in {where}"):
        copied(installation, server)


def test_half_a_copy_that_lacks_an_event_is_refused(installation: Installation, server: Server) -> None:
    installation.views(2)
    with collecting(installation):
        copied(installation, server)
    there(server, "delete from log.events where seq = 1")
    with pytest.raises(ConfigError, match=r"in log\.events"):
        copied(installation, server)


@pytest.mark.parametrize("more", [0, 2])
def test_half_a_copy_of_a_log_before_its_restore_is_refused(
    installation: Installation, server: Server, more: int
) -> None:
    installation.views(2)
    backup = (installation.data_dir / "events.db").read_bytes()
    installation.views(2)
    with collecting(installation):
        copied(installation, server)
    (installation.data_dir / "events.db").write_bytes(backup)
    if more:
        installation.views(more)
    with pytest.raises(ConfigError, match="of another event log"):
        copied(installation, server)


def test_a_server_that_was_not_migrated_is_refused(installation: Installation, postgres_url: str) -> None:
    with pytest.raises(StoreUnavailable, match="run `footfall migrate` with FOOTFALL_DATABASE_URL"):
        copied(installation, Server(postgres_url))


def test_two_copies_at_once_are_refused(
    installation: Installation, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.postgres.copying.WAIT_SECONDS", 0.05)
    with copying.copying.reach(server), pytest.raises(Busy, match="another copy goes to PostgreSQL at"):
        copied(installation, server)


def test_a_user_that_may_not_make_what_is_needed_is_told(installation: Installation, server: Server) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("drop role if exists footfall_test_stranger")
        connection.execute("create role footfall_test_stranger login")
        connection.execute("grant footfall_reader to footfall_test_stranger")
    try:
        stranger = Server(
            server.url.replace("://" + server.url.split("://")[1].split("@")[0], "://footfall_test_stranger")
        )
        with pytest.raises(ConfigError, match="permission denied"):
            copied(installation, stranger)
    finally:
        there(server, "drop role footfall_test_stranger")


# --- afterwards


def test_the_files_of_a_complete_copy_are_written_no_more(installation: Installation, server: Server) -> None:
    installation.views(1)
    copied(installation, server)
    for nature in FILES:
        with pytest.raises(ConfigError, match=r"was copied to PostgreSQL at .* set FOOTFALL_DATABASE_URL"):
            run(open_writer(installation.data_dir, nature))

    async def read() -> int:
        async with await open_reader(installation.data_dir, "log") as db:
            return await log.head(db)

    assert run(read()) == 1


# --- the command


def command(installation: Installation, *words: str, **env: str) -> Result:
    env = {"FOOTFALL_DATA_DIR": str(installation.data_dir), "FOOTFALL_SECRET_KEY": SECRET_KEY} | env
    asyncio.set_event_loop(None)
    return CliRunner().invoke(footfall.main, ["copy", *words], env=env)


def test_the_command_says_what_is_left_and_what_is_there(installation: Installation, server: Server) -> None:
    installation.views(2)
    words = ("--from", "sqlite", "--to", server.url)
    with collecting(installation):
        first = command(installation, *words)
    assert (first.exit_code, first.stdout) == (75, "")
    assert "every event up to 2 is there, 0 newer ones and all but events are left: stop the collector" in first.stderr
    done = command(installation, *words, "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["complete"], told["up_to"]) == (0, True, 2)
    assert told["tables"][0]["table"] == "log.events"
    assert "from now on, start with FOOTFALL_DATABASE_URL" in done.stderr
    assert command(installation, *words).exit_code == 78


def test_the_command_takes_the_url_from_the_setting(installation: Installation, server: Server) -> None:
    done = command(installation, "--from", "sqlite", FOOTFALL_DATABASE_URL=server.url)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1].split()[:2] == ["registry.partners", "2"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "postgresql", "--to", "postgresql://a@b/c"), "and no other way"),
        (("--from", "sqlite", "--to", "/var/lib/footfall"), "and no other way"),
        (("--from", "sqlite"), "and no other way"),
        (("--from", "sqlite", "--to", "postgresql://a@b/c?no=thing"), "and no other way"),
        (("--from", "sqlite", "--to", "postgresql://a:secret@b/c"), "no place for a password"),
        (("--from", "sqlite", "--to", "postgresql://a@b/c?password=secret"), "no place for a password"),
    ],
)
def test_other_directions_and_passwords_are_refused(
    installation: Installation, words: tuple[str, ...], said: str
) -> None:
    refused = command(installation, *words)
    assert (refused.exit_code, refused.stdout) == (78, "")
    assert said in refused.stderr
    assert "secret" not in refused.stderr
