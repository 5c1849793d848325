"""The roles on a server, by attack: what each may not do, and that a partner's connection sees that partner's rows."""

import asyncio
import re
import secrets
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql
from pytest_socket import enable_socket

from selftest.cluster import Cluster, Databases
from store.database import NATURES, Database, Server
from store.engines import migrate_all, open_reader, open_writer
from store.errors import ConfigError, StoreUnavailable
from store.postgres import roles
from store.postgres.connection import connect
from store.postgres.roles import APART

APPS = {"owner": ["com.owner.charts", "com.owner.boards"], "stranger": ["com.stranger.notes"]}
# What a column's check allows.
ALLOWED = {
    "source": "browser",
    "kind": "user",
    "form": "audience",
    "region": "us",
    "profile": "mpac",
    "action": "drop",
    "role": "owner",
    "fate": "accepted",
    "way": "click",
    "origin": "listing",
    "told_by": "partner",
    "cause": "install",
    "outcome": {
        "door_tallies": "received",
        "batches": "open",
        "conversions": "organic",
        "attribution_days": "organic",
        "postback_attempts": "open",
    },
    "delivery": "all",
    "state": "pending",
}
# The same of a column that other tables have with other words.
ALLOWED_THERE = {
    ("postback_targets", "kind"): "webhook",
    ("postback_targets", "form"): "json",
    ("postback_intents", "action"): "retry",
}


@pytest.fixture(scope="module")
def server(cluster: Databases) -> Iterator[Server]:
    """A database with rows of two partners in every table that can have any."""
    url = cluster.database()
    asyncio.run(migrate_all(Server(url)))
    fill(url)
    yield Server(url)
    cluster.drop(url)


def fill(url: str) -> None:
    """A row in every table for every app, or for every partner where it is about partners."""
    with psycopg.connect(url) as connection:
        for nature, table in tables_of_partners(connection):
            columns = described(connection, nature, table)
            for partner, apps in APPS.items():
                for app in apps if "app_key" in columns else [partner]:
                    row = {name: value(table, name, kind, partner, app) for name, kind in columns.items()}
                    put = sql.SQL("insert into {} ({}) values ({})").format(
                        sql.Identifier(nature, table),
                        sql.SQL(", ").join(map(sql.Identifier, row)),
                        sql.SQL(", ").join(sql.Placeholder() * len(row)),
                    )
                    connection.execute(put, list(row.values()))


def value(table: str, column: str, kind: str, partner: str, app: str) -> Any:
    allowed = ALLOWED_THERE.get((table, column)) or ALLOWED.get(column)
    if column in ("partner_key", "app_key"):
        return partner if column == "partner_key" else app
    if allowed is not None:
        return allowed if isinstance(allowed, str) else allowed[table]
    return {"bigint": 1, "bytea": bytes(16)}.get(kind, f"{column} of {app}")


def tables_of_partners(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    """Schema and name, in the order in which they were made."""
    rows = connection.execute(
        """
        select nspname, relname
        from pg_class
        join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = any(%s) and relkind in ('r', 'p') and not relispartition and exists (
          select
          from pg_attribute
          where attrelid = pg_class.oid and attname in ('app_key', 'partner_key') and not attisdropped
        )
        order by pg_class.oid""",
        (list(NATURES),),
    )
    return [(nature, table) for nature, table in rows if table not in APART]


def described(connection: psycopg.Connection[Any], nature: str, table: str) -> dict[str, str]:
    rows = connection.execute(
        "select column_name, data_type from information_schema.columns where table_schema = %s and table_name = %s",
        (nature, table),
    )
    return dict(rows.fetchall())


@contextmanager
def acting(server: Server, role: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection with a role's rights; nothing is kept of what it did."""
    with psycopg.connect(server.url) as connection:
        connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        yield connection
        connection.rollback()


def refused(server: Server, role: str, statement: str) -> bool:
    with acting(server, role) as connection:
        try:
            connection.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


# --- who may not do what

BOOKED = "insert into ledger.cursors (app_key, destination_id, start_seq, seq) values ('a', 'd', 0, 0)"
STORED = "insert into log.message_ids values ('a', '\\\\x00', 1)"
ADDED = "insert into registry.partners values ('p', '9', 'P', 0)"
ANYBODY_ELSE = [
    "create table log.mine (n bigint)",
    "create table public.mine (n bigint)",
    "drop table log.events",
    "alter table log.events disable row level security",
    "truncate log.events",
    "copy (select 1) to program 'true'",
    "select pg_read_file('/etc/passwd')",
    "set role postgres",
]


@pytest.mark.parametrize("statement", ANYBODY_ELSE[:-1])
@pytest.mark.parametrize("role", roles.ALL)
def test_no_role_can_make_drop_or_empty_a_table_or_reach_the_servers_files(
    server: Server, role: str, statement: str
) -> None:
    assert refused(server, role, statement)


@pytest.mark.parametrize(
    "statement",
    [
        BOOKED,
        ADDED,
        "update ledger.cursors set seq = 0",
        "delete from ledger.batches",
        "update registry.destinations set url = 'https://evil.example'",
        "select * from ledger.cursors",
        "select * from registry.destinations",
        "update log.events set partner_key = 'stranger'",
        "delete from log.events",
        "delete from log.events_rest",
        "insert into log.events_rest select * from log.events",
        "update log.rejections set body = ''",
        "delete from log.message_ids",
        "delete from log.visitors",
        "update log.removed set n = 0",
        "select setval('log.events_seq', 1)",
        "update log.schema_migrations set number = 9",
    ],
)
def test_the_collector_can_write_neither_ledger_nor_registry_and_change_no_event(
    server: Server, statement: str
) -> None:
    assert refused(server, "footfall_collector", statement)


@pytest.mark.parametrize(
    "statement",
    [STORED, ADDED, "delete from log.events", "update log.door_tallies set n = 0", "select nextval('log.events_seq')"],
)
def test_the_exporter_can_write_neither_log_nor_registry(server: Server, statement: str) -> None:
    assert refused(server, "footfall_exporter", statement)


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("footfall_operator", "update registry.audit set actor = 'somebody else'"),
        ("footfall_operator", "delete from registry.audit"),
        ("footfall_exporter", "update ledger.receipts set document = ''"),
        ("footfall_exporter", "delete from ledger.receipts"),
    ],
)
def test_what_was_audited_or_signed_stays_as_it_is(server: Server, role: str, statement: str) -> None:
    assert refused(server, role, statement)


@pytest.mark.parametrize("statement", [STORED, BOOKED, "select * from log.events", "select * from ledger.cursors"])
def test_the_operator_reaches_the_registry_alone(server: Server, statement: str) -> None:
    assert refused(server, "footfall_operator", statement)


@pytest.mark.parametrize("role", ["footfall_reader", "footfall_portal"])
def test_who_reads_can_write_nothing_anywhere(server: Server, role: str) -> None:
    with psycopg.connect(server.url) as connection:
        tables = [f"{nature}.{table}" for nature, table in tables_of_partners(connection)]
    tables += ["registry.tokens", "registry.audit", "registry.revision", "ledger.runs", "ledger.intents_done"]
    for table in tables:
        assert refused(server, role, f"delete from {table}")
        assert refused(server, role, f"insert into {table} default values")
    assert refused(server, role, "select nextval('log.events_seq')")


def test_each_writer_can_write_what_is_its_own(server: Server) -> None:
    for role, statement in (
        ("footfall_collector", STORED),
        ("footfall_exporter", BOOKED),
        ("footfall_operator", ADDED),
        ("footfall_reader", "select * from registry.tokens"),
        ("footfall_reader", "select * from log.events"),
        ("footfall_reader", "select * from ledger.cursors"),
    ):
        assert not refused(server, role, statement)


# --- the wall between partners


def read(server: Server, nature: str, partner: str, work: Callable[[Database], Coroutine[Any, Any, Any]]) -> Any:
    async def opened() -> Any:
        async with await open_reader(server, nature, partner) as db:
            return await work(db)

    return asyncio.run(opened())


def seen(server: Server, partner: str, still: bool = False) -> dict[str, set[str]]:
    """Whose rows a partner's connection sees, by table: keys of apps, or of partners."""

    async def look(nature: str, tables: dict[str, str]) -> dict[str, set[str]]:
        async with await open_reader(server, nature, partner) as db:
            if still:
                await db.hold_still()
            found = {}
            for table, column in tables.items():
                found[f"{nature}.{table}"] = {row[0] for row in await db.all(f"select {column} from {nature}.{table}")}
            return found

    found: dict[str, set[str]] = {}
    for nature in NATURES:
        found |= asyncio.run(look(nature, keyed(server, nature)))
    return found


def keyed(server: Server, nature: str) -> dict[str, str]:
    with psycopg.connect(server.url) as connection:
        tables = [table for schema, table in tables_of_partners(connection) if schema == nature]
        return {
            table: "app_key" if "app_key" in described(connection, nature, table) else "partner_key" for table in tables
        }


OF_A_PARTNER = ("registry.partners", "registry.audit", "log.rollup_visitors", "log.rollup_names")  # and of no app


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("partner", ["owner", "stranger"])
def test_a_partners_connection_sees_exactly_its_rows_in_every_table(server: Server, partner: str, still: bool) -> None:
    found = seen(server, partner, still)
    assert len(found) >= 14
    for table, whose in found.items():
        assert whose == ({partner} if table in OF_A_PARTNER else set(APPS[partner])), table


def test_a_partner_that_does_not_exist_sees_nothing(server: Server) -> None:
    assert not any(seen(server, "nobody").values())


def test_without_a_partner_the_portals_role_sees_nothing(server: Server) -> None:
    with acting(server, "footfall_portal") as connection:
        for nature in NATURES:
            for table, column in keyed(server, nature).items():
                assert connection.execute(f"select {column} from {nature}.{table}".encode()).fetchall() == []


def test_a_partner_is_forgotten_with_its_transaction(server: Server) -> None:
    async def work(db: Database) -> tuple[Any, Any]:
        inside = await db.value("select count(*) from events")
        await db.run(lambda connection: connection.raw.rollback())
        outside = await db.run(_count_outside)
        return inside, outside

    def _count_outside(connection: Any) -> Any:
        connection.raw.execute("rollback")
        return connection.raw.execute("select count(*) from log.events").fetchone()[0]

    assert read(server, "log", "owner", work) == (2, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "select * from registry.tokens",
        "select * from registry.revision",
        "select * from registry.destinations",
        "select segment_write_key from registry.destinations",
        "select 1 from registry.destinations where segment_write_key > ''",
        "select write_key_fingerprint from registry.destinations",
        "select code_hash from registry.destinations",
        "select * from ledger.runs",
        "select * from log.events_rest",
        "select * from log.events_100001",
        "select * from registry.people",
        "select * from registry.sessions",
        "select * from registry.identities",
    ],
)
def test_the_portal_reads_no_secret_and_no_partition(server: Server, statement: str) -> None:
    assert refused(server, "footfall_portal", statement)


def test_no_column_that_is_called_a_secret_is_the_portals_to_read(server: Server) -> None:
    harmless = {"app_key", "partner_key", "ingest_key", "write_key_last4", "code_sent_at", "code_wrong"}
    harmless |= {"api_key", "campaign_key", "secret_last4"}
    with psycopg.connect(server.url) as connection:
        readable = connection.execute(
            """
            select table_name, column_name
            from information_schema.column_privileges
            where grantee = 'footfall_portal' and column_name ~ 'key|secret|hash|token|code|fingerprint|password'"""
        ).fetchall()
    assert {column for _, column in readable} == harmless


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
hostile = st.one_of(texts, st.text("a,{}\"'\\\n %s;-", min_size=1, max_size=6))


@given(
    keys=st.lists(hostile, min_size=2, max_size=6, unique=True),
    partners=st.lists(hostile, min_size=2, max_size=2, unique=True),
)
def test_whatever_is_in_a_key_a_partner_sees_its_apps_rows_and_no_others(
    walled: Server, keys: list[str], partners: list[str]
) -> None:
    whose = {key: partners[number % 2] for number, key in enumerate(keys)}
    with psycopg.connect(walled.url) as connection:
        connection.execute("truncate registry.partners, registry.apps cascade")
        connection.execute("truncate log.visitors")
        for partner in partners:
            connection.execute("insert into registry.partners values (%s, %s, '', 0)", (partner, partner))
        for key, partner in whose.items():
            connection.execute(
                "insert into registry.apps values (%s, %s, %s, '', %s, %s, 0)", (key, partner, *[key] * 3)
            )
            connection.execute("insert into log.visitors values (%s, 'v', null, null, null, 0)", (key,))

    async def keys_seen(db: Database) -> set[str]:
        return {row[0] for row in await db.all("select app_key from visitors")}

    for partner in partners:
        assert read(walled, "log", partner, keys_seen) == {key for key in keys if whose[key] == partner}


@pytest.fixture(scope="module")
def walled(cluster: Databases) -> Iterator[Server]:
    url = cluster.database()
    asyncio.run(migrate_all(Server(url)))
    yield Server(url)
    cluster.drop(url)


@pytest.mark.parametrize(
    ("breach", "mend"),
    [
        ("alter table log.visitors disable row level security", "alter table log.visitors enable row level security"),
        ("create policy gap on log.visitors using (true)", "drop policy gap on log.visitors"),
        ("grant select on log.events_rest to footfall_portal", "revoke select on log.events_rest from footfall_portal"),
    ],
)
def test_a_wall_with_a_gap_is_noticed_before_anything_is_read(server: Server, breach: str, mend: str) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(breach.encode())
        try:
            with pytest.raises(ConfigError, match="would see more than one partner's rows"):
                seen(server, "owner")
        finally:
            connection.execute(mend.encode())
    assert seen(server, "owner")["log.visitors"] == set(APPS["owner"])


# --- what is told of them

WORDS = ["select", "insert", "update", "delete"]


def told(line: str) -> tuple[str, list[str]]:
    """A table of the page and what each role may do with it, without what stands in brackets."""
    name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
    return name.strip("`"), cells


def test_the_page_of_the_database_tells_every_right(server: Server) -> None:
    page = (Path(__file__).parents[1] / "docs/reference/database.md").read_text()
    listed = dict(told(line) for line in page.splitlines() if re.match(r"\| `(registry|log|ledger)\.", line))
    connection = connect(server, "public", None, read_only=False)
    granted = roles.rights(connection)
    there = [table for nature in NATURES for table in roles.tables_of(connection, nature)]
    connection.close()
    assert listed.keys() == {f"{table.nature}.{table.name}" for table in there}
    for name, cells in listed.items():
        for role, cell in zip(roles.ALL, cells, strict=True):
            may = {(right.privilege, right.column) for right in granted if (right.role, right.name) == (role, name)}
            whole = ", ".join(word for word in WORDS if (word, "") in may)
            parts = {column for _, column in may if column}
            assert cell == (whole if not parts else "select, without its [secrets](#the-wall-between-partners)"), name


def test_the_page_of_the_database_names_every_secret_column() -> None:
    page = (Path(__file__).parents[1] / "docs/reference/database.md").read_text()
    for table, columns in roles.SECRETS.items():
        assert f"`registry.{table}`" in page
        assert columns <= set(re.findall(r"`(\w+)`", page))


# --- users


@contextmanager
def user(server: Server, *groups: str, options: str = "") -> Iterator[Server]:
    """A new user in these roles, and the server as that user."""
    name = f"test_user_{secrets.token_hex(4)}"
    parts = urlsplit(server.url)
    with psycopg.connect(server.url, autocommit=True) as connection:
        within = f"in role {', '.join(groups)}" if groups else ""
        connection.execute(f"create role {name} login password 'p' {options} {within}".encode())
        try:
            yield Server(f"postgresql://{name}:p@{parts.netloc.rpartition('@')[2]}{parts.path}")
        finally:
            connection.execute(f"drop owned by {name}".encode())
            connection.execute(f"drop role {name}".encode())


def opens(opening: Coroutine[Any, Any, Database]) -> None:
    async def work() -> None:
        async with await opening:
            pass

    asyncio.run(work())


def test_a_process_needs_no_more_than_a_user_in_its_groups(server: Server) -> None:
    with user(server, "footfall_collector", "footfall_reader") as collector:
        opens(open_writer(collector, "log"))
        opens(open_reader(collector, "registry"))
    with user(server, "footfall_exporter", "footfall_reader") as exporter:
        opens(open_writer(exporter, "ledger"))
        opens(open_reader(exporter, "log"))
    with user(server, "footfall_portal") as portal:
        assert seen(portal, "owner")["log.events"] == set(APPS["owner"])


def test_a_user_that_is_not_in_a_role_is_told_how_it_gets_there(server: Server) -> None:
    told = r"is not in footfall_collector: grant footfall_collector to test_user_"
    with user(server, "footfall_reader") as reader, pytest.raises(ConfigError, match=told):
        opens(open_writer(reader, "log"))
    with user(server) as nobody, pytest.raises(ConfigError, match="is not in footfall_reader"):
        opens(open_reader(nobody, "log"))


# --- making and settling them


@pytest.fixture
def bare(no_network: None) -> Iterator[Cluster]:
    """A server where nobody has made the roles."""
    enable_socket()  # it looks for a free port
    with Cluster() as ours:
        yield ours


def test_settling_again_changes_nothing_and_takes_back_what_is_too_much(server: Server) -> None:
    def versions(connection: psycopg.Connection[Any]) -> list[Any]:
        return connection.execute(
            "select oid, xmin::text from pg_class union select oid, xmin::text from pg_policy order by 1"
        ).fetchall()

    with psycopg.connect(server.url, autocommit=True) as connection:
        before = versions(connection)
        asyncio.run(migrate_all(server))
        assert versions(connection) == before
        connection.execute("grant delete, update on log.events to footfall_collector")
        connection.execute("grant select on registry.destinations to footfall_portal")
        connection.execute("create policy gap on log.visitors using (true)")
        asyncio.run(migrate_all(server))
    assert refused(server, "footfall_collector", "delete from log.events")
    assert refused(server, "footfall_portal", "select segment_write_key from registry.destinations")
    assert not refused(server, "footfall_portal", "select region from registry.destinations")
    assert seen(server, "owner")["log.visitors"] == set(APPS["owner"])


def test_who_may_not_make_roles_is_told_what_is_to_be_run_and_then_needs_no_such_right(
    bare: Cluster,
) -> None:
    url = bare.database("footfall")
    with psycopg.connect(bare.url, autocommit=True) as postgres:
        postgres.execute("create role deployer login")
        postgres.execute("alter database footfall owner to deployer")
    deployer = Server(url.replace("postgres@", "deployer@"))
    with pytest.raises(ConfigError) as told:
        asyncio.run(migrate_all(deployer))
    to_run = str(told.value).partition(" is to run: ")[2]
    assert to_run.startswith("create role footfall_collector nologin; create role footfall_exporter nologin;")
    with pytest.raises(StoreUnavailable, match="there is no role footfall_reader yet: run `footfall migrate`"):
        opens(open_reader(deployer, "log"))
    with psycopg.connect(bare.url, autocommit=True) as postgres:
        postgres.execute(to_run.encode())
    asyncio.run(migrate_all(deployer))
    fill(url)
    with user(Server(url), "footfall_portal") as portal:
        assert seen(portal, "stranger")["ledger.cursors"] == {"com.stranger.notes"}


def test_who_owns_the_database_and_may_make_roles_does_everything_with_one_user_without_being_a_superuser(
    bare: Cluster,
) -> None:
    url = bare.database("footfall")
    with psycopg.connect(bare.url, autocommit=True) as postgres:
        postgres.execute("create role one login createrole")
        postgres.execute("alter database footfall owner to one")
    one = Server(url.replace("postgres@", "one@"))
    asyncio.run(migrate_all(one))
    fill(url)
    opens(open_writer(one, "log"))
    opens(open_writer(one, "registry"))
    assert seen(one, "owner")["log.events"] == set(APPS["owner"])


def test_tables_are_spread_only_where_there_is_citus(bare: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the extension citus is not in this database"):
        asyncio.run(migrate_all(Server(bare.database()), distribute=True))
    with pytest.raises(ConfigError, match="set FOOTFALL_DATABASE_URL"):
        asyncio.run(migrate_all(tmp_path, distribute=True))


def test_two_databases_of_a_server_can_be_made_at_once(bare: Cluster) -> None:
    async def all_of(urls: list[str]) -> None:
        await asyncio.gather(*(migrate_all(Server(url)) for url in urls))

    asyncio.run(all_of([bare.database() for _ in range(4)]))
