"""How commands tell what they found: for a person or as JSON, and how far a long work is."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


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
