"""Sets of visitors as roaring bitmaps: how they are stored, and joined."""

from __future__ import annotations

from collections.abc import Iterable

from pyroaring import BitMap

Visitors = BitMap
NOBODY = BitMap().serialize()


def stored(visitors: Visitors) -> bytes:
    """The portable form that every implementation of Roaring reads."""
    data: bytes = visitors.serialize()
    return data


def union(stored_sets: Iterable[bytes]) -> Visitors:
    """Everybody who is in any of the sets."""
    opened = [BitMap.deserialize(data) for data in stored_sets]
    return BitMap.union(*opened) if opened else BitMap()
