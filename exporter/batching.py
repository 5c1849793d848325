"""Which mapped events go into one request, and what passes the cursor with them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from exporter.mapping import Mapped
from store.ledger import Fate, Parked, Passage
from store.log import HOUR_MS

MAX_BATCH_BYTES = 450_000
MAX_BATCH_MESSAGES = 500
ENVELOPE_BYTES = 200  # writeKey, sentAt and brackets around the messages


def cut(mapped: Sequence[Mapped], most: int = MAX_BATCH_MESSAGES) -> Sequence[Mapped]:
    """The longest beginning of a run that fits one request of at most `most` messages.

    Events without a message ride along, also those right after the last message, so that the cursor passes them.
    """
    messages, size = 0, ENVELOPE_BYTES
    for position, item in enumerate(mapped):
        if item.message is None:
            continue
        messages += 1
        size += item.size + 2  # ", " between messages
        if messages > most or (size > MAX_BATCH_BYTES and messages > 1):
            return mapped[:position]
    return mapped


def passage(piece: Sequence[Mapped], refused: Parked | None = None) -> Passage:
    """What is recorded when the cursor passes a piece; `refused` is its one message, when that is to be parked."""
    fates: Counter[Fate] = Counter()
    parked: list[Parked] = [] if refused is None else [refused]
    for item in piece:
        hour = item.event.received_at // HOUR_MS
        if item.suppressed:
            fates[Fate(hour, "suppressed", item.suppressed)] += 1
        elif item.parked is not None:
            fates[Fate(hour, "parked", item.parked.reason)] += 1
            parked.append(Parked(item.event.seq, item.message_id, item.parked.reason, item.parked.detail))
        elif refused is not None:
            fates[Fate(hour, "parked", refused.reason)] += 1
        else:
            fates[Fate(hour, "accepted")] += 1
    return Passage(piece[-1].event.seq, fates, parked)
