"""Readers that are lent to one page after another: to open one takes longer than most of what a page asks.

A reader comes back as nobody's and with nothing under way. On a server whose rows it shows is said to one transaction,
which ends before another partner's page begins. A reader whose use was cut off may still be at work on a statement: it
is stopped and closed, and never lent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

from store.database import Database, Server, Where
from store.engines import exists, open_reader
from store.errors import StoreUnavailable, Unavailable

MOST = 4  # who read at once, each with at most one reader of a kind; others wait for their turn …
WAIT_SECONDS = 5.0  # … so long
USE_SECONDS = 20.0  # for all that one of them reads: nobody makes the others wait for longer
IDLE_SECONDS = 60.0  # that a reader is kept for nobody


class Idle(NamedTuple):
    """A reader that waits for its next use; `since` by the monotonic clock."""

    since: float
    db: Database


class Readers:
    """Of one store, for one event loop. A kind is a file of SQLite's; on a server, whether partners are walled off."""

    def __init__(
        self,
        where: Where,
        most: int = MOST,
        wait_seconds: float = WAIT_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        use_seconds: float = USE_SECONDS,
    ) -> None:
        self._where = where
        self._wait_seconds = wait_seconds
        self._use_seconds = use_seconds
        self._idle_seconds = idle_seconds
        self._turns = asyncio.Semaphore(most)
        self._idle: dict[str, list[Idle]] = {}  # the one that was used last comes last
        self._lent: set[Database] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all; those that are in use, too, so that the process can end."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for db in [*self._lent, *(idle.db for kind in self._idle.values() for idle in kind)]:
            self._later(_end(db))
        self._lent.clear()
        self._idle.clear()
        while self._ending:
            await asyncio.wait(self._ending)

    @asynccontextmanager
    async def lend(self, *natures: str, partner_key: str | None = None) -> AsyncIterator[Mapping[str, Database]]:
        """A reader for each nature, on a server one for all; none for a ledger that nobody began yet.

        With `partner_key`, a server shows nothing of other partners. Raises StoreUnavailable when a database cannot be
        read, Unavailable when too many others read for too long, or this one does.
        """
        kinds = {
            nature: self._kind(nature, partner_key)
            for nature in natures
            if nature != "ledger" or exists(self._where, nature)
        }
        await self._turn()
        lent: dict[str, Database] = {}
        whole, limit = False, asyncio.timeout(self._use_seconds)
        taking = self._later(self._take_all(list(dict.fromkeys(kinds.values())), partner_key, lent))
        try:
            await asyncio.shield(taking)  # to open one has its end, and must not be left half done
            async with limit:
                yield {nature: lent[kind] for nature, kind in kinds.items()}
            whole = True
        except StoreUnavailable:
            raise
        except Exception:
            if limit.expired():
                raise Unavailable(f"not read within {self._use_seconds:g} s") from None
            whole = True  # the page's own: what the reader was asked has ended, or ends before it is lent again
            raise
        finally:
            back = self._later(self._take_back(taking, lent, whole))
            if whole:
                await asyncio.shield(back)  # cancelled or not, it comes back in order

    def _kind(self, nature: str, partner_key: str | None) -> str:
        if isinstance(self._where, Server):
            return "all" if partner_key is None else "one partner's"
        return nature

    async def _turn(self) -> None:
        if self._closed:
            raise StoreUnavailable("the readers are closed")
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable("too many read at once") from None

    async def _take_all(self, kinds: Sequence[str], partner_key: str | None, lent: dict[str, Database]) -> None:
        for kind in kinds:
            await self._take(kind, partner_key, lent)

    async def _take(self, kind: str, partner_key: str | None, lent: dict[str, Database]) -> None:
        """A reader that waits, or a new one. A server may have begun anew meanwhile, and a file been replaced."""
        idle = self._idle.setdefault(kind, [])
        while idle:
            db = idle.pop().db
            self._lent.add(db)
            lent[kind] = db
            with suppress(StoreUnavailable):
                if db.is_current():
                    await db.stand_for(partner_key)
                    return
            del lent[kind]
            self._lent.discard(db)
            self._later(_end(db))
        db = lent[kind] = await self._open(kind)
        self._lent.add(db)
        await db.stand_for(partner_key)

    async def _open(self, kind: str) -> Database:
        if isinstance(self._where, Server):
            from store.postgres import database as postgres

            return await postgres.open_together(self._where, postgres.READER if kind == "all" else postgres.PORTAL)
        return await open_reader(self._where, kind)

    async def _take_back(self, taking: asyncio.Task[None], lent: dict[str, Database], whole: bool) -> None:
        """Keep what can be lent again, and let the next one have its turn."""
        try:
            await asyncio.wait([taking])
            for kind, db in lent.items():
                if db in self._lent:  # else `close` ends it
                    self._lent.discard(db)
                    await self._keep(kind, db) if whole else await _end(db)
        finally:
            self._turns.release()

    async def _keep(self, kind: str, db: Database) -> None:
        try:
            await db.let_go()
        except Exception:  # whatever it was: nobody else is to meet it
            await _end(db)
            return
        if self._closed:
            await _end(db)
            return
        self._idle.setdefault(kind, []).append(Idle(time.monotonic(), db))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._sweep)

    def _sweep(self) -> None:
        """Close those that nobody needed for a while; look again as long as any are left."""
        enough = time.monotonic() - self._idle_seconds
        for kind, idle in self._idle.items():
            self._idle[kind] = [each for each in idle if each.since > enough]
            for each in idle:
                if each.since <= enough:
                    self._later(_end(each.db))
        left = any(self._idle.values())
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._idle_seconds, self._sweep) if left else None

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin it; `close` waits for its end."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task


async def _end(db: Database) -> None:
    with suppress(Exception):  # it is given up in any case
        await db.abandon()
