"""Whether an app's own systems tell of installs: what shows that server-to-server calls are set up."""

from __future__ import annotations

from store.database import Database
from store.registry import App

INSTALLED = "Application Installed"  # Segment's name of it, under which every door stores an install


async def first_install(db: Database, app: App) -> int | None:
    """When the first was, epoch milliseconds; None before there is one, or since the name was deleted."""
    at: int | None = await db.value(
        """/* feed.first_install */
        select first_at
        from event_names
        where app_key = ? and partner_key = ? and name = ?""",
        (app.app_key, app.partner_key, INSTALLED),
    )
    return at
