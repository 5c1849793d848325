"""Which ids an event names, and what kind each is.

What software fills in for want of an id names nobody, and is left out here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from store.ids import is_anonymous_id

Listing = tuple[str, str]  # an app's key, and the partner's whose it was

ANONYMOUS = "anonymous"  # a visitor's, made by us
ACCOUNT = "account"  # the user id of the listing's events: a hashed account id of the marketplace
USER = "user"  # a user id of the partner's own
PARTNER_MADE = "partner"  # an anonymous id of the partner's own
PREVIOUS = "previous_id"  # what an alias call renames
_DEVICES = (
    *("idfa", "idfv", "adid", "android_id", "oaid", "advertising_id", "amazon_adid", "openudid", "udid", "imei", "mac"),
    *("device", "device_id", "kochava_device_id"),
)
DEVICES = frozenset(kind + form for kind in _DEVICES for form in ("", "_md5", "_sha1", "_sha256"))  # plain, and hashed
USERS = (ACCOUNT, USER)  # kinds of which a subject has one
OURS = frozenset({ANONYMOUS, ACCOUNT, USER, PARTNER_MADE})
MOST_NAMED = 12  # ids of one event
MOST_CHARACTERS = 200
# Whatever their case: what clients send when they do not know.
NOBODY = frozenset(
    "anonymous default distinct_id distinctid email false guest id n/a nan nil none not_authenticated null true"
    " undefined unknown user user_id userid -1".split()
) | {"[object object]"}


class Id(NamedTuple):
    """One id and its kind: one of those above, or a link's name."""

    kind: str
    id: str


class Named(NamedTuple):
    """The ids that one event named together, and two of them of which it said that they are one user."""

    ids: tuple[Id, ...]
    alias: tuple[Id, Id] | None = None


def node(kind: str, text: str) -> Id:
    """An id in the one form in which it is kept. Who made an anonymous id is told by its shape alone, so that the same
    text is the same id whichever column it came in."""
    if kind in (ANONYMOUS, PARTNER_MADE):
        kind = ANONYMOUS if is_anonymous_id(text) else PARTNER_MADE
    return Id(kind, (text.lower() if kind in DEVICES else text).replace("\0", "\ufffd"))


def is_somebody(text: str) -> bool:
    """Whether an id can be anybody's."""
    return 0 < len(text) <= MOST_CHARACTERS and bool(text.strip("0- ")) and text.strip().lower() not in NOBODY


def links(ids: Mapping[str, str]) -> Iterator[Id]:
    """A device's ids, and links by their names: what `Details.ids` holds. A link whose name is a kind of ours is still
    a link."""
    for kind, text in ids.items():
        if kind != PREVIOUS and len(kind) <= MOST_CHARACTERS:
            yield node(f"link {kind}" if kind in OURS else kind.replace("\0", "\ufffd"), text)


def together(ids: list[Id]) -> tuple[Id, ...]:
    """Those that are somebody's, each once, and not too many."""
    return tuple(dict.fromkeys(each for each in ids if is_somebody(each.id)))[:MOST_NAMED]
