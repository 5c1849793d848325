"""Whether an app's own systems tell of installs: what shows that server-to-server calls are set up."""

from __future__ import annotations

from store.database import Database
from store.event import PARTNER
from store.registry import App
from store.rollups.counting import SLOT_MS
from store.rollups.facets import SENT

INSTALLED = "Application Installed"  # Segment's name of it, under which every door stores an install


async def first_install(db: Database, app: App) -> int | None:
    """When the first was, epoch milliseconds; None before there is one.

    Where its event has been removed since, to the half-hour. The rollups say whether to look for it at all.
    """
    slot = await db.value(
        """/* feed.first_slot */
        select min(slot)
        from rollup_slots
        where app_key = ? and partner_key = ? and facet = ? and value = ?""",
        (app.app_key, app.partner_key, SENT, INSTALLED),
    )
    if slot is None:
        return None
    found = await db.value(
        """/* feed.first_install */
        select occurred_at
        from events
        where app_key = ? and partner_key = ? and source = ? and type = 'track' and name = ?
        order by seq
        limit 1""",
        (app.app_key, app.partner_key, PARTNER, INSTALLED),
    )
    return int(slot) * SLOT_MS if found is None else int(found)
