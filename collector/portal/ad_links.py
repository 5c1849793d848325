"""Links to a listing for a partner's own pages and advertisements, with the partner's id for the visitor. Pure.

Braces stay as they are, because whoever sends newsletters or shows advertisements writes {placeholders} into links.
static/js/portal.js builds the same link while somebody types.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote_plus, urlsplit, urlunsplit

PARTNER_ID = "partner_anonymous_id"
PLACEHOLDER = "{visitor-id}"
CAMPAIGN = {
    "utm_source": "Source",
    "utm_medium": "Medium",
    "utm_campaign": "Campaign",
    "utm_term": "Term",
    "utm_content": "Content",
}
_KEPT = "{}!*'()"  # with letters, digits and -_.~ what encodeURIComponent keeps, too


def link(page: str, values: Mapping[str, str]) -> str:
    """The page's address with these parameters; one that it has already is exchanged, an empty one left out."""
    try:
        parts = urlsplit(page.strip())
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    given = [pair for pair in parts.query.split("&") if pair and unquote_plus(pair.partition("=")[0]) not in values]
    ours = [f"{name}={quote(value.strip(), safe=_KEPT)}" for name, value in values.items() if value.strip()]
    return urlunsplit(parts._replace(query="&".join(given + ours)))
