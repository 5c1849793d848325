"""What events tell for attribution: touchpoints with their campaigns, installs, and whose they are."""

from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from attribution_cast import ACCOUNT, NOON, VISITOR, event, sent, who

from attribution import campaigns, claims
from attribution.evidence import Campaign
from attribution.reading import NOTHING, Unreadable, read
from store.event import Event

SPRING = {"utm_source": "Newsletter", "utm_medium": "email", "utm_campaign": "Spring", "tab": "reviews"}
IAD = {
    "Version3.1": {
        "iad-attribution": True,
        "iad-campaign-id": 42,
        "iad-campaign-name": "Spring",
        "iad-click-date": "2026-06-14T11:25:08Z",
        "iad-org-name": "Owner",
        "iad-keyword": "charts",
    }
}
ADSERVICES = {
    "attribution": True,
    "orgId": 40669820,
    "campaignId": 542370539,
    "conversionType": "Download",
    "clickDate": "2026-06-14T17:17Z",
    "claimType": "Click",
    "adGroupId": 542317095,
    "countryOrRegion": "US",
    "keywordId": 87675432,
    "adId": 542317136,
    "supplyPlacement": "APPSTORE_SEARCH_RESULTS",
}
REFERRER = "utm_source=mail&utm_medium=email&utm_campaign=spring%20sale"


def told(event: Event) -> list[tuple[str, str, str, str]]:
    """(kind, origin, source, name) of every touchpoint."""
    return [(t.kind, t.origin, t.campaign.source, t.campaign.name) for t in read(event).touchpoints]


CLICK = ("click", "listing", "Newsletter", "Spring")
VIEW = ("view", "listing", "owner.example", "")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (event(query=SPRING), [CLICK]),
        (event("tab_click", query=SPRING), [CLICK]),
        (event("cta_click", query=SPRING), [CLICK]),
        (event(query={"gclid": "Cj0"}), [("click", "listing", "google", "")]),
        (event(query={"tab": "reviews", "id": "7", "source": "menu"}), []),
        (event(), []),
        (event(query=SPRING, suppressed="gpc"), []),
        (event(partner_anonymous_id="p1", referrer="https://www.owner.example/apps"), [VIEW]),
        (event(partner_anonymous_id="p1"), [("view", "listing", "listing", "")]),
        (event("tab_click", partner_anonymous_id="p1"), []),
        (event("install", "server", query=SPRING), []),
        (sent(campaign={"name": "Spring", "source": "mail"}), [("click", "partner", "mail", "Spring")]),
        (sent(type="page", name="", campaign={"name": "Spring"}), [("click", "partner", "", "Spring")]),
        (sent(campaign={"provider": "Apple", "source": "iAd", "name": "unknown", "content": "unknown"}), []),
        (sent(campaign={"provider": "Apple", "source": "iAd", "id": "1234567890", "name": "CampaignName"}), []),
        (sent("Click", door="kochava", campaign={"source": "net", "name": "c"}), [("click", "partner", "net", "c")]),
        (sent("Impression", door="kochava", properties={"network": "net"}), [("view", "partner", "net", "")]),
        (sent("Impression", door="kochava"), [("view", "partner", "", "")]),
        (sent("Click", door="segment"), []),
        (sent(context={"iad_attribution_details": IAD}), [("click", "apple", "iAd", "Spring")]),
        (
            sent(properties={"adservices_attribution_details": ADSERVICES}),
            [("click", "apple", "Apple Search Ads", "542370539")],
        ),
        (sent(properties={"adservices_attribution_details": {"attribution": False}}), []),
        (sent(context={"install_referrer": REFERRER}), [("click", "play", "mail", "spring sale")]),
        (
            sent("Install Attributed", properties={"provider": "Adjust", "campaign": {"source": "fb", "name": "c"}}),
            [("click", "partner", "fb", "c")],
        ),
        (sent("Install Attributed", properties={"provider": "Footfall", "campaign": {"source": "fb"}}), []),
        (
            sent(campaign={"provider": "Apple", "source": "iAd", "id": "4"}, context={"install_referrer": REFERRER}),
            [("click", "apple", "iAd", ""), ("click", "play", "mail", "spring sale")],
        ),
    ],
)
def test_an_event_tells_of_these_touchpoints(event: Event, expected: list[tuple[str, str, str, str]]) -> None:
    assert told(event) == expected


@pytest.mark.parametrize(
    ("event", "source"),
    [
        (event("install", "server", user_id=ACCOUNT), "marketplace"),
        (sent("Application Installed"), "partner"),
        (sent("application installed"), "partner"),
        (sent("Application Installed", type="screen"), ""),
        (event("Application Installed"), ""),
        (event("uninstall", "server", user_id=ACCOUNT), ""),
        (event("install", "server", suppressed="consent"), ""),
        (sent("install"), ""),
    ],
)
def test_an_install_is_the_marketplaces_or_application_installed(event: Event, source: str) -> None:
    conversion = read(event).conversion
    assert (conversion.source if conversion else "") == source


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            event(user_id=ACCOUNT, partner_anonymous_id="p1"),
            (f"anonymous:{VISITOR}", "partner:p1", f"account:{ACCOUNT}"),
        ),
        (sent(anonymous_id="p1", partner_anonymous_id="p1"), ("partner:p1",)),
        (sent(anonymous_id="p1", user_id="u1", ids={"idfa": "AB-1"}), ("partner:p1", "user:u1", "idfa:ab-1")),
        (
            sent(anonymous_id="p1", user_id=ACCOUNT),
            ("partner:p1", f"user:{ACCOUNT}", f"account:{ACCOUNT}", f"anonymous:{ACCOUNT}"),
        ),
        (
            sent(anonymous_id="p1", ids={"idfa": "00000000-0000-0000-0000-000000000000", "crm": "7"}),
            ("partner:p1", "crm:7"),
        ),
        (event(network="ab"), (f"anonymous:{VISITOR}", "network:ab")),
    ],
)
def test_whom_an_event_names(event: Event, expected: tuple[str, ...]) -> None:
    assert read(event).identities == who(*expected)


def test_a_claims_own_time_is_the_touchs_and_one_without_is_of_whenever() -> None:
    (dated,) = read(sent(context={"iad_attribution_details": IAD})).touchpoints
    assert (dated.at, dated.timed) == (1_781_436_308_000, True)
    (undated,) = read(sent(campaign={"provider": "Apple", "source": "iAd", "id": "4"})).touchpoints
    assert (undated.at, undated.timed) == (NOON, False)
    (page,) = read(sent("Viewed", campaign={"name": "spring"})).touchpoints
    assert (page.at, page.timed) == (NOON, True)
    (installed,) = read(sent("Application Installed", campaign={"name": "spring"})).touchpoints
    assert (installed.at, installed.timed) == (NOON, False)


def test_what_may_not_be_passed_on_tells_nothing() -> None:
    assert read(event(query=SPRING, suppressed="bot", user_id=ACCOUNT)) == NOTHING


def test_an_event_whose_details_cannot_be_read_is_said_to_be_one() -> None:
    with pytest.raises(Unreadable, match="unreadable_details"):
        read(msgspec.structs.replace(event(), details=None))


# --- campaigns


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ({"source": "Mail", "name": "Spring"}, "mail/spring"),
        ({"source": "mail", "id": "7"}, "mail/7"),
        ({"source": "mail"}, "mail"),
        ({"name": "spring"}, "spring"),
        ({"fbclid": "x"}, "facebook"),
        ({"source": "mail", "name": "x" * 299}, f"mail/{'x' * 195}"),
    ],
)
def test_a_campaign_is_known_by_source_and_name(parts: dict[str, str], key: str) -> None:
    found = campaigns.from_parts(parts)
    assert found is not None
    assert found.campaign.key == key


def test_apples_answer_is_read_part_by_part() -> None:
    found = campaigns.from_parts(claims.from_adservices(ADSERVICES).campaign)
    assert found is not None
    assert found.campaign == Campaign(
        source="Apple Search Ads",
        provider="Apple",
        id="542370539",
        name="542370539",
        ad_group_id="542317095",
        ad_group="542317095",
        content="87675432",
        ad_creative="542317136",
    )
    assert (found.kind, found.origin, found.at) == ("click", "apple", 1_781_457_420_000)
    seen = campaigns.from_parts(claims.from_adservices(ADSERVICES | {"claimType": "Impression"}).campaign)
    assert seen is not None
    assert seen.kind == "view"


@pytest.mark.parametrize("part", ["orgId", "campaignId", "adGroupId"])
def test_what_apple_makes_up_for_apps_in_development_is_no_claim(part: str) -> None:
    assert claims.from_adservices(ADSERVICES | {part: 1234567890}).campaign == {}


@pytest.mark.parametrize(
    "referrer",
    [
        REFERRER,
        quote(REFERRER, safe=""),
        quote(quote(REFERRER, safe=""), safe=""),
        "utm_source=mail&utm_medium=email&utm_campaign=spring%2520sale",
        {"referrer": REFERRER},
        {"install_referrer": quote(REFERRER, safe=""), "referrer_click_timestamp_seconds": 0},
    ],
)
def test_a_referrer_is_read_however_often_it_was_encoded(referrer: Any) -> None:
    found = campaigns.from_parts(claims.from_referrer(referrer).campaign)
    assert found is not None
    assert found.campaign == Campaign("mail", "spring sale", "email", provider="Google Play")
    assert found.at is None


def test_a_referrer_may_say_when_the_click_was() -> None:
    found = campaigns.from_parts(
        claims.from_referrer({"referrer": REFERRER, "referrer_click_time": "1781436308"}).campaign
    )
    assert found is not None
    assert found.at == 1_781_436_308_000


@pytest.mark.parametrize(
    "referrer",
    ["utm_source=google-play&utm_medium=organic", "", None, 7, [], {"referrer": 7}, "utm_source=(not%20set)", "%%%"],
)
def test_a_referrer_that_names_no_campaign_is_no_claim(referrer: Any) -> None:
    assert campaigns.from_parts(claims.from_referrer(referrer).campaign) is None
