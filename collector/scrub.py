"""What is taken out of a URL before it is stored: the partner's id, secrets, e-mail addresses, user info, fragments.

Parameters are cut out of the text instead of parsing and joining it anew, so that what stays is byte for byte what the
visitor's address bar had.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_plus

import msgspec

from store.campaign import campaign
from store.ids import is_partner_anonymous_id

PARTNER_PARAMETER = "partner_anonymous_id"
SECRET_PARAMETERS = frozenset(  # compared without case, _ and -
    "accesstoken apikey auth authorization code email idtoken jwt key passwd password phone refreshtoken secret session"
    " sessionid sid sig signature ssn token".split()
)
MAX_CACHED = 512

_EMAIL = re.compile(r"[^\s@]@[^\s@]+\.[^\s@]")
_PLACE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class Scrubbed(msgspec.Struct, frozen=True):
    """A URL that may be stored, its query as a mapping (a repeated key keeps its last value), what was cut out, and the
    campaign that the query names."""

    url: str
    path: str
    query: dict[str, str]
    partner_anonymous_id: str | None
    campaign: dict[str, str]


def scrub(url: str) -> Scrubbed:
    """Take out of a URL what must not be kept."""
    return _cached(url) if len(url) <= MAX_CACHED else _scrub(url)


def _scrub(url: str) -> Scrubbed:
    before_fragment, _, _ = url.partition("#")
    address, _, raw_query = before_fragment.partition("?")
    scheme, separator, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    address = f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"
    kept: list[str] = []
    query: dict[str, str] = {}
    partner_anonymous_id: str | None = None
    for piece in raw_query.split("&") if raw_query else ():
        raw_name, _, raw_value = piece.partition("=")
        name, value = unquote_plus(raw_name), unquote_plus(raw_value)
        if name.lower() == PARTNER_PARAMETER:
            partner_anonymous_id = value if is_partner_anonymous_id(value) else partner_anonymous_id
        elif name and not _is_secret(name) and not _EMAIL.search(name) and not _EMAIL.search(value):
            kept.append(piece)
            query[_storable(name)] = _storable(value)
    url = f"{address}?{'&'.join(kept)}" if kept else address
    return Scrubbed(url, slash + path or "/", query, partner_anonymous_id, campaign(query))


_cached = lru_cache(maxsize=4096)(_scrub)


def scrub_target(target: str) -> str:
    """The same for what a click leads to, when that is a URL; a plain fragment stays, since it tells buttons apart."""
    if "://" not in target:
        return target
    place = target.partition("#")[2]
    return scrub(target).url + (f"#{place}" if _PLACE.fullmatch(place) else "")


def _is_secret(name: str) -> bool:
    return name.lower().replace("_", "").replace("-", "") in SECRET_PARAMETERS


def _storable(text: str) -> str:
    """Percent-decoding may bring NUL, which PostgreSQL cannot keep."""
    return text.replace("\0", "�") if "\0" in text else text
