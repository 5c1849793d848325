"""The back end's doors: who may tell what, what is stored of it, and that an account id is kept nowhere."""

import json
import re
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from conftest import DAY_MS, LISTING, OTHER_VISITOR, VISITOR, Cast, Doors, iso, view
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import until, until_async

from collector.writer import Writer

ACCOUNT = "557058:f58131cb-b67d-43c7-b30d-6b58d40bd077"
USER_ID = "f4b813b0c03f32d1e08ca4757e870aef4be2230f"
STORED = {"stored": 1, "duplicate": 0, "rejected": []}
BAD_TIME = "invalid: the time is not between the year 2000 and tomorrow - at `$.occurredAt`"
NOT_HASHED = "invalid: userId is 40 hex digits; send a plain account id as accountId - at `$.userId`"


def install(**changed: Any) -> dict[str, Any]:
    """An install that is good, with the fields given; None takes a field away."""
    message = {"app": "com.owner.charts", "accountId": ACCOUNT} | changed
    return {name: value for name, value in message.items() if value is not None}


# --- who may tell


@pytest.mark.parametrize(
    ("header", "status", "reason"),
    [
        (None, 401, "unknown_token"),
        ("", 401, "unknown_token"),
        ("Bearer", 401, "unknown_token"),
        ("Bearer fft_made_up", 401, "unknown_token"),
        ("Basic {token}", 401, "unknown_token"),
        ("Bearer {token}x", 401, "unknown_token"),
        ("Bearer {installs_token}", 403, "unsuitable_token"),
    ],
)
def test_without_the_right_token_nothing_is_read(
    doors: Doors, cast: Cast, header: str | None, status: int, reason: str
) -> None:
    tokens = {"token": cast.token, "installs_token": cast.installs_token}
    headers = {} if header is None else {"Authorization": header.format(**tokens)}
    answer = doors.client.post("/api/v1/uninstalls", content=json.dumps(install()), headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert answer.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert cast.rejections() == [("", reason, b"")]
    assert cast.events() == []


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_compared_without_case(doors: Doors, cast: Cast, kind: str) -> None:
    headers = {"Authorization": f"{kind}  {cast.token} "}
    assert doors.client.post("/api/v1/installs", json=install(), headers=headers).json() == STORED


def test_a_token_opens_the_doors_that_it_names(doors: Doors, cast: Cast) -> None:
    assert doors.tell("installs", install(), token=cast.installs_token).json() == STORED
    assert doors.tell("app-requests", install(), token=cast.installs_token).status_code == 403


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_another_method_is_none_of_the_doors(doors: Doors, method: str) -> None:
    assert doors.client.request(method, "/api/v1/installs").status_code == 405


# --- what is stored


@pytest.mark.parametrize(
    ("door", "name"), [("installs", "install"), ("app-requests", "app_request"), ("uninstalls", "uninstall")]
)
def test_each_door_stores_its_event_with_the_account_hashed(doors: Doors, cast: Cast, door: str, name: str) -> None:
    message = install(
        anonymousId="visitor of 17", partnerAnonymousId="p1", occurredAt="2026-01-01T10:00:00.123456+01:00"
    )
    answer = doors.tell(door, message | {"messageId": "order 17"})
    assert (answer.status_code, answer.json()) == (200, STORED)
    stored = cast.event()
    assert stored.pop("received_at") > 1_767_258_000_123
    assert stored == {
        "seq": 1,
        "app_key": "com.owner.charts",
        "message_id": uuid.uuid5(uuid.NAMESPACE_URL, "com.owner.charts\norder 17").bytes,
        "type": "track",
        "name": name,
        "source": "server",
        "occurred_at": 1_767_258_000_123,
        "partner_key": "owner",
        "anonymous_id": "visitor of 17",
        "user_id": cast.vault.user_id(ACCOUNT),
        "partner_anonymous_id": "p1",
        "suppressed": None,
        "details": {"message_id": "order 17"},
    }


def test_one_object_and_a_list_are_read_alike(doors: Doors, cast: Cast) -> None:
    assert doors.tell("installs", install()).json() == STORED
    assert doors.tell("installs", b"  \n[" + json.dumps(install()).encode() + b"]").json() == STORED
    assert doors.tell("installs", []).json() == {"stored": 0, "duplicate": 0, "rejected": []}
    assert len(cast.events()) == 2


def test_a_hashed_user_id_is_kept_as_it_is(doors: Doors, cast: Cast) -> None:
    doors.tell("installs", {"app": "com.owner.charts", "userId": USER_ID})
    assert cast.event()["user_id"] == USER_ID


def test_the_account_wins_over_a_user_id(doors: Doors, cast: Cast) -> None:
    doors.tell("installs", install(userId=USER_ID))
    assert cast.event()["user_id"] == cast.vault.user_id(ACCOUNT)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"app": None}, "invalid: Object missing required field `app`"),
        ({"app": "com.nobody"}, "unknown_app: no app has this key - at `$.app`"),
        ({"app": 17}, "invalid: Expected `str`, got `int` - at `$.app`"),
        ({"accountId": None}, "no_user: accountId or userId is needed - at `$`"),
        ({"accountId": ""}, "invalid: Expected `str` of length >= 1 - at `$.accountId`"),
        ({"accountId": "x" * 501}, "invalid: Expected `str` of length <= 500 - at `$.accountId`"),
        ({"accountId": 557058}, "invalid: Expected `str | null`, got `int` - at `$.accountId`"),
        ({"accountId": "a\0"}, "invalid: the text holds NUL or half a character - at `$.accountId`"),
        ({"accountId": None, "userId": "17"}, NOT_HASHED),
        ({"accountId": None, "userId": USER_ID.upper()}, NOT_HASHED),
        ({"accountId": None, "userId": USER_ID + "\n"}, NOT_HASHED),
        ({"anonymousId": ""}, "invalid: Expected `str` of length >= 1 - at `$.anonymousId`"),
        ({"anonymousId": "x" * 101}, "invalid: Expected `str` of length <= 100 - at `$.anonymousId`"),
        ({"anonymousId": ACCOUNT}, "invalid: anonymousId must not hold the account id - at `$.anonymousId`"),
        ({"anonymousId": f"of {ACCOUNT}"}, "invalid: anonymousId must not hold the account id - at `$.anonymousId`"),
        (
            {"anonymousId": "7", "accountId": "7"},
            "invalid: anonymousId must not hold the account id - at `$.anonymousId`",
        ),
        (
            {"partnerAnonymousId": ACCOUNT},
            "invalid: partnerAnonymousId must not hold the account id - at `$.partnerAnonymousId`",
        ),
        ({"partnerAnonymousId": "é"}, "invalid: 1 to 200 printable ASCII characters - at `$.partnerAnonymousId`"),
        ({"partnerAnonymousId": "x" * 201}, "invalid: 1 to 200 printable ASCII characters - at `$.partnerAnonymousId`"),
        ({"messageId": "x" * 101}, "invalid: Expected `str` of length <= 100 - at `$.messageId`"),
        ({"messageId": "a\0b"}, "invalid: the text holds NUL or half a character - at `$.messageId`"),
        ({"sharing": "yes"}, "invalid: Expected `bool | null`, got `str` - at `$.sharing`"),
        ({"occurredAt": "1999-12-31T23:59:59Z"}, BAD_TIME),
        ({"occurredAt": iso(2 * DAY_MS)}, BAD_TIME),
        ({"occurredAt": "now"}, "invalid: Invalid RFC3339 encoded datetime - at `$.occurredAt`"),
    ],
)
def test_a_bad_message_is_refused_by_its_index_and_its_neighbours_are_stored(
    doors: Doors, cast: Cast, changed: dict[str, Any], reason: str
) -> None:
    answer = doors.tell("installs", [install(), install(**changed), install()])
    assert answer.status_code == 200
    assert answer.json() == {"stored": 2, "duplicate": 0, "rejected": [{"index": 1, "reason": reason}]}
    assert cast.balance() == {"received": 3, "stored": 2, "duplicate": 0, "rejected": 1, "shed": 0}


def test_half_a_character_sinks_no_other_message(doors: Doors, cast: Cast) -> None:
    body = json.dumps([install(), install(messageId="MARK"), install()]).replace("MARK", "\\ud83d")
    answer = doors.tell("installs", body.encode())
    assert [rejected["index"] for rejected in answer.json()["rejected"]] == [1]
    assert len(cast.events()) == 2


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "invalid"),
        (b"{", 400, "invalid"),
        (b"[{}", 400, "invalid"),
        (b"[1,]", 400, "invalid"),
        (b'{"app":"\xff"}', 400, "not_utf8"),
        (b"\x1f\x8b\x08\x00", 400, "not_utf8"),
        (b"[" * 100_000 + b"]" * 100_000, 400, "too_deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400, "too_deep"),
        (b"[" + b",".join([b"{}"] * 1_001) + b"]", 413, "too_many"),
        (b" " * (1024 * 1024 + 1), 413, "too_large"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_as_one_message(
    doors: Doors, cast: Cast, body: bytes, status: int, reason: str
) -> None:
    answer = doors.tell("installs", body)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert cast.rejections() == [("", reason, b"")]


def test_a_thousand_messages_and_a_mebibyte_are_taken(doors: Doors, cast: Cast) -> None:
    body = json.dumps([install() for _ in range(1_000)]).encode()
    assert doors.tell("installs", body + b" " * (1024 * 1024 - len(body))).json()["stored"] == 1_000
    assert cast.balance()["stored"] == 1_000


# --- the same act told twice


def test_a_message_id_told_twice_is_one_install(doors: Doors, cast: Cast) -> None:
    receipts = [doors.tell("installs", install(messageId="17")).json() for _ in range(2)]
    assert [receipt["duplicate"] for receipt in receipts] == [0, 1]


@pytest.mark.parametrize("occurred", ["2026-01-01T10:00:00Z", iso(36_000_000)], ids=["behind", "ahead"])
def test_an_act_told_twice_with_its_time_is_one_also_when_the_senders_clock_is_ahead(
    doors: Doors, cast: Cast, occurred: str
) -> None:
    for _ in range(3):
        doors.tell("installs", install(occurredAt=occurred))
    assert cast.balance() == {"received": 3, "stored": 1, "duplicate": 2, "rejected": 0, "shed": 0}


def test_acts_that_differ_in_app_door_user_or_time_are_several(doors: Doors, cast: Cast) -> None:
    base = install(occurredAt="2026-01-01T10:00:00Z")
    doors.tell("installs", base)
    doors.tell("uninstalls", base)
    doors.tell("installs", base | {"app": "com.owner.boards"})
    doors.tell("installs", base | {"accountId": "somebody else"})
    doors.tell("installs", base | {"occurredAt": "2026-01-01T10:00:00.001Z"})
    assert cast.balance()["stored"] == 5


def test_acts_without_a_time_or_an_id_are_several(doors: Doors, cast: Cast) -> None:
    doors.tell("installs", install())
    doors.tell("installs", install())
    assert cast.balance()["stored"] == 2


# --- what the listing said


def signed(cast: Cast, **changed: Any) -> dict[str, Any]:
    """A page view of the account's visitor, signed in."""
    return view(user=cast.vault.sign_visitor(ACCOUNT, "com.owner.charts"), **changed)


def test_an_install_of_a_known_user_finds_the_visitor_and_the_partners_id(doors: Doors, cast: Cast) -> None:
    doors.send(signed(cast, url=f"{LISTING}?partner_anonymous_id=p1"))
    doors.tell("installs", install())
    stored = cast.events()[1]
    assert (stored["anonymous_id"], stored["partner_anonymous_id"]) == (VISITOR, "p1")


def test_an_install_that_names_the_visitor_gets_what_that_one_said(doors: Doors, cast: Cast) -> None:
    doors.send(view(url=f"{LISTING}?partner_anonymous_id=p1"))
    doors.tell("installs", install(anonymousId=VISITOR))
    doors.tell("installs", install(anonymousId=VISITOR, partnerAnonymousId="p2"))
    doors.tell("installs", install(anonymousId=OTHER_VISITOR, accountId="somebody"))
    assert [event["partner_anonymous_id"] for event in cast.events()[1:]] == ["p1", "p2", None]


def test_what_was_said_on_another_apps_listing_stays_there(doors: Doors, cast: Cast) -> None:
    doors.send(signed(cast, url=f"{LISTING}?partner_anonymous_id=p1", consent={"sharing": False}))
    doors.tell("installs", install(app="com.stranger.notes"))
    stored = cast.events()[1]
    assert (stored["partner_anonymous_id"], stored["suppressed"]) == (None, None)
    assert stored["anonymous_id"] != VISITOR


def test_a_user_whom_no_listing_saw_gets_a_constant_stand_in(doors: Doors, cast: Cast) -> None:
    doors.tell("installs", install())
    doors.tell("app-requests", install(app="com.stranger.notes"))
    one, other = cast.events()
    assert one["anonymous_id"] == other["anonymous_id"] == cast.vault.anonymous_id_for(cast.vault.user_id(ACCOUNT))
    assert one["anonymous_id"] != one["user_id"]


@pytest.mark.parametrize(
    ("setting", "listing", "gpc", "sharing", "suppressed"),
    [
        ("assumed", None, False, None, None),
        ("assumed", None, False, False, "consent"),
        ("assumed", None, False, True, None),
        ("required", None, False, None, "consent"),
        ("required", None, False, True, None),
        ("assumed", {"sharing": False}, False, None, "consent"),
        ("assumed", {"sharing": False}, False, True, None),
        ("assumed", {"sharing": True}, False, None, None),
        ("required", {"sharing": True}, False, None, None),
        ("required", {"sharing": True}, False, False, "consent"),
        ("required", {"sharing": False}, False, None, "consent"),
        ("assumed", {"sharing": True}, True, None, "gpc"),
        ("assumed", None, True, True, "gpc"),
        ("assumed", None, True, False, "gpc"),
    ],
)
def test_an_install_inherits_the_visitors_word_unless_it_brings_one_and_gpc_is_never_overruled(
    open_doors: Callable[..., Doors],
    cast: Cast,
    setting: str,
    listing: Any,
    gpc: bool,
    sharing: bool | None,
    suppressed: str | None,
) -> None:
    doors = open_doors(consent=setting)
    if listing is not None or gpc:
        doors.send(signed(cast, consent=listing, gpc=gpc))
    doors.tell("installs", install(sharing=sharing))
    assert cast.events()[-1]["suppressed"] == suppressed


def test_an_install_knows_the_word_of_a_view_that_is_still_on_its_way(
    doors: Doors, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is held up until the install had time to be judged without it."""
    opened = threading.Event()

    async def gather(writer: Writer) -> None:
        await until_async(opened.is_set)

    def waiting() -> int:
        found = re.search(r"^footfall_queue_rows (\d+)", doors.client.get("/metrics").text, re.MULTILINE)
        assert found is not None
        return int(found[1])

    monkeypatch.setattr(Writer, "_gather", gather)
    with ThreadPoolExecutor(2) as threads:
        viewed = threads.submit(doors.send, signed(cast, gpc=True))
        until(lambda: waiting() == 1)
        told = threads.submit(doors.tell, "installs", install())
        wait([told], timeout=0.5)
        held = waiting()
        opened.set()
        assert held == 1
        assert (viewed.result().status_code, told.result().json()) == (204, STORED)
    assert [event["suppressed"] for event in cast.events()] == ["gpc", "gpc"]


def test_a_refusal_outlives_page_views_that_say_nothing(doors: Doors, cast: Cast) -> None:
    doors.send(signed(cast, consent={"sharing": False}))
    doors.send(signed(cast, url=f"{LISTING}?partner_anonymous_id=p1"))
    doors.tell("installs", install())
    assert cast.events()[-1]["suppressed"] == "consent"


def test_that_a_visitor_was_a_bot_says_nothing_of_an_install(doors: Doors, cast: Cast) -> None:
    doors.send(signed(cast), User_Agent="Googlebot/2.1")
    doors.tell("installs", install())
    assert cast.events()[-1]["suppressed"] is None


# --- the campaign of the journey

NEWS = f"{LISTING}?utm_source=news&utm_campaign=spring&gclid=g1"
PARTS = {"source": "news", "name": "spring", "gclid": "g1"}


def campaigns(cast: Cast) -> list[Any]:
    """Of what the back end told, in order."""
    return [event["details"].get("campaign") for event in cast.events() if event["source"] == "server"]


def test_each_act_that_the_back_end_tells_gets_the_campaign_of_its_journey(doors: Doors, cast: Cast) -> None:
    doors.send(signed(cast, url=NEWS))
    doors.send(view(anonymousId=OTHER_VISITOR, url=f"{LISTING}?utm_source=other"))
    for door in ("app-requests", "installs", "uninstalls"):
        doors.tell(door, install())
        doors.tell(door, install(accountId="somebody", anonymousId=VISITOR))
    doors.tell("installs", install(accountId="somebody", anonymousId=OTHER_VISITOR))
    doors.tell("installs", install(accountId="somebody else", anonymousId="unseen"))
    assert campaigns(cast) == [PARTS] * 6 + [{"source": "other"}, None]


def test_an_act_of_a_user_alone_is_of_the_journey_that_an_earlier_act_named(doors: Doors, cast: Cast) -> None:
    doors.send(view(url=f"{NEWS}&partner_anonymous_id=p1"))
    doors.tell("uninstalls", install())
    doors.tell("installs", install(anonymousId=VISITOR))
    doors.tell("uninstalls", install())
    doors.tell("uninstalls", install(app="com.owner.boards"))
    before, _, alone, elsewhere = cast.events()[1:]
    assert campaigns(cast) == [None, PARTS, PARTS, None]
    assert (alone["anonymous_id"], alone["partner_anonymous_id"]) == (VISITOR, "p1")
    assert before["anonymous_id"] == elsewhere["anonymous_id"] != VISITOR


def test_a_visitor_stays_whose_the_listing_or_the_first_act_said(doors: Doors, cast: Cast) -> None:
    doors.send(view(url=NEWS))
    doors.tell("installs", install(anonymousId=VISITOR))
    doors.tell("installs", install(accountId="somebody", anonymousId=VISITOR))
    doors.tell("uninstalls", [install(accountId="somebody"), install()])
    assert campaigns(cast) == [PARTS, PARTS, None, PARTS]


def test_acts_of_one_request_know_what_those_before_them_said(doors: Doors, cast: Cast) -> None:
    doors.send(view(url=f"{NEWS}&partner_anonymous_id=p1"))
    acts = [install(), install(anonymousId=VISITOR), install(), install(accountId="somebody"), install(app="none")]
    doors.tell("installs", acts)
    doors.tell("uninstalls", install())
    _, before, _, behind, another, later = cast.events()
    assert campaigns(cast) == [None, PARTS, PARTS, None, PARTS]
    assert {told["anonymous_id"] for told in (behind, later)} == {VISITOR}
    assert {told["partner_anonymous_id"] for told in (behind, later)} == {"p1"}
    assert VISITOR not in (before["anonymous_id"], another["anonymous_id"])


def test_a_no_that_a_visitor_said_before_their_user_was_known_holds_for_the_user(doors: Doors, cast: Cast) -> None:
    doors.send(view(url=NEWS, consent={"sharing": False}))
    doors.tell("installs", install(anonymousId=VISITOR))
    doors.tell("uninstalls", install())
    assert [event["suppressed"] for event in cast.events()[1:]] == ["consent", "consent"]


def test_what_one_browser_does_not_know_is_taken_from_the_users_others(doors: Doors, cast: Cast) -> None:
    doors.send(signed(cast, url=f"{NEWS}&partner_anonymous_id=p1"))
    doors.send(signed(cast, anonymousId=OTHER_VISITOR))
    doors.tell("installs", install(anonymousId=OTHER_VISITOR))
    doors.tell("installs", install(anonymousId="unseen"))
    doors.tell("installs", install())
    stored = [event for event in cast.events() if event["source"] == "server"]
    assert [event["anonymous_id"] for event in stored] == [OTHER_VISITOR, "unseen", OTHER_VISITOR]
    assert [event["partner_anonymous_id"] for event in stored] == ["p1"] * 3
    assert campaigns(cast) == [PARTS] * 3


def test_nothing_is_taken_from_where_the_user_refused_when_they_agreed_here(doors: Doors, cast: Cast) -> None:
    doors.send(signed(cast, url=f"{NEWS}&partner_anonymous_id=p1", consent={"sharing": False}))
    doors.send(signed(cast, url=f"{NEWS}&partner_anonymous_id=p1"))
    doors.send(signed(cast, anonymousId=OTHER_VISITOR, consent={"sharing": True}))
    doors.tell("installs", install(anonymousId=OTHER_VISITOR))
    doors.tell("installs", install(anonymousId=VISITOR))
    agreed, refused = cast.events()[3:]
    assert (agreed["partner_anonymous_id"], agreed["suppressed"]) == (None, None)
    assert refused["suppressed"] == "consent"
    assert campaigns(cast) == [None, None]


@pytest.mark.parametrize("refusal", [{"consent": {"sharing": False}}, {"gpc": True}], ids=["consent", "gpc"])
def test_a_refused_campaign_does_not_travel_even_when_the_back_end_says_that_sharing_is_agreed(
    doors: Doors, cast: Cast, refusal: Any
) -> None:
    doors.send(signed(cast, url=NEWS))
    doors.send(signed(cast, url=NEWS, **refusal))
    doors.send(signed(cast, url=NEWS))  # says nothing: the no stands
    doors.tell("installs", install(sharing=True))
    assert campaigns(cast) == [None]


def test_a_campaign_is_of_one_apps_listing_and_of_its_partner(doors: Doors, cast: Cast) -> None:
    doors.send(signed(cast, url=NEWS))
    doors.tell("installs", install(app="com.stranger.notes", anonymousId=VISITOR))
    doors.tell("installs", install(app="com.owner.boards", anonymousId=VISITOR))
    assert campaigns(cast) == [None, None]


def test_what_was_before_the_campaign_or_long_after_it_is_of_another_journey(doors: Doors, cast: Cast) -> None:
    doors.send(signed(cast, url=NEWS, occurredAt=iso(-29 * DAY_MS)))
    doors.tell("installs", [install(), install(occurredAt=iso(-29 * DAY_MS - 60_000))])
    doors.send(signed(cast, url=NEWS, occurredAt=iso(-30 * DAY_MS - 60_000)))
    doors.tell("installs", install())
    assert campaigns(cast) == [PARTS, None, None]


# --- the account id is kept nowhere


def test_a_message_id_made_of_the_account_is_kept_with_the_user_id_in_its_place(doors: Doors, cast: Cast) -> None:
    for _ in range(2):
        doors.tell("installs", install(messageId=f"install-{ACCOUNT}"))
    assert cast.event()["details"] == {"message_id": f"install-{cast.vault.user_id(ACCOUNT)}"}
    assert cast.balance()["duplicate"] == 1


def test_a_uuid_stays_the_message_id_whatever_the_account(doors: Doors, cast: Cast) -> None:
    doors.tell("installs", install(messageId="11111111-1111-7111-8111-111111111111", accountId="1"))
    assert cast.event()["message_id"].hex() == "11111111111171118111111111111111"


@pytest.mark.only("sqlite", "what is kept is decided before it comes to a store")
@given(
    account=st.text(st.characters(codec="ascii", min_codepoint=33), min_size=12, max_size=60),
    where=st.sampled_from(
        [
            "accountId",
            "userId",
            "messageId",
            "anonymousId",
            "partnerAnonymousId",
            "nested",
            "extra",
            "app",
            "occurredAt",
        ]
    ),
    bad=st.sampled_from([{}, {"app": "com.nobody"}, {"app": {"x": 1}}, {"occurredAt": "never"}, {"sharing": 1}]),
    shape=st.sampled_from(["one", "list", "cut", "bytes", "deep", "many"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=120)
def test_an_account_id_is_found_nowhere_in_the_data_directory(
    doors: Doors, cast: Cast, account: str, where: str, bad: dict[str, Any], shape: str
) -> None:
    account = "ACC" + account
    message: dict[str, Any] = {"app": "com.owner.charts", "accountId": account}
    if where == "nested":
        message |= {"app": {"accountId": account}, "messageId": [account]}
    elif where == "app":
        message |= {"app": account}
    elif where != "accountId":
        message[where] = f"x-{account}"
    text = json.dumps(message | bad, ensure_ascii=False)
    body = {
        "one": text,
        "list": f"[{text},{text},5]",
        "cut": text[:-2],
        "bytes": f"[{text}\udcff]",
        "deep": f'[{{"x":{"[" * 3_000}{text}{"]" * 3_000}}}]',
        "many": f"[{','.join([text] * 2)}{',1' * 1_000}]",
    }[shape].encode(errors="surrogateescape")
    assert doors.tell("installs", body).status_code in (200, 400, 413)
    escaped = json.dumps(account)[1:-1]
    for form in (account, escaped, account.encode().hex()):
        assert form.encode() not in cast.every_byte()
