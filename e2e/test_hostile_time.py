"""No body takes the collector much longer than an ordinary one of its size: keys that collide, numbers of many digits,
texts on which a careless expression goes back and forth.

Both are timed in the same test, by turns, against a real collector; so a slow machine fails nobody.
"""

from __future__ import annotations

import json
import time
from itertools import islice, product

import pytest
from siege import SITE, Siege, body_of, message, with_field

FACTOR = 40  # a quadratic one is hundreds of times slower


def colliding(number: int) -> list[str]:
    """Names that collide under the multiplicative hashes of older systems: blocks of two with equal sums."""
    return ["".join(blocks) for blocks in islice(product(("Ez", "FY", "G8"), repeat=8), number)]


SLOW = {
    "keys that collide": json.dumps(dict.fromkeys(colliding(2_500), 1)).encode(),
    "as many keys as fit": ("{" + ",".join(f'"{number:x}":1' for number in range(5_500)) + "}").encode(),
    "keys that are numbers": ("{" + ",".join(f'"{number << 61}":1' for number in range(2_200)) + "}").encode(),
    "one key again and again": b"{" + b",".join([b'"a":1'] * 9_000) + b"}",
    "one number": b"9" * 60_000,
    "halves of characters": b'"' + b"\\ud800" * 9_900 + b'"',
    "backslashes": b'"' + b"\\\\" * 30_000 + b'"',
    "lists in lists": b"[" + b",".join([b"[[[]]]"] * 8_000) + b"]",
}


@pytest.mark.parametrize("field", ["user", "surprise"])
@pytest.mark.parametrize("name", SLOW)
def test_no_value_takes_much_longer_than_an_ordinary_body_of_its_size(siege: Siege, field: str, name: str) -> None:
    hostile = with_field("/e", f'"name":"no","{field}":'.encode() + SLOW[name])
    assert_as_quick_as_an_ordinary_one(siege, "/e", body_of("/e", hostile))


TEXTS = {
    "parameters": f"{SITE}/?" + "a&" * 3_900,
    "nearly addresses": f"{SITE}/?q=" + "a@" * 3_900,
    "more of them": f"{SITE}/?q=a@" + "a" * 7_800,
    "dots": f"{SITE}/?q=a@" + "." * 7_800,
    "escapes": f"{SITE}/?" + "%41" * 2_600,
    "a long host": "https://" + "xn--a." * 1_300,
    "user names": "https://" + "a@" * 3_900 + "b/",
    "ways up": "../" * 2_600,
    "slashes": "/" * 7_900,
}


@pytest.mark.parametrize("name", TEXTS)
def test_no_address_takes_much_longer_than_an_ordinary_body_of_its_size(siege: Siege, name: str) -> None:
    told = [message("/e", url=TEXTS[name], referrer=TEXTS[name], name="cta_click", target=TEXTS[name]) for _ in (1, 2)]
    assert_as_quick_as_an_ordinary_one(siege, "/e", body_of("/e", *told))


@pytest.mark.parametrize("name", SLOW)
def test_no_value_takes_the_back_ends_door_much_longer(siege: Siege, name: str) -> None:
    door = "/api/v1/installs"
    hostile = with_field(door, b'"sharing":1,"surprise":[' + b",".join([SLOW[name]] * 15) + b"]")
    assert_as_quick_as_an_ordinary_one(siege, door, body_of(door, hostile))


def assert_as_quick_as_an_ordinary_one(siege: Siege, door: str, hostile: bytes) -> None:
    """The best of several of each, by turns, so that what else the machine does harms both alike."""
    number = min(len(hostile) // 300, 100 if door == "/e" else 1_000)
    ordinary = body_of(door, *(message(door) for _ in range(number)))
    assert len(ordinary) <= len(hostile)
    best = {hostile: 60.0, ordinary: 60.0}
    for _ in range(5):
        for body in best:
            began = time.monotonic()
            assert siege.post(door, body).status in (200, 204, 400)
            best[body] = min(best[body], time.monotonic() - began)
    assert best[hostile] < FACTOR * best[ordinary], best.values()
