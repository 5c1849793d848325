"""The servers that the tests, the bench and the self-test run on: they crash, follow and leave nothing behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from processes import wait_until

from selftest import cluster
from selftest.cluster import Cluster, Databases, processes, quick_place
from selftest.processes import Failed

OWNER = """
import signal
from selftest.cluster import Cluster

with Cluster() as cluster:
    standby = cluster.standby()
    cluster.{last}()
    print(cluster.directory, standby.directory, flush=True)
    signal.pause()
"""


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def family(*directories: Path) -> set[int]:
    """The processes of the servers in these directories that run: each one's first, and its children."""
    named = [directory / "data" / "postmaster.pid" for directory in directories]
    first = {int(path.read_text().split()[0]) for path in named if path.exists()}
    return {pid for pid, parent in processes().items() if first & {pid, parent}}


def segments() -> set[str]:
    """The key of each segment of shared memory in this system."""
    return {line.split()[0] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def segment_of(directory: Path) -> str:
    """The key of the segment that a server in this directory says is its own."""
    return (directory / "data" / "postmaster.pid").read_text().splitlines()[6].split()[0]


@pytest.mark.parametrize("durable", [False, True])
def test_a_killed_cluster_comes_back_with_what_was_committed_and_nothing_else(durable: bool) -> None:
    with Cluster(durable) as cluster:
        url = cluster.database()
        run(url, "create table kept (n integer)", "insert into kept values (1)")
        with closing(psycopg.connect(url)) as connection:
            connection.execute("insert into kept values (2)")
            cluster.kill()
            assert not cluster.running
            with pytest.raises(psycopg.OperationalError):
                connection.commit()
        cluster.start()
        assert cluster.running
        assert rows(url, "select n from kept") == [(1,)]
        assert "was not properly shut down" in cluster.log()
        assert cluster.value("show fsync") == ("on" if durable else "off")
        assert str(cluster.directory.parent) == ((None if durable else quick_place()) or tempfile.gettempdir())
        assert cluster.value("show synchronous_commit") == "on"


@pytest.mark.parametrize(("needed", "in_memory"), [(1, True), (1 << 60, False)])
def test_a_cluster_that_need_not_last_is_in_memory_where_there_is_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, needed: int, in_memory: bool
) -> None:
    monkeypatch.setattr(cluster, "MEMORY", str(tmp_path))
    monkeypatch.setattr(cluster, "MEMORY_BYTES", needed)
    assert cluster.quick_place() == (str(tmp_path) if in_memory else None)


def test_a_kill_reaches_a_statement_that_never_looks_up() -> None:
    with Cluster() as cluster:

        def compute() -> None:
            with pytest.raises(psycopg.OperationalError):
                rows(cluster.url, "select sum(sqrt(n)) from generate_series(1, 1000000000000) n")

        busy = threading.Thread(target=compute)
        busy.start()
        statements = "select count(*) from pg_stat_activity where state = 'active' and query like 'select sum(sqrt%%'"
        wait_until(lambda: cluster.value(statements) == 1, "the statement runs")
        owned = family(cluster.directory)
        cluster.kill()
        assert owned.isdisjoint(processes())
        busy.join()
        cluster.start()
        assert cluster.value("select 1") == 1


def test_a_restart_keeps_the_url_and_the_data() -> None:
    with Cluster() as cluster:
        url = cluster.database("with a space")
        run(url, "create table kept (n integer)", "insert into kept values (1)")
        cluster.restart()
        assert rows(url, "select n, current_database() from kept") == [(1, "with a space")]


def test_a_standby_refuses_writes_until_it_is_promoted() -> None:
    with Cluster() as cluster, cluster.standby() as standby:
        name = cluster.database().rpartition("/")[2]
        there, here = f"{cluster.url.rpartition('/')[0]}/{name}", f"{standby.url.rpartition('/')[0]}/{name}"
        run(there, "create table kept (n integer)", "insert into kept values (1)")
        standby.catch_up()
        assert rows(here, "select n from kept") == [(1,)]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            run(here, "insert into kept values (2)")
        cluster.kill()
        standby.promote()
        run(here, "insert into kept values (2)")
        assert rows(here, "select n from kept order by n") == [(1,), (2,)]


def test_a_standby_that_was_away_catches_up_with_a_cluster_that_crashed_meanwhile() -> None:
    with Cluster() as cluster:
        standby = cluster.standby()
        standby.stop()
        run(cluster.url, "create table kept (n integer)")
        cluster.kill()
        cluster.start()
        standby.start()
        standby.catch_up()
        assert rows(standby.url, "select count(*) from kept") == [(0,)]


def test_nothing_is_left_after_its_end() -> None:
    with Cluster() as cluster:
        standby = cluster.standby()
        directories = [cluster.directory, standby.directory]
        owned = family(*directories)
        keys = {segment_of(directory) for directory in directories}
        assert len(owned) > 8
        assert keys <= segments()
        standby.kill()
    assert owned.isdisjoint(processes())
    assert not any(directory.exists() for directory in directories)
    assert keys.isdisjoint(segments())


@pytest.mark.parametrize("last", ["database", "kill", "stop"])
def test_nothing_is_left_when_its_owner_is_killed(last: str, tmp_path: Path) -> None:
    with (tmp_path / "told").open("w+") as told:
        with subprocess.Popen([sys.executable, "-c", OWNER.format(last=last)], stdout=told) as owner:
            try:
                wait_until((tmp_path / "told").read_text, "the owner has both", 60)
                directories = [Path(line) for line in (tmp_path / "told").read_text().split()]
                owned = family(*directories)
                keys = {segment_of(path) for path in directories if (path / "data" / "postmaster.pid").exists()}
                assert len(owned) > 3
                assert keys <= segments()
            finally:
                owner.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(directory.exists() for directory in directories), "the directories are gone")
        assert owned.isdisjoint(processes())
        assert keys.isdisjoint(segments())


def test_nothing_is_left_of_one_that_could_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as home, socket.create_server(("127.0.0.1", 0)) as taken:
        Path(home).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", home)
        monkeypatch.setattr("selftest.cluster.free_port", lambda: taken.getsockname()[1])
        with pytest.raises(Failed, match="Address already in use"):
            Cluster()
        assert list(Path(home).iterdir()) == []


def test_a_database_is_dropped_though_somebody_is_connected() -> None:
    with Cluster() as cluster:
        url = cluster.database()
        with psycopg.connect(url):
            cluster.drop(url)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(url)


def test_a_url_with_a_socket_directory_gives_urls_of_the_same_kind() -> None:
    with Cluster() as cluster:
        server = Databases(f"postgresql:///postgres?host={cluster.directory}&port={cluster.port}&user=postgres")
        url = server.database("beside")
        assert url == f"postgresql:///beside?host={cluster.directory}&port={cluster.port}&user=postgres"
        assert rows(url, "select current_database(), inet_server_addr()") == [("beside", None)]
