"""The result of attribution as others are told it: who is to hear of it, the values for a webhook's template, and
Segment's "Install Attributed". Pure.

The message to Segment follows its Mobile spec: `campaign` is always an object, its keys are snake_case, and what is
unknown is absent, never null, because clients that read it have crashed on less.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any, Literal

import msgspec

from store.destinations import Destination
from store.event import PARTNER, Event
from store.postbacks import FOOTFALL, Target, names
from store.registry import App
from wire.macros import Value
from wire.mapping import LIBRARY, iso_time

ATTRIBUTED = "Install Attributed"
ORGANIC = "Organic"  # the source that is told of what no campaign won
INSTALL = "install"
SPEC = ("source", "name", "medium", "content", "ad_creative", "ad_group")  # of `campaign`, by the Mobile spec
_MEMBERS = (*SPEC, "term", "id", "agency")
_IDS = ("idfa", "idfv", "adid", "android_id", "advertising_id", "device_id")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided of one conversion. `name` is install, or an event's; times are epoch milliseconds; `order` grows
    with every decision, and `seq` is of the event that the conversion is."""

    app_key: str
    conversion_id: str
    version: int
    order: int
    seq: int
    name: str
    converted_at: int
    decided_at: int
    value: float | None = None
    currency: str = ""
    attributed: bool
    method: str = ""
    campaign: dict[str, str] = {}
    click_id: str = ""


def unasked(target: Target, result: Result, event: Event | None, app: App) -> str:
    """Why a target is not told of a result; '' when it is."""
    if target.events == "installs" and result.name != INSTALL:
        return "other_event"
    if event is None:
        return "gone"  # its event is no longer kept
    if event.suppressed:
        return event.suppressed
    if event.partner_key != app.partner_key:
        return "partner_changed"
    if target.delivery == "all":
        return ""
    if not result.attributed:
        return "organic"
    return "" if _is_of(target, result.campaign) else "other_campaign"


def _is_of(target: Target, campaign: dict[str, str]) -> bool:
    """Whether a target asks for a campaign: by its network, where it names any, or by its agency."""
    networks, agencies = names(target.networks), names(target.agencies)
    by_network = not networks or campaign.get("source", "").casefold() in networks
    if target.delivery == "network":
        return by_network
    by_agency = campaign.get("agency", "").casefold() in agencies
    return by_agency or (bool(networks) and by_network)


def message_id(target: Target, result_id: str, version: int) -> str:
    """The id of every attempt to tell one target of one decision; another decision has another."""
    return str(uuid.uuid5(uuid.UUID(target.target_id), f"{result_id}\n{version}"))


def news(result: Result) -> str:
    """A hash over what is told, by which a decision that changes nothing of it is known."""
    told = [result.attributed, sorted(result.campaign.items()), result.click_id, result.value, result.currency]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def values(target: Target, result: Result, event: Event, app: App) -> dict[str, Value]:
    """What each macro stands for; see wire/macros.py."""
    ids = (event.details.ids if event.details else None) or {}
    campaign = _campaign(result)
    found: dict[str, Value] = {
        "event.name": result.name,
        "event.id": result.conversion_id,
        "event.time": iso_time(result.converted_at),
        "event.time_ms": result.converted_at,
        "event.value": result.value,
        "event.currency": result.currency or None,
        "decision.kind": "attributed" if result.attributed else "organic",
        "decision.method": result.method or None,
        "decision.time": iso_time(result.decided_at),
        "decision.version": result.version,
        "click.id": result.click_id or None,
        "ids.anonymous_id": event.anonymous_id or None,
        "ids.user_id": event.user_id,
        "ids.partner_anonymous_id": event.partner_anonymous_id,
        "app.key": app.app_key,
        "app.name": app.name,
        "app.id": app.plugin_id,
        "partner.id": app.partner_id,
        "provider": target.provider,
        "message.id": message_id(target, result.conversion_id, result.version),
    }
    found |= {f"campaign.{name}": campaign.get(name) for name in _MEMBERS}
    return found | {f"ids.{kind}": ids.get(kind) for kind in _IDS}


def install_attributed(target: Target, result: Result, event: Event, app: App, d: Destination) -> bytes:
    """The message to the app's own Segment source, encoded.

    `integrations` keeps it from a destination of that workspace that is named as the provider, so that it does not come
    back here.
    """
    told: dict[str, Any] = {
        "integrations": {target.provider: False},
        "properties": {"provider": target.provider, "campaign": _campaign(result) or {"source": ORGANIC}},
        "timestamp": iso_time(result.decided_at).removesuffix("Z") + "+00:00",
        "context": _context(event),
        "type": "track",
        "event": ATTRIBUTED,
        "messageId": message_id(target, result.conversion_id, result.version),
    }
    return msgspec.json.encode(told | identity(event, d))


def identity(event: Event, d: Destination) -> dict[str, str]:
    """Whose install it was, as the destination's other messages name them. A partner's own install is given back under
    the partner's own ids, whatever the profile."""
    if event.source == PARTNER:
        own = event.partner_anonymous_id or (None if event.user_id else event.anonymous_id)
        found = {"anonymousId": own, "userId": event.user_id}
    elif d.profile == "segment":
        found = {"anonymousId": event.anonymous_id, "userId": event.user_id}
    else:
        found = {"userId": event.anonymous_id}
    return {name: value for name, value in found.items() if value}


def _campaign(result: Result) -> dict[str, str]:
    """Of the winner; without what is empty."""
    if not result.attributed:
        return {}
    return {name: result.campaign[name] for name in _MEMBERS if result.campaign.get(name)}


def _context(event: Event) -> dict[str, Any]:
    """The device's ids where they are known, as the spec names them."""
    ids = (event.details.ids if event.details else None) or {}
    advertising = ids.get("idfa") or ids.get("adid") or ids.get("advertising_id")
    own = ids.get("idfv") or ids.get("android_id") or ids.get("device_id")
    make: Literal["ios", "android", ""] = (
        "ios" if ids.keys() & {"idfa", "idfv"} else "android" if ids.keys() & {"adid", "android_id"} else ""
    )
    device = {name: value for name, value in (("id", own), ("advertisingId", advertising), ("type", make)) if value}
    return {"library": LIBRARY} | ({"device": device} if own or advertising else {})


def is_own(name: str, properties: dict[str, Any] | None, providers: frozenset[str] = frozenset({FOOTFALL})) -> bool:
    """Whether a message that came in is one of ours that found its way back: an attribution that we are the provider
    of. Whoever takes messages in refuses it, or it would be told again."""
    provider = (properties or {}).get("provider")
    return (
        name.casefold() == ATTRIBUTED.casefold()
        and isinstance(provider, str)
        and provider.casefold() in {each.casefold() for each in providers}
    )
