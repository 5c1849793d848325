"""Which pages may send, what their browsers are told, and which cookies come back for how long."""

import time
from collections.abc import Callable

import pytest
from conftest import SITE, VISITOR, Cast, Doors, view
from hypothesis import given
from hypothesis import strategies as st

from collector.cookies import LIFETIME_SECONDS, set_again

pytestmark = pytest.mark.only("sqlite", "who may send is decided before it comes to a store")

CORS = {
    "access-control-allow-origin": SITE,
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "Retry-After, X-Footfall-Reason",
    "vary": "Origin",
}


def cors(answer: object) -> dict[str, str]:
    headers = answer.headers  # type: ignore[attr-defined]
    return {name: value for name, value in headers.items() if name.startswith("access-control") or name == "vary"}


@pytest.mark.parametrize(
    "origin", [SITE, "HTTPS://Marketplace.Example", "http://testserver", "https://testserver", "https://foot.example"]
)
def test_an_allowed_page_may_send_and_its_browser_is_told_so(
    open_doors: Callable[..., Doors], cast: Cast, origin: str
) -> None:
    answer = open_doors(public_url="https://foot.example/base").send(view(), Origin=origin)
    assert answer.status_code == 204
    assert cors(answer) == CORS | {"access-control-allow-origin": origin}


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://marketplace.example",
        f"{SITE}:8443",
        f"{SITE}.evil.example",
        "https://evil-marketplace.example",
        f"{SITE}/",
        "https:",
        "https:/",
        "https://foot.example/base",
        "https://foot.exampl",
        "file://",
    ],
)
def test_another_page_is_refused_and_nothing_is_read(open_doors: Callable[..., Doors], cast: Cast, origin: str) -> None:
    answer = open_doors(public_url="https://foot.example/base").send(view(), Origin=origin)
    assert (answer.status_code, answer.json()["reason"]) == (403, "origin")
    assert answer.headers["X-Footfall-Reason"] == "origin"
    assert cors(answer) == {"vary": "Origin"}
    assert cast.events() == []
    assert cast.rejections() == [("", "origin", b"")]


def test_without_an_origin_nobody_needs_to_be_asked(doors: Doors, cast: Cast) -> None:
    answer = doors.client.post("/e", json={"events": [view()]})
    assert answer.status_code == 204
    assert cors(answer) == {"vary": "Origin"}


def test_a_refusal_and_a_receipt_carry_the_headers_too(doors: Doors) -> None:
    for answer in (doors.post(b"nonsense"), doors.send(view(), view(name="no")), doors.post(b" " * 70_000)):
        assert answer.status_code in (200, 400, 413)
        assert cors(answer) == CORS


def test_a_preflight_is_answered_for_a_day(doors: Doors) -> None:
    answer = doors.client.options("/e", headers={"Origin": SITE, "Access-Control-Request-Method": "POST"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert cors(answer) == CORS | {
        "access-control-allow-methods": "POST, OPTIONS",
        "access-control-allow-headers": "content-type",
        "access-control-max-age": "86400",
    }
    foreign = doors.client.options("/e", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
def test_another_method_is_none_of_the_doors(doors: Doors, cast: Cast, method: str) -> None:
    answer = doors.client.request(method, "/e", headers={"Origin": SITE})
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert cast.balance()["received"] == 0


def test_the_door_stands_where_the_operator_put_it(open_doors: Callable[..., Doors], cast: Cast) -> None:
    doors = open_doors(ingest_path="/collect/events")
    assert doors.client.post("/collect/events", json={"events": [view()]}).status_code == 204
    assert doors.client.post("/e", json={"events": [view()]}).status_code == 404
    assert len(cast.events()) == 1


# --- cookies


def base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return (base36(number // 36) if number >= 36 else "") + digits[number % 36]


NOW = 1_774_775_493
BORN = base36(NOW - 86_400)
ID = f"{BORN}.{VISITOR}"


def again(header: str, domain: str | None = None, origin: bytes = b"https://marketplace.example") -> list[str]:
    found = set_again(header.encode("latin-1"), NOW * 1_000 + 999, domain, origin)
    assert {name for name, _ in found} <= {b"set-cookie"}
    return [value.decode() for _, value in found]


def test_a_visitors_cookie_is_set_again_for_what_is_left_of_thirteen_months() -> None:
    assert again(f"footfall_id={ID}") == [f"footfall_id={ID}; Max-Age=34041600; Path=/; SameSite=Lax; Secure"]
    assert 395 * 86_400 - 86_400 == 34_041_600


def test_the_cookie_of_a_partners_id_is_too() -> None:
    value = f"{BORN}.com.owner.charts:visitor%2017!"
    assert again(f"a=b; footfall_p_owner={value};c=d") == [
        f"footfall_p_owner={value}; Max-Age=34041600; Path=/; SameSite=Lax; Secure"
    ]


def test_a_domain_is_named_when_there_is_one_and_only_https_is_secure() -> None:
    (cookie,) = again(f"footfall_id={ID}", "marketplace.example", b"http://marketplace.example")
    assert cookie == f"footfall_id={ID}; Max-Age=34041600; Path=/; SameSite=Lax; Domain=marketplace.example"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "session=1; footfall_optout=1",
        f"footfall_id={VISITOR}",
        f"footfall_id={BORN}.{VISITOR[:-1]}",
        f"footfall_id={BORN}.{VISITOR.upper()}",
        f"footfall_id={BORN}.{VISITOR}\x01",
        f"footfall_id={base36(NOW - LIFETIME_SECONDS)}.{VISITOR}",
        f"footfall_id={base36(0)}.{VISITOR}",
        f"footfall_id={base36(NOW + 2 * 86_400)}.{VISITOR}",
        f"footfall_id=zzzzzzzz.{VISITOR}",
        f"Footfall_id={ID}",
        f"xfootfall_id={ID}",
        f"footfall_p_={BORN}.a:b",
        f"footfall_p_x={BORN}.a:b\x00",
        f"footfall_p_x={BORN}.a",
        f"footfall_p_x={BORN}.a:b c",
        f"footfall_p_x={BORN}.a:{'b' * 701}",
        f"footfall_p_{'x' * 221}={BORN}.a:b",
        f"footfall_p_x={BORN}.a:b,c",
        "=;;=;",
    ],
)
def test_what_is_not_ours_alive_and_of_the_right_shape_is_left_alone(header: str) -> None:
    assert again(header) == []


def test_no_more_than_twenty_are_set_again() -> None:
    assert len(again("; ".join(f"footfall_p_{n}={BORN}.a:b" for n in range(50)))) == 20


@given(st.integers(0, 36**8 - 1))
def test_no_cookie_ever_lives_longer_than_thirteen_months_from_its_birth_or_a_day_off(born: int) -> None:
    for cookie in again(f"footfall_id={base36(born)}.{VISITOR}"):
        age = int(cookie.partition("Max-Age=")[2].partition(";")[0])
        assert 0 < age <= LIFETIME_SECONDS
        assert NOW + age <= born + LIFETIME_SECONDS or NOW < born <= NOW + 86_400


@given(st.binary(max_size=120))
def test_whatever_stands_in_the_header_nothing_of_a_foreign_shape_comes_back(header: bytes) -> None:
    for _, value in set_again(b"footfall_id=" + header + b"; " + header, NOW * 1_000, None, b""):
        assert value.startswith((b"footfall_id=", b"footfall_p_"))
        assert not set(value) & set(b"\r\n\0,")


@pytest.mark.parametrize(
    ("site", "count"), [("same-origin", 1), ("same-site", 1), ("cross-site", 0), ("none", 0), (None, 0)]
)
def test_cookies_come_back_only_when_the_browser_says_that_the_page_is_of_the_same_site(
    doors: Doors, site: str | None, count: int
) -> None:
    headers = {"Cookie": f"footfall_id={base36(int(time.time()) - 60)}.{VISITOR}"}
    answer = doors.send(view(), **headers, **({"Sec_Fetch_Site": site} if site else {}))
    assert len(answer.headers.get_list("set-cookie")) == count


def test_a_partly_refused_request_brings_cookies_back_unless_measurement_was_refused(doors: Doors) -> None:
    """The snippet deletes its cookies when measurement is refused; an answer must not bring them back."""
    headers = {"Cookie": f"footfall_id={base36(int(time.time()) - 60)}.{VISITOR}", "Sec_Fetch_Site": "same-origin"}
    assert "set-cookie" in doors.send(view(), view(name="no"), **headers).headers
    refused = view(consent={"measurement": False})
    assert "set-cookie" not in doors.send(view(), refused, **headers).headers
    assert "set-cookie" not in doors.send(refused, **headers).headers


def test_no_cookie_is_authority(doors: Doors) -> None:
    answer = doors.send(view(), Cookie="session=admin; footfall_id=x", Origin="https://evil.example")
    assert answer.status_code == 403
