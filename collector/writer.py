"""The one task that owns the event log's writing connection.

It takes whatever waits, commits once, and only then lets the requests answer; while the disk flushes, the next batch
gathers, so there is no timer. The queue is bounded in rows and bytes; over that, requests are shed, never lost.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

import journal
from collector.metrics import Histogram
from store import log
from store.database import Database
from store.entry import HOUR_MS, Committed, Entry, Tally
from store.errors import Unavailable

MAX_QUEUED_ROWS = 20_000
MAX_QUEUED_BYTES = 64 * 1024 * 1024
ROWS_PER_COMMIT = 2_000
BUSY_ENTRIES = 8
QUIET_SECONDS = 0.0005
GATHER_SECONDS = 0.01
GATHER_ROWS = 200
PROBE_SECONDS = 1.0
DISK_FLOOR_BYTES = 16 * 1024 * 1024
DISK_FLOOR_SHARE = 0.02
COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

_jitter = random.Random().uniform  # noqa: S311 - spreads clients' returns, keeps no secret


class Waiting(msgspec.Struct, frozen=True):
    """An entry on its way, its size in bytes, and who waits for it."""

    entry: Entry
    size: int
    stored: asyncio.Future[Stored]


class Stored(msgspec.Struct, frozen=True):
    """Positions among an entry's rows; every other row was stored."""

    duplicates: frozenset[int]
    unstorable: frozenset[int]


class Writer:
    """Append entries with `append`; `start` and `stop` belong to the process's life. `data_dir` is where the log grows;
    None: on a server, which looks after its own disk."""

    def __init__(self, db: Database, data_dir: Path | None) -> None:
        self._db = db
        self._loop = asyncio.get_running_loop()
        self._data_dir = data_dir
        self._queue: deque[Waiting] = deque()
        self._rows = 0
        self._bytes = 0
        self._newest: asyncio.Future[Stored] | None = None
        self._wake = asyncio.Event()
        self._busy = False  # the last commit held several entries
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._unwritten: Counter[Tally] = Counter()  # shed: written with the next commit
        self.unwell: str | None = None
        self.totals: Counter[tuple[str, str, str]] = Counter()  # (door, outcome, reason), since the process began
        self.commits = Histogram(COMMIT_SECONDS)
        self.committed = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="writer")

    async def stop(self) -> None:
        """Commit what waits, then end."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    @property
    def queued(self) -> tuple[int, int]:
        """Rows and bytes that wait."""
        return self._rows, self._bytes

    def check_open(self) -> None:
        """Raises Unavailable when an entry would be shed now."""
        if self.unwell is not None:
            raise Unavailable("the event log cannot be written now", retry_after=_jitter(2, 5))
        if self._rows >= MAX_QUEUED_ROWS or self._bytes >= MAX_QUEUED_BYTES:
            raise Unavailable("too many events are waiting to be stored", retry_after=_jitter(1, 5))

    def append(self, entry: Entry, size: int) -> asyncio.Future[Stored]:
        """Store an entry of `size` bytes; the future is done after the commit.

        Raises Unavailable, here or by the future, when the entry was not stored.
        """
        self.check_open()
        waiting = Waiting(entry, size, self._loop.create_future())
        self._queue.append(waiting)
        self._newest = waiting.stored
        self._rows += len(entry.rows) + len(entry.rejections)
        self._bytes += size
        self._wake.set()
        return waiting.stored

    async def settle(self) -> None:
        """Wait until what is on its way now is stored, or cannot be: whoever asks the log then is told of it."""
        if self._newest is not None and not self._newest.done():
            await asyncio.wait([self._newest])

    def shed(self, door: str, received_at: int) -> None:
        """Count a request that was turned away unread."""
        hour = received_at // HOUR_MS
        counts = Counter({Tally("", door, hour, "received"): 1, Tally("", door, hour, "shed"): 1})
        self._unwritten.update(counts)
        self._add_totals(counts)

    def _add_totals(self, counts: Counter[Tally]) -> None:
        for (_, door, _, outcome, reason), n in counts.items():
            self.totals[door, outcome, reason] += n

    async def why_not(self) -> str | None:
        """Why nothing could be stored now. A quiet collector asks its server; it cannot know otherwise."""
        if self.unwell is None:
            try:
                await self._db.now()
            except Unavailable as error:
                return str(error)
        return self.unwell

    async def _work(self) -> None:
        while self._queue or not self._stopping:
            if self.unwell is not None and not self._stopping:
                await asyncio.sleep(PROBE_SECONDS)
                await self._commit([])
            elif self._queue:
                await self._gather()
                await self._commit(self._take())
            else:
                self._wake.clear()
                await self._wake.wait()
        if self._unwritten:
            await self._commit([])

    async def _gather(self) -> None:
        """Let a commit fill up: for a turn of the event loop when little comes in, until it is quiet when much does.

        A commit that runs while requests are read fights them for the interpreter, so under load one that waits for
        the rest is sooner done; but one of many rows leaves the interpreter alone for most of its time.
        """
        await asyncio.sleep(0)
        now, seen = self._loop.time(), 0
        quiet_at, latest = now, now + GATHER_SECONDS
        while self._busy and now < latest and self._rows < GATHER_ROWS:
            if self._rows > seen:
                seen, quiet_at = self._rows, now + QUIET_SECONDS
            elif now > quiet_at:
                return
            await asyncio.sleep(0)
            now = self._loop.time()

    def _take(self) -> list[Waiting]:
        taken: list[Waiting] = []
        rows = 0
        while self._queue and rows < ROWS_PER_COMMIT:
            waiting = self._queue.popleft()
            taken.append(waiting)
            rows += len(waiting.entry.rows) + len(waiting.entry.rejections)
            self._bytes -= waiting.size
        self._rows -= rows
        self._busy = len(taken) >= BUSY_ENTRIES
        return taken

    async def _commit(self, taken: Sequence[Waiting]) -> None:
        """Commit and answer; without entries it is a probe, which finds an unwell store well again by itself."""
        carried = Counter(self._unwritten)
        try:
            self._check_disk()
            began = self._loop.time()
            done = await log.commit(self._db, [waiting.entry for waiting in taken], carried or _NOTHING)
        except Exception as error:  # whatever it is, this task must live: nobody else answers those who wait
            self._fail(taken, error)
            return
        self.commits.observe(self._loop.time() - began)
        self.committed += 1
        if self.unwell is not None:
            journal.note("the event log can be written again")
        self.unwell = None
        self._unwritten.subtract(carried)
        self._unwritten = +self._unwritten
        self._add_totals(done.counts)
        at = 0
        for waiting in taken:
            end = at + len(waiting.entry.rows)
            if not waiting.stored.done():  # its sender has gone
                waiting.stored.set_result(_part(done, at, end))
            at = end

    def _check_disk(self) -> None:
        if self._data_dir is None:
            return
        usage = os.statvfs(self._data_dir)
        free = usage.f_bavail * usage.f_frsize
        if free < min(DISK_FLOOR_BYTES, usage.f_blocks * usage.f_frsize * DISK_FLOOR_SHARE):
            raise Unavailable(f"the disk is full: {free // 1024} KiB free")

    def _fail(self, taken: Sequence[Waiting], error: Exception) -> None:
        """The store is unwell: everyone who waits is told to come back."""
        if self.unwell is None:
            journal.note("the event log cannot be written", level="error", reason=str(error))
        self.unwell = str(error)
        waiting = [*taken, *self._queue]
        self._queue.clear()
        self._rows = self._bytes = 0
        for item in waiting:
            if not item.stored.done():
                item.stored.set_exception(Unavailable("the event log cannot be written now", retry_after=_jitter(2, 5)))


def _part(done: Committed, start: int, end: int) -> Stored:
    if not done.duplicates and not done.unstorable:
        return _ALL_STORED
    return Stored(
        frozenset(p - start for p in done.duplicates if start <= p < end),
        frozenset(p - start for p in done.unstorable if start <= p < end),
    )


_ALL_STORED = Stored(frozenset(), frozenset())
_NOTHING = Counter({Tally("", "", 0, "received"): 0})
