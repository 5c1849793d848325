"""What an answer repeats of a write key is not kept, however the other end writes it."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
import requests
from hypothesis import assume, given
from hypothesis import strategies as st

from wire import segment
from wire.verdict import EXCERPT, judge

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=8, max_size=40).map(str.strip)
ECHOES: dict[str, Callable[[str], str]] = {
    "as it is": lambda key: key,
    "in lower case": lambda key: key.lower() if len(key.lower()) == len(key) else key,
    "as the header": lambda key: base64.b64encode(f"{key}:".encode()).decode(),
    "as the header without a colon": lambda key: base64.b64encode(key.encode()).decode(),
    "as JSON": lambda key: json.dumps({"writeKey": key}),
    "as JSON in UTF-8": lambda key: json.dumps({"writeKey": key}, ensure_ascii=False),
    "as JSON with its slashes escaped": lambda key: json.dumps({"writeKey": key}).replace("/", "\\/"),
    "in a URL": lambda key: f"/v1/projects/{quote(key, safe='')}/settings",
    "as the header, in a URL": lambda key: quote(base64.b64encode(f"{key}:".encode()).decode(), safe=""),
}


def answered(body: str, key: str) -> str:
    response = requests.Response()
    response.status_code = 503
    response._content = body.encode()
    reply = segment._reply(response, key)
    assert judge(reply).detail == reply.body[:EXCERPT]
    return reply.body


@pytest.mark.parametrize("echo", ECHOES)
@given(key=KEYS.filter(lambda key: len(key) >= 8))
def test_an_echoed_key_is_taken_out(echo: str, key: str) -> None:
    assume(all(key not in said for said in ("[write key]", "/v1/projects/", "and again")))  # as it would be anyway
    written = ECHOES[echo](key)
    body = answered(f"«{written}» and again «{written}»", key)
    assert written not in body
    assert key not in body
    assert "[write key]" in body


def test_what_surrounds_the_key_stays() -> None:
    said = answered('{"error": "no source for WRITEKEY+/==1 here"}', "WRITEKEY+/==1")
    assert said == '{"error": "no source for [write key] here"}'


def test_nul_in_an_answer_is_kept_as_what_both_engines_can_hold() -> None:
    assert answered("no\0 such source", "WRITEKEYOFTHEOWNERSCHARTS0000001") == "no� such source"
