"""The store as commands open it: for one piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def in_registry(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """What a piece of work on the registry, opened for writing, comes to."""
    return asyncio.run(_in("registry", work))


def in_ledger(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """The same on the ledger, which is only read."""
    return asyncio.run(_in("ledger", work))


async def _in(nature: str, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    from store.engines import open_reader, open_writer
    from store.settings import load

    open_it = open_writer if nature == "registry" else open_reader
    async with await open_it(load().where, nature) as db:
        return await work(db)
