"""What an app is called, and where it is listed: what its partner may say of it, in the registry."""

from __future__ import annotations

from urllib.parse import urlsplit

from store import registry
from store.database import Database
from store.errors import ConfigError

MOST_NAME = 100
MOST_ADDRESS = 500


async def describe(db: Database, now: int, app_key: str, name: str, listing_url: str, actor: str) -> None:
    """Change what people call an app, and where it is listed ('': not known). Raises ConfigError."""
    name, listing_url = name.strip(), listing_url.strip()
    if not 1 <= len(name) <= MOST_NAME or not name.isprintable():
        raise ConfigError(f"a name has 1 to {MOST_NAME} characters, on one line")
    if listing_url and not _is_page(listing_url):
        raise ConfigError(
            "the listing's address begins with https:// and names a host, such as https://example.com/app"
        )
    async with db.transaction():
        old = await registry.app(db, app_key)
        await db.execute(
            """/* description.describe */
            update apps
            set name = ?, listing_url = ?
            where app_key = ?""",
            (name, listing_url, app_key),
        )
        detail = f"{old.name}, {old.listing_url or 'no address'} -> {name}, {listing_url or 'no address'}"
        await registry.audit(db, now, "app.describe", app_key, detail, actor)


def _is_page(text: str) -> bool:
    """Whether a text is the address of a page on the web, and nothing that a browser would run."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return False
    sound = text.isprintable() and " " not in text and len(text) <= MOST_ADDRESS
    return sound and parts.scheme in ("http", "https") and bool(host) and parts.username is None
