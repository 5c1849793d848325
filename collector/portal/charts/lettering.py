"""How wide a text is about to be, for who places it without seeing it: rather too wide than too narrow."""

from __future__ import annotations

import unicodedata

SIZE = 13  # pixels of the letters in pictures, as in static/css/charts.css
_NARROW = frozenset("fijlrtI.,:;'|!()[]/-` ")
_BROAD = frozenset("mwMW@%&")


def width(text: str) -> float:
    """Pixels, at SIZE."""
    return sum(_em(character) for character in text) * SIZE


def cut(text: str, most: float) -> str:
    """The text, or as much of its beginning as fits into so many pixels with an ellipsis."""
    room, keep = most - width("…"), 0
    for character in text:
        room -= _em(character) * SIZE
        if room < 0:
            break
        keep += 1
    return text if width(text[: keep + 2]) <= most and len(text) <= keep + 2 else text[:keep].rstrip() + "…"


def _em(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    if character in _NARROW:
        return 0.36
    return 0.92 if character in _BROAD else 0.7 if character.isupper() else 0.59
