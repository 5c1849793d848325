"""On Citus: the tables lie where they should, its nodes know whose rows are asked for, what is only prepared there is
not taken for settled, and all works from a door to a partner. Runs where TEST_CITUS_URL names a coordinator.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from conftest import SECRET_KEY, SITE, view
from shipping_cast import KEYS, OWNER, STRANGER, Silence
from sql_schema import every_step, tables
from sql_texts import texts
from starlette.testclient import TestClient
from test_log import entry, row
from test_postgres_roles import APPS, fill, opens, refused, seen, user

from collector.app import Collector
from exporter.fake_segment.app import create_app
from exporter.run import run_once
from selftest.citus import Citus
from selftest.cluster import Databases
from store import balance, destinations, log, registry
from store.database import NATURES, Server
from store.engines import migrate_all, open_reader, open_writer
from store.errors import ConfigError, StoreUnavailable
from store.postgres import citus as ours
from store.postgres.copying import claim, reach
from store.secrets import Vault
from store.settings import Settings
from wire.verdict import Reply


@pytest.fixture
def nodes(cluster: Databases) -> Citus:
    if not isinstance(cluster, Citus):
        pytest.skip("TEST_CITUS_URL is not set")
    return cluster


@pytest.fixture
def where(nodes: Citus) -> Iterator[Server]:
    """A database whose tables are distributed."""
    url = nodes.database()
    yield Server(url)
    nodes.drop(url)


@pytest.fixture
def undistributed(nodes: Citus) -> Iterator[str]:
    url = nodes.bare()
    yield url
    nodes.drop(url)


def rows(url: str, sql: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


# --- where the tables lie


def kinds(url: str) -> dict[str, tuple[str, str]]:
    listed = rows(url, "select table_name::text, citus_table_type, distribution_column::text from citus_tables")
    return {name: (kind, column) for name, kind, column in listed}


def test_what_has_an_apps_key_is_distributed_by_it_and_all_else_is_everywhere(where: Server) -> None:
    lying = kinds(where.url)
    for table in tables(every_step()).values():
        kind = ("distributed", "app_key") if table.distributed else ("reference", "<none>")
        assert lying[f"{table.nature}.{table.name}"] == kind
    together = "select count(distinct colocation_id) from citus_tables where citus_table_type = 'distributed'"
    assert rows(where.url, together) == [(1,)]


def test_an_installation_with_data_is_distributed_with_it_and_again_changes_nothing(undistributed: str) -> None:
    asyncio.run(migrate_all(Server(undistributed)))
    assert kinds(undistributed) == {}
    fill(undistributed)
    before = counted(undistributed)
    asyncio.run(migrate_all(Server(undistributed), distribute=True))
    assert counted(undistributed) == before
    lying = kinds(undistributed)
    assert lying["log.events"] == ("distributed", "app_key")
    assert asyncio.run(migrate_all(Server(undistributed), distribute=True)) == {nature: [] for nature in NATURES}
    assert asyncio.run(migrate_all(Server(undistributed))) == {nature: [] for nature in NATURES}
    assert kinds(undistributed) == lying
    assert seen(Server(undistributed), "owner")["log.events"] == set(APPS["owner"])
    left = (
        "select sum(pg_relation_size(oid)) from pg_class where relname = any(array['apps', 'cursors', 'events_rest'])"
    )
    assert rows(undistributed, left) == [(0,)]


def counted(url: str) -> dict[str, int]:
    return {
        f"{table.nature}.{table.name}": rows(url, f"select count(*) from {table.nature}.{table.name}")[0][0]
        for table in tables(every_step()).values()
    }


def test_a_later_table_is_distributed_by_a_plain_migration(where: Server) -> None:
    rows(where.url, "create table ledger.later (app_key text, n bigint, primary key (app_key, n))")
    rows(where.url, "create table registry.later (name text primary key, app_key text references registry.apps)")
    asyncio.run(migrate_all(where))
    lying = kinds(where.url)
    assert lying["ledger.later"] == ("distributed", "app_key")
    assert lying["registry.later"] == ("reference", "<none>")
    rows(where.url, "alter table ledger.later add column more text")
    assert refused(where, "footfall_portal", "delete from ledger.later")


# --- what it takes

# Of some values PostgreSQL learns the type only as they are sent: arrays, and a choice of two numbers.
UNTYPED = {text.name for text in texts() if "unnest($" in text.sql} | {"removal.visitors"}
UNFINISHED = {"accounts.parked", "people.add"}  # the rest is put to them where they are run
OF_FILES = {"log.run", "quarantine.remove_old"}  # SQLite's alone
SAMPLES = [text for text in texts() if text.name not in UNTYPED | UNFINISHED | OF_FILES]


def test_every_statement_of_the_store_is_taken(where: Server) -> None:
    with psycopg.connect(where.url, autocommit=True) as connection:
        connection.execute("set search_path to registry, log, ledger")
        for number, text in enumerate(SAMPLES):
            connection.execute(f"prepare s{number} as {text.sql}".encode())
            types = connection.execute(
                "select unnest(parameter_types)::text from pg_prepared_statements where name = %s", (f"s{number}",)
            ).fetchall()
            given = ", ".join({"text": "'a'", "bigint": "1"}.get(kind, "null") for (kind,) in types)
            connection.execute(f"explain execute s{number}{f'({given})' if given else ''}".encode())


# --- who is who


@contextmanager
def nobody_may_be_a_role(nodes: Citus) -> Iterator[None]:
    nodes.let_roles_log_in(False)
    try:
        yield
    finally:
        nodes.let_roles_log_in(True)


def test_users_are_what_their_groups_are_where_nobody_may_be_a_role(nodes: Citus, where: Server) -> None:
    fill(where.url)
    with nobody_may_be_a_role(nodes):
        with user(where, "footfall_collector", "footfall_reader") as collector:
            opens(open_writer(collector, "log"))
            opens(open_reader(collector, "registry"))
            with pytest.raises(ConfigError, match="is not in footfall_exporter"):
                opens(open_writer(collector, "ledger"))
            assert refused_as(collector, "delete from log.events")
            assert refused_as(collector, "delete from ledger.cursors")
            assert rows(collector.url, "select count(*) from log.events") == [(3,)]
        with user(where, "footfall_portal") as portal:
            for partner, apps in APPS.items():
                found = seen(portal, partner)
                assert found["registry.partners"] == {partner}
                assert found["log.events"] == found["ledger.cursors"] == set(apps)
            assert refused_as(portal, "select segment_write_key from registry.destinations")
        with user(where, "footfall_portal", "footfall_reader") as both, pytest.raises(ConfigError, match="would see"):
            seen(both, "owner")
        with pytest.raises(ConfigError, match="would see more than one partner's rows"):
            seen(where, "owner")  # a superuser


def refused_as(server: Server, statement: str) -> bool:
    try:
        rows(server.url, statement)
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


# --- what is settled


def test_what_is_only_prepared_on_a_node_is_waited_for(
    nodes: Citus, where: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "PATIENCE_SECONDS", 0.2)

    async def settled() -> int:
        async with await open_reader(where, "log") as db:
            return await log.settled(db)

    assert asyncio.run(settled()) == 0
    for node in nodes.each(where.url):
        with psycopg.connect(node, autocommit=True) as connection:
            connection.execute("begin")
            connection.execute("create table left_behind (n bigint)")
            connection.execute("prepare transaction 'citus_9_9_9_9'")
            with pytest.raises(StoreUnavailable, match=r"do not end: .*citus_9_9_9_9 on "):
                asyncio.run(settled())
            connection.execute("rollback prepared 'citus_9_9_9_9'")
        assert asyncio.run(settled()) == 0


def test_transactions_that_come_and_go_hold_nobody_up(where: Server) -> None:
    """As many writers as there may be collectors, and a reader that looks all the while."""

    async def write(number: int) -> None:
        async with await open_writer(where, "log") as db:
            for n in range(12):
                await log.commit(db, [entry(row(number * 100 + n, app)) for app in ("a", "b", "c", "d")], Counter())

    async def look() -> list[int]:
        looks = []
        async with await open_reader(where, "log") as db:
            while not done.is_set():
                looks.append(await log.settled(db))
                there = {row[0] for row in await db.all("select seq from events where seq <= ?", (looks[-1],))}
                seen_at.append((looks[-1], there))
        return looks

    async def both() -> list[int]:
        looking = asyncio.create_task(look())
        await asyncio.gather(*(write(number) for number in range(4)))
        done.set()
        return await looking

    done = asyncio.Event()
    seen_at: list[tuple[int, set[int]]] = []
    looks = asyncio.run(both())
    assert looks == sorted(looks)
    stored = {row[0] for row in rows(where.url, "select seq from log.events")}
    assert len(stored) == 4 * 12 * 4
    for up_to, there in seen_at:
        assert there == {seq for seq in stored if seq <= up_to}


# --- from a door to a partner


def settings(where: Server, tmp_path: Any) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=where.url,
        secret_key=SECRET_KEY,
        allowed_origins=frozenset({SITE}),
        segment_url_us="http://testserver",
        segment_url_eu="http://testserver/eu",
    )


def test_what_comes_in_at_a_door_lands_once_at_its_partner_and_every_sum_holds(where: Server, tmp_path: Any) -> None:
    ours = settings(where, tmp_path)
    asyncio.run(populate(where))
    with TestClient(Collector(ours), headers={"user-agent": "Firefox/148.0"}) as client:
        sent = [view(app=app) for app in (OWNER, STRANGER, OWNER)]
        for body in ({"events": sent}, {"events": sent[:1]}, {"events": [view(name="nonsense")]}):
            client.post("/e", content=json.dumps(body).encode(), headers={"Origin": SITE})
    segment = TestClient(create_app(), follow_redirects=False)

    def send(host: str, write_key: str, messages: Any, attempt: int, seconds: float = 0) -> Reply:
        envelope = json.dumps({"sentAt": "2026-02-16T13:00:00.000+00:00", "writeKey": write_key}).encode()
        answer = segment.post(f"{host}/v1/batch", content=b'{"batch": [' + b",".join(messages) + b"]," + envelope[1:])
        return Reply(answer.status_code, answer.text.strip())

    async def export() -> Any:
        return await run_once(ours, Silence(), asyncio.Event(), send=send)

    reports = [asyncio.run(export()) for _ in range(2)]
    assert [report.exit_code for report in reports] == [0, 0]
    landed = {app: segment.get(f"/_/received?writeKey={key}").json() for app, key in KEYS.items()}
    assert {app: len(messages) for app, messages in landed.items()} == {OWNER: 2, STRANGER: 1}
    findings = asyncio.run(balance.examine(where, hours=True))
    assert findings.balanced, findings.lines()
    assert [(owed.app, owed.collected, owed.accepted) for owed in findings.destinations] == [
        (OWNER, 2, 2),
        (STRANGER, 1, 1),
    ]
    assert (findings.doors.stored, findings.doors.duplicate, findings.doors.rejected) == (3, 1, 1)


async def populate(where: Server) -> None:
    async with await open_writer(where, "registry") as db:
        for number, (app, key) in enumerate(KEYS.items()):
            partner = app.split(".")[1]
            await registry.add_partner(db, 0, partner, f"121{number}", partner)
            await registry.add_app(db, 0, app, partner, f"122{number}", app)
            change = destinations.Change(segment_write_key=key)
            await destinations.set_destination(db, Vault(SECRET_KEY), 0, app, change, 0)


def test_nothing_is_copied_into_tables_that_are_spread_already(where: Server) -> None:
    with reach(where) as connection, pytest.raises(ConfigError, match="copy first"):
        claim(connection, "a source", 0)
