"""What must never be kept, or never reach another partner: other partners' ids, secrets in URLs, tokens, addresses."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from conftest import LISTING, SITE, VISITOR, Cast, Doors, view
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collector.scrub import SECRET_PARAMETERS, scrub, scrub_target

pytestmark = pytest.mark.only("sqlite", "what is kept is decided before it comes to a store")

SECRET = "s3cr3tMARKER"  # noqa: S105 - what must be found nowhere

# --- the partner's id for a visitor


@pytest.mark.parametrize(
    ("url", "partner", "kept"),
    [
        (LISTING, "t2k0ab.com.owner.charts:p1", "p1"),
        (LISTING, "t2k0ab.com.owner.boards:p1", "p1"),  # a sibling of the same partner
        (LISTING, "t2k0ab.com.stranger.notes:p1", None),
        (LISTING, "t2k0ab.com.nobody.nothing:p1", None),
        (LISTING, "t2k0ab.:p1", None),
        (LISTING, "com.owner.charts:p1", None),
        (LISTING, "t2k0ab.com.owner.charts", None),
        (LISTING, "t2k0ab.", None),
        (LISTING, "", None),
        (f"{LISTING}?partner_anonymous_id=p2", "t2k0ab.com.owner.charts:p1", "p2"),
        (f"{LISTING}?partner_anonymous_id=p2", None, "p2"),
        (f"{LISTING}?partner_anonymous_id=p2", "t2k0ab.com.stranger.notes:p1", "p2"),
        (f"{LISTING}?partner_anonymous_id=p2&partner_anonymous_id=p3", None, "p3"),
        (f"{LISTING}?PARTNER_ANONYMOUS_ID=p2", None, "p2"),
        (f"{LISTING}?partner_anonymous_id=a%20b%3Bc", None, "a b;c"),
        (f"{LISTING}?partner_anonymous_id=", None, None),
        (f"{LISTING}?partner_anonymous_id=%C3%A9", "t2k0ab.com.owner.charts:p1", "p1"),
        (f"{LISTING}?partner_anonymous_id={'x' * 201}", None, None),
        (f"{LISTING}#partner_anonymous_id=p2", None, None),
        (LISTING, "t2k0ab.com.owner.charts:a%20b%3Bc+d:e%25", "a b;c d:e%"),
        (LISTING, "t2k0ab.com.owner.charts:" + "x" * 200, "x" * 200),
        (LISTING, "t2k0ab.com.owner.charts:" + "x" * 201, None),
        (LISTING, "t2k0ab.com.owner.charts:" + "%61" * 201, None),
        (LISTING, "t2k0ab.com.owner.charts:%C3%A9", None),
        (LISTING, "t2k0ab.com.owner.charts:%ff%", None),
        (LISTING, "t2k0ab.com.owner.charts:a%00b", None),
        (LISTING, "t2k0ab.com.owner.charts:", None),
    ],
)
def test_a_partners_id_is_taken_only_where_it_arrived_on_a_listing_of_that_partner(
    doors: Doors, cast: Cast, url: str, partner: str | None, kept: str | None
) -> None:
    answer = doors.send(view(url=url, partner=partner))
    assert answer.status_code == 204
    assert cast.event()["partner_anonymous_id"] == kept


def test_an_id_is_taken_out_of_every_url_also_of_those_that_lead_elsewhere(doors: Doors, cast: Cast) -> None:
    elsewhere = f"{SITE}/apps/1219127/notes?a=1&partner_anonymous_id={SECRET}&b=2"
    doors.send(view(url=f"{LISTING}?x=1&partner_anonymous_id=p1", referrer=elsewhere, target=elsewhere))
    details = cast.event()["details"]
    assert details["url"] == f"{LISTING}?x=1"
    assert details["query"] == {"x": "1"}
    assert details["referrer"] == details["target"] == f"{SITE}/apps/1219127/notes?a=1&b=2"
    assert SECRET.encode() not in cast.every_byte()


def test_what_a_stranger_says_of_an_app_is_stored_as_that_apps_partners(doors: Doors, cast: Cast) -> None:
    doors.send(view(app="com.stranger.notes", partner="t2k0ab.com.owner.charts:p1"))
    stored = cast.event()
    assert (stored["partner_key"], stored["partner_anonymous_id"]) == ("stranger", None)
    assert cast.rows("select * from visitors") == []


# --- URLs


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://a.example/p?x=1&y=%20z+q", "https://a.example/p?x=1&y=%20z+q"),
        ("https://a.example/p?", "https://a.example/p"),
        ("https://a.example", "https://a.example"),
        ("https://a.example/p#access_token=1", "https://a.example/p"),
        ("https://me:pw@a.example/p", "https://a.example/p"),
        ("https://me@a.example:8080/p?x=@", "https://a.example:8080/p?x=@"),
        ("https://a.example/@handle?x=1", "https://a.example/@handle?x=1"),
        ("https://a.example/p?token=1&x=1&Password=2", "https://a.example/p?x=1"),
        ("https://a.example/p?%74oken=1", "https://a.example/p"),
        ("https://a.example/p?accessToken=1&session-id=2&API_KEY=3", "https://a.example/p"),
        ("https://a.example/p?to=ann%40b.example&x=1", "https://a.example/p?x=1"),
        ("https://a.example/p?q=mail+ann@b.example+now", "https://a.example/p"),
        ("https://a.example/p?ann@b.example", "https://a.example/p"),
        ("https://a.example/p?keyword=a&tokens=b&code2=c", "https://a.example/p?keyword=a&tokens=b&code2=c"),
        ("https://a.example/p?a&b=&=c&&d=1=2", "https://a.example/p?a&b=&d=1=2"),
        ("/relative?token=1", "/relative"),
        ("?token=1", ""),
        ("about:blank", "about:blank"),
    ],
)
def test_what_must_not_be_kept_is_cut_out_of_a_url_and_the_rest_stays_as_it_is(url: str, kept: str) -> None:
    assert scrub(url).url == kept


def test_the_query_is_a_mapping_in_which_the_last_value_of_a_name_stays() -> None:
    found = scrub("https://a.example/p?x=1&x=2&y=%C3%BC&z=a+b&n=%00&token=t")
    assert found.query == {"x": "2", "y": "ü", "z": "a b", "n": "\ufffd"}
    assert found.path == "/p"
    assert scrub("https://a.example").path == "/"


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("tab/reviews", "tab/reviews"),
        ("start-trial", "start-trial"),
        ("mailto:sales@owner.example", "mailto:sales@owner.example"),
        (f"{LISTING}#pricing", f"{LISTING}#pricing"),
        (f"{LISTING}?token=1#access_token=2", LISTING),
        (f"{LISTING}?x=1#pricing", f"{LISTING}?x=1#pricing"),
    ],
)
def test_a_target_keeps_its_place_on_the_page_and_no_secret(target: str, kept: str) -> None:
    assert scrub_target(target) == kept


@given(
    st.sampled_from(sorted(SECRET_PARAMETERS)),
    st.sampled_from([str.lower, str.upper, str.title, lambda name: name[:2] + "_" + name[2:], quote]),
    st.lists(st.tuples(st.sampled_from("abxyz"), st.sampled_from(["", "1", "%20", "é", "=", "%"])), max_size=4),
    st.integers(0, 4),
    st.sampled_from(["url", "referrer", "target"]),
    st.sampled_from([{}, {"name": "nonsense"}, {"app": "com.nobody"}, {"title": "a\0"}, {"anonymousId": "x"}]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_value_of_a_secret_parameter_survives_whether_the_event_is_stored_or_refused(
    doors: Doors, cast: Cast, name: str, spelt: Any, others: list[tuple[str, str]], at: int, field: str, bad: Any
) -> None:
    pieces = [f"{other}={value}" for other, value in others]
    pieces.insert(at, f"{spelt(name)}={SECRET}")
    answer = doors.send(view(**{field: f"{LISTING}?{'&'.join(pieces)}#{SECRET}={SECRET}"}, **bad))
    assert answer.status_code == (400 if bad else 204)
    assert SECRET.encode() not in cast.every_byte()


@pytest.mark.parametrize(
    ("name", "target", "label", "kept"),
    [
        ("cta_click", "/buy?plan=a&token=1", "Buy", f"{SITE}/buy?plan=a"),
        ("cta_click", "/buy#plans", "Buy", f"{SITE}/buy#plans"),
        ("cta_click", "buy?token=1", "Buy", f"{LISTING.rpartition('/')[0]}/buy"),
        ("cta_click", "#plans", "Buy", f"{LISTING}#plans"),
        ("cta_click", "mailto:sales@owner.example", "Buy", "mailto:sales@owner.example"),
        ("cta_click", "start-trial", "Buy", "start-trial"),
        ("cta_click", "//[", "Buy", None),
        ("cta_click", "", "Buy", None),
        ("tab_click", "reviews", "Reviews (12)", "tab/reviews"),
        ("tab_click", "tab/reviews", "Reviews (12)", "tab/reviews"),
        ("tab_click", "", "Über uns & mehr", "tab/über-uns-mehr"),
        ("tab_click", "?tab=1&token=1", "Reviews (12)", "tab/reviews-12"),
        ("tab_click", "", "★★★", None),
        ("tab_click", None, None, None),
    ],
)
def test_a_link_is_completed_and_scrubbed_and_a_tab_is_named(
    doors: Doors, cast: Cast, name: str, target: str | None, label: str | None, kept: str | None
) -> None:
    assert doors.send(view(name=name, target=target, label=label)).status_code == 204
    assert cast.event()["details"].get("target") == kept


# --- signed-in visitors


@pytest.mark.parametrize("account", ["account-17", "ü@\u4e2d", "1"])
def test_a_signed_in_visitor_is_known_by_the_hash_of_the_account(doors: Doors, cast: Cast, account: str) -> None:
    doors.send(view(user=cast.vault.sign_visitor(account, "com.owner.charts")))
    assert cast.event()["user_id"] == cast.vault.user_id(account)


def test_a_token_of_another_app_a_forged_one_and_nonsense_are_anonymous(doors: Doors, cast: Cast) -> None:
    token = cast.vault.sign_visitor("account-17", "com.owner.boards")
    forged = cast.vault.sign_visitor("account-17", "com.owner.charts").replace("a", "b")
    answers = [doors.send(view(user=user)).status_code for user in (token, forged, "", "x", "é", "." * 60_000)]
    assert answers == [204] * 6
    assert {event["user_id"] for event in cast.events()} == {None}


def bodies_with_a_token(token: str) -> list[bytes]:
    event = view(user=token)
    good = json.dumps({"events": [event]})
    return [
        json.dumps({"events": [event | {"name": "no"}]}).encode(),
        json.dumps({"events": [event | {"title": "a\0"}]}).encode(),
        json.dumps({"events": [event | {"app": "com.nobody"}]}).encode(),
        json.dumps({"events": [event] * 101}).encode(),
        json.dumps({"events": event}).encode(),
        json.dumps([event]).encode(),
        json.dumps({"events": [{"nested": [event]}]}).encode(),
        json.dumps(event).encode(),
        good[:-1].encode(),
        good.replace('"user"', '"us\\u0065r"')[:-2].encode(),
        good.replace('"user"', '"us\\u0065r"').replace("page_view", "no").encode(),
        good.replace('"user": ', f'"user": 1, "x": {{"user": "{token}"}}, "x": 1, "user": ').encode()[:-1],
        good.encode("utf-16"),
        good.encode() + b"\xff",
    ]


@pytest.mark.parametrize("number", range(14))
def test_a_visitors_token_is_never_kept_with_a_refused_message(doors: Doors, cast: Cast, number: int) -> None:
    token = cast.vault.sign_visitor("account-17", "com.owner.charts")
    assert doors.post(bodies_with_a_token(token)[number]).status_code == 400
    assert cast.balance()["rejected"] >= 1
    kept = b" ".join(body for _, _, body in cast.rejections())
    for text in (token.encode(), token.encode("utf-16")[2:], token.partition(".")[0].encode()):
        assert text not in kept


# --- what is kept of a refused message


def test_a_refused_message_is_kept_as_it_came_when_nothing_in_it_is_delicate(doors: Doors, cast: Cast) -> None:
    doors.post(b'{"events": [ {"name":"no"}, 5 ]}')
    assert cast.rejections() == [("", "invalid", b'{"name":"no"}'), ("", "invalid", b"5")]


def test_of_a_refused_message_the_delicate_parts_are_taken_out(doors: Doors, cast: Cast) -> None:
    doors.send(view(name="no", url=f"{LISTING}?token={SECRET}&x=1", partner=SECRET, user=SECRET))
    ((_, _, body),) = cast.rejections()
    kept = json.loads(body)
    assert (kept["url"], kept["partner"], kept["user"]) == (f"{LISTING}?x=1", "[taken out]", "[taken out]")
    assert kept["anonymousId"] == VISITOR


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"name": "no"},
        {"name": SECRET},
        {"title": "a\0"},
        {"app": "com.nobody"},
        {"occurredAt": "never"},
        {"url": "x" * 9_000},
    ],
)
def test_nothing_is_kept_of_a_visitor_who_refused_measurement_whatever_else_is_wrong(
    doors: Doors, cast: Cast, changed: dict[str, Any]
) -> None:
    doors.send(view(**{"label": SECRET, "consent": {"measurement": False, "sharing": True}} | changed))
    assert [body for _, _, body in cast.rejections()] == [b""]
    assert cast.events() == []
    assert SECRET.encode() not in cast.every_byte()


def test_nothing_is_kept_of_many_visitors_of_whom_one_refused_measurement(doors: Doors, cast: Cast) -> None:
    refused = view(label=SECRET, consent={"measurement": False})
    doors.post(json.dumps({"events": [refused] * 101}).encode())
    doors.post(json.dumps({"events": [refused]}).encode()[:-1])
    assert SECRET.encode() not in cast.every_byte()


def test_what_is_kept_is_short_and_after_a_thousand_of_a_kind_nothing_more_is(doors: Doors, cast: Cast) -> None:
    doors.post(b'{"events":[{"name":"' + b"x" * 60_000 + b'"}]}')
    assert [len(body) for _, _, body in cast.rejections()] == [4_096]
    for _ in range(12):
        doors.post(b'{"events":[' + b",".join([b"0"] * 100) + b"]}")
    doors.send(view(app="com.nobody"))
    reasons = [reason for _, reason, _ in cast.rejections()]
    assert (reasons.count("invalid"), reasons.count("unknown_app")) == (1_000, 1)
    assert cast.balance()["rejected"] == 1_202


@given(st.integers(0, 400))
@example(300)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_refused_message_of_any_depth_is_answered(doors: Doors, cast: Cast, depth: int) -> None:
    deep = '{"user":' * (depth * 3) + "1" + "}" * (depth * 3)
    assert doors.post(f'{{"events":[{deep}]}}'.encode()).status_code == 400


def test_numbers_that_no_decoder_writes_again_are_answered(doors: Doors, cast: Cast) -> None:
    for number in ("9" * 25, "9" * 5_000, "1e999", "-0", "1E400"):
        assert doors.post(f'{{"events":[{{"user":{number}}}]}}'.encode()).status_code == 400


# --- addresses


def test_no_address_is_found_anywhere_at_rest(doors: Doors, cast: Cast) -> None:
    claims = {"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.8", "Forwarded": "for=203.0.113.9"}
    for event in (view(), view(name="no"), view(consent={"sharing": False})):
        doors.client.post("/e", content=json.dumps({"events": [event]}), headers={"Origin": SITE} | claims)
    doors.tell("installs", [{"app": "com.owner.charts", "accountId": "a"}, {"app": "no"}])
    for text in (b"127.0.0.1", b"testclient", b"203.0.113", b"::1", b"localhost"):
        assert text not in cast.every_byte()
