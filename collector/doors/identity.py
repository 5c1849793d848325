"""What names somebody, and what only looks like it: shared by the doors at which a partner's own systems speak."""

from __future__ import annotations

import re
from typing import Any

TEST_ID = "kochava-test-"

_ZEROS = re.compile(r"[{(]?[0-]+[)}]?\Z")
_MACRO = re.compile(r"(\{.*\}|\[.*\]|\$\{.*\}|\$\(.*\)|%%?[A-Za-z_]+%%?|__[A-Z_]+__|#.*#)\Z", re.DOTALL)
_BRACED = re.compile(r"\{([0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12})\}\Z")
_NOBODY = frozenset({"", "null", "(null)", "nil", "none", "undefined", "unknown", "n/a"})


def known(value: Any) -> str | None:
    """An id as it is kept; None for what names nobody: nothing, zeros in any spelling, the words for nothing, and a
    macro that was not replaced."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value).strip()
    braced = _BRACED.match(text)
    if braced:
        text = braced[1]
    if text.lower() in _NOBODY or _ZEROS.match(text) or _MACRO.match(text):
        return None
    return text


def is_of_a_test(text: str) -> bool:
    return text.startswith(TEST_ID)
