"""A server forgets what is old while others count: whoever comes back in that moment is not forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import psycopg
import pytest
from conftest import Cast
from engines import look
from rollup_cast import NOW, count, happened
from test_audiences import said
from test_subjects import OWNER, in_log
from waiting import until

from store.database import Server
from store.rollups.forgetting import forget_visitors
from store.subjects.forgetting import forget

pytestmark = pytest.mark.only("postgresql", "on SQLite one transaction writes at a time")


@contextmanager
def counting_while(server: Server, *forgetting: Any) -> Iterator[psycopg.Connection]:
    """What somebody who counts changes here, before whatever forgets is done."""
    waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(server.url, autocommit=True) as look_on, psycopg.connect(server.url) as counting:
        counting.execute("update log.rollups set taken_by = 'another' where one = 1")
        yield counting
        other = Thread(target=in_log, args=(server, *forgetting))
        other.start()
        until(lambda: look_on.execute(waiting).fetchone() or not other.is_alive())
        counting.commit()
        other.join()


def test_who_comes_back_to_an_audience_stays_in_it(cast: Cast) -> None:
    assert isinstance(cast.where, Server)
    count(cast.where, [said(True, NOW), said(False, NOW + 1)])
    removed = f"('{OWNER[0]}', 1, 'retention', 1, 2, 2)"
    look(cast.where, "log", f"insert into removed (app_key, hour, reason, first_seq, last_seq, n) values {removed}")
    with counting_while(cast.where, forget, 100) as counting:
        counting.execute("update log.audience_members set member = 1, told_seq = 3")
    assert look(cast.where, "log", "select id, member from audience_members") == [("u1", 1)]


def test_a_visitor_who_comes_back_keeps_the_number(cast: Cast) -> None:
    assert isinstance(cast.where, Server)
    count(cast.where, [happened(visitor="a"), happened(visitor="b")])
    look(cast.where, "log", "delete from rollup_events where visitor = 1")
    with counting_while(cast.where, forget_visitors, ("", ""), 100) as counting:
        counting.execute("insert into log.rollup_events values ('owner', 1, 3, 'com.owner.charts')")
    assert look(cast.where, "log", "select visitor from rollup_visitors order by visitor") == [(1,), (2,)]
