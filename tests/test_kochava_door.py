"""Kochava's server-to-server doors, from the call to the stored event, in the dialect of every sender known."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Cast, Doors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kochava_cast import EVENT, IDENTITY_LINK, INSTALL, LINK, SEGMENT_ACTIONS, TRACK, call, guid, post

from collector.doors import calls, kochava
from collector.doors.identity import known

SQLITE = pytest.mark.only("sqlite", "what a call says does not depend on the store")
CAME_AT = 1_700_000_000_000


def told(message: Any, action: str | None = None) -> Any:
    """What a call tells, without a door."""
    return calls.told(calls.call_of(message, action or message.get("action")), CAME_AT)


def event(**data: Any) -> dict[str, Any]:
    """The official sample of an event, with other data."""
    return EVENT | {"data": EVENT["data"] | data}


# --- the official samples


def test_the_official_event_is_stored_as_a_track_call_with_its_name_and_properties(doors: Doors, cast: Cast) -> None:
    answer = post(doors, call(cast))
    assert (answer.status_code, answer.json()) == (
        200,
        {"success": 1, "action": "event", "stored": 1, "duplicate": 0, "quarantined": 0},
    )
    stored = cast.event()
    assert (stored["type"], stored["name"], stored["source"]) == ("track", "SubscriptionTest", "partner")
    assert stored["occurred_at"] == 1_521_574_016_000
    assert (stored["partner_key"], stored["user_id"], stored["suppressed"]) == ("owner", None, None)
    details = stored["details"]
    assert details["door"] == "kochava"
    assert details["ids"] == {"kochava_device_id": "<CUSTOM VALUE>"}
    assert details["properties"] == {"id": "123", "name": "Skis", "sum": 150, "currency": "USD"}
    assert details["user_agent"].startswith("Mozilla/5.0 (iPhone; CPU iPhone OS 8_0")
    assert details["context"]["app"] == {"version": "1.0.0"}
    assert details["context"]["gdpr"] == {
        "gdpr_applies": True,
        "tc_string": "some example string",
        "ad_user_data": True,
        "ad_personalization": True,
    }
    assert "flags" not in details
    assert cast.balance() == {"received": 1, "stored": 1, "duplicate": 0, "rejected": 0, "shed": 0}


@SQLITE
def test_the_official_install_passes_with_its_impossible_address_and_is_marked_as_a_test(
    doors: Doors, cast: Cast
) -> None:
    assert post(doors, call(cast, INSTALL)).json()["stored"] == 1
    stored = cast.event()
    assert (stored["type"], stored["name"]) == ("track", "Application Installed")
    details = stored["details"]
    assert details["ids"] == {
        "idfa": "kochava-test-idfa-2015-12-09-12",
        "idfv": "333BA75-FE08-AAA4-9EF0-98A6AD293FEC",
        "kochava_device_id": "KD5b085ab00b386",
    }
    assert details["flags"] == ["bad_address", "test_id"]
    assert details["properties"] == {"version": "3.3.0"}
    assert details["context"]["device"] == {"model": "iPhone"}
    assert details["context"]["os"] == {"name": "iOS", "version": "13.6.0"}
    assert "user_agent" not in details


@SQLITE
def test_the_official_identity_link_is_an_identify_call_at_either_path(doors: Doors, cast: Cast) -> None:
    link = call(cast, IDENTITY_LINK)
    assert post(doors, link, LINK).json() == {
        "success": 1,
        "action": "identityLink",
        "stored": 1,
        "duplicate": 0,
        "quarantined": 0,
    }
    stored = cast.event()
    assert (stored["type"], stored["name"]) == ("identify", "")
    assert stored["details"]["ids"] == {"idfa": "A6334005-9019-46BB-9659-74FD0BD33585", "SGID": "2718281828"}
    assert post(doors, link | {"action": "identityLink"}).json()["stored"] == 0, "the same link is the same act"


def test_what_says_that_it_is_something_else_is_no_identity_link(doors: Doors, cast: Cast) -> None:
    answer = post(doors, call(cast, EVENT), LINK)
    assert (answer.status_code, answer.json()["reason"]) == (400, "unknown_action")
    assert cast.events() == []


@SQLITE
def test_segments_own_destination_is_understood(doors: Doors, cast: Cast) -> None:
    assert post(doors, call(cast, SEGMENT_ACTIONS)).json()["stored"] == 1
    details = cast.event()["details"]
    assert details["ids"] == {"idfa": "idfa-abc", "kochava_device_id": "device-1"}
    assert details["user_agent"] == "Mozilla/5.0 (iPhone)"
    assert details["context"]["os"] == {"version": "14.4"}
    assert details["context"]["device"] == {"adTrackingEnabled": True}
    assert details["properties"] == {"currency": "USD", "sum": 150}


@SQLITE
def test_an_update_brings_the_id_that_came_with_consent(doors: Doors, cast: Cast) -> None:
    update = {
        "action": "update",
        "kochava_app_id": guid(cast),
        "kochava_device_id": "KD1",
        "data": {"idfa": "A6334005-9019-46BB-9659-74FD0BD33585"},
    }
    assert post(doors, update).json()["action"] == "update"
    stored = cast.event()
    assert stored["type"] == "identify"
    assert stored["details"]["ids"] == {"idfa": "A6334005-9019-46BB-9659-74FD0BD33585", "kochava_device_id": "KD1"}


@SQLITE
def test_clicks_and_impressions_are_touchpoints_with_their_campaign_and_ids(doors: Doors, cast: Cast) -> None:
    for action, name in (("click", "Click"), ("impression", "Impression")):
        touch = call(cast, EVENT | {"action": action}, usertime=None, event_name=None, event_data=None)
        touch["data"] |= {"device_ids": {"adid": "cdda802e-fb9c-47ad-9866-0794d394c912"}, "utm_campaign": "spring"}
        touch["data"] |= {"utm_source": "network-7", "ttclid": "t-1"}
        assert post(doors, touch).json()["action"] == action
        stored = cast.events()[-1]
        assert (stored["type"], stored["name"]) == ("track", name)
        assert stored["details"]["campaign"] == {"name": "spring", "source": "network-7", "ttclid": "t-1"}
        assert stored["details"]["ids"]["adid"] == "cdda802e-fb9c-47ad-9866-0794d394c912"
    named = EVENT | {"action": "click", "data": EVENT["data"] | {"campaign": {"name": "Spring", "ad_group": "A"}}}
    assert told(named).campaign == {"name": "Spring", "ad_group": "A"}


# --- senders disagree


@SQLITE
def test_a_time_is_read_in_every_spelling() -> None:
    for stated, expected, flags in (
        (1521574016, 1_521_574_016_000, []),
        (1521574016.25, 1_521_574_016_250, []),
        ("1521574016", 1_521_574_016_000, []),
        (1521574016123, 1_521_574_016_123, []),
        ("1521574016123", 1_521_574_016_123, []),
        ("2018-03-20T19:26:56Z", 1_521_574_016_000, []),
        ("2018-03-20T21:26:56.5+02:00", 1_521_574_016_500, []),
        ("2018-03-20 19:26:56", 1_521_574_016_000, []),
        (CAME_AT // 1_000 + 60, CAME_AT, []),
        (None, CAME_AT, []),
        ("", CAME_AT, []),
        ("yesterday", CAME_AT, ["bad_time"]),
        (0, CAME_AT, ["bad_time"]),
        (-5, CAME_AT, ["bad_time"]),
        (10**30, CAME_AT, ["bad_time"]),
        (True, CAME_AT, ["bad_time"]),
        ("9" * 18, CAME_AT, ["bad_time"]),
        (4102444800, CAME_AT, ["bad_time"]),
        ([1], CAME_AT, ["bad_time"]),
    ):
        read = told(event(usertime=stated))
        assert (read.occurred_at, read.flags) == (expected, flags), stated


@SQLITE
def test_an_agent_is_read_raw_or_percent_encoded() -> None:
    for stated, expected in (
        ("Mozilla/5.0 (iPhone; CPU)", "Mozilla/5.0 (iPhone; CPU)"),
        ("Mozilla%2F5.0%20(iPhone%3B%20CPU)", "Mozilla/5.0 (iPhone; CPU)"),
        ("Mozilla%2F5.0+%28iPhone%3B+CPU%29", "Mozilla/5.0 (iPhone; CPU)"),
        ("Agent 100%25 raw", "Agent 100%25 raw"),
        ("okhttp/4.9", "okhttp/4.9"),
        ("a+b/1", "a+b/1"),
        ("", None),
        ("Unknown", None),
        (None, None),
        ({"x": 1}, None),
        ("x" * 5_000, "x" * 1_000),
    ):
        assert told(event(device_ua=stated)).user_agent == expected, stated


@SQLITE
def test_a_devices_version_is_read_as_a_triple_or_bare() -> None:
    for stated, expected in (
        ("iPhone-iOS-13.6.0", ("iPhone", "iOS", "13.6.0")),
        ("SM-J727A-Android-7.0.0", ("SM-J727A", "Android", "7.0.0")),
        ("14.4", ("", "", "14.4")),
        ("", ("", "", "")),
        ("iPhone", ("iPhone", "", "")),
        ("-iOS-13", ("", "iOS", "13")),
    ):
        assert calls.device(stated) == expected, stated


@SQLITE
def test_yes_and_no_are_read_in_every_spelling() -> None:
    for stated, expected in (
        (True, False),
        (1, False),
        ("1", False),
        ("true", False),
        ("TRUE", False),
        (False, True),
        (0, True),
        ("false", True),
        ("0", True),
        ("perhaps", None),
        (None, None),
        ([], None),
    ):
        device = told(event(device_limit_tracking=stated)).context.get("device", {})
        assert device.get("adTrackingEnabled") is expected, stated


@SQLITE
def test_an_apps_version_is_read_wherever_it_stands() -> None:
    assert told(INSTALL).context["app"] == {"version": "3.3.0"}
    assert told(event(app_version=None, app_ver="2.0")).context["app"] == {"version": "2.0"}
    assert told(event(app_version=17)).context["app"] == {"version": "17"}
    rudder = told(event(app_version="5412", app_short_string="1.2.3"))
    assert rudder.context["app"] == {"version": "1.2.3", "build": "5412"}


@SQLITE
def test_ids_are_read_wherever_they_stand() -> None:
    some = "A6334005-9019-46BB-9659-74FD0BD33585"
    bare = {key: value for key, value in EVENT["data"].items() if key not in ("device_ids", "device_ua")}
    for data, expected in (
        ({"device_ids": {"idfa": some, "custom": "c-1"}}, {"idfa": some, "custom": "c-1"}),
        ({"device_id": {"ADID": some}}, {"adid": some}),
        ({"device_id": "d-1"}, {"device_id": "d-1"}),
        ({"advertisingId": some, "device_type": "ios"}, {"idfa": some}),
        ({"advertising_id": some, "device_ver": "SM-J727A-Android-7.0.0"}, {"adid": some}),
        ({"advertisingId": some}, {"advertising_id": some}),
        ({"device_ids": {"imei": 490154203237518}}, {"imei": "490154203237518"}),
    ):
        sent = {"action": "event", "data": bare | data}
        assert told(sent).ids == expected, data
    assert told({"action": "event", "anonymousId": "a-1", "data": bare}).anonymous_id == "a-1"
    assert told({"action": "event", "data": bare | {"user_id": "u-1"}}).user_id == "u-1"
    assert told(event(event_data={"user_id": "u-2"})).user_id == "u-2"


@SQLITE
def test_a_hashed_id_is_of_a_kind_of_its_own_and_a_plain_one_is_not() -> None:
    digest = "9e107d9d372bb6826bd81d3542a419d6"
    hashed = IDENTITY_LINK | {"device_id": {"idfa": digest}}
    assert told(hashed, "identityLink").ids == {"idfa_md5": digest, "SGID": "2718281828"}
    assert "idfa" in told(IDENTITY_LINK, "identityLink").ids


@SQLITE
def test_what_names_nobody_is_no_id() -> None:
    for nothing in (
        "",
        " ",
        "0",
        "00000000-0000-0000-0000-000000000000",
        "00000000000000000000000000000000",
        "{00000000-0000-0000-0000-000000000000}",
        "0000-0000",
        "----",
        "null",
        "NULL",
        "(null)",
        "undefined",
        "{idfa}",
        "{{device.idfa}}",
        "${IDFA}",
        "%IDFA%",
        "%%ADVERTISING_ID%%",
        "__IDFA__",
        "[idfa]",
        None,
        True,
        [],
        {},
        1.5,
    ):
        assert known(nothing) is None, nothing
    for somebody in ("A6334005-9019-46BB-9659-74FD0BD33585", "<CUSTOM VALUE>", "kochava-test-1", "0001", "a{b}"):
        assert known(somebody) == somebody
    assert known("{A6334005-9019-46BB-9659-74FD0BD33585}") == "A6334005-9019-46BB-9659-74FD0BD33585"
    assert known(42) == "42"


def test_a_call_that_names_nobody_is_rejected_and_kept_without_its_address(doors: Doors, cast: Cast) -> None:
    nobody = call(cast, EVENT | {"kochava_device_id": "00000000-0000-0000-0000-000000000000"})
    answer = post(doors, nobody)
    assert answer.status_code == 400
    assert answer.json()["success"] == 0
    assert answer.json()["reason"] == "no_user"
    ((app, reason, body),) = cast.rejections()
    assert (app, reason) == ("com.owner.charts", "no_user")
    assert b"SubscriptionTest" in body
    assert cast.balance()["rejected"] == 1
    assert b"104.219.46.66" not in cast.every_byte()


@SQLITE
def test_an_id_may_have_any_name_and_hides_nothing_that_is_too_long(doors: Doors, cast: Cast) -> None:
    for name, text in (("n" * 201, "x"), ("n", "x" * 201)):
        answer = post(doors, call(cast, event_name=name, device_ids={"event": text}))
        assert (answer.status_code, answer.json().get("reason")) == (400, "invalid")
    assert post(doors, call(cast, device_ids={"event": "x"})).json()["stored"] == 1


@SQLITE
def test_reserved_keys_and_odd_data_are_flagged_and_kept(doors: Doors, cast: Cast) -> None:
    assert post(doors, call(cast, event_data={"network": "n", "campaign": "c", "sum": 1})).json()["stored"] == 1
    details = cast.event()["details"]
    assert details["flags"] == ["reserved_keys"]
    assert details["properties"] == {"network": "n", "campaign": "c", "sum": 1, "currency": "USD"}
    assert told(event(event_data='{"sum": "9.99"}')).properties == {"sum": "9.99", "currency": "USD"}
    odd = told(event(event_data="Skis"))
    assert (odd.properties["value"], odd.flags) == ("Skis", ["odd_event_data"])


@SQLITE
def test_the_standard_events_and_any_other_keep_their_names_as_sent() -> None:
    for name in ("Add to Cart", "Add to Wishlist", "purchase", "Level Complete", "Ünïcode 🎿"):
        assert told(event(event_name=name)).name == name


@SQLITE
def test_unknown_keys_are_kept(doors: Doors, cast: Cast) -> None:
    odd = call(cast, INSTALL, something={"new": [1, None]}) | {"sdk_version": "x"}
    assert post(doors, odd).json()["stored"] == 1
    kept = cast.event()["details"]["context"]["kochava"]
    assert kept == {"action": "install", "something": {"new": [1, None]}, "sdk_version": "x"}


def test_no_address_is_stored_whatever_becomes_of_a_call(doors: Doors, cast: Cast) -> None:
    address = "203.0.113.77"
    fine = call(cast, origination_ip=address, event_data={"ip": address, "deep": [{"client_ip": address}]})
    assert post(doors, fine).json()["stored"] == 1
    assert post(doors, fine | {"action": "dance"}).status_code == 400
    assert post(doors, json.dumps(fine).encode()[:-1]).status_code == 400
    assert address.encode() not in cast.every_byte()


@SQLITE
def test_a_refused_idfa_is_not_kept() -> None:
    refused = INSTALL | {"data": INSTALL["data"] | {"app_tracking_transparency": {"att": False, "att_time": 1}}}
    assert "idfa" not in told(refused).ids
    assert "idfa_refused" in told(refused).flags
    assert told(refused).context["device"]["adTrackingEnabled"] is False
    device = {"device_ids": {"idfa": "9e107d9d372bb6826bd81d3542a419d6"}, "device_hash_method": {"idfa": "md5"}}
    hashed = refused | {"data": refused["data"] | device}
    assert (told(hashed).ids.get("idfa_md5"), "idfa_refused" in told(hashed).flags) == (None, True)
    unsaid = told(INSTALL)
    assert ("idfa" in unsaid.ids, "idfa_refused" in unsaid.flags) == (True, False)


@SQLITE
def test_an_installs_evidence_is_read_into_its_campaign_and_kept() -> None:
    iad = {"Version3.1": {"iad-attribution": True, "iad-campaign-id": 7, "iad-campaign-name": "Spring"}}
    services = {"attribution": True, "campaignId": 8, "orgId": 9}
    referrer = {"referrer": "utm_source=play", "referrer_click_time": 1474799108}

    def install(**data: Any) -> Any:
        return told(INSTALL | {"data": INSTALL["data"] | data})

    assert install(iad_attribution_details=iad, adservices_attribution_details=services).campaign["source"] == "iAd"
    assert install(adservices_attribution_details=services).campaign["id"] == "8"
    clicked = {"provider": "Google Play", "source": "play", "click_date": "2016-09-25T10:25:08Z"}
    assert install(install_referrer=referrer).campaign == clicked
    assert install(conversion_data={"utm_campaign": "c", "utm_medium": "m"}).campaign == {"name": "c", "medium": "m"}
    evidence = {"ad_services_token": "t", "iad_attribution_details": iad}
    assert install(**evidence).properties == {"version": "3.3.0"} | evidence
    made_up = install(adservices_attribution_details=services | {"orgId": 1234567890})
    assert (made_up.campaign, "developer_claim" in made_up.flags) == ({}, True)
    assert install(adservices_attribution_details={"attribution": False}).campaign == {}


# --- one act, told twice


def test_the_same_call_with_its_time_is_one_event_in_whatever_order_its_fields_come(doors: Doors, cast: Cast) -> None:
    first = call(cast)
    other_way = dict(reversed(first.items())) | {"data": dict(reversed(first["data"].items()))}
    from_elsewhere = call(cast, origination_ip="198.51.100.4")
    assert [post(doors, each).json()["stored"] for each in (first, other_way, from_elsewhere)] == [1, 0, 0]
    assert post(doors, call(cast, usertime=1521574017)).json()["stored"] == 1
    assert post(doors, call(cast, app_key="com.owner.boards")).json()["stored"] == 1, "another app's act is another"
    assert cast.balance() == {"received": 5, "stored": 3, "duplicate": 2, "rejected": 0, "shed": 0}


@SQLITE
def test_two_events_alike_without_a_time_are_two_and_two_installs_alike_are_one(doors: Doors, cast: Cast) -> None:
    timeless = call(cast, usertime=None)
    assert [post(doors, timeless).json()["stored"] for _ in range(2)] == [1, 1]
    install = call(cast, INSTALL)
    assert [post(doors, install).json()["duplicate"] for _ in range(2)] == [0, 1]


# --- requests


def test_a_list_is_judged_call_by_call_for_whichever_apps_they_are(doors: Doors, cast: Cast) -> None:
    body = [
        call(cast),
        call(cast, app_key="com.stranger.notes"),
        call(cast) | {"kochava_app_id": "nobody's"},
        call(cast, event_name=None),
        7,
    ]
    answer = post(doors, body)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["success"], said["stored"]) == (1, 2)
    assert [(each["index"], each["reason"]) for each in said["rejected"]] == [
        (2, "unknown_app"),
        (3, "no_event"),
        (4, "unknown_app"),
    ]
    assert [stored["app_key"] for stored in cast.events()] == ["com.owner.charts", "com.stranger.notes"]
    assert cast.balance() == {"received": 5, "stored": 2, "duplicate": 0, "rejected": 3, "shed": 0}


@SQLITE
def test_a_guid_names_its_own_app_and_no_other_key_does(doors: Doors, cast: Cast) -> None:
    for other in ("com.owner.charts", guid(cast)[:-1], guid(cast) + "\n", guid(cast).upper(), "", None, 7):
        answer = post(doors, call(cast) | {"kochava_app_id": other})
        assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_app"), other
    assert cast.events() == []


@SQLITE
def test_what_is_no_request_is_refused_with_its_status_as_json(doors: Doors, cast: Cast) -> None:
    for body, status, reason in (
        (b"", 400, "invalid"),
        (b"hello", 400, "invalid"),
        (b"\xff\xfe", 400, "not_utf8"),
        (b"[]", 400, "invalid"),
        (b"[" * 100_000, 400, "too_deep"),
        (b"[" + b"1," * 1_000 + b"1]", 413, "too_many"),
        (b" " * (kochava.MAX_BODY + 1), 413, "too_large"),
        (json.dumps(call(cast) | {"data": []}).encode(), 400, "invalid"),
        (json.dumps(call(cast) | {"action": "session"}).encode(), 400, "unknown_action"),
        (json.dumps(call(cast, deep=json.loads("[" * 100 + "]" * 100))).encode(), 400, "too_deep"),
        (json.dumps(call(cast, event_name="x" * 201)).encode(), 400, "invalid"),
        (json.dumps(call(cast, event_data={"x": "y" * 33_000})).encode(), 413, "too_large"),
    ):
        answer = post(doors, body)
        assert answer.headers["content-type"] == "application/json"
        said = answer.json()
        assert (said["success"], said["reason"]) == (0, reason), body[:80]
        assert answer.status_code == status, reason
    assert cast.balance()["rejected"] == 12
    assert doors.client.get(TRACK).status_code == 405


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_KEYS = sorted(calls._READ | {"action", "data", "origination_ip", "app_tracking_transparency"})
_fields = st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=12), _json, max_size=8)


@SQLITE
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    top=_fields,
    data=_fields | _json,
    action=st.sampled_from(calls.ACTIONS) | _json,
    path=st.sampled_from([TRACK, LINK]),
)
def test_no_body_fails_and_nothing_vanishes_uncounted(
    doors: Doors, cast: Cast, top: dict[str, Any], data: Any, action: Any, path: str
) -> None:
    body = top | {"data": data, "action": action, "kochava_app_id": guid(cast), "kochava_device_id": "d"}
    before = cast.balance()
    answer = post(doors, body, path)
    assert answer.status_code in (200, 400, 413)
    assert isinstance(answer.json(), dict)
    assert cast.balance()["received"] == before["received"] + 1


@SQLITE
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=200))
def test_no_bytes_fail(doors: Doors, cast: Cast, body: bytes) -> None:
    before = cast.balance()
    assert 400 <= post(doors, body).status_code < 500
    assert cast.balance()["received"] > before["received"]


@SQLITE
def test_when_the_log_cannot_be_written_the_sender_is_told_to_come_back(
    open_doors: Callable[..., Doors], cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    doors = open_doors()
    monkeypatch.setattr("collector.writer.MAX_QUEUED_ROWS", 0)
    answer = post(doors, call(cast))
    assert (answer.status_code, answer.json()["reason"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1


# --- what the integration with Segment brings besides, at Segment's own door


def segment(doors: Doors, cast: Cast, path: str, **message: Any) -> int:
    """One call of Segment's, with the app's key; the status of its answer."""
    ((key,),) = cast.rows("select ingest_key from apps where app_key = 'com.owner.charts'", nature="registry")
    return post(doors, {"writeKey": key, "anonymousId": "a-1"} | message, path).status_code


@SQLITE
def test_what_the_iad_middleware_adds_to_a_track_call_is_its_campaign(doors: Doors, cast: Cast) -> None:
    parts = {"provider": "Apple", "source": "iAd", "name": "Spring", "ad_group": "unknown", "id": "15222869"}
    for campaign in (parts, dict.fromkeys(parts, "unknown") | {"provider": "Apple", "source": "iAd"}):
        assert segment(doors, cast, "/v1/track", event="Order Completed", context={"campaign": campaign}) == 200
    assert segment(doors, cast, "/v1/track", event="x", context={"campaign": parts | {"id": "1234567890"}}) == 200
    claimed, unknown, made_up = (stored["details"] for stored in cast.events())
    assert claimed["campaign"] == {"provider": "Apple", "source": "iAd", "name": "Spring", "id": "15222869"}
    assert "campaign" not in unknown
    assert ("campaign" in made_up, made_up["flags"]) == (False, ["developer_claim"])


@SQLITE
def test_an_audience_comes_as_an_identify_call_with_a_boolean_trait(doors: Doors, cast: Cast) -> None:
    entered = {"userId": "u-1", "messageId": "m-1", "traits": {"order_completed_last_30days": True}}
    left = {"userId": "u-1", "messageId": "m-2", "traits": {"order_completed_last_30days": False}}
    for message in (entered, left, entered):
        assert segment(doors, cast, "/v1/identify", **message) == 200
    traits = [(stored["type"], stored["user_id"], stored["details"]["properties"]) for stored in cast.events()]
    assert traits == [
        ("identify", "u-1", {"order_completed_last_30days": True}),
        ("identify", "u-1", {"order_completed_last_30days": False}),
    ]
    assert cast.balance()["duplicate"] == 1
