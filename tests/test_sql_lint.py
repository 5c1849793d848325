"""Every statement of the store as Citus sees it: none that it refuses, none that asks all nodes without a reason."""

import ast
import re
from pathlib import Path

import pytest
from sql_lint import judged
from sql_schema import every_step, tables
from sql_texts import Text, names, numbered, sources, texts

KNOWN = tables(every_step())
TEXTS = texts()
MANY_APPS = "a commit has events of many apps, and is one transaction"
ONCE_A_RUN = "once in a run of the exporter"
ONCE_A_LOOK = "for people or figures, who look once in a while"
ONCE_A_PURGE = "once in a purge, or once in a step of it"
ONE_VISITOR = "a visitor's few rows, of all apps of a partner"
ONCE_A_REBUILD = "once in a rebuild"
FAN_OUT = {
    "append.events": MANY_APPS,
    "append.hold": MANY_APPS,
    "append.note": MANY_APPS,
    "append.reject": MANY_APPS,
    "append.see_visitors": MANY_APPS,
    "append.tally": MANY_APPS,
    "accounts.attempts": ONCE_A_LOOK,
    "accounts.parked": ONCE_A_LOOK,
    "doctor.newest": ONCE_A_LOOK,
    "glance.newest": ONCE_A_LOOK,
    "log.tallied": ONCE_A_LOOK,
    "doctor.removed": ONCE_A_LOOK,
    "doctor.stored": ONCE_A_LOOK,
    "attribution_balance.brought": ONCE_A_LOOK,
    "attribution_balance.conversions": ONCE_A_LOOK,
    "attribution_balance.credit": ONCE_A_LOOK,
    "attribution_balance.shared": ONCE_A_LOOK,
    "attribution_balance.sums": ONCE_A_LOOK,
    "attributing.take_back": "where the ledger is held alone: never on a server",
    "attributing.waiting": ONCE_A_RUN,
    "ledger.behind": ONCE_A_RUN,
    "ledger.cursors": ONCE_A_RUN,
    "ledger.doubt": ONCE_A_RUN,
    "ledger.forget": ONCE_A_RUN,
    "parked.listed": ONCE_A_LOOK,
    "receipts.all": ONCE_A_LOOK,
    "ledger.recover": ONCE_A_RUN,
    "postback_ledger.disabled": ONCE_A_LOOK,
    "postback_ledger.forget": ONCE_A_RUN,
    "postback_ledger.health": ONCE_A_RUN,
    "postback_ledger.ordinals": ONCE_A_RUN,
    "postback_ledger.pending": ONCE_A_RUN,
    "postback_ledger.take_back": "where the ledger is held alone: never on a server",
    "postback_pages.waiting": ONCE_A_LOOK,
    "ledger.release": ONCE_A_RUN,
    "ledger.take_back": "where the ledger is held alone: never on a server",
    "receipts.without": ONCE_A_RUN,
    "log.at": "a step of a search for a moment, for a person or a purge",
    "log.door_totals": ONCE_A_LOOK,
    "log.head": ONCE_A_LOOK,
    "log.heads": ONCE_A_RUN,
    "log.oldest": "the beginning of a search for a moment",
    "log.tails": ONCE_A_PURGE,
    "partitions.a_day": ONCE_A_PURGE,
    "purging.contents": ONCE_A_PURGE,
    "purging.count": ONCE_A_PURGE,
    "purging.forget": ONCE_A_PURGE,
    "purging.newest": ONCE_A_PURGE,
    "purging.quarantine": ONCE_A_PURGE,
    "purging.rejections": ONCE_A_PURGE,
    "quarantine.remove_old": ONCE_A_PURGE,
    "removal.next_visitors": ONCE_A_PURGE,
    "removal.rejections": ONCE_A_PURGE,
    "removal.removed_up_to": ONCE_A_RUN,
    "removal.visitors": ONCE_A_PURGE,
    "checking.listings": ONCE_A_LOOK,
    "forgetting.any_event": ONE_VISITOR,
    "forgetting.journeys": ONE_VISITOR,
    "rollups.empty_slots": ONCE_A_REBUILD,
    "rollups.empty_days": ONCE_A_REBUILD,
    "rollups.empty_values": ONCE_A_REBUILD,
    "rollups.empty_apps": ONCE_A_REBUILD,
    "rollups.empty_journeys": ONCE_A_REBUILD,
    "rollups.empty_events": ONCE_A_REBUILD,
    "rollups.empty_links": ONCE_A_REBUILD,
    "rollups.empty_ids": ONCE_A_REBUILD,
    "rollups.empty_marks": ONCE_A_REBUILD,
    "rollups.empty_members": ONCE_A_REBUILD,
    "rollups.empty_moves": ONCE_A_REBUILD,
    "rollups.empty_traits": ONCE_A_REBUILD,
    "rollups.empty_audiences": ONCE_A_REBUILD,
    "subjects.removed": ONCE_A_PURGE,
    "rollups.empty_event_names": ONCE_A_REBUILD,
    "rollups.empty_event_properties": ONCE_A_REBUILD,
    "event_names.known": "twice a second at most, by an index, and only what became known since",
    "checking.deleted_names": ONCE_A_LOOK,
    "rollups.events_a_day": ONCE_A_LOOK,
    "rollups.oldest_waiting": "one event past what is counted, for a page, and only when there is one",
    "rollups.next": "one process counts for all apps, in the order of the log",
}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.name)
def test_a_statement_is_taken_by_citus_and_asks_one_node_unless_it_is_listed(text: Text) -> None:
    problems, fans_out = judged(text.sql, KNOWN)
    assert problems == []
    assert fans_out == (text.name in FAN_OUT), text.sql


def test_every_name_in_the_list_is_of_a_statement() -> None:
    assert FAN_OUT.keys() <= {text.name for text in TEXTS}


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_no_statement_is_overlooked(path: Path) -> None:
    assert names(path) == {text.name for text in TEXTS if path.as_posix().endswith(text.file)}


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_a_statement_about_our_tables_has_a_name(path: Path) -> None:
    about = re.compile(rf"\b(from|into|update|join)\s+(\w+\.)?({'|'.join(KNOWN)})\b\s*(\(|where|set|order|$)")
    tree = ast.parse(path.read_text())
    held = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    nameless = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in held | prose
        if about.search(node.value) and not node.value.startswith("/* ")
    ]
    assert nameless == []


# --- what the reading finds

GOOD = """
    update cursors
    set seq = $1
    from (select app_key, max(seq) as seq from events where app_key = $2 group by app_key) as newest
    where newest.app_key = cursors.app_key and cursors.seq < newest.seq"""


def test_a_statement_that_is_tied_to_one_app_asks_one_node() -> None:
    assert judged(GOOD, KNOWN) == ([], False)


def test_a_statement_of_the_store_that_somebody_broke_is_found() -> None:
    (lease,) = [text for text in TEXTS if text.name == "ledger.lease"]
    assert judged(lease.sql, KNOWN) == ([], False)
    assert judged(lease.sql.replace("app_key = $3 and ", ""), KNOWN) == ([], True)
    (doubt,) = [text for text in TEXTS if text.name == "ledger.doubt"]
    broken = judged(doubt.sql.replace("open.app_key = cursors.app_key and ", ""), KNOWN)
    assert broken.problems == ["open is joined without app_key"]
    broken = judged(doubt.sql.replace("held.app_key = batches.app_key and ", ""), KNOWN)
    assert broken.problems == ["a correlated sub-select that is not tied by app_key"]
    (note,) = [text for text in TEXTS if text.name == "append.note"]
    broken = judged(note.sql.replace("on conflict do nothing", "").replace("returning seq", ""), KNOWN)
    assert broken.problems == ["rows that Citus would copy: say what it returns, or what a conflict means"]


@pytest.mark.parametrize(
    ("sql", "fans_out"),
    [
        ("select * from events where app_key = ?", False),
        ("select * from events where app_key = cast(? as text) and seq > ?", False),
        ("select * from events where app_key = ? or seq = ?", True),
        ("select * from events where not app_key = ?", True),
        ("select * from events where app_key > ?", True),
        ("select * from cursors join batches using (app_key) where cursors.app_key = ?", False),
        ("select * from cursors c join batches b on b.app_key = c.app_key where b.app_key = ?", False),
        ("select * from cursors c join batches b on b.app_key = c.app_key where b.destination_id = ?", True),
        ("with one as (select * from events where app_key = ?) select * from one join cursors using (app_key)", False),
        ("select * from cursors where app_key = ? and exists (select 1 from batches where app_key = ?)", False),
        ("select * from (select app_key as a from events) as e join cursors on app_key = a where a = ?", False),
        ("select * from apps join partners using (partner_key)", False),
        ("insert into cursors (app_key, destination_id, start_seq, seq) values (?, ?, ?, ?)", False),
        ("update revision set n = n + 1", False),
        ("select 1 from events where app_key = ? union all select 1 from batches", True),
    ],
)
def test_whether_one_node_can_answer(sql: str, fans_out: bool) -> None:
    assert judged(numbered(sql), KNOWN) == ([], fans_out)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select * from cursors join batches using (destination_id)", "batches is joined without app_key"),
        ("select * from cursors, batches", "batches is joined without app_key"),
        ("select * from events where seq = ? for update skip locked", "rows are locked without a value for app_key"),
        (
            "with recursive r (k) as (select min(app_key) from events union all select k from r) select * from r",
            "the recursive r reads distributed tables without a value for app_key",
        ),
        (
            "select key, (select max(seq) from events where events.app_key = apps.app_key) from apps",
            "a correlated sub-select of a distributed table beside what is not distributed",
        ),
        (
            "select * from apps left join lateral (select 1 from events e where e.app_key = apps.app_key) x on true",
            "a lateral sub-select of a distributed table beside what is not distributed",
        ),
        (
            "insert into message_ids (app_key, message_id, seq) select * from unnest(?, ?, ?) as u (a, m, s)"
            " where not exists (select 1 from message_ids where app_key = u.a) on conflict do nothing",
            "a correlated sub-select of a distributed table beside what is not distributed",
        ),
        ("update cursors set lease_until = clock_timestamp() where app_key = ?", "clock_timestamp() in a change"),
        ("update intents_done set done_at = nextval('events_seq')", "nextval() in a change"),
        ("update cursors set app_key = ? where app_key = ?", "a change of app_key"),
        ("insert into cursors (destination_id, seq) values (?, ?)", "rows without app_key"),
        (
            "insert into cursors (app_key, seq) values (?, ?) on conflict (destination_id) do nothing",
            "a conflict that is not about app_key",
        ),
        ("select count(*) from events group by grouping sets ((name), (type))", "grouping sets without a value"),
        ("update apps set name = '' from events where events.app_key = apps.app_key", "a change of a table that is"),
        ("merge into cursors using batches b on true when matched then delete", "MergeStmt is not tried"),
        ("truncate events", "TruncateStmt is not tried on Citus"),
        ("select * from evnets", "there is no table evnets"),
    ],
)
def test_what_citus_refuses_is_found(sql: str, said: str) -> None:
    problems = judged(numbered(sql), KNOWN).problems
    assert any(problem.startswith(said) for problem in problems), problems
