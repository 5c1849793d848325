"""What a replay would do, said before it does it. Pure but for the counting."""

from __future__ import annotations

import msgspec

from store import log
from store.database import Where
from store.engines import open_reader

FORGOTTEN_MS = 24 * 3_600_000  # after which Segment no longer knows a message id that it has seen
MESSAGE_BYTES = 500  # what a message holds beside an event's details, about


class Plan(msgspec.Struct, frozen=True):
    """Events past `first_seq` up to `last_seq`; `bytes` is about what the requests will hold."""

    app: str
    first_seq: int
    last_seq: int
    events: int
    suppressed: int
    bytes: int
    older: int
    new_ids: bool

    def lines(self) -> list[str]:
        """For a person: counts, size, and what Segment will and will not de-duplicate."""
        sent = self.events - self.suppressed
        told = [f"{self.app}: {sent} events again, about {self.bytes / 1e6:.1f} MB; {self.suppressed} stay suppressed"]
        if self.new_ids:
            return [*told, "under new ids: where the first copies arrived, there will certainly be second ones"]
        recent = sent - self.older
        if recent:
            told.append(f"{recent} are younger than 24 h: of those Segment drops the ones that it has")
        if self.older:
            told.append(
                f"{self.older} are older: Segment takes them again; warehouses drop copies by message id,"
                " other destinations may count them twice"
            )
        return told


async def plan(where: Where, app_key: str, first_seq: int, last_seq: int, new_ids: bool, now: int) -> Plan:
    """Count what lies in a window. Raises StoreUnavailable when nothing was ever collected."""
    async with await open_reader(where, "log") as db:
        last = min(last_seq, await log.head(db))
        found = await log.window(db, app_key, first_seq, last, now - FORGOTTEN_MS)
    size = found.size + found.events * MESSAGE_BYTES
    return Plan(app_key, first_seq, last, found.events, found.suppressed, size, found.older, new_ids)
