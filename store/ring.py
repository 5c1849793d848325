"""The secret key as a ring: several keys at once, so that one can follow another without anything being lost.

The first encrypts and signs, all of them read. Ids that must never change come from one key alone: the line that begins
with `ids:`, or else the oldest. So a key that has become known can go, and the user ids stay (docs/decisions/0012).
"""

from __future__ import annotations

import re

import msgspec

IDS = "ids:"


class Ring(msgspec.Struct, frozen=True):
    """`keys` are newest first and never empty; `ids` is the key of everything that is to stay constant."""

    keys: tuple[str, ...]
    ids: str


def ring_of(text: str) -> Ring:
    """The ring in a text with one key a line. Raises ValueError when no key can encrypt, or two are for ids."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    keys = tuple(line for line in lines if not line.startswith(IDS))
    for_ids = [line.removeprefix(IDS).strip() for line in lines if line.startswith(IDS)]
    if not keys or len(for_ids) > 1:
        raise ValueError(f"one or more keys, newest first, and at most one more that begins with {IDS}")
    return Ring(keys, for_ids[0] if for_ids else keys[-1])


def lines_of(text: str) -> list[str]:
    """The lines of a ring as a person writes it, where a comma does as well as the end of a line."""
    return [line.strip() for line in re.split(r"[,\r\n]", text) if line.strip()]
