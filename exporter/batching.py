"""Which mapped events go into one request, and what passes the cursor with them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from store.entry import HOUR_MS
from store.ledger import Passage
from store.parked import Parked
from store.tallies import Fate
from wire.mapping import Mapped

MAX_BATCH_BYTES = 450_000
MAX_BATCH_MESSAGES = 500
ENVELOPE_BYTES = 200  # writeKey, sentAt and brackets around the messages


def cut(mapped: Sequence[Mapped], most: int = MAX_BATCH_MESSAGES) -> Sequence[Mapped]:
    """The longest beginning of a run that fits one request of at most `most` messages, as a copy.

    Events without a message ride along, also those right after the last message, so that the cursor passes them.
    """
    messages, size = 0, ENVELOPE_BYTES
    for position, item in enumerate(mapped):
        if not item.wire:
            continue
        messages += 1
        size += len(item.wire) + 1  # a comma between messages
        if messages > most or (size > MAX_BATCH_BYTES and messages > 1):
            return mapped[:position]
    return mapped[:]


def passage(piece: Sequence[Mapped], refused: Parked | None = None) -> Passage:
    """What is recorded when the cursor passes a piece; `refused` is its one message, when that is to be parked."""
    told = [_fate(item, refused) for item in piece]
    counted = Counter(zip([item.event.received_at // HOUR_MS for item in piece], told, strict=True))
    fates = Counter({Fate(hour, fate, reason): n for (hour, (fate, reason)), n in counted.items()})
    parked = [
        Parked(
            item.event.seq, item.message_id, item.parked.reason, item.parked.detail, item.event.received_at // HOUR_MS
        )
        for item in piece
        if item.parked is not None
    ]
    return Passage(piece[-1].event.seq, fates, parked if refused is None else [refused, *parked])


def _fate(item: Mapped, refused: Parked | None) -> tuple[Literal["accepted", "suppressed", "parked"], str]:
    if item.suppressed:
        return "suppressed", item.suppressed
    if item.parked is not None:
        return "parked", item.parked.reason
    return _ACCEPTED if refused is None else ("parked", refused.reason)


_ACCEPTED: tuple[Literal["accepted"], str] = ("accepted", "")
