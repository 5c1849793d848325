"""The result of attribution as others are told it: who is to hear of it, the values for a webhook's template, and
Segment's "Install Attributed". Pure.

The message to Segment follows its Mobile spec: `campaign` is always an object, its keys are snake_case, and what is
unknown is absent, never null, because clients that read it have crashed on less.
"""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from store.destinations import Destination
from store.event import PARTNER, Event
from store.postbacks.targets import FOOTFALL, Target, names
from store.registry import App
from wire.macros import Value
from wire.mapping import LIBRARY, iso_time

ATTRIBUTED = "Install Attributed"
_ATTRIBUTED = ATTRIBUTED.casefold()
ORGANIC = "Organic"  # the source that is told of what no campaign won
INSTALL = "install"
SPEC = ("source", "name", "medium", "content", "ad_creative", "ad_group")  # of `campaign`, by the Mobile spec
_MEMBERS = (*SPEC, "term", "id", "ad_group_id", "agency")
_IDS = ("idfa", "idfv", "adid", "android_id", "advertising_id", "device_id")


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided of one install. `ordinal` grows with every decision of an app, `seq` is of the install's event;
    times are epoch milliseconds."""

    ordinal: int
    seq: int
    version: int
    message_id: str
    converted_at: int
    received_at: int
    decided_at: int
    outcome: Literal["attributed", "organic", "reinstall", "told_again"]
    method: str = ""
    campaign: dict[str, str] = {}

    @property
    def attributed(self) -> bool:
        return self.outcome == "attributed"


def unasked(target: Target, result: Result, event: Event | None, app: App) -> str:
    """Why a target is not told of a result; '' when it is."""
    if not target.active:
        return "switched_off"
    if result.outcome in ("reinstall", "told_again"):
        return result.outcome
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
    by_agency = _agency(campaign).casefold() in agencies
    return by_agency or (bool(networks) and by_network)


def _agency(campaign: dict[str, str]) -> str:
    """Who runs a campaign for whom it advertises: a second name beside the network's."""
    return campaign.get("agency") or campaign.get("provider") or ""


def message_id(target: Target, result: Result) -> str:
    """The id of every attempt to tell one target of one decision; another decision has another."""
    return str(uuid.uuid5(uuid.UUID(target.target_id), f"{result.message_id}\n{result.version}"))


def news(result: Result) -> str:
    """A hash over what is told, by which a decision that changes nothing of it is known."""
    told = [result.attributed, sorted(result.campaign.items())]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def values(target: Target, result: Result, event: Event, app: App) -> dict[str, Value]:
    """What each macro stands for; see wire/macros.py."""
    ids = (event.details.ids if event.details else None) or {}
    revenue, currency = _revenue(event)
    found: dict[str, Value] = {
        "event.name": INSTALL,
        "event.id": str(uuid.UUID(result.message_id)),
        "event.time": iso_time(result.converted_at),
        "event.time_ms": result.converted_at,
        "event.value": revenue,
        "event.currency": currency,
        "decision.kind": "attributed" if result.attributed else "organic",
        "decision.method": result.method or None,
        "decision.time": iso_time(result.decided_at),
        "decision.version": result.version,
        "click.id": result.campaign.get("click_id") or None,
        "ids.anonymous_id": event.anonymous_id or None,
        "ids.user_id": event.user_id,
        "ids.partner_anonymous_id": event.partner_anonymous_id,
        "app.key": app.app_key,
        "app.name": app.name,
        "app.id": app.plugin_id,
        "partner.id": app.partner_id,
        "provider": target.provider,
        "message.id": message_id(target, result),
    }
    campaign = _campaign(result) | {"agency": _agency(result.campaign)}
    found |= {f"campaign.{name}": campaign.get(name) or None for name in _MEMBERS}
    return found | {f"ids.{kind}": ids.get(kind) for kind in _IDS}


def _revenue(event: Event) -> tuple[float | int | None, str | None]:
    """What the install itself earned, by Segment's names."""
    told = (event.details.properties if event.details else None) or {}
    amount, currency = told.get("revenue", told.get("value")), told.get("currency")
    counts = isinstance(amount, (int, float)) and not isinstance(amount, bool) and abs(amount) <= sys.float_info.max
    return amount if counts else None, currency if isinstance(currency, str) else None


def install_attributed(target: Target, result: Result, event: Event, app: App, d: Destination) -> bytes:
    """The message to the app's own Segment source, encoded.

    `integrations` keeps it from a destination of that workspace that is named as the provider, and `context` says whose
    it is whatever the provider is called, so that it does not come back here.
    """
    told: dict[str, Any] = {
        "integrations": {target.provider: False},
        "properties": {"provider": target.provider, "campaign": _campaign(result) or {"source": ORGANIC}},
        "timestamp": iso_time(result.decided_at).removesuffix("Z") + "+00:00",
        "context": _context(event),
        "type": "track",
        "event": ATTRIBUTED,
        "messageId": message_id(target, result),
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
    return {name: result.campaign[name] for name in _MEMBERS[:-1] if result.campaign.get(name)}


def _context(event: Event) -> dict[str, Any]:
    """The device's ids where they are known, as the spec names them."""
    ids = (event.details.ids if event.details else None) or {}
    advertising = ids.get("idfa") or ids.get("adid") or ids.get("advertising_id")
    own = ids.get("idfv") or ids.get("android_id") or ids.get("device_id")
    make: Literal["ios", "android", ""] = (
        "ios" if ids.keys() & {"idfa", "idfv"} else "android" if ids.keys() & {"adid", "android_id"} else ""
    )
    device = {name: value for name, value in (("id", own), ("advertisingId", advertising), ("type", make)) if value}
    told: dict[str, Any] = {"library": LIBRARY, "integration": {"name": FOOTFALL}}
    return told | ({"device": device} if own or advertising else {})


def is_own(name: str, properties: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    """Whether a message that came in is one of ours that found its way back, whoever we were told to be: whoever takes
    messages in refuses it, or it would go round for ever."""
    if name.casefold() != _ATTRIBUTED:
        return False
    sender = context.get("integration")
    said = [properties.get("provider"), sender.get("name") if isinstance(sender, dict) else None]
    return any(isinstance(each, str) and each.casefold() == FOOTFALL.casefold() for each in said)
