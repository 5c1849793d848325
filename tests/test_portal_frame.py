"""What every page stands in: headers, refusals of what other sites send, forms that are none, failures that tell
nothing, and text of attackers that stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from httpx2 import Response
from portal_cast import PASSWORD, SITE, Browser, House, another, email, opened

from collector.portal import frame
from collector.portal.frame import HEADERS, MOST_FIELDS, MOST_FORM_BYTES, BadForm, Page, local_path
from collector.portal.pages import PAGES
from store import registry
from store.errors import StoreUnavailable
from store.people import roster

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")

POSTS = [page for page in PAGES if page.method == "POST"]
FORM = "application/x-www-form-urlencoded"


def path(page: Page) -> str:
    return re.sub(r"\{\w+\}", "7", page.path)


def bare(answer: Response) -> dict[str, str]:
    """The headers that every answer of the portal has."""
    return {name: answer.headers.get(name, "") for name in HEADERS}


# --- headers


def test_the_headers_are_strict() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert {"form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy.split("; "))
    assert HEADERS["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert (HEADERS["Referrer-Policy"], HEADERS["Cache-Control"]) == ("same-origin", "no-store")


def test_every_page_has_them(browser: Browser) -> None:
    browser.enter("operator")
    for page in PAGES:
        if page.method == "GET":
            answer = browser.get(path(page))
            assert bare(answer) == HEADERS, page.path
            assert answer.status_code in (200, 303, 404), page.path


def test_every_redirect_and_every_refusal_has_them(
    house: House, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, Response]] = [
        (303, browser.get("/account")),
        (405, browser.client.request("DELETE", "/account")),
        (405, browser.client.request("BREW", "/")),
        (403, browser.sign_in("owner", "wrong")),
        (403, browser.post("/sign-in", Sec_Fetch_Site="cross-site")),
        (415, browser.post("/sign-in", Content_Type="text/plain")),
        (413, browser.post("/sign-in", {"email": "x" * MOST_FORM_BYTES})),
        (400, browser.client.post("/sign-in", content=b"%ff=1", headers={"Content-Type": FORM})),
        (404, browser.get("/reset?token=x")),
        (303, browser.sign_in("owner")),
        (303, browser.get("/sign-in")),
        (404, browser.get("/operator")),
        (422, browser.post("/tokens", {"name": ""})),
    ]
    for _ in range(4):
        another(browser).sign_in("editor", "wrong")
    another(browser).sign_in("editor", "wrong")
    asked.append((429, another(browser).sign_in("editor", "wrong")))

    async def unwell(*args: Any) -> Any:
        raise StoreUnavailable("a database at /secret/path fails")

    monkeypatch.setattr(registry, "apps", unwell)
    asked.append((503, browser.get("/")))
    for status, answer in asked:
        assert (answer.status_code, bare(answer)) == (status, HEADERS)
    assert "/secret/path" not in asked[-1][1].text
    assert asked[-1][1].headers["Retry-After"] == "5"


def test_a_failure_tells_its_place_to_the_log_and_nothing_to_the_asker(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def fail(*args: Any) -> Any:
        raise RuntimeError("select secret from /some/where")

    monkeypatch.setattr(registry, "apps", fail)
    answer = browser.enter("owner").get("/")
    assert (answer.status_code, bare(answer)) == (500, HEADERS)
    assert not re.search(r"secret|some/where|RuntimeError|Traceback|\.py", answer.text)
    (line,) = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "a page failed" in line]
    assert (line["level"], line["page"], line["error"]) == ("error", "/", "RuntimeError")
    assert "secret" not in str(line)


def test_another_method_is_told_which_there_are(browser: Browser) -> None:
    assert browser.client.request("PUT", "/people").headers["Allow"] == "GET, POST"
    assert browser.client.request("OPTIONS", "/sign-out").headers["Allow"] == "POST"
    assert browser.client.head("/sign-in").status_code == 200


# --- what other sites send

OURS, ANOTHER = "https://testserver", "https://evil.example"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Sec-Fetch-Site": "SAME-ORIGIN"}, False),
        ({"Sec-Fetch-Site": "same-origin, cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": OURS}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": ANOTHER}, True),  # no page can forge the first
        ({"Origin": OURS}, True),
        ({"Origin": "HTTPS://TESTSERVER"}, True),
        ({"Origin": ANOTHER}, False),
        ({"Origin": "https://testserver.evil.example"}, False),
        ({"Origin": "https://eviltestserver"}, False),
        ({"Origin": "https://testserver:8443"}, False),
        ({"Origin": "https://testserver@evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({}, True),  # no browser
    ],
)
def test_a_form_is_taken_from_our_own_pages_alone(
    house: House, browser: Browser, headers: dict[str, str], allowed: bool
) -> None:
    browser.enter("owner")
    answer = browser.client.post("/account/name", data={"name": "Changed"}, headers=headers)
    assert answer.status_code == (303 if allowed else 403)
    (name,) = house.rows("select name from people where email = ?", email("owner"))[0]
    assert name == ("Changed" if allowed else "Owner")


@pytest.mark.parametrize("name", ["operator", "owner"])
def test_no_form_is_taken_from_another_site_whoever_asks(house: House, browser: Browser, name: str) -> None:
    browser.enter(name)
    before = house.state()
    fields = {"email": email(name), "password": PASSWORD, "name": "x", "session": "others"}
    for page in POSTS:
        answer = browser.post(path(page), fields, Sec_Fetch_Site="cross-site", Origin=ANOTHER)
        assert (answer.status_code, house.state() == before) == (403, True), page.path
        assert "set-cookie" not in answer.headers


def test_a_look_is_allowed_from_anywhere_and_changes_nothing(house: House, browser: Browser) -> None:
    browser.enter("operator")
    before = house.state()
    for page in PAGES:
        if page.method == "GET":
            assert browser.get(path(page), Sec_Fetch_Site="cross-site", Origin=ANOTHER).status_code != 403
    assert house.state() == before


def test_a_session_gains_nothing_at_the_doors(house: House, browser: Browser) -> None:
    browser.enter("operator")
    for door in ("installs", "app-requests", "uninstalls"):
        assert browser.client.post(f"/api/v1/{door}", content="{}").status_code == 401
    assert browser.get("/api/v1/apps").status_code == 401


# --- forms


NO_FORMS = [
    ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--', 415),
    ("application/json", b"{}", 415),
    ("text/plain", b"a=1", 415),
    ("", b"a=1", 415),
    (FORM, b"a" * (MOST_FORM_BYTES + 1), 413),
    (FORM, b"&".join(b"a%d=1" % n for n in range(MOST_FIELDS + 1)), 400),
    (FORM, b"a=%ff", 400),
    (FORM, b"a=%ed%a0%80", 400),
    (FORM, b"\xff\xfea\x00=\x001\x00", 400),
    (FORM, b"a=%00", 400),
    (FORM, b"%00=1", 400),
]
READING = [page for page in POSTS if "read_form" in page.handler.__code__.co_names]  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", READING, ids=lambda page: page.path)
def test_what_is_no_small_form_is_refused_and_changes_nothing(house: House, browser: Browser, page: Page) -> None:
    browser.enter("operator")
    before = house.state()
    for kind, body, status in NO_FORMS:
        answer = browser.client.post(path(page), content=body, headers={"Content-Type": kind})
        assert answer.status_code in ({status, 404} if "{" in page.path else {status}), (kind, body[:20])
    assert house.state() == before


def test_a_body_without_end_is_cut(browser: Browser) -> None:
    sent = 0

    def endless() -> Any:
        nonlocal sent
        for _ in range(10_000):
            sent += 1_024
            yield b"a" * 1_024

    answer = browser.client.post("/sign-in", content=endless(), headers={"Content-Type": FORM})
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "kind", [FORM.upper(), f"{FORM}; charset=utf-8", f"{FORM};charset=utf-16", f" {FORM} ;boundary=x"]
)
def test_a_form_is_utf8_whatever_it_says(house: House, browser: Browser, kind: str) -> None:
    browser.enter("owner")
    answer = browser.client.post("/account/name", content="name=J%C3%BCrgen+é".encode(), headers={"Content-Type": kind})
    assert answer.status_code == 303
    assert house.rows("select name from people where email = ?", email("owner")) == [("Jürgen é",)]


def test_of_a_field_that_is_there_twice_the_last_counts(house: House, browser: Browser) -> None:
    browser.enter("owner")
    browser.client.post("/account/name", content=b"name=a&name=b", headers={"Content-Type": FORM})
    assert house.rows("select name from people where email = ?", email("owner")) == [("b",)]


def test_a_refused_form_is_a_wrong_argument_too() -> None:
    assert str(BadForm(413, "The form is too large")) == "The form is too large"


# --- text of attackers

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "</title><script>alert(1)</script>",
    "</textarea><svg/onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "'; drop table people; --",
    '" or 1=1 --',
    "%s %d {0} ?",
    "=cmd|' /C calc'!A0",
    "\u202egnp.exe\u2028x",
    "😀" * 20,
]


class Reading(HTMLParser):
    """What a browser would make of a page: its tags, its links, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def assert_harmless(answer: Response) -> None:
    for tag, attributes in Reading(answer.text).tags:
        assert tag not in ("iframe", "object", "embed", "base", "style"), tag
        assert tag != "script" or (attributes.get("src") or "").startswith("/static/"), attributes
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#")), attributes


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_every_name_is_only_text(house: House, browser: Browser, text: str) -> None:
    async def put(db: Any) -> None:
        await registry.add_partner(db, 0, text, "9", text)
        await registry.add_app(db, 0, text, text, text, text)
        await registry.add_token(db, 0, text, frozenset({"read"}), partner_key=text, app_key=text, actor=text)
        await roster.rename(db, 0, house.people["owner"], text, text)

    house.store(put)
    browser.enter("operator")
    seen = 0
    for page in PAGES:
        if page.method == "GET":
            asked = (
                page.path.format(person_id=house.people["owner"].person_id) if "person_id" in page.path else page.path
            )
            answer = browser.client.get(
                asked,
                params={"subject": text} if "audit" in asked else {},
                headers={"User-Agent": text.encode("ascii", "replace").decode()},
            )
            assert answer.status_code in (200, 303, 404), asked
            assert_harmless(answer)
            seen += text.strip() in "".join(Reading(answer.text).text)
    assert seen >= 5


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_every_field_is_answered_and_is_only_text(house: House, browser: Browser, text: str) -> None:
    browser.enter("operator")
    count = house.rows("select count(*) from people")
    for page in POSTS:
        if page.path in ("/sign-out", "/account/sessions"):
            continue
        fields = dict.fromkeys(("email", "password", "name", "key", "partner", "role", "app", "next", "subject"), text)
        answer = browser.post(path(page), fields | {"ticket": text, "code": text, "token": text, "days": text})
        assert answer.status_code < 500, page.path
        assert_harmless(answer)
    assert house.rows("select count(*) from people") == count


def test_no_template_lets_text_through_as_markup() -> None:
    sources = [file.read_text() for file in (frame.TEMPLATES / "portal").glob("*.html")]
    assert len(sources) > 10
    for source in sources:
        assert not re.search(r"\|\s*safe\b|autoescape|Markup|\son\w+=|style=|<script(?! defer src=./static/)", source)


# --- the name that pages are asked for by


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("footfall.example", 200),
        ("footfall.example:8443", 200),
        ("FOOTFALL.example", 200),
        ("localhost", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("footfall.example.evil.example", 421),
        ("evilfootfall.example", 421),
        ("footfall.example@evil.example", 421),
        ("127.0.0.2", 421),
        ("localhost.evil.example", 421),
        ("", 421),
        ("[::1", 421),
    ],
)
def test_pages_answer_by_the_public_name_and_this_machines_alone(house: House, host: str, status: int) -> None:
    with opened(house, public_url="https://footfall.example") as browser:
        answer = browser.get("/sign-in", Host=host)
        assert (answer.status_code, bare(answer)) == (status, HEADERS)
        if status == 421:
            assert '<a href="https://footfall.example">' in answer.text
            assert not host or host not in answer.text.replace("footfall.example", "")


def test_nobody_is_signed_in_or_read_by_another_name(house: House) -> None:
    with opened(house, public_url="https://footfall.example") as browser:
        cookie = f"__Host-footfall={browser.enter('owner').cookie}"
        assert email("owner") in browser.get("/account", Cookie=cookie).text
        before = house.state()
        for page in PAGES:
            headers = {"Host": "evil.example", "Cookie": cookie}
            asked = browser.client.request(page.method, path(page), headers=headers)
            assert (asked.status_code, email("owner") in asked.text) == (421, False), page.path
        assert house.state() == before


def test_what_is_no_page_answers_by_any_name(house: House) -> None:
    with opened(house, public_url="https://footfall.example") as browser:
        for asked in ("/healthz", "/readyz", "/metrics", "/js/footfall.js", "/openapi.json", "/static/css/portal.css"):
            assert browser.get(asked, Host="10.1.2.3:8000").status_code == 200, asked
        assert browser.client.post("/e", content=b"{}", headers={"Host": "10.1.2.3"}).status_code != 421
        headers = {"Host": "10.1.2.3", "Authorization": f"Bearer {house.cast.token}"}
        assert browser.client.post("/api/v1/installs", json=[], headers=headers).status_code == 200


def test_without_a_public_url_any_name_does(browser: Browser) -> None:
    assert browser.get("/sign-in", Host="whatever.example").status_code == 200


# --- small things of the frame


@pytest.mark.parametrize("wanted", ["/", "/people", "/apps/com.acme?x=1#y", "/%2F%2Fevil.example"])
def test_a_path_of_ours_is_where_one_goes_on(wanted: str) -> None:
    assert local_path(wanted) == wanted


def test_times_and_numbers_are_told_to_people_and_machines() -> None:
    assert frame.moment(0) == "1 Jan 1970, 00:00 UTC"
    assert frame.moment(None) == "never"
    assert frame.date(1_780_000_000_000) == "2026-05-28T20:26:40Z"
    assert frame.date(None) == ""
    assert frame.number(1234567) == "1\u202f234\u202f567"


def test_the_page_of_a_form_is_where_one_comes_back_to_after_the_password(house: House, browser: Browser) -> None:
    browser.enter("owner")
    house.now += 16 * 60_000
    answer = browser.post("/tokens", {"name": "x"}, Referer=f"{SITE}/tokens?x=1")
    assert answer.headers["location"] == "/prove?next=%2Ftokens"
    answer = browser.post("/tokens", {"name": "x"}, Referer="https://evil.example//evil.example")
    assert answer.headers["location"] == "/prove?next=%2F"
    assert browser.get("/account/second-step").headers["location"] == "/prove?next=%2Faccount%2Fsecond-step"
