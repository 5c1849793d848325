"""The snippet's door: what is stored of an event, what is refused, how that is told, and that one harms no other."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from conftest import DAY_MS, LISTING, OTHER_VISITOR, SITE, VISITOR, Cast, Doors, iso, view
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.doors.wire import milliseconds, occurred_at
from store.errors import Refused

MESSAGE_ID = "019d38d2-91db-7b3e-8a55-0c6b6a1f9d20"
BAD_TIME = "invalid: the time is not between the year 2000 and tomorrow - at `$.occurredAt`"
NO_ZONE = "invalid: Expected `datetime` with a timezone component - at `$.occurredAt`"
HOSTILE = [
    "'; drop table events; --",
    '"><script>alert(1)</script>',
    "%s%d{0}",
    "../../etc/passwd",
    "\r\nSet-Cookie: a=b",
]


def test_every_field_of_an_event_is_stored_where_it_belongs(doors: Doors, cast: Cast) -> None:
    event = view(
        messageId=MESSAGE_ID,
        name="cta_click",
        url=f"{LISTING}?hosting=cloud&utm_source=news",
        referrer="https://www.google.com/search?q=charts",
        title="Charts for everyone",
        label="Start free trial",
        target=f"{LISTING}/get#plans",
        partner="t2k0ab.com.owner.charts:visitor%2D17",
        user=cast.vault.sign_visitor("account-17", "com.owner.charts"),
        consent={"measurement": True, "sharing": True},
        gpc=False,
        version="0.1.0",
    )
    answer = doors.send(event, User_Agent="Firefox/148.0 (X11)", Accept_Language="en-GB,en;q=0.5")
    assert (answer.status_code, answer.content) == (204, b"")
    stored = cast.event()
    assert 0 <= stored["received_at"] - stored["occurred_at"] < 60_000
    del stored["received_at"], stored["occurred_at"]
    assert stored == {
        "seq": 1,
        "app_key": "com.owner.charts",
        "message_id": bytes.fromhex("019d38d291db7b3e8a550c6b6a1f9d20"),
        "type": "track",
        "name": "cta_click",
        "source": "browser",
        "partner_key": "owner",
        "anonymous_id": VISITOR,
        "user_id": cast.vault.user_id("account-17"),
        "partner_anonymous_id": "visitor-17",
        "suppressed": None,
        "details": {
            "url": f"{LISTING}?hosting=cloud&utm_source=news",
            "query": {"hosting": "cloud", "utm_source": "news"},
            "referrer": "https://www.google.com/search?q=charts",
            "title": "Charts for everyone",
            "label": "Start free trial",
            "target": f"{LISTING}/get#plans",
            "user_agent": "Firefox/148.0 (X11)",
            "locale": "en-GB",
            "sharing": True,
            "version": "0.1.0",
        },
    }


def test_what_is_unknown_is_absent_and_never_null(doors: Doors, cast: Cast) -> None:
    doors.send(view(title="", label=""))
    assert cast.event()["details"] == {"url": LISTING, "query": {}, "user_agent": "Firefox/148.0"}


def test_a_message_id_that_is_no_uuid_is_kept_as_text_too(doors: Doors, cast: Cast) -> None:
    doors.send(view(messageId="click 17"))
    doors.send(view(messageId="click 17"))
    assert cast.event()["details"]["message_id"] == "click 17"
    assert cast.balance() == {"received": 2, "stored": 1, "duplicate": 1, "rejected": 0, "shed": 0}


def test_a_message_sent_again_is_a_success_and_stored_once(doors: Doors, cast: Cast) -> None:
    event = view()
    assert [doors.send(event).status_code, doors.send(event, event).status_code] == [204, 204]
    assert cast.balance() == {"received": 3, "stored": 1, "duplicate": 2, "rejected": 0, "shed": 0}


def test_fields_that_nobody_knows_are_ignored(doors: Doors, cast: Cast) -> None:
    assert doors.send(view(surprise={"deep": [1]}, partnerId="1213333", pluginId="9")).status_code == 204
    assert cast.event()["partner_key"] == "owner"
    assert "surprise" not in cast.event()["details"]


def test_of_a_repeated_key_the_last_value_counts(doors: Doors, cast: Cast) -> None:
    text = json.dumps({"events": [view(title="one")]}).replace('"title": "one"', '"title":"one","title":"two"')
    assert doors.post(text.encode()).status_code == 204
    assert cast.event()["details"]["title"] == "two"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"messageId": None}, "invalid: Object missing required field `messageId`"),
    ({"messageId": ""}, "invalid: Expected `str` of length >= 1 - at `$.messageId`"),
    ({"messageId": "x" * 101}, "invalid: Expected `str` of length <= 100 - at `$.messageId`"),
    ({"messageId": 17}, "invalid: Expected `str`, got `int` - at `$.messageId`"),
    ({"name": "install"}, "invalid: Invalid enum value 'install' - at `$.name`"),
    ({"name": None}, "invalid: Object missing required field `name`"),
    ({"app": None}, "invalid: Object missing required field `app`"),
    ({"app": "com.nobody.nothing"}, "unknown_app: no app has this key - at `$.app`"),
    ({"app": "COM.OWNER.CHARTS"}, "unknown_app: no app has this key - at `$.app`"),
    ({"app": "com.owner.charts\n"}, "unknown_app: no app has this key - at `$.app`"),
    ({"app": "com.owner"}, "unknown_app: no app has this key - at `$.app`"),
    ({"app": "x" * 201}, "invalid: Expected `str` of length <= 200 - at `$.app`"),
    ({"anonymousId": None}, "invalid: Object missing required field `anonymousId`"),
    ({"anonymousId": "17"}, "invalid: not 40 hex digits - at `$.anonymousId`"),
    ({"anonymousId": VISITOR.upper()}, "invalid: not 40 hex digits - at `$.anonymousId`"),
    ({"anonymousId": VISITOR + "\n"}, "invalid: not 40 hex digits - at `$.anonymousId`"),
    ({"url": None}, "invalid: Object missing required field `url`"),
    ({"url": ""}, "invalid: Expected `str` of length >= 1 - at `$.url`"),
    ({"url": "x" * 8001}, "invalid: Expected `str` of length <= 8000 - at `$.url`"),
    ({"referrer": "x" * 8001}, "invalid: Expected `str` of length <= 8000 - at `$.referrer`"),
    ({"title": "x" * 1001}, "invalid: Expected `str` of length <= 1000 - at `$.title`"),
    ({"label": 1}, "invalid: Expected `str | null`, got `int` - at `$.label`"),
    ({"version": "x" * 41}, "invalid: Expected `str` of length <= 40 - at `$.version`"),
    ({"consent": True}, "invalid: Expected `object | null`, got `bool` - at `$.consent`"),
    ({"consent": {"sharing": "no"}}, "invalid: Expected `bool`, got `str` - at `$.consent.sharing`"),
    ({"gpc": "1"}, "invalid: Expected `bool`, got `str` - at `$.gpc`"),
    ({"occurredAt": None}, "invalid: Object missing required field `occurredAt`"),
    ({"occurredAt": "yesterday"}, "invalid: Invalid RFC3339 encoded datetime - at `$.occurredAt`"),
    ({"occurredAt": "2026-01-01T00:00:00"}, NO_ZONE),
    ({"occurredAt": 946684799999}, BAD_TIME),
    ({"occurredAt": 10**15}, BAD_TIME),
    ({"occurredAt": -1}, "invalid: Expected `int` >= 0 - at `$.occurredAt`"),
    ({"occurredAt": "infinity"}, "invalid: Invalid RFC3339 encoded datetime - at `$.occurredAt`"),
    ({"occurredAt": "1999-12-31T23:59:59.999Z"}, BAD_TIME),
    ({"occurredAt": iso(2 * DAY_MS)}, BAD_TIME),
    ({"occurredAt": "0001-01-01T00:00:00+23:59"}, BAD_TIME),
    ({"occurredAt": "9999-12-31T23:59:59-23:59"}, BAD_TIME),
    ({"title": "a\0b"}, "invalid: the text holds NUL or half a character - at `$.title`"),
    ({"messageId": "a\0b"}, "invalid: the text holds NUL or half a character - at `$.messageId`"),
    ({"partner": "a\0b"}, "invalid: the text holds NUL or half a character - at `$.partner`"),
    ({"consent": {"measurement": False}}, "consent_refused: the visitor did not agree to measurement"),
]  # fmt: skip


def test_a_bad_event_is_refused_with_the_path_of_what_is_wrong_and_its_neighbours_are_stored(
    doors: Doors, cast: Cast
) -> None:
    stored: list[str] = []
    for changed, reason in BAD:
        one, other = view(), view()
        answer = doors.send(one, view(**changed), other)
        assert answer.status_code == 200, changed
        assert answer.json() == {"stored": 2, "duplicate": 0, "rejected": [{"index": 1, "reason": reason}]}
        assert answer.headers["X-Footfall-Reason"] == reason.partition(":")[0]
        stored += [event["messageId"].replace("-", "") for event in (one, other)]
    assert [event["message_id"].hex() for event in cast.events()] == stored
    n = len(BAD)
    assert cast.balance() == {"received": 3 * n, "stored": 2 * n, "duplicate": 0, "rejected": n, "shed": 0}


@pytest.mark.parametrize("item", ["5", "null", "[]", '"text"', '{"a":', "[" * 5000 + "]" * 5000, '{"x":1e999}'])
def test_an_item_that_is_no_event_is_refused_alone_when_the_rest_can_be_read(
    doors: Doors, cast: Cast, item: str
) -> None:
    answer = doors.post(f'{{"events":[{json.dumps(view())},{item}]}}'.encode())
    if answer.status_code == 200:
        assert [rejected["index"] for rejected in answer.json()["rejected"]] == [1]
        assert cast.balance()["stored"] == 1
    else:
        assert answer.json()["reason"] in ("invalid", "too_deep")
        assert cast.balance()["stored"] == 0
    assert cast.balance()["rejected"] == 1


def test_when_all_events_are_bad_the_answer_is_400_so_that_nobody_sends_them_again(doors: Doors, cast: Cast) -> None:
    answer = doors.send(view(app="no"), view(name="no"))
    assert answer.status_code == 400
    assert [rejected["index"] for rejected in answer.json()["rejected"]] == [0, 1]
    assert cast.balance() == {"received": 2, "stored": 0, "duplicate": 0, "rejected": 2, "shed": 0}


def test_a_duplicate_beside_a_bad_event_is_a_success(doors: Doors) -> None:
    event = view()
    doors.send(event)
    answer = doors.send(event, view(app="no"))
    assert (answer.status_code, answer.json()["duplicate"]) == (200, 1)


@pytest.mark.parametrize(
    ("body", "reason", "status"),
    [
        (b"", "invalid", 400),
        (b"null", "invalid", 400),
        (b"[]", "invalid", 400),
        (b"{}", "invalid", 400),
        (b'{"events":{}}', "invalid", 400),
        (b'{"events":[]}', "invalid", 400),
        (b'{"events":[],"sentAt":"now"}', "invalid", 400),
        (b'\xef\xbb\xbf{"events":[]}', "invalid", 400),
        (b'{"events":[NaN]}', "invalid", 400),
        (b'{"events":[0]} ', "invalid", 400),
        (b'{"events":[0]}x', "invalid", 400),
        (b'{"events":["\xff"]}', "not_utf8", 400),
        (b'{"events":["\xc0\xaf"]}', "not_utf8", 400),
        (b'{"events":["\xed\xa0\x80"]}', "not_utf8", 400),
        (b'{"events":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "too_deep", 400),
        (b'{"events":[' + b'{"a":' * 9_000 + b"1" + b"}" * 9_000 + b"]}", "too_deep", 400),
        (b'{"events":[' + b",".join([b"0"] * 101) + b"]}", "invalid", 400),
        (b" " * 65_537, "too_large", 413),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_as_one_message(
    doors: Doors, cast: Cast, body: bytes, reason: str, status: int
) -> None:
    answer = doors.post(body)
    assert answer.status_code == status
    assert answer.headers["X-Footfall-Reason"] == reason
    assert cast.events() == []
    assert cast.balance()["rejected"] == 1


def test_a_hundred_events_and_64_kib_are_taken(doors: Doors, cast: Cast) -> None:
    assert doors.send(*(view() for _ in range(100))).status_code == 204
    body = json.dumps({"events": [view()]}).encode()
    assert doors.post(body + b" " * (65_536 - len(body))).status_code == 204
    assert len(cast.events()) == 101


def test_a_body_without_a_length_is_counted_as_it_comes(doors: Doors, cast: Cast) -> None:
    def pieces() -> Any:
        for _ in range(5):
            yield b" " * 16_384

    answer = doors.client.post("/e", content=pieces(), headers={"Origin": SITE})
    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")


@pytest.mark.parametrize("half", ["\\ud83d", "\\uDE42", "\\ude42\\ud83d", "\\\\\\ud83d", "\\ud83d\\u0061"])
def test_half_a_character_is_refused_where_it_stands_and_sinks_no_other_event(
    doors: Doors, cast: Cast, half: str
) -> None:
    body = json.dumps({"events": [view(title="\U0001f642"), view(title="MARK"), view(title="\\ud83d")]})
    answer = doors.post(body.replace("MARK", f"cut {half}").encode())
    assert answer.json()["rejected"] == [
        {"index": 1, "reason": "invalid: the text holds NUL or half a character - at `$.title`"}
    ]
    assert [event["details"]["title"] for event in cast.events()] == ["\U0001f642", "\\ud83d"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(doors: Doors, cast: Cast, text: str) -> None:
    answer = doors.send(view(messageId=text, title=text, label=text, target=text, version=text[:40]))
    assert answer.status_code == 204
    details = cast.event()["details"]
    assert (details["title"], details["label"], details["target"], details["message_id"]) == (text, text, text, text)
    assert text not in str(answer.headers)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(view())) | st.text(), inner),
        max_leaves=12,
    ),
    st.sampled_from(sorted([*view(), "user", "consent", "gpc", "referrer", "target", "partner"])),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_json_comes_is_answered_and_the_sums_are_exact(
    doors: Doors, cast: Cast, value: Any, field: str, whole: bool
) -> None:
    body = json.dumps(value if whole else {"events": [view(), view() | {field: value}]}).encode()
    assert doors.post(body).status_code in (200, 204, 400)
    assert cast.balance()["shed"] == 0


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_come_are_answered(doors: Doors, cast: Cast, body: bytes) -> None:
    assert doors.post(body).status_code == 400
    assert doors.post(b'{"events":[' + body + b"]}").status_code == 400


# --- times

RECEIVED = milliseconds(datetime(2026, 3, 29, 9, 11, 33, tzinfo=UTC))


@pytest.mark.parametrize(
    ("stated", "sent", "occurred"),
    [
        ("09:11:31.147", None, "09:11:31.147"),
        ("09:11:31.147", "09:11:33", "09:11:31.147"),  # a right clock
        ("08:11:31.147", "08:11:33", "09:11:31.147"),  # an hour late
        ("10:11:31.147", "10:11:33", "09:11:31.147"),  # an hour early
        ("09:11:33.001", None, "09:11:33"),  # not after it came
        ("09:11:34", "09:11:33", "09:11:33"),  # nor by correction
        ("23:00:00", None, "09:11:33"),  # before tomorrow, and yet not after it came
    ],
)
def test_the_senders_clock_is_corrected_by_when_it_says_it_sent(stated: str, sent: str | None, occurred: str) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"2026-03-29T{text}+00:00")

    found = occurred_at(at(stated), milliseconds(at(sent)) if sent else None, RECEIVED)
    assert found == milliseconds(at(occurred))


@given(
    st.datetimes(timezones=st.timezones()),
    st.none() | st.datetimes(timezones=st.timezones()),
    st.integers(milliseconds(datetime(2024, 1, 1, tzinfo=UTC)), milliseconds(datetime(2100, 1, 1, tzinfo=UTC))),
)
def test_no_time_before_2000_and_none_after_receiving_is_ever_stored(
    stated: datetime, sent: datetime | None, received: int
) -> None:
    try:
        found = occurred_at(stated, milliseconds(sent) if sent else None, received)
    except Refused:
        assert stated.astimezone(UTC).year < 2000 or milliseconds(stated) > received + DAY_MS
    else:
        assert 946_684_800_000 <= found <= received


def test_an_offset_of_the_clock_reaches_the_log(doors: Doors, cast: Cast) -> None:
    doors.send(view(occurredAt=iso(-3_600_000 - 2_000)), sent_at=iso(-3_600_000))
    stored = cast.event()
    assert 1_000 < stored["received_at"] - stored["occurred_at"] < 4_000


def test_a_bad_sent_at_is_refused_for_all(doors: Doors) -> None:
    answer = doors.send(view(), sent_at="just now")
    assert (answer.status_code, answer.json()["detail"]) == (400, "Invalid RFC3339 encoded datetime - at `$.sentAt`")


# --- consent, Global Privacy Control, bots


@pytest.mark.parametrize(
    ("setting", "consent", "suppressed"),
    [
        ("assumed", None, None),
        ("assumed", {}, "consent"),
        ("assumed", {"sharing": True}, None),
        ("assumed", {"sharing": False}, "consent"),
        ("required", None, "consent"),
        ("required", {"sharing": True}, None),
        ("required", {"sharing": False}, "consent"),
    ],
)
def test_the_visitors_word_decides_who_may_get_an_event(
    open_doors: Callable[..., Doors], cast: Cast, setting: str, consent: Any, suppressed: str | None
) -> None:
    assert open_doors(consent=setting).send(view(consent=consent)).status_code == 204
    assert cast.event()["suppressed"] == suppressed


def test_global_privacy_control_counts_whoever_says_it(doors: Doors, cast: Cast) -> None:
    agreed = {"measurement": True, "sharing": True}
    doors.send(view(consent=agreed, gpc=False), Sec_GPC="1")
    doors.send(view(consent=agreed, gpc=True))
    doors.send(view(consent=agreed), Sec_GPC="0")
    assert [event["suppressed"] for event in cast.events()] == ["gpc", "gpc", None]


@pytest.mark.parametrize(
    ("agent", "suppressed"),
    [
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot"),
        ("Mozilla/5.0 (compatible; AhrefsBot/7.0)", "bot"),
        ("facebookexternalhit/1.1", "bot"),
        ("Mozilla/5.0 AppleWebKit/537.36 Chrome-Lighthouse", "bot"),
        ("ChatGPT-User/1.0", "bot"),
        ("Some spider", "bot"),
        ("Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/128.0", None),
        ("python-requests/2.32", None),
        ("Mozilla/5.0 (Linux; Android 10; CUBOT NOTE 20) Chrome/128.0", None),
        ("Mozilla/5.0 (Windows NT 10.0; rv:148.0) Gecko/20100101 Firefox/148.0", None),
        ("Robotics Browser", None),
    ],
)
def test_a_bot_is_an_agent_that_says_so(doors: Doors, cast: Cast, agent: str, suppressed: str | None) -> None:
    doors.send(view(), User_Agent=agent)
    assert cast.event()["suppressed"] == suppressed


def test_the_visitors_own_word_comes_before_ours_on_bots(doors: Doors, cast: Cast) -> None:
    doors.send(view(consent={"sharing": False}), User_Agent="Googlebot/2.1")
    assert cast.event()["suppressed"] == "consent"


@pytest.mark.parametrize(
    ("language", "locale"),
    [("de-CH, de;q=0.9", "de-CH"), ("fr;q=0.1", "fr"), ("*", None), ("", None), ("<script>", None), ("x" * 36, None)],
)
def test_the_locale_is_the_first_language_when_it_looks_like_one(
    doors: Doors, cast: Cast, language: str, locale: str | None
) -> None:
    doors.send(view(), Accept_Language=language)
    assert cast.event()["details"].get("locale") == locale


def test_a_very_long_agent_is_cut(doors: Doors, cast: Cast) -> None:
    doors.send(view(), User_Agent="a" * 5_000)
    assert cast.event()["details"]["user_agent"] == "a" * 512


# --- what the listing says of its visitors


def test_a_page_view_that_says_something_of_its_visitor_is_remembered(doors: Doors, cast: Cast) -> None:
    doors.send(view())
    doors.send(view(name="tab_click", anonymousId=OTHER_VISITOR, consent={"sharing": False}))
    assert cast.rows("select * from visitors") == []
    doors.send(view(consent={"sharing": False}))
    assert cast.rows("select app_key, anonymous_id, suppressed from visitors") == [
        ("com.owner.charts", VISITOR, "consent")
    ]
    doors.send(view(url=f"{LISTING}?partner_anonymous_id=p1"))  # says nothing on sharing
    assert cast.rows("select partner_anonymous_id, suppressed from visitors") == [("p1", "consent")]
    doors.send(view(consent={"sharing": True}))
    assert cast.rows("select partner_anonymous_id, suppressed from visitors") == [("p1", "")]
    doors.send(view(), Sec_GPC="1")
    assert cast.rows("select suppressed from visitors") == [("gpc",)]


def test_the_last_campaign_is_remembered_where_it_may_be_shared(doors: Doors, cast: Cast) -> None:
    def campaign(url: str = LISTING, header: str = "0", **changed: Any) -> Any:
        doors.send(view(url=url, **changed), Sec_GPC=header)
        kept = cast.rows("select campaign from visitors")
        return kept and (msgspec.json.decode(kept[0][0])["parts"] if kept[0][0] else kept[0][0])

    news, ad = f"{LISTING}?utm_source=news&utm_campaign=Spring%20sale", f"{LISTING}?gclid=g1&hosting=cloud"
    assert campaign() == []
    assert campaign(news, name="tab_click") == []
    assert campaign(news) == {"source": "news", "name": "Spring sale"}
    assert campaign() == {"source": "news", "name": "Spring sale"}
    assert campaign(ad, consent={"sharing": True}) == {"gclid": "g1"}
    assert campaign(news, consent={"sharing": False}) == ""
    assert campaign(ad) == {"gclid": "g1"}
    assert campaign(news, "1") == ""


def test_what_a_bot_comes_by_is_no_campaign(doors: Doors, cast: Cast) -> None:
    doors.send(view(url=f"{LISTING}?utm_source=news"), User_Agent="Googlebot/2.1")
    assert cast.rows("select * from visitors") == []


def test_a_campaign_is_kept_with_its_time_and_its_partner(doors: Doors, cast: Cast) -> None:
    doors.send(view(url=f"{LISTING}?utm_source=news"))
    [(kept,)] = cast.rows("select campaign from visitors")
    told = {"at": cast.event()["occurred_at"], "partner": "owner", "parts": {"source": "news"}}
    assert msgspec.json.decode(kept) == told
