"""What a partner gets: every kind of event as a Segment message, in both profiles, and which events it does not get."""

import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segment.analytics import Client
from shipping_cast import ACCOUNT, NOON, VIEW, VISITOR, a_destination, an_app, an_event

from store.destinations import Destination
from store.event import Details, Event
from store.registry import App
from wire.mapping import MAX_MESSAGE_BYTES, Mapped, Mapper, library_size

GOLDEN = Path(__file__).parent / "golden"
LIBRARY = {"name": "analytics-python", "version": "2.4.0"}
PARTNERS_ID = "87s12b3431fa6d32b85f0893a8670f8a88s2235dd0"


def mapped(
    event: Event, app: App | None = None, destination: Destination | None = None, prefix: str = "MPAC"
) -> Mapped:
    return Mapper(app or an_app(), destination or a_destination(), prefix).map(event)


def message(event: Event, profile: str = "mpac", **more: Any) -> dict[str, Any]:
    built: dict[str, Any] = json.loads(
        mapped(event, destination=a_destination(profile=profile, uninstalls=True), **more).wire
    )
    return built


def milliseconds(instant: str) -> int:
    return (datetime.fromisoformat(instant) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


# --- the documented payloads


def documented(name: str) -> tuple[Event, App]:
    """The event and the app behind one of the documented payloads."""
    if name == "user":
        details = Details(
            url="https://marketplace.atlassian.com/apps/1219125/jsmobile-service-management-portal?hosting=cloud&tab=overview",
            query={"hosting": "cloud", "tab": "overview"},
            referrer="https://www.google.com/",
            label="Start Free Trial",
            target="https://rieckermann.atlassian.net/",
            user_agent="Mozilla/5.0",
            locale="en-GB",
        )
        event = an_event(
            "cta_click",
            details,
            message_id=uuid.UUID("99e491a1-d2c7-4b68-ab97-cc7c3497e011").bytes,
            occurred_at=milliseconds("2022-03-29T09:11:31.147Z"),
            user_id=ACCOUNT,
            partner_anonymous_id=PARTNERS_ID,
        )
        return event, an_app(app_key="com.infosysta.jira.mobile-for-jira-service-desk-portal")
    if name == "install":
        event = an_event(
            "install",
            message_id=uuid.UUID("32e377f9-d6c0-44d2-a986-7b2c12498558").bytes,
            occurred_at=milliseconds("2022-03-29T08:50:02.000Z"),
            anonymous_id="cf9692e7-83b4-4f41-967c-a5b3fa988c27",
            user_id=ACCOUNT,
        )
        return event, an_app(app_key="dropbox-jira", partner_id="1213750", plugin_id="1216784")
    event = an_event(
        "app_request",
        message_id=uuid.UUID("903b89f3-f5de-48bf-8c08-db02b035f2db").bytes,
        occurred_at=milliseconds("2022-03-29T08:58:41.000Z"),
        anonymous_id="c2b5e0e5-c919-4330-9cb6-c1db82cf87e1",
        user_id=ACCOUNT,
    )
    app = "com.lucidchart.confluence.plugins.lucid-confluence"
    return event, an_app(app_key=app, partner_id="350257", plugin_id="350288")


@pytest.mark.parametrize(
    ("name", "message_id"),
    [
        ("user", "a50a9aeb-a73c-5c1b-b36a-c5ea733ad219"),
        ("install", "906a9690-46d8-5787-b3a9-5e8a43bf4966"),
        ("app-request", "a696dbec-430a-530e-8d80-5c5950f0b5f1"),
    ],
)
def test_each_documented_event_becomes_the_documented_payload(name: str, message_id: str) -> None:
    golden = json.loads((GOLDEN / f"mpac-{name}-event.json").read_text())
    event, app = documented(name)
    built = message(event, app=app)
    assert built.pop("messageId") == message_id
    assert built.pop("context") == {"library": LIBRARY}
    assert datetime.fromisoformat(built.pop("timestamp")) == datetime.fromisoformat(golden.pop("timestamp"))
    assert built == golden


def test_the_partners_id_travels_with_an_install_when_it_is_known() -> None:
    event, app = documented("install")
    known = message(an_event(**{**_fields(event), "partner_anonymous_id": PARTNERS_ID}), app=app)
    unknown = message(event, app=app)
    assert known["properties"] == unknown["properties"] | {"partnerAnonymousId": PARTNERS_ID}
    assert {**known, "properties": {}} == {**unknown, "properties": {}}


def test_the_campaign_of_its_journey_travels_with_an_install_in_both_profiles() -> None:
    event, app = documented("install")
    parts = {"source": "news", "name": "spring", "gclid": "g1"}
    known = an_event(**{**_fields(event), "details": Details(campaign=parts)})
    query = {"queryParamsJson": {"utm_source": "news", "utm_campaign": "spring", "gclid": "g1"}}
    for profile, context in (("mpac", {}), ("segment", {"campaign": parts})):
        without, built = message(event, profile, app=app), message(known, profile, app=app)
        assert built["properties"] == without["properties"] | query
        assert built["context"] == without["context"] | context
        assert {**built, "properties": {}, "context": {}} == {**without, "properties": {}, "context": {}}


def _fields(event: Event) -> dict[str, Any]:
    names = ("name", "message_id", "occurred_at", "anonymous_id", "user_id")
    return {name: getattr(event, name) for name in names}


# --- each act on a listing


def test_a_page_view_is_viewed_and_its_subject_is_the_listings_path() -> None:
    properties = message(an_event())["properties"]
    assert properties == {
        "action": "viewed",
        "actionSubjectId": "/apps/1219125/charts",
        "anonymousId": VISITOR,
        "eventTime": "2026-02-16T12:00:00.123Z",
        "eventType": "Track",
        "label": "Charts | Marketplace",
        "partnerId": "1211971",
        "pluginId": "1219125",
        "pluginKey": "com.owner.charts",
        "queryParamsJson": {"hosting": "cloud", "tab": "overview"},
        "referrerUrl": "https://www.google.com/",
        "url": "https://market.example/apps/1219125/charts?hosting=cloud&tab=overview",
    }


def test_a_tab_click_is_clicked_with_the_tabs_label_and_id() -> None:
    details = Details(url="https://market.example/apps/1/a", query={}, title="A", label="Reviews", target="tab/reviews")
    properties = message(an_event("tab_click", details))["properties"]
    assert (properties["action"], properties["label"], properties["actionSubjectId"]) == (
        "clicked",
        "Reviews",
        "tab/reviews",
    )


def test_a_call_to_action_is_clicked_with_its_label_and_its_target() -> None:
    details = Details(url="https://market.example/apps/1/a", label="Try it free", target="https://market.example/get")
    properties = message(an_event("cta_click", details))["properties"]
    assert (properties["action"], properties["label"], properties["actionSubjectId"]) == (
        "clicked",
        "Try it free",
        "https://market.example/get",
    )


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://market.example/apps/1/a?x=1", "/apps/1/a"),
        ("https://market.example/apps/1/a", "/apps/1/a"),
        ("https://market.example", "/"),
        ("https://market.example/?x=/y", "/"),
        ("https://market.example?x=https://other.example/z", "/"),
        ("http://127.0.0.1:8000/demo/apps/1/a%20b", "/demo/apps/1/a%20b"),
    ],
)
def test_the_path_of_a_listing_is_what_lies_between_the_host_and_the_query(url: str, path: str) -> None:
    assert message(an_event(details=Details(url=url)))["properties"]["actionSubjectId"] == path


def test_without_a_query_the_query_is_an_empty_object_and_without_a_referrer_there_is_none() -> None:
    properties = message(an_event(details=Details(url="https://market.example/apps/1/a", query={})))["properties"]
    assert properties["queryParamsJson"] == {}
    assert "referrerUrl" not in properties


def test_an_empty_value_in_a_query_stays_in_the_query() -> None:
    details = Details(url="https://market.example/a?q=", query={"q": ""})
    assert message(an_event(details=details))["properties"]["queryParamsJson"] == {"q": ""}


@pytest.mark.parametrize("name", ["install", "app_request", "uninstall"])
def test_what_a_back_end_tells_has_no_properties_of_a_page(name: str) -> None:
    properties = message(an_event(name, details=VIEW, user_id=ACCOUNT))["properties"]
    known = {"anonymousId", "eventTime", "eventType", "partnerId", "pluginId", "pluginKey", "userId"}
    assert properties.keys() == known


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("page_view", "User event"),
        ("tab_click", "User event"),
        ("cta_click", "User event"),
        ("install", "Install event"),
        ("app_request", "App request event"),
        ("uninstall", "Uninstall event"),
    ],
)
def test_events_are_named_by_the_prefix_and_their_category(name: str, event: str) -> None:
    assert message(an_event(name))["event"] == f"MPAC {event}"
    assert message(an_event(name), prefix="Quayside")["event"] == f"Quayside {event}"


# --- ids and times


def test_a_visitor_is_the_user_in_the_default_profile_and_the_account_is_a_property() -> None:
    built = message(an_event(user_id=ACCOUNT))
    assert built["userId"] == VISITOR
    assert "anonymousId" not in built
    assert built["properties"]["userId"] == ACCOUNT


def test_the_segment_profile_tells_a_visitor_from_a_known_account() -> None:
    known, unknown = message(an_event(user_id=ACCOUNT), "segment"), message(an_event(), "segment")
    assert (known["anonymousId"], known["userId"]) == (VISITOR, ACCOUNT)
    assert unknown["anonymousId"] == VISITOR
    assert "userId" not in unknown
    assert "userId" not in unknown["properties"]


def test_an_anonymous_id_of_another_shape_is_kept_as_it_is() -> None:
    built = message(an_event("install", anonymous_id="Visitor/7 é"))
    assert (built["userId"], built["properties"]["anonymousId"]) == ("Visitor/7 é", "Visitor/7 é")


@pytest.fixture
def _in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_in_new_york")
def test_the_time_sent_is_the_time_of_the_act_whatever_the_machines_time_zone() -> None:
    built = message(an_event(occurred_at=946_684_800_009, received_at=NOON))
    assert built["timestamp"] == "2000-01-01T00:00:00.009+00:00"
    assert built["properties"]["eventTime"] == "2000-01-01T00:00:00.009Z"


@given(st.integers(946_684_800_000, 4_102_444_800_000))
def test_every_instant_is_told_to_the_millisecond(moment: int) -> None:
    built = message(an_event(occurred_at=moment))
    assert milliseconds(built["timestamp"]) == moment
    assert milliseconds(built["properties"]["eventTime"]) == moment
    assert len(built["properties"]["eventTime"]) == len("2026-02-16T12:00:00.123Z")


@given(event=st.uuids(), one=st.uuids(), other=st.uuids())
def test_the_id_sent_is_the_same_every_time_and_another_for_another_destination(
    event: uuid.UUID, one: uuid.UUID, other: uuid.UUID
) -> None:
    def sent(destination: uuid.UUID) -> str:
        return mapped(
            an_event(message_id=event.bytes), destination=a_destination(destination_id=str(destination))
        ).message_id

    assert sent(one) == sent(one) == str(uuid.uuid5(one, str(event)))
    assert (sent(one) == sent(other)) == (one == other)


def test_the_id_sent_does_not_depend_on_the_profile() -> None:
    assert message(an_event())["messageId"] == message(an_event(), "segment")["messageId"]


# --- the segment profile's context


def test_the_segment_profile_fills_segments_own_context() -> None:
    details = Details(
        url="https://market.example/apps/1/a?utm_campaign=spring&utm_source=letter&utm_medium=&utm_id=7&utm_=x&q=1",
        query={
            "utm_campaign": "spring",
            "utm_source": "letter",
            "utm_medium": "",
            "utm_id": "7",
            "utm_": "x",
            "q": "1",
        },
        referrer="https://www.google.com/",
        title="A",
        user_agent="Mozilla/5.0 (X11)",
        locale="de-CH",
    )
    assert message(an_event(details=details), "segment")["context"] == {
        "library": LIBRARY,
        "page": {
            "path": "/apps/1/a",
            "referrer": "https://www.google.com/",
            "search": "?utm_campaign=spring&utm_source=letter&utm_medium=&utm_id=7&utm_=x&q=1",
            "title": "A",
            "url": details.url,
        },
        "campaign": {"name": "spring", "source": "letter", "id": "7"},
        "userAgent": "Mozilla/5.0 (X11)",
        "locale": "de-CH",
    }


def test_the_default_profile_tells_only_the_library() -> None:
    details = Details(
        url="https://market.example/?utm_source=x", query={"utm_source": "x"}, user_agent="M", locale="en"
    )
    assert message(an_event(details=details))["context"] == {"library": LIBRARY}


def test_an_install_in_the_segment_profile_has_no_page() -> None:
    assert message(an_event("install"), "segment")["context"] == {"library": LIBRARY}


@pytest.mark.parametrize(("name", "subject"), [("page_view", "page"), ("tab_click", "tab"), ("cta_click", "button")])
def test_the_segment_profile_names_the_kind_of_subject(name: str, subject: str) -> None:
    assert message(an_event(name), "segment")["properties"]["actionSubject"] == subject
    assert "actionSubject" not in message(an_event(name))["properties"]


def test_beyond_context_ids_and_the_kind_of_subject_the_profiles_do_not_differ() -> None:
    ours, segments = message(an_event(user_id=ACCOUNT)), message(an_event(user_id=ACCOUNT), "segment")
    segments["properties"].pop("actionSubject")
    assert {name for name in ours | segments if ours.get(name) != segments.get(name)} == {
        "anonymousId",
        "context",
        "userId",
    }


# --- over all events

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
ids = st.text("0123456789abcdef", min_size=1, max_size=40)
details = st.builds(
    Details,
    url=st.none() | texts | texts.map("https://market.example/".__add__),
    query=st.none() | st.dictionaries(texts | st.sampled_from(["utm_source", "utm_campaign", "utm_name"]), texts),
    referrer=st.none() | texts,
    title=st.none() | texts,
    label=st.none() | texts,
    target=st.none() | texts,
    user_agent=st.none() | texts,
    locale=st.none() | texts,
)
names = st.sampled_from(["page_view", "tab_click", "cta_click", "install", "app_request", "uninstall"])
moments = st.integers(946_684_800_000, 4_102_444_800_000)
profiles = st.sampled_from(["mpac", "segment"])
events = st.builds(
    an_event,
    name=names,
    details=details,
    message_id=st.binary(min_size=16, max_size=16),
    occurred_at=moments,
    anonymous_id=ids,
    user_id=st.none() | st.just("") | ids,
    partner_anonymous_id=st.none() | st.just("") | texts,
)


@given(event=events, profile=profiles)
def test_a_message_is_what_the_librarys_own_track_would_make_of_it(event: Event, profile: str) -> None:
    built = message(event, profile)
    queued, tracked = Client("any", send=False).track(
        user_id=built.get("userId"),
        anonymous_id=built.get("anonymousId"),
        event=built["event"],
        properties=built["properties"],
        context={key: value for key, value in built["context"].items() if key != "library"},
        timestamp=datetime.fromisoformat(built["timestamp"]),
        message_id=built["messageId"],
    )
    assert queued
    assert built == {key: value for key, value in tracked.items() if value is not None}


@given(event=events, profile=profiles)
def test_what_is_unknown_is_absent_never_null_and_never_empty(event: Event, profile: str) -> None:
    def look(value: Any, path: str) -> None:
        assert value is not None, path
        assert value != "", path
        if isinstance(value, dict) and path != ".properties.queryParamsJson":
            for key, inner in value.items():
                look(inner, f"{path}.{key}")

    look(message(event, profile), "")


@given(event=events, profile=profiles)
def test_a_message_is_never_taken_for_smaller_than_the_library_would_measure_it(event: Event, profile: str) -> None:
    found = mapped(event, destination=a_destination(profile=profile, uninstalls=True))
    assert len(json.dumps(json.loads(found.wire))) <= MAX_MESSAGE_BYTES
    assert library_size(b'{"title":"' + b"\xe4\xbd\xa0" * 5_500 + b'"}') == 33_013


@given(event=events, profile=profiles)
def test_a_message_is_json_and_nothing_but_json(event: Event, profile: str) -> None:
    built = message(event, profile)
    assert json.loads(json.dumps(built, allow_nan=False)) == built


# --- what is not sent


@pytest.mark.parametrize("reason", ["consent", "gpc", "bot"])
def test_what_the_visitor_does_not_share_is_suppressed_with_the_reason(reason: str) -> None:
    found = mapped(an_event(suppressed=reason))
    assert (found.suppressed, found.wire, found.message_id) == (reason, b"", "")


def test_an_event_that_was_collected_for_another_partner_is_suppressed() -> None:
    found = mapped(an_event(partner_key="stranger"))
    assert (found.suppressed, found.wire) == ("partner_changed", b"")


@pytest.mark.parametrize("name", ["page_view", "install", "Install Attributed"])
def test_what_a_partners_own_systems_sent_is_sent_on_to_nobody(name: str) -> None:
    found = mapped(an_event(name, source="partner"), destination=a_destination(uninstalls=True))
    assert (found.suppressed, found.wire) == ("inbound", b"")


def test_uninstalls_go_only_where_they_are_asked_for() -> None:
    assert mapped(an_event("uninstall")).suppressed == "not_asked_for"
    assert mapped(an_event("uninstall"), destination=a_destination(uninstalls=True)).wire


def test_an_event_without_a_name_that_partners_know_is_parked() -> None:
    found = mapped(an_event("page_left"))
    assert found.wire == b""
    assert found.parked is not None
    assert (found.parked.reason, found.parked.detail) == ("unknown_event", "page_left")


def test_an_event_without_a_visitor_is_parked_because_segment_would_drop_it_behind_a_200() -> None:
    found = mapped(an_event("install", anonymous_id=""))
    assert found.wire == b""
    assert found.parked is not None
    assert found.parked.reason == "no_visitor"


def test_an_event_whose_details_cannot_be_read_is_parked() -> None:
    found = mapped(msgspec.structs.replace(an_event(), details=None))
    assert found.wire == b""
    assert found.parked is not None
    assert found.parked.reason == "unmappable"


@pytest.mark.parametrize("moment", [10**18, -(10**18), 10**30])
def test_an_event_of_an_impossible_time_is_parked(moment: int) -> None:
    found = mapped(an_event(occurred_at=moment))
    assert found.parked is not None
    assert found.parked.reason == "unmappable"


def of_size(size: int) -> Event:
    """A page view that makes a message of exactly this many bytes."""
    empty = len(json.dumps(message(an_event(details=Details(url="https://market.example/", title="x")))))
    return an_event(details=Details(url="https://market.example/", title="x" * (size - empty + 1)))


def test_a_message_of_32768_bytes_is_sent_and_one_of_a_byte_more_is_parked() -> None:
    largest = mapped(of_size(32_768))
    assert (library_size(largest.wire), largest.parked) == (32_768, None)
    over = mapped(of_size(32_769))
    assert over.wire == b""
    assert over.parked is not None
    assert (over.parked.reason, over.parked.detail) == ("too_large", "32769 bytes; Segment takes 32768")


@given(st.characters(exclude_categories=["Cs"]), st.integers(2_600, 33_000))
def test_the_limit_is_drawn_where_the_library_draws_it(character: str, times: int) -> None:
    details = Details(url="https://market.example/", label=character * times)
    found = mapped(an_event("cta_click", details, user_id=ACCOUNT), destination=a_destination(profile="segment"))
    short = message(an_event("cta_click", Details(url="https://market.example/"), user_id=ACCOUNT), "segment")
    short["properties"]["label"] = details.label
    try:
        Client("any", send=False).track(
            user_id=short["userId"],
            anonymous_id=short["anonymousId"],
            event=short["event"],
            properties=short["properties"],
            context=short["context"],
            timestamp=datetime.fromisoformat(short["timestamp"]),
            message_id=short["messageId"],
        )
    except RuntimeError:
        assert found.parked is not None
        assert found.parked.reason == "too_large"
    else:
        assert found.wire


def test_size_counts_characters_beyond_ascii_as_they_are_escaped() -> None:
    details = Details(url="https://market.example/", title="漢" * 5_500)  # 16,500 bytes as UTF-8, 33,000 escaped
    found = mapped(an_event(details=details))
    assert found.parked is not None
    assert found.parked.reason == "too_large"


# --- partners apart


@settings(max_examples=200)
@given(st.lists(st.tuples(events, st.booleans(), profiles), max_size=20))
def test_no_partner_gets_a_byte_of_what_was_collected_for_another(mixed: list[tuple[Event, bool, str]]) -> None:
    """Both partners' events in both apps' runs, as after an app has changed hands; every id names its partner."""
    apps = {
        "owner": an_app(),
        "stranger": an_app(app_key="com.stranger.notes", partner_key="stranger", partner_id="1213333", plugin_id="12"),
    }
    for number, (event, is_strangers, profile) in enumerate(mixed):
        partner = "stranger" if is_strangers else "owner"
        mark = f"{partner}-{number}-"
        said = Details(url=f"https://{mark}.example/{mark}", title=mark, query={"id": mark}, label=mark, target=mark)
        told = an_event(
            event.name,
            said,
            partner_key=partner,
            anonymous_id=mark + event.anonymous_id,
            user_id=mark,
            partner_anonymous_id=mark,
        )
        for reader, app in apps.items():
            found = mapped(told, app, a_destination(app_key=app.app_key, profile=profile, uninstalls=True))
            text = found.wire.decode()
            if reader == partner:
                assert mark in text
            else:
                assert (found.wire, found.parked, found.message_id) == (b"", None, "")
                assert found.suppressed == "partner_changed"
