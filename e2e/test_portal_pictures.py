"""The pictures of the portal's pages are all there, small, and shown: `scripts/screenshots` makes them."""

from __future__ import annotations

import re

import pytest
from portal_pictures import DOCUMENT, PICTURES, documentation, wanted
from portal_tour import STOPS, Stop, unvisited

MOST_BYTES = 5_000_000


def test_every_page_has_its_picture_and_no_picture_is_of_none() -> None:
    assert unvisited() == set()
    assert {path.stem for path in PICTURES.glob("*.png")} == set(wanted())
    assert all((PICTURES / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in wanted())


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in PICTURES.glob("*.png")) < MOST_BYTES


def test_the_documentation_shows_each_with_its_sentence() -> None:
    text = DOCUMENT.read_text()
    assert text == documentation()
    assert set(re.findall(r"images/portal/([\w-]+)\.png", text)) == set(wanted())


@pytest.mark.parametrize("stop", [stop for stop in STOPS if stop.is_page], ids=lambda stop: stop.name)
def test_a_sentence_says_what_to_see(stop: Stop) -> None:
    assert re.fullmatch(r"[A-Z].{10,}\.", stop.look)
