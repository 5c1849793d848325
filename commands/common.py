"""What the commands share: options, the store that they open, and how they print."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

T = TypeVar("T")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def in_registry(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """What a piece of work on the registry, opened for writing, comes to."""
    return asyncio.run(_in("registry", work))


def in_ledger(work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """The same on the ledger, which is only read."""
    return asyncio.run(_in("ledger", work))


async def _in(nature: str, work: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    from store.database import open_reader, open_writer
    from store.settings import load

    open_it = open_writer if nature == "registry" else open_reader
    async with await open_it(load().where, nature) as db:
        return await work(db)


def show(values: dict[str, Any], as_json: bool) -> None:
    """Values by name, for a person without those that are empty."""
    if as_json:
        print_json(values)
    else:
        for name, value in values.items():
            if value not in ("", None):
                click.echo(f"{name:<18} {value}")


def print_json(value: Any) -> None:
    """On standard output, to be read by people too."""
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


def now() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000


def date(at: int | None) -> str | None:
    """The day of a moment in epoch milliseconds, UTC."""
    return None if at is None else f"{datetime.fromtimestamp(at / 1_000, UTC):%Y-%m-%d}"


def now_and_then(line: str) -> Callable[..., None]:
    """Something that says how far a long work is, on standard error, every few seconds."""
    said = time.monotonic()

    def say(*told: Any) -> None:
        nonlocal said
        if time.monotonic() > said + 5:
            said = time.monotonic()
            click.echo(f"footfall: {line.format(*told)}", err=True)

    return say
