"""What is remembered to be quick is short, whatever strangers send."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from collector.doors import browser, segment_message
from collector.doors.segment_message import Facts, Message
from store.rollups import facets

ONE = 8_000  # characters
MANY = 1_000  # of which the library of Python itself remembers some


def a_campaign(text: str) -> None:
    message = Message(type="identify", user_id="u", context={"campaign": {text: "x", "name": text}})
    segment_message.told(message, Facts("segment", 1_700_000_000_000))


def a_referrer(text: str) -> None:
    facets.host(f"https://news.example/{text}")


def an_agent(text: str) -> None:
    browser._facts({b"user-agent": text.encode(), b"accept-language": text.encode()}, 1, None)


@pytest.mark.parametrize("read", [a_campaign, a_referrer, an_agent])
def test_long_texts_are_not_remembered(read: Callable[[str], None]) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(MANY):
            read(f"{n}" + "x" * ONE)
        assert tracemalloc.get_traced_memory()[0] - before < MANY * ONE / 2
    finally:
        tracemalloc.stop()
