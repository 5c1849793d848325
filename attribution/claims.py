"""What led to an install, as a device says it: Apple's two forms, Google's referrer, and plain parameters, all as parts
of a campaign with the names of Segment's spec.

A form that names no campaign makes no claim: `attribution: false`, an iAd context in which all is "unknown", and the
made-up values that Apple gives to apps in development, which are flagged.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from store.campaign import CLICK_IDS

DEVELOPER_ID = "1234567890"  # https://developer.apple.com/documentation/adservices/aaattribution/attributiontoken()
DEVELOPER_NAME = "CampaignName"  # https://developer.apple.com/forums/thread/64464
DEVELOPER_MODE = "developer_claim"
MOST_CHARACTERS = 300  # of one part
MOST_ENCODED = 3  # times that a referrer may be percent-encoded


class Claim(msgspec.Struct, frozen=True):
    """The parts of a campaign, {} where none is claimed, and what is odd about it."""

    campaign: dict[str, str] = {}
    flags: list[str] = []


NONE = Claim()


def from_iad(details: Any) -> Claim:
    """The dictionary of Apple's iAd, as the device has it, with or without its version around it.

    The parts are those that Segment's own middleware makes of it (segmentio/analytics-ios-iads-attribution).
    """
    told = _of_version(details)
    if told is None or not _is_true(told.get("iad-attribution", True)):
        return NONE
    if DEVELOPER_ID in (_text(told.get("iad-campaign-id")), _text(told.get("iad-adgroup-id"))):
        return Claim(flags=[DEVELOPER_MODE])
    if _text(told.get("iad-campaign-name")) == DEVELOPER_NAME:
        return Claim(flags=[DEVELOPER_MODE])
    parts = _parts(told, _IAD)
    return Claim({"provider": "Apple", "source": "iAd"} | parts) if parts else NONE


_IAD = {
    "iad-campaign-name": "name",
    "iad-keyword": "content",
    "iad-org-name": "ad_creative",
    "iad-adgroup-name": "ad_group",
    "iad-campaign-id": "id",
    "iad-adgroup-id": "ad_group_id",
    "iad-org-id": "org_id",
    "iad-click-date": "click_date",
    "iad-conversion-date": "conversion_date",
    "iad-conversion-type": "conversion_type",
    "iad-country-or-region": "country",
}


def _of_version(details: Any) -> Mapping[str, Any] | None:
    if not isinstance(details, dict):
        return None
    inner = details.get("Version3.1")
    if isinstance(inner, dict):
        return inner
    return details if any(key.startswith("iad-") for key in details) else None


def from_adservices(payload: Any) -> Claim:
    """The answer of Apple's AdServices to whoever asked with the device's token.

    It has ids alone: an id stands for the name, too.
    """
    if not isinstance(payload, dict) or not _is_true(payload.get("attribution")):
        return NONE
    if DEVELOPER_ID in {_text(payload.get(key)) for key in ("orgId", "campaignId", "adGroupId")}:
        return Claim(flags=[DEVELOPER_MODE])
    parts = _parts(payload, _ADSERVICES)
    if not parts:
        return NONE
    named = {name: parts[key] for name, key in (("name", "id"), ("ad_group", "ad_group_id")) if key in parts}
    return Claim({"provider": "Apple", "source": "Apple Search Ads"} | named | parts)


# Of two that say the same part, the first that is there.
_ADSERVICES = {
    "campaignId": "id",
    "adGroupId": "ad_group_id",
    "keywordId": "content",
    "adId": "ad_creative",
    "creativeSetId": "ad_creative",
    "orgId": "org_id",
    "clickDate": "click_date",
    "impressionDate": "click_date",
    "conversionType": "conversion_type",
    "claimType": "claim_type",
    "countryOrRegion": "country",
    "supplyPlacement": "placement",
}


def from_context(campaign: Any) -> Claim:
    """`context.campaign` of a Segment call: a part that is "unknown" is none, and without another there is no claim."""
    if not isinstance(campaign, dict):
        return NONE
    parts = {name: text for name, value in campaign.items() if (text := _text(value)) and text != "unknown"}
    if DEVELOPER_ID in (parts.get("id"), parts.get("ad_group_id")):
        return Claim(flags=[DEVELOPER_MODE])
    return Claim(parts) if "provider" not in parts or parts.keys() - {"provider", "source"} else NONE


def from_referrer(told: Any) -> Claim:
    """What Google's store gives to an app: the referrer's text, encoded as often as it may be, or an object around it
    with the time of the click in epoch seconds. That somebody came by the store alone is no claim."""
    parts: Mapping[str, Any] = told if isinstance(told, dict) else {"referrer": told}
    text = next((parts[key] for key in _REFERRERS if isinstance(parts.get(key), str)), "")
    for _ in range(MOST_ENCODED):
        if "=" in text:
            break
        text = unquote(text)
    found = from_parameters({name: unquote(value) for name, value in parse_qsl(text[:4_000])})
    if not found.campaign or (found.campaign.get("source"), found.campaign.get("medium")) == _BY_THE_STORE:
        return NONE
    clicked = next((parts[key] for key in _CLICKED if key in parts), None)
    at = _seconds(clicked)
    return Claim({"provider": "Google Play"} | found.campaign | ({"click_date": at} if at else {}))


_REFERRERS = ("referrer", "install_referrer", "installReferrer")
_BY_THE_STORE = ("google-play", "organic")
_CLICKED = ("referrer_click_timestamp_server_seconds", "referrer_click_timestamp_seconds", "referrer_click_time")


def from_parameters(parameters: Any) -> Claim:
    """UTM parameters and the click ids of advertisers, wherever they stand."""
    if not isinstance(parameters, dict):
        return NONE
    parts: dict[str, str] = {}
    for key, value in parameters.items():
        text = _text(value)
        if key.startswith("utm_") and len(key) > 4 and text:
            parts.setdefault("name" if key == "utm_campaign" else key[4:], text)
        elif key.lower() in CLICK_IDS and text:
            parts.setdefault(key.lower(), text)
    return Claim(parts) if parts else NONE


def _parts(told: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    parts: dict[str, str] = {}
    for key, name in names.items():
        text = _text(told.get(key))
        if text and text != "unknown":
            parts.setdefault(name, text)
    return parts


def _text(value: Any) -> str:
    """A plain value as text; '' for what is none, or too long to be a part."""
    if type(value) is not str and (isinstance(value, bool) or not isinstance(value, (int, float))):
        return ""
    text = str(value).strip()
    return text if len(text) <= MOST_CHARACTERS else ""


def _is_true(value: Any) -> bool:
    return value is True or value == 1 or str(value).lower() == "true"


def _seconds(value: Any) -> str:
    """Epoch seconds, a number or its digits, as ISO 8601; '' for anything else."""
    text = _text(value)
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**11:
        return ""
    return datetime.fromtimestamp(int(text), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
