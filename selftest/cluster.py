"""PostgreSQL servers to throw away: real ones on loopback, started, stopped, crashed and followed by a standby.

    with Cluster() as cluster:
        url = cluster.database()

The surprising thing is the guard, a shell that waits for its owner's end, however that comes, and then kills and
removes what is left. A `with` that ends takes the same way.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString, Self
from urllib.parse import quote, urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from selftest.processes import Failed, free_port, wait_until

INSTALLED = Path("/usr/lib/postgresql")
ACCOUNT = "postgres"
MEMORY = "/dev/shm"  # noqa: S108 - names in it are made by tempfile
MEMORY_BYTES = 4 << 30
START_SECONDS = 180.0  # a crash may have left much to recover
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

# Every process of a cluster has its working directory inside the cluster's own. The pipe's other end is in the owner
# alone. What PostgreSQL cannot free when it is killed is a segment of shared memory, named in the seventh line.
GUARD = """
cat
signal=QUIT
while found=$(find /proc -maxdepth 2 -name cwd -lname "*/${1##*/}*"); [ -n "$found" ]; do
  for cwd in $found; do process=${cwd#/proc/}; kill -$signal "${process%/cwd}"; done
  sleep 0.2
  signal=KILL
done
[ -f "$1/data/postmaster.pid" ] && sed -n 7p "$1/data/postmaster.pid" | while read -r key id; do ipcrm -m "$id"; done
rm -rf "$1"
"""


class Databases:
    """The databases of a server that runs, made and dropped by a superuser, whose URL this is."""

    def __init__(self, url: str) -> None:
        self.url = url

    def database(self, name: str | None = None) -> str:
        """Create an empty database, which orders text by code points as SQLite does; its URL."""
        name = name or _new_name()
        self._administer("create database {} template template0 encoding 'UTF8' locale 'C.UTF-8'", name)
        return self._url(name)

    def copy(self, url: str) -> str:
        """Create a database that is as another one, to which nobody may be connected; its URL."""
        name = _new_name()
        # As files: on a server that does not wait for the disk that takes a third of the time.
        self._administer("create database {} template {} strategy file_copy", name, _name(url))
        return self._url(name)

    def drop(self, url: str) -> None:
        """Drop a database that `database` made, whoever is still connected."""
        self._administer("drop database if exists {} with (force)", _name(url))

    def _url(self, name: str) -> str:
        parts = urlsplit(self.url)
        return f"postgresql://{parts.netloc}/{quote(name, safe='')}{'?' if parts.query else ''}{parts.query}"

    def _administer(self, statement: LiteralString, *names: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _new_name() -> str:
    return f"test_{secrets.token_hex(6)}"


def _name(url: str) -> str:
    return str(conninfo_to_dict(url)["dbname"])


class Cluster(Databases):
    """A server of one's own, running when its constructor returns; its superuser is `postgres`, without a password.

    With `durable` it writes as one in production does. Without, it is in memory where there is enough, and a crash of
    the machine may damage it, but none of the server does. Raises Failed where no PostgreSQL is installed.
    """

    def __init__(self, durable: bool = False) -> None:
        self.durable = durable
        self.port = free_port()
        super().__init__(f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        self._binaries = binaries()
        self._account = account()
        self._server: subprocess.Popen[bytes] | None = None
        self._standbys: list[Standby] = []
        self.directory = Path(tempfile.mkdtemp(prefix="footfall-pg-", dir=None if durable else quick_place()))
        self._data = self.directory / "data"
        self._log = self.directory / "server.log"
        if self._account:
            os.chown(self.directory, self._account["user"], self._account["group"])
        guard = ["sh", "-c", GUARD, "guard", str(self.directory)]
        silence = subprocess.DEVNULL
        self._guard = self._begin(guard, Path("/"), stdin=subprocess.PIPE, stdout=silence, stderr=silence)
        try:
            self._fill()
            self.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it and its standbys, and remove all that they stored."""
        for standby in self._standbys:
            standby.close()
        self.stop("immediate")
        self._guard.communicate()
        shutil.rmtree(self.directory, ignore_errors=True)  # for a directory that the server's account cannot reach

    @property
    def running(self) -> bool:
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start it, with the data that it had; returns when it answers."""
        options = [part for name, value in self._settings().items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            command = [str(self._binaries / "postgres"), "-D", str(self._data), *options]
            self._server = self._begin(command, self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, "PostgreSQL answers", START_SECONDS)

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `smart` waits for connections to end, `fast` ends them, `immediate` does without a checkpoint."""
        if self._server and self.running:
            self.thaw()
            self._server.send_signal(STOP_SIGNALS[mode])
            self._server.wait(START_SECONDS)

    def kill(self) -> None:
        """Crash it: end every process of it at once (SIGKILL); returns when they are gone."""
        if not self._server or not self.running:
            return
        family = self._halted(self._server.pid)
        _signal(family, signal.SIGKILL)
        self._server.wait()
        wait_until(lambda: family.isdisjoint(processes()), "the processes of a killed cluster are gone")

    def freeze(self) -> None:
        """Leave it there, connections and all, and let it do nothing: every byte arrives, and nothing answers."""
        if self._server and self.running:
            _signal(self._halted(self._server.pid), signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was."""
        if self._server and self.running:
            _signal({self._server.pid} | _children(self._server.pid), signal.SIGCONT)

    def _halted(self, pid: int) -> set[int]:
        """Every process of it. The first is stopped, so that it has no more children than are found."""
        os.kill(pid, signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return {pid} | _children(pid)

    def restart(self) -> None:
        """Stop it in order and start it again."""
        self.stop()
        self.start()

    def standby(self) -> Standby:
        """A copy that follows this one and serves reads alone. It ends with this one, if not before."""
        self._standbys.append(Standby(self))
        return self._standbys[-1]

    def log(self) -> str:
        """All that the server wrote, from this and earlier starts."""
        return self._log.read_text(errors="replace")

    def value(self, statement: LiteralString, *values: Any) -> Any:
        """The first column of the first row that a superuser reads in the database `postgres`."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(statement, values).fetchone()
        return row and row[0]

    def _fill(self) -> None:
        locale = ("--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust", "--username=postgres")
        self._run("initdb", "--pgdata", str(self._data), "--no-instructions", *locale)

    def _run(self, binary: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own programs to its end, without waiting for the disk unless durable."""
        command = [str(self._binaries / binary), *arguments, *([] if self.durable else ["--no-sync"])]
        running = self._begin(command, self.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        told = running.communicate()[0].decode(errors="replace")
        if running.returncode != 0:
            raise Failed(f"{binary}: {told[-2_000:]}")

    def _begin(self, command: Sequence[str], directory: Path, **streams: Any) -> subprocess.Popen[bytes]:
        """Begin a process in a session of its own: what a terminal signals to its owner does not reach it."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
        return subprocess.Popen(command, env=env, cwd=directory, start_new_session=True, **streams, **self._account)

    def _settings(self) -> dict[str, str]:
        chosen = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            "max_connections": "200",
            "dynamic_shared_memory_type": "mmap",  # files of its own directory, so that nothing stays elsewhere
            "wal_keep_size": "256MB",  # for a standby that was away
            "wal_retrieve_retry_interval": "100ms",  # a standby looks that often whether the other is back
        }
        return chosen if self.durable else chosen | {"fsync": "off", "full_page_writes": "off"}

    def _answers(self) -> bool:
        """Asked through the socket in its own directory, because on its port somebody else may have been faster."""
        try:
            psycopg.connect(self.url, host=str(self.directory)).close()
        except psycopg.OperationalError:
            if not self.running:
                raise Failed(f"PostgreSQL ended at once: {self.log()[-2_000:]}") from None
            return False
        return True


class Standby(Cluster):
    """A copy of another cluster, which it follows until it is promoted. Until then it refuses writes."""

    def __init__(self, origin: Cluster) -> None:
        self._origin = origin
        super().__init__(origin.durable)

    def catch_up(self) -> None:
        """Wait until all that the other has committed can be read here."""
        position = self._origin.value("select pg_current_wal_lsn()::text")
        reached: LiteralString = "select pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_until(lambda: self.value(reached, position), "the standby has caught up", START_SECONDS)

    def promote(self) -> None:
        """Make it a server of its own, which accepts writes; the other, if it still runs, is followed no more."""
        if not self.value("select pg_promote(true, 60)"):
            raise Failed(f"the standby was not promoted: {self.log()[-2_000:]}")

    def _fill(self) -> None:
        origin = ("--dbname", self._origin.url, "--write-recovery-conf", "--checkpoint=fast")
        self._run("pg_basebackup", "--pgdata", str(self._data), *origin)


def quick_place() -> str | None:
    """Where files are in memory; None where they had better not be. A disk's file system takes ever longer to make the
    thousand files of a database where as many were removed just before."""
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < MEMORY_BYTES:
        return None
    return MEMORY


def binaries(installed: Path = INSTALLED) -> Path:
    """Where the newest PostgreSQL server has its programs: Debian's directory first, then the PATH."""
    found = [initdb.parent for initdb in installed.glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: [int(part) for part in path.parent.name.split(".") if part.isdecimal()])
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    raise Failed("no PostgreSQL server is installed here; on Debian and Ubuntu: apt-get install postgresql")


def account() -> dict[str, Any]:
    """Whom the server runs as, in the words of Popen: ourselves, or as root, which it refuses, Debian's account."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise Failed(f"PostgreSQL does not run as root, and there is no account {ACCOUNT}") from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _children(pid: int) -> set[int]:
    return {child for child, parent in processes().items() if parent == pid}


def _signal(family: set[int], number: signal.Signals) -> None:
    for member in family:
        with suppress(ProcessLookupError):
            os.kill(member, number)


def processes() -> dict[int, int]:
    """Every process on this machine that has not ended, and its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state not in ("Z", "X"):
                found[int(stat.parent.name)] = int(parent)
    return found
