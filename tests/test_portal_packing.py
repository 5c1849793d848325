"""Which pages are packed, and that what comes out is the page: docs/decisions/0026."""

from __future__ import annotations

import gzip

import brotli
import pytest
from portal_cast import Browser
from starlette.requests import Request

from collector.assets import load_static
from collector.portal.packing import may_be_packed

pytestmark = pytest.mark.only("sqlite", "pages, which are opened on PostgreSQL in one test for all")


def asked(method: str, **headers: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": named})


@pytest.mark.parametrize(
    ("method", "site", "packed"),
    [
        ("GET", "same-origin", True),
        ("GET", "none", True),
        ("HEAD", "none", True),
        ("GET", "cross-site", False),
        ("GET", "same-site", False),
        ("POST", "same-origin", False),
        ("POST", "none", False),
    ],
)
def test_a_page_is_packed_for_our_own_side_alone(method: str, site: str, packed: bool) -> None:
    assert may_be_packed(asked(method, sec_fetch_site=site)) is packed


def test_a_page_whose_asker_does_not_say_where_from_is_not_packed() -> None:
    assert may_be_packed(asked("GET")) is False


@pytest.mark.parametrize("coding", ["br", "gzip"])
def test_what_is_packed_is_the_same_page(browser: Browser, coding: str) -> None:
    browser.enter("owner")
    plain = browser.get("/people", Sec_Fetch_Site="none", Accept_Encoding="identity")
    assert "content-encoding" not in plain.headers
    with browser.client.stream(
        "GET", "/people", headers={"Sec-Fetch-Site": "none", "Accept-Encoding": coding}
    ) as answer:
        came = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == coding
    assert int(answer.headers["content-length"]) == len(came) < len(plain.content) / 2
    assert (brotli.decompress(came) if coding == "br" else gzip.decompress(came)) == plain.content


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_that_another_site_opens_is_as_long_as_it_is(browser: Browser, site: str) -> None:
    browser.enter("owner")
    answer = browser.get("/people", Sec_Fetch_Site=site, Accept_Encoding="br")
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding, Sec-Fetch-Site"


def test_the_answer_to_a_form_that_shows_a_secret_is_not_packed(browser: Browser) -> None:
    browser.enter("owner")
    answer = browser.post("/tokens", {"name": "new", "days": "30"}, Accept_Encoding="br")
    assert "This is the token" in answer.text
    assert "content-encoding" not in answer.headers


def test_files_of_our_pages_are_packed_whole() -> None:
    for path, asset in load_static().items():
        assert brotli.decompress(asset.encodings[b"br"]) == asset.body, path
        assert gzip.decompress(asset.encodings[b"gzip"]) == asset.body, path
