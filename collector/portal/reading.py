"""The log and the ledger for one page: opened for the partner of the one who asks, closed when the page is made.

On a server the database itself then shows nothing of other partners; on one machine the pages' own questions, each of
which names an app that was found for that partner, are the wall.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from starlette.requests import Request

from collector.portal.frame import Portal, who
from store.database import Database, exists, open_reader


class Stores(NamedTuple):
    """`ledger` is None before the exporter's first run, and for a page that has no need of it."""

    log: Database
    ledger: Database | None


def given(request: Request, name: str, most: int = 200) -> str:
    """A text from the address; '' for one that is too long, or that no database would take."""
    text = request.query_params.get(name, "").strip()
    return text if len(text) <= most and text.isprintable() else ""


@asynccontextmanager
async def stores(portal: Portal, request: Request, with_ledger: bool = True) -> AsyncIterator[Stores]:
    """Raises StoreUnavailable."""
    where, partner_key = portal.settings.where, who(request).partner_key
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(await open_reader(where, "log", partner_key))
        ledger = None
        if with_ledger and exists(where, "ledger"):
            ledger = await stack.enter_async_context(await open_reader(where, "ledger", partner_key))
        yield Stores(log, ledger)


@asynccontextmanager
async def runs(portal: Portal) -> AsyncIterator[Database | None]:
    """The ledger for what names no partner: when runs were, and which intents are carried out."""
    if not exists(portal.settings.where, "ledger"):
        yield None
        return
    async with await open_reader(portal.settings.where, "ledger") as db:
        yield db


@asynccontextmanager
async def everybodys(portal: Portal) -> AsyncIterator[Database]:
    """The log for what names no partner: how far it goes, and how much of it is counted. Raises StoreUnavailable."""
    async with await open_reader(portal.settings.where, "log") as db:
        yield db
