"""What a device says led to its install: each form as its maker documents it, and what makes no claim."""

from typing import Any

import pytest

from attribution import claims
from attribution.claims import DEVELOPER_MODE, NONE, Claim

pytestmark = pytest.mark.only("sqlite", "pure")

IAD: dict[str, Any] = {
    "iad-attribution": True,
    "iad-campaign-id": 15222869,
    "iad-campaign-name": "Spring",
    "iad-click-date": "2016-09-29T11:25:08Z",
    "iad-conversion-date": "2016-09-29T11:26:08Z",
    "iad-org-name": "Light Right",
    "iad-adgroup-id": "15307675",
    "iad-adgroup-name": "Joggers",
    "iad-keyword": "light right",
}
# Apple's sandbox (https://developer.apple.com/forums/thread/64464).
SANDBOX = {
    "iad-attribution": True,
    "iad-campaign-id": 1234567890,
    "iad-campaign-name": "CampaignName",
    "iad-click-date": "2016-09-29T11:25:08Z",
    "iad-conversion-date": "2016-09-29T11:25:08Z",
    "iad-creative-id": 1234567890,
    "iad-creative-name": "CreativeName",
    "iad-lineitem-id": 1234567890,
    "iad-lineitem-name": "LineName",
    "iad-org-name": "OrgName",
}
# Apple's sample (https://developer.apple.com/documentation/adservices/aaattribution/attributiontoken()).
ADSERVICES: dict[str, Any] = {
    "attribution": True,
    "orgId": 40669820,
    "campaignId": 542370539,
    "conversionType": "Download",
    "clickDate": "2024-10-08T17:17Z",
    "claimType": "Click",
    "adGroupId": 542317095,
    "countryOrRegion": "US",
    "keywordId": 87675432,
    "adId": 542317136,
    "supplyPlacement": "APPSTORE_SEARCH_RESULTS",
}
OF_IAD = {
    "provider": "Apple",
    "source": "iAd",
    "id": "15222869",
    "name": "Spring",
    "click_date": "2016-09-29T11:25:08Z",
    "conversion_date": "2016-09-29T11:26:08Z",
    "ad_creative": "Light Right",
    "ad_group_id": "15307675",
    "ad_group": "Joggers",
    "content": "light right",
}
OF_ADSERVICES = {
    "provider": "Apple",
    "source": "Apple Search Ads",
    "id": "542370539",
    "name": "542370539",
    "ad_group_id": "542317095",
    "ad_group": "542317095",
    "content": "87675432",
    "ad_creative": "542317136",
    "org_id": "40669820",
    "click_date": "2024-10-08T17:17Z",
    "conversion_type": "Download",
    "claim_type": "Click",
    "country": "US",
    "placement": "APPSTORE_SEARCH_RESULTS",
}
DEVELOPER = Claim(flags=[DEVELOPER_MODE])


def test_apples_older_form_is_a_campaign_as_segments_middleware_makes_it() -> None:
    assert claims.from_iad({"Version3.1": IAD}) == Claim(OF_IAD)
    assert claims.from_iad(IAD) == Claim(OF_IAD)
    assert "ad_group" not in claims.from_iad(IAD | {"iad-adgroup-name": "unknown"}).campaign
    for nothing in (
        {"Version3.1": IAD | {"iad-attribution": False}},
        {"Version3.1": IAD | {"iad-attribution": "false"}},
        {"Version3.1": {"iad-attribution": "true"}},
        {"Version3.1": dict.fromkeys(IAD, "unknown")},
        {"Version3.1": 7},
        {},
        None,
        "Version3.1",
        [IAD],
    ):
        assert claims.from_iad(nothing) == NONE, nothing


def test_made_up_claims_of_apps_in_development_are_flagged_and_no_claims() -> None:
    assert claims.from_iad({"Version3.1": SANDBOX}) == DEVELOPER
    assert claims.from_iad({"Version3.1": SANDBOX | {"iad-campaign-id": 7}}) == DEVELOPER
    made_up = {"orgId": 1234567890, "campaignId": 1234567890, "adGroupId": 1234567890, "keywordId": 123222}
    assert claims.from_adservices(ADSERVICES | made_up) == DEVELOPER
    assert claims.from_adservices(ADSERVICES | {"orgId": "1234567890"}) == DEVELOPER
    assert claims.from_context({"name": "CampaignName", "id": "1234567890"}) == DEVELOPER


def test_apples_newer_form_has_ids_that_stand_for_names() -> None:
    assert claims.from_adservices(ADSERVICES) == Claim(OF_ADSERVICES)
    standard = {key: value for key, value in ADSERVICES.items() if key != "clickDate"}
    assert "click_date" not in claims.from_adservices(standard).campaign
    seen = standard | {"claimType": "Impression", "impressionDate": "2024-10-08T17:17Z"}
    assert claims.from_adservices(seen).campaign["click_date"] == "2024-10-08T17:17Z"
    older = {key: value for key, value in ADSERVICES.items() if key not in ("adId", "keywordId")} | {"creativeSetId": 9}
    assert claims.from_adservices(older).campaign["ad_creative"] == "9"
    assert "content" not in claims.from_adservices(older).campaign
    for nothing in ({**ADSERVICES, "attribution": False}, {"attribution": True}, {}, None, 7, "true"):
        assert claims.from_adservices(nothing) == NONE, nothing


@pytest.mark.parametrize(
    ("told", "campaign"),
    [
        ({"source": "iAd", "provider": "Apple", "name": "Spring", "content": "unknown"}, {"name": "Spring"}),
        ({"source": "newsletter"}, {"source": "newsletter"}),
        (
            {"source": "newsletter", "medium": 7, "term": None, "content": ["x"]},
            {"source": "newsletter", "medium": "7"},
        ),
        (
            dict.fromkeys(("name", "content", "ad_creative", "id"), "unknown") | {"source": "iAd", "provider": "Apple"},
            {},
        ),
        ({}, {}),
        ("Spring", {}),
    ],
)
def test_a_context_in_which_all_is_unknown_makes_no_claim(told: Any, campaign: dict[str, str]) -> None:
    assert claims.from_context(told).campaign.items() >= campaign.items()
    assert bool(claims.from_context(told).campaign) == bool(campaign)
    assert "unknown" not in claims.from_context(told).campaign.values()


@pytest.mark.parametrize(
    ("told", "campaign"),
    [
        ("utm_source=newsletter&utm_campaign=spring%20sale", {"source": "newsletter", "name": "spring sale"}),
        ("utm_source%3Dnewsletter%26utm_campaign%3Dspring", {"source": "newsletter", "name": "spring"}),
        ("gclid=abc&utm_source=google", {"gclid": "abc", "source": "google"}),
        ("utm_source=google-play&utm_medium=organic", {}),
        ("", {}),
        ("=&=&==%", {}),
        (None, {}),
        (7, {}),
        (
            {"referrer": "utm_source=a", "referrer_click_time": 1474799108},
            {"source": "a", "click_date": "2016-09-25T10:25:08Z"},
        ),
        (
            {"install_referrer": "utm_source=a", "referrer_click_timestamp_seconds": "1474799108"},
            {"source": "a", "click_date": "2016-09-25T10:25:08Z"},
        ),
        ({"referrer": "utm_source=a", "referrer_click_time": -1}, {"source": "a"}),
        ({"referrer": ["utm_source=a"]}, {}),
    ],
)
def test_a_stores_referrer_is_read_however_often_it_was_encoded(told: Any, campaign: dict[str, str]) -> None:
    expected = {"provider": "Google Play"} | campaign if campaign else {}
    assert claims.from_referrer(told).campaign == expected


def test_parameters_are_parts_by_segments_names() -> None:
    told = {
        "utm_campaign": "spring",
        "utm_medium": "mail",
        "utm_source": "news",
        "fbclid": "x",
        "other": "y",
        "utm_": "z",
    }
    assert claims.from_parameters(told).campaign == {
        "name": "spring",
        "medium": "mail",
        "source": "news",
        "fbclid": "x",
    }
    assert claims.from_parameters({"utm_source": "x" * 301, "utm_term": True}) == NONE
    assert claims.from_parameters(["utm_source"]) == NONE
