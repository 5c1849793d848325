"""Which ids an event names, and what kind each is.

An id that anybody's software may fill in for want of a better one names nobody, and is left out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from store.ids import is_anonymous_id

ANONYMOUS = "anonymous"  # a visitor's, made by us
ACCOUNT = "account"  # a hashed account id of the marketplace: the user id of the listing's events
USER = "user"  # a user id of the partner's own
PARTNER_MADE = "partner"  # an anonymous id of the partner's own
PREVIOUS = "previous"  # what an alias call renames: an id of the partner's, a user's or an anonymous one
DEVICES = ("idfa", "idfv", "adid", "android_id", "device")
USERS = (ACCOUNT, USER)  # kinds of which a subject has one
OURS = frozenset({ANONYMOUS, ACCOUNT, USER, PARTNER_MADE, PREVIOUS})
MOST_NAMED = 12  # ids of one event
MOST_CHARACTERS = 200
# Whatever their case: what clients send when they do not know.
NOBODY = frozenset(
    "anonymous default distinct_id distinctid email false guest id n/a nan nil none not_authenticated null true"
    " undefined unknown user user_id userid -1".split()
    + ["[object object]"]
)


class Id(NamedTuple):
    """One id and its kind: one of those above, or a link's name."""

    kind: str
    id: str


class Named(NamedTuple):
    """The ids that one event named together; `aliases` are pairs of which it said that they are one user."""

    ids: tuple[Id, ...]
    aliases: tuple[tuple[Id, Id], ...] = ()


def node(kind: str, text: str) -> Id:
    """An id in the one form that it is kept in. Who made an anonymous id is told by its shape alone, so that the same
    text is the same id whichever column it came in."""
    if kind in (ANONYMOUS, PARTNER_MADE):
        kind = ANONYMOUS if is_anonymous_id(text) else PARTNER_MADE
    return Id(kind, text.lower() if kind in DEVICES else text)


def is_somebody(text: str) -> bool:
    """Whether an id can be anybody's."""
    return 0 < len(text) <= MOST_CHARACTERS and bool(text.strip("0- ")) and text.strip().lower() not in NOBODY


def linked(ids: Mapping[str, str]) -> Iterable[Id]:
    """What `Details.ids` holds: a device's ids, and links by their names. A link that is named like one of ours is
    none of ours."""
    for kind, text in ids.items():
        if kind != PREVIOUS:
            yield node(f"link {kind}" if kind in OURS else kind, text)
