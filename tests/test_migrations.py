"""What every step of the schema has to keep to on a server: it only adds, and it can be taken by Citus."""

import re

import pytest
from sql_schema import every_step, more_than_additions, refused_by_citus, splits_as_postgresql_does, tables

from store.migrations import Step

STEPS = every_step()
KNOWN = tables(STEPS)


@pytest.mark.parametrize(("nature", "step"), STEPS, ids=[f"{nature}-{step.name}" for nature, step in STEPS])
def test_a_step_only_adds_so_that_older_programs_work_on(nature: str, step: Step) -> None:
    assert more_than_additions(nature, step) == []


@pytest.mark.parametrize(
    "sql",
    [
        "drop table parked",
        "drop index batches_open",
        "alter table cursors drop column seq",
        "alter table cursors rename column seq to place",
        "alter table cursors rename to places",
        "alter table cursors alter column seq type text",
        "alter table cursors alter column seq set not null",
        "alter table cursors add constraint forward check (seq > 0)",
        "alter table cursors drop constraint cursors_seq_check",
        "alter table cursors add column place bigint not null",
        "alter table cursors add column place text unique",
        "alter table cursors add column at timestamptz not null default clock_timestamp()",
        "create unique index one_of_a_kind on cursors (app_key, seq)",
        "update cursors set seq = 0",
        "delete from cursors",
        "insert into cursors values ('a', 'd', 0, 0)",
        "truncate cursors",
        "create trigger t before insert on cursors execute function f()",
    ],
)
def test_what_an_older_program_would_notice_is_no_step(sql: str) -> None:
    assert len(more_than_additions("ledger", Step(9, "0009_bad", sql))) == 1


def test_new_tables_and_columns_that_nobody_need_know_are_a_step() -> None:
    good = """
        alter table cursors add column place text;
        alter table cursors add column tries bigint not null default 0;
        create table kinds (kind text primary key);
        create unique index kinds_one on kinds (kind);
        insert into kinds values ('a');
        alter table cursors drop constraint cursors_seq_check;
        alter table cursors add constraint cursors_seq_check check (seq >= 0) not valid;
        create index cursors_place on cursors (place) where place is not null;
        create sequence kinds_n;"""
    assert more_than_additions("ledger", Step(9, "0009_good", good)) == []


@pytest.mark.parametrize(("nature", "step"), STEPS, ids=[f"{nature}-{step.name}" for nature, step in STEPS])
def test_citus_takes_a_step(nature: str, step: Step) -> None:
    assert refused_by_citus(nature, step, KNOWN) == []


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("create table kinds (app_key text not null, kind text primary key)", r"a unique key \(kind\) without app_key"),
        ("create table kinds (app_key text, kind text, unique (kind))", r"a unique key \(kind\) without app_key"),
        ("create unique index one on cursors (destination_id)", r"a unique index \(destination_id\) without app_key"),
        ("create table kinds (app_key text references apps (app_key))", "a foreign key to apps, which is not distrib"),
        ("create table kinds (kind text references cursors (app_key))", "a foreign key to cursors, which is distrib"),
        ("create table kinds (n bigint generated always as identity)", "an identity column"),
        ("alter table cursors add column n bigint check (n > 0)", "a constraint of a new column"),
        ("create index concurrently slow on cursors (seq)", "an index made concurrently"),
        ("create trigger t before insert on cursors execute function f()", "CreateTrigStmt does not work"),
    ],
)
def test_what_citus_refuses_of_a_step_is_found(sql: str, said: str) -> None:
    step = Step(9, "0009_bad", sql)
    (problem,) = refused_by_citus("ledger", step, tables([*STEPS, ("ledger", step)]))
    assert re.search(said, problem)


@pytest.mark.parametrize(("nature", "step"), STEPS, ids=[f"{nature}-{step.name}" for nature, step in STEPS])
def test_a_step_falls_into_the_statements_that_postgresql_sees(nature: str, step: Step) -> None:
    assert splits_as_postgresql_does(step)
