"""What partners' programs read with a token: an app's events, and the pages' numbers; and what no token opens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from conftest import DAY_MS
from httpx2 import Response
from hypothesis import given
from hypothesis import strategies as st
from shipping_cast import ACCOUNT, NOON, OWNER, STRANGER, VISITOR, Installation, an_event
from starlette.routing import Route
from starlette.testclient import TestClient
from waiting import until

from collector import directory, roller
from collector.app import Collector
from collector.doors.numbers import wanted
from collector.doors.pace import Pace, TooOften
from collector.doors.read import Question
from collector.portal.numbers.page import Numbers
from collector.portal.pages import NUMBERS
from collector.portal.view import MOST_DAYS, View
from store import registry
from store.database import Database
from store.engines import open_writer
from store.errors import Refused
from store.event import Details
from store.registry import Token
from store.rollups.stored import Scope

SIBLING = "com.owner.boards"
FEBRUARY = "period=custom&from=2026-02-01&to=2026-02-28"
ROUTES = (
    "/api/v1/apps",
    "/api/v1/apps/{app_key}/events",
    "/api/v1/apps/{app_key}/event-names",
    "/api/v1/apps/{app_key}/numbers/{page}",
    "/api/v1/apps/{app_key}/audiences",
    "/api/v1/partners/{partner_key}/numbers/{page}",
)


class Program:
    """A partner's program. The collector begins with the first request: until then a test may fill the log."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._client: TestClient | None = None

    @property
    def client(self) -> TestClient:
        if self._client is None:
            self._client = TestClient(Collector(self.installation.settings)).__enter__()
        return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.__exit__(None, None, None)

    def change(self, work: Callable[[Database], Any]) -> Any:
        """Do something in the registry, as another process would."""

        async def opened() -> Any:
            async with await open_writer(self.installation.where, "registry") as db:
                return await work(db)

        asyncio.set_event_loop(None)
        return asyncio.run(opened())

    def token(self, name: str = "reports", of: str | None = "owner", scope: str = "read", **more: Any) -> str:
        scopes = frozenset({scope})
        made: str = self.change(lambda db: registry.add_token(db, NOON, name, scopes, partner_key=of, **more))
        return made

    def ask(self, path: str, token: str) -> Response:
        return self.client.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})

    def read(self, path: str, token: str) -> Any:
        answer = self.ask(path, token)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, path: str, token: str, holds: Callable[[Any], bool]) -> Any:
        """What is read as soon as it is so."""
        return until(lambda: [found for found in [self.read(path, token)] if holds(found)])[0]

    def counted(self, token: str, visitors: int, query: str = FEBRUARY, path: str = f"/apps/{OWNER}") -> Any:
        """The overview of February, as soon as all of it is counted."""
        return self.until(f"{path}/numbers/overview?{query}", token, lambda found: whole(found) == visitors)


def whole(found: Any) -> int:
    """The visitors of all bins, of whom none comes twice."""
    return sum(row["visitors"] for row in found["tables"]["over-time"])


@pytest.fixture
def program(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """No test waits for the collector's clocks, or for its patience."""
    monkeypatch.setattr(directory, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(roller, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr("collector.doors.read.Pace", partial(Pace, at_once=1_000_000))
    program = Program(installation)
    yield program
    program.close()


# --- events


def test_a_program_that_goes_on_and_on_sees_every_event_once(program: Program) -> None:
    program.installation.views(3)
    program.installation.views(2, app=STRANGER)
    program.installation.views(4)
    token, after, seen = program.token(), 0, []
    while True:
        found = program.read(f"/apps/{OWNER}/events?after={after}&limit=2", token)
        assert len(found["events"]) <= 2
        assert found["next"] >= after
        seen += [event["seq"] for event in found["events"]]
        after = found["next"]
        if not found["more"]:
            break
    assert seen == [1, 2, 3, 6, 7, 8, 9]
    assert program.read(f"/apps/{OWNER}/events?after={after}", token) == {"events": [], "next": after, "more": False}
    later = program.read(f"/apps/{OWNER}/events?after=999999", token)
    assert later == {"events": [], "next": 999_999, "more": False}


def test_an_event_is_told_with_its_names_as_the_doors_write_them(program: Program) -> None:
    details = Details(url="https://m.example/a", query={"q": "1"}, user_agent="Firefox/148.0", message_id="order-1")
    program.installation.collect(an_event(details=details, user_id=ACCOUNT, partner_anonymous_id="crm-1"))
    assert program.read(f"/apps/{OWNER}/events", program.token())["events"] == [
        {
            "seq": 1,
            "name": "page_view",
            "occurredAt": "2026-02-16T12:00:00.123Z",
            "receivedAt": "2026-02-16T12:00:00.163Z",
            "type": "track",
            "source": "browser",
            "messageId": "order-1",
            "anonymousId": VISITOR,
            "userId": ACCOUNT,
            "partnerAnonymousId": "crm-1",
            "details": {"url": "https://m.example/a", "query": {"q": "1"}, "userAgent": "Firefox/148.0"},
        }
    ]


def test_of_a_suppressed_event_nobody_learns_more_than_that_there_was_one(program: Program) -> None:
    program.installation.collect(an_event(suppressed="gpc", user_id=ACCOUNT, partner_anonymous_id="crm-1"))
    (event,) = program.read(f"/apps/{OWNER}/events", program.token())["events"]
    told = {"occurredAt": "2026-02-16T12:00:00.123Z", "receivedAt": "2026-02-16T12:00:00.163Z"}
    assert event == {"seq": 1, "name": "page_view", "suppressed": "gpc", **told}


def test_what_was_collected_for_another_partner_is_passed_over(program: Program) -> None:
    former = an_event(partner_key="former")
    program.installation.collect(former, former, former, an_event())
    token, found, after, seen = program.token(), {"more": True}, 0, []
    while found["more"]:
        found = program.read(f"/apps/{OWNER}/events?limit=2&after={after}", token)
        seen += [event["seq"] for event in found["events"]]
        after = found["next"]
    assert (seen, after) == ([4], 4)


def test_large_events_come_a_few_at_a_time(program: Program) -> None:
    program.installation.views(8, details=Details(title="t" * 300_000))
    token, found, after, sizes = program.token(), {"more": True}, 0, []
    while found["more"]:
        found = program.read(f"/apps/{OWNER}/events?after={after}", token)
        sizes.append(len(found["events"]))
        after = found["next"]
    assert sum(sizes) == 8
    assert max(sizes) == 4


# --- numbers


def test_a_program_reads_the_numbers_of_one_app_and_of_all(program: Program) -> None:
    program.change(lambda db: registry.add_app(db, NOON, SIBLING, "owner", "1219126", "Boards"))
    program.installation.collect(*[an_event(anonymous_id=each * 40) for each in "abc"])
    program.installation.collect(*[an_event(anonymous_id=each * 40) for each in "cd"], app=SIBLING)
    program.installation.collect(*[an_event(anonymous_id=each * 40) for each in "efghi"], app=STRANGER)
    token = program.token()
    one = program.counted(token, 3)
    all_of_them = program.counted(token, 4, path="/partners/owner")
    assert (one["page"], one["partner"], one["apps"]) == ("overview", "owner", [OWNER])
    assert all_of_them["apps"] == [SIBLING, OWNER]
    assert one["view"] == {
        "period": "custom",
        "from": "2026-02-01",
        "to": "2026-02-28",
        "tz": "UTC",
        "begins": "2026-02-01T00:00:00+00:00",
        "ends": "2026-03-01T00:00:00+00:00",
        "compare": {"with": "before", "from": "2026-01-04", "to": "2026-01-31"},
        "filters": [],
    }
    (day,) = [row for row in one["tables"]["over-time"] if row["visitors"]]
    assert (day["begins"], day["page_view"], day["install"]) == ("2026-02-16T00:00:00+00:00", 3, 0)


def test_the_view_is_what_was_asked_for(program: Program) -> None:
    details = Details(query={"utm_source": "news"})
    program.installation.collect(an_event(details=details), an_event(anonymous_id="c" * 40))
    program.counted(token := program.token(), 2)
    query = f"{FEBRUARY}&tz=Asia/Tokyo&compare=none&f=utm_source:news&f=referrer:"
    found = program.read(f"/apps/{OWNER}/numbers/overview?{query}", token)
    assert found["view"]["begins"] == "2026-02-01T00:00:00+09:00"
    assert found["view"]["compare"] is None
    assert found["view"]["filters"] == [
        {"facet": "utm_source", "value": "news"},
        {"facet": "referrer", "value": ""},
    ]
    (day,) = [row for row in found["tables"]["over-time"] if row["visitors"]]
    assert (day["begins"], day["visitors"], day["page_view"]) == ("2026-02-16T00:00:00+09:00", 1, None)


@pytest.mark.parametrize("page", NUMBERS)
@pytest.mark.parametrize("path", [f"/apps/{OWNER}", "/partners/owner"])
def test_every_page_can_be_read(program: Program, path: str, page: str) -> None:
    program.installation.views(1)
    found = program.read(f"{path}/numbers/{page}", program.token())
    assert (found["page"], found["apps"]) == (page, [OWNER])


def test_audiences_have_a_path_of_their_own(program: Program) -> None:
    said = {"source": "partner", "type": "identify", "user_id": "u1"}
    context = {"personas": {"computation_class": "audience", "computation_key": "vips"}}
    details = Details(properties={"vips": True}, context=context)
    program.installation.collect(an_event("", details=details, **said))
    token = program.token()
    found = program.until(f"/apps/{OWNER}/audiences?{FEBRUARY}", token, lambda told: bool(told["tables"]["audiences"]))
    (row,) = found["tables"]["audiences"]
    assert (found["page"], row["audience"], row["members"], row["entered"]) == ("audiences", "vips", 1, 1)
    history = program.read(f"/apps/{OWNER}/audiences?{FEBRUARY}&audience=vips", token)["tables"]["history"]
    assert [(each["what"], each["kind"], each["id"]) for each in history] == [("entered", "user", "u1")]
    assert program.ask(f"/apps/{OWNER}/audiences?audience=unheard", token).status_code == 404


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("period=fortnight", "period is one of today, yesterday"),
        ("period=", "period is one of"),
        ("tz=Europe/Nowhere", "tz is the name of a time zone"),
        ("compare=everything", "compare is one of before, year, none"),
        ("period=custom", "period=custom needs from and to"),
        ("period=custom&from=2026-02-01", "period=custom needs from and to"),
        ("period=custom&from=2026-02-30&to=2026-03-01", "period=custom needs from and to"),
        ("period=custom&from=2999-01-01&to=2999-01-02", "not only days to come"),
        ("period=custom&from=1999-12-31&to=2000-01-01", "none before 2000-01-01"),
        ("period=custom&from=2001-01-01&to=2026-01-01", f"at most {MOST_DAYS} days"),
        ("from=2026-02-01&to=2026-02-02", "from and to go with period=custom"),
        ("f=utm_source", "f is facet:value"),
        ("f=colour:red", "f is facet:value"),
        ("f=tab:a&f=tab:b&f=tab:c&f=tab:d&f=tab:e&f=tab:f", "at most 5 of them"),
        ("f=tab:%00", "f is facet:value"),
        ("peroid=7d", "there is no parameter 'peroid' here"),
        ("period=7d&period=28d", "period is there twice"),
        ("period=%ff", "the query is no url-encoded text"),
        ("&".join(f"f=tab:{n}" for n in range(60)), "at most 50 parameters"),
    ],
)
def test_what_a_page_would_pass_over_is_refused_with_the_reason(program: Program, query: str, said: str) -> None:
    answer = program.ask(f"/apps/{OWNER}/numbers/overview?{query}", program.token())
    assert (answer.status_code, answer.json()["reason"]) == (400, "invalid")
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("after=-1", "after is a whole number"),
        ("after=1.5", "after is a whole number"),
        ("after=٣", "after is a whole number"),
        ("after=" + "9" * 19, "at most 18 digits"),
        ("limit=0", "limit is from 1 to 1000"),
        ("limit=1001", "limit is from 1 to 1000"),
        ("before=3", "there is no parameter 'before' here"),
    ],
)
def test_a_place_that_cannot_be_read_is_refused(program: Program, query: str, said: str) -> None:
    answer = program.ask(f"/apps/{OWNER}/events?{quote(query, safe='=&')}", program.token())
    assert (answer.status_code, answer.json()["reason"]) == (400, "invalid")
    assert said in answer.json()["detail"]


async def nothing(db: Database, scope: Scope, view: View, more: Mapping[str, str]) -> None:
    """A page that has parameters of its own, and no numbers."""


OWN = Numbers("own", nothing, lambda values: [], ("sort", "q"), choices={"sort": ("name", "age")})


def asked_of_a_page(*query: tuple[str, str]) -> dict[str, str]:
    token = Token("id", "hash", "t", frozenset({"read"}), "owner", None, 0, None, None, "", "")
    return wanted(Question(token, {}, list(query), 0.0), OWN, NOON)[1]


@pytest.mark.only("sqlite", "parameters know no store")
def test_a_pages_own_parameters_are_read_as_strictly() -> None:
    assert asked_of_a_page() == {"sort": "", "q": ""}
    assert asked_of_a_page(("sort", "age"), ("q", " crm-1 "), ("f", "tab:Reviews")) == {"sort": "age", "q": "crm-1"}
    for name, text, said in (
        ("sort", "size", "sort is one of name, age"),
        ("q", "x" * 201, "q has at most 200 characters"),
        ("q", "a\0b", "all of them printable"),
        ("other", "x", "there is no parameter 'other' here"),
    ):
        with pytest.raises(Refused, match=said):
            asked_of_a_page((name, text))


def test_a_page_that_there_is_not_is_not_found(program: Program) -> None:
    answer = program.ask(f"/apps/{OWNER}/numbers/horoscope", program.token())
    assert (answer.status_code, answer.json()["reason"]) == (404, "unknown_page")
    assert "overview" in answer.json()["detail"]


# --- who may


def filled(route: str, app_key: str, partner_key: str) -> list[str]:
    """A route's paths for one app and one partner, without its beginning."""
    keys = {"{app_key}": quote(app_key, safe=""), "{partner_key}": quote(partner_key, safe="")}
    path = route.removeprefix("/api/v1")
    for name, key in keys.items():
        path = path.replace(name, key)
    return [path.replace("{page}", page) for page in NUMBERS] if "{page}" in path else [path]


def paths(app_key: str, partner_key: str) -> list[str]:
    return [path for route in ROUTES for path in filled(route, app_key, partner_key)]


def test_every_route_that_is_read_is_tried_here(program: Program) -> None:
    routes = [route for route in program.client.app._router.routes if isinstance(route, Route)]
    assert tuple(r.path for r in routes if r.path.startswith("/api/") and "GET" in (r.methods or ())) == ROUTES


def test_who_has_no_token_for_it_gets_nothing(program: Program) -> None:
    asked = paths(OWNER, "owner")
    past = time.time_ns() // 1_000_000 - 1
    program.installation.views(1)
    expired, revoked = program.token("old", expires_at=past), program.token("revoked")
    back_end = program.token("back-end", None, "installs")
    assert {program.ask(path, revoked).status_code for path in asked} == {200}
    (known,) = [each for each in program.change(registry.tokens) if each.label == "revoked"]
    program.change(lambda db: registry.revoke_token(db, NOON, known, "a test"))
    until(lambda: program.ask(asked[0], revoked).status_code != 200)
    for path in asked:
        for token in (expired, revoked, "fft_none", ""):
            answer = program.ask(path, token)
            assert (answer.status_code, answer.json()["reason"]) == (401, "unknown_token"), path
            assert answer.headers["www-authenticate"] == "Bearer"
        assert program.client.get(f"/api/v1{path}").status_code == 401, path
        answer = program.ask(path, back_end)
        assert (answer.status_code, answer.json()["reason"]) == (403, "unsuitable_token"), path


def test_a_token_for_one_app_reads_no_other_and_not_all_of_them(program: Program) -> None:
    program.change(lambda db: registry.add_app(db, NOON, SIBLING, "owner", "1219126", "Boards"))
    token = program.token(app_key=OWNER)
    own = [path for path in paths(OWNER, "owner") if not path.startswith("/partners")]
    assert [program.ask(path, token).status_code for path in own] == [200] * len(own)
    assert [app["app"] for app in program.read("/apps", token)["apps"]] == [OWNER]
    for path in set(paths(SIBLING, "owner")) - {"/apps"}:
        answer = program.ask(path, token)
        expected = (403, "unsuitable_token") if path.startswith("/partners") else (404, "unknown_app")
        assert (answer.status_code, answer.json()["reason"]) == expected, path


def likenesses(key: str) -> list[str]:
    """The key of somebody else, and what some comparison might take for it."""
    wide = "".join(chr(ord(sign) + 0xFEE0) for sign in key)
    return [key, key.upper(), key + " ", key + "\n", key + "\0", key[:-1], key + "/", f"./{key}", wide, key + "%", "%"]


@pytest.mark.parametrize(
    ("mine", "app_key", "theirs", "their_app"),
    [("owner", OWNER, "stranger", STRANGER), ("stranger", STRANGER, "owner", OWNER)],
)
def test_a_token_reads_nothing_of_another_partner(
    program: Program, mine: str, app_key: str, theirs: str, their_app: str
) -> None:
    """No id, text or count of the other side, whichever way it is asked for."""
    secret = Details(title="SECRET-title", query={"utm_source": "SECRET-source"}, url="https://secret.example/SECRET")
    ids = {"user_id": "5ec2e7" * 6 + "5ec2", "partner_anonymous_id": "SECRET-id", "anonymous_id": "5ec2e7" * 6 + "5ec2"}
    program.installation.collect(*[an_event(details=secret, **ids)] * 3, app=their_app)
    program.installation.views(1, app=app_key)
    their_token = program.token("theirs", theirs)
    program.counted(their_token, 1, path=f"/apps/{their_app}")
    assert "SECRET" in program.ask(f"/apps/{their_app}/events", their_token).text
    token = program.token("mine", mine)
    for app_like, partner_like in zip(likenesses(their_app), likenesses(theirs), strict=True):
        for path in set(paths(app_like, partner_like)) - {"/apps"}:
            for query in ("", f"?{FEBRUARY}", "?after=0", "?f=utm_source:SECRET-source"):
                answer = program.ask(path + query, token)
                assert answer.status_code == 404, (path, answer.text)
                assert "SECRET" not in answer.text
    for path in paths(app_key, mine):
        answer = program.ask(path, token)
        assert answer.status_code == 200
        told = answer.text
        assert [each for each in ("SECRET", "5ec2e7", their_app, f'"{theirs}"') if each in told] == [], path
    program.counted(token, 1, path=f"/partners/{mine}")


def test_an_answer_is_for_nobody_else_to_keep(program: Program) -> None:
    for token, status in ((program.token(), 200), ("fft_none", 401)):
        answer = program.ask(f"/apps/{OWNER}/events", token)
        assert answer.status_code == status
        assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_who_waits_for_a_turn_in_vain_is_told_to_come_back(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.doors.read.AT_ONCE", 0)
    monkeypatch.setattr("collector.doors.read.WAIT_SECONDS", 0.01, raising=False)
    program = Program(installation)
    answer = program.ask(f"/apps/{OWNER}/events", program.token())
    program.close()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_when_a_token_was_used_is_kept(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "USED_SECONDS", 0.0)
    began = time.time_ns() // 1_000_000
    program.read(f"/partners/owner/numbers/{next(iter(NUMBERS))}", program.token())
    used = until(lambda: program.change(registry.tokens)[0].last_used_at)
    assert began <= used < began + DAY_MS


# --- how often


def test_who_asks_too_often_is_told_when_to_come_back_and_nobody_else_waits(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collector.doors.read.Pace", partial(Pace, a_second=0.25, at_once=4))
    token, other = program.token(), program.token("other")
    answers = [program.ask(path, token) for path in (*paths(OWNER, "owner"), *["/apps"] * 100)[:104]]
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert (refused.status_code, refused.json()) == (429, {"reason": "too_often"})
    assert 1 <= int(refused.headers["retry-after"]) <= 4
    assert refused.headers["cache-control"] == "no-store"
    assert program.ask("/apps", other).status_code == 200


@given(st.lists(st.floats(0, 5), max_size=200), st.integers(1, 40))
@pytest.mark.only("sqlite", "a bucket knows no store")
def test_a_bucket_gives_what_it_had_and_what_came_back(waits: list[float], at_once: int) -> None:
    pace, now = Pace(10, at_once), 1_000.0
    for given_before, wait in enumerate(waits):
        now += wait / 10
        told = told_to_wait(pace, now)
        assert 0 <= told <= 0.1 + 1e-6
        now += told
        if told:
            pace.spend("a", now)  # whoever waits as long as they were told gets their turn
        assert given_before < at_once + (now - 1_000.0) * 10 + 1e-3
    pace.spend("b", now)


def told_to_wait(pace: Pace, now: float) -> float:
    try:
        pace.spend("a", now)
    except TooOften as error:
        return error.retry_after
    return 0.0


def test_a_full_bucket_lets_a_burst_through_and_then_so_many_a_second() -> None:
    pace = Pace(10, 30)
    for _ in range(30):
        pace.spend("a", 7.0)
    with pytest.raises(TooOften):
        pace.spend("a", 7.0)
    for _ in range(10):
        pace.spend("a", 8.0)
    with pytest.raises(TooOften):
        pace.spend("a", 8.0)
