"""What an event of the log tells for attribution: touchpoints, an install, and whose they are.

What may not be passed on tells nothing, and neither does what another attribution provider says in our own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from attribution import campaigns, claims
from attribution.campaigns import Claim
from attribution.evidence import NETWORK, Campaign, Conversion, Evidence, Identity, Touchpoint, identity
from store.campaign import CLICK_IDS
from store.event import PARTNER, Details, Event
from store.ids import is_anonymous_id
from store.subjects.naming import ACCOUNT, ANONYMOUS, PARTNER_MADE, USER, Id, links, node, together

PROVIDER = "Footfall"  # how our own results are signed
INSTALLED, RESULT = "application installed", "install attributed"
ENGAGEMENTS = {"click": "click", "impression": "view"}  # by the name of the event that a network sends
LISTING_EVENTS = frozenset({"page_view", "tab_click", "cta_click"})
NOTHING = Evidence()


class Unreadable(ValueError):
    """What is stored of an event cannot be read; the text is a machine's word."""


def read(event: Event) -> Evidence:
    """All that one event tells. Raises Unreadable."""
    if event.suppressed is not None:
        return NOTHING
    if event.details is None:
        raise Unreadable("unreadable_details")
    identities = tuple(_identities(event, event.details))
    claims = _claims(event, event.details)
    touchpoints = tuple(_touchpoint(event, claim, identities, part) for part, claim in enumerate(claims))
    return Evidence(touchpoints, _conversion(event, identities), identities)


def ids_of(event: Event) -> tuple[Id, ...]:
    """Whom an event names. A partner may have an account's or a visitor's id from us, and send it as its user's."""
    ids = [node(ANONYMOUS, event.anonymous_id)]
    if event.partner_anonymous_id:
        ids.append(node(PARTNER_MADE, event.partner_anonymous_id))
    if event.user_id and event.source == PARTNER:
        ids.append(Id(USER, event.user_id))
        ids += [Id(kind, event.user_id) for kind in (ACCOUNT, ANONYMOUS) if is_anonymous_id(event.user_id)]
    elif event.user_id:
        ids.append(Id(ACCOUNT, event.user_id))
    if event.details is not None and event.details.ids:
        ids += links(event.details.ids)
    return together(ids)


def _identities(event: Event, details: Details) -> Iterator[Identity]:
    yield from (identity(kind, text) for kind, text in ids_of(event))
    if details.network:
        yield identity(NETWORK, details.network)


def _touchpoint(event: Event, claim: Claim, identities: tuple[Identity, ...], part: int) -> Touchpoint:
    return Touchpoint(
        event.seq,
        event.message_id,
        event.occurred_at if claim.at is None else claim.at,
        event.received_at,
        claim.kind,
        claim.origin,
        claim.campaign,
        identities,
        part,
        claim.at is not None or not _is_told_later(event, claim),
    )


def _is_told_later(event: Event, claim: Claim) -> bool:
    """Whether the touch was at another time than the event: a platform's claim, or a result."""
    return claim.origin != "listing" and (claim.origin != "partner" or event.name.lower() in (INSTALLED, RESULT))


def _conversion(event: Event, identities: tuple[Identity, ...]) -> Conversion | None:
    at = event.seq, event.message_id, event.occurred_at, event.received_at
    if event.source == "server" and event.name == "install":
        return Conversion(*at, "marketplace", identities)
    if event.source == PARTNER and event.type == "track" and event.name.lower() == INSTALLED:
        return Conversion(*at, "partner", identities)
    return None


# --- campaigns


def _claims(event: Event, details: Details) -> list[Claim]:
    if event.source == "browser":
        return _of_listing(event, details)
    return _of_partner(event, details) if event.source == PARTNER else []


def _of_listing(event: Event, details: Details) -> list[Claim]:
    """A campaign in the address is a click that led here. Without one, who is known to the partner was led here by the
    partner's own site or app, which is worth as much as a view."""
    if event.name not in LISTING_EVENTS:
        return []
    found = campaigns.from_parts(_marked(details.query)) if details.query else None
    if found is not None:
        return [Claim(found.campaign, "click", "listing")]
    if event.name != "page_view" or not event.partner_anonymous_id:
        return []
    host = _host(details.referrer)
    own = host == _host(details.url)
    campaign = Campaign("listing", medium="direct") if own or not host else Campaign(host, medium="referral")
    return [Claim(campaign, "view", "listing")]


def _marked(query: Mapping[str, str]) -> dict[str, str]:
    """The parameters that are about campaigns: all others are the page's own."""
    return {name: text for name, text in query.items() if name.lower().startswith("utm_") or _is_click_id(name)}


def _is_click_id(name: str) -> bool:
    return name.lower() in CLICK_IDS


def _host(url: str | None) -> str:
    try:
        return (urlsplit(url or "").hostname or "").removeprefix("www.")
    except ValueError:
        return ""


def _of_partner(event: Event, details: Details) -> list[Claim]:
    """One claim of each origin, the first that is told."""
    name, properties = event.name.lower(), details.properties or {}
    if event.type == "track" and name == RESULT and _signed_by_us(properties):
        return []
    found = list(_told(details))
    if event.type == "track" and name in ENGAGEMENTS and details.door == "kochava":
        claim = found[0] if found else campaigns.from_parts(properties) or Claim(Campaign())
        return [claim._replace(kind="view" if ENGAGEMENTS[name] == "view" else claim.kind)]
    if event.type == "track" and name == RESULT and not found:
        told = properties.get("campaign")
        claimed = campaigns.from_parts(told) if isinstance(told, Mapping) else None
        found = [claimed] if claimed else []
    return list({claim.origin: claim for claim in reversed(found)}.values())[::-1]


def _signed_by_us(properties: Mapping[str, Any]) -> bool:
    return str(properties.get("provider", "")).casefold() == PROVIDER.casefold()


def _told(details: Details) -> Iterator[Claim]:
    found = [campaigns.from_parts(details.campaign)] if details.campaign else []
    for around in (details.context or {}, details.properties or {}):
        for name, read_as in _FORMS:
            if name in around:
                found.append(campaigns.from_parts(read_as(around[name]).campaign))
    yield from filter(None, found)


_FORMS = (
    ("iad_attribution_details", claims.from_iad),
    ("adservices_attribution_details", claims.from_adservices),
    ("install_referrer", claims.from_referrer),
    ("installReferrer", claims.from_referrer),
)
