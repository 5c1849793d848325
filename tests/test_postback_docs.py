"""What the page of postbacks says: its examples check signatures, and its tables have every macro and every reason."""

import json
import re
import subprocess
import sys
from pathlib import Path

import playwright
import pytest

from collector.portal.words import REASONS
from wire.macros import MACROS
from wire.signature import headers, new_secret

PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "postbacks.md").read_text()
NODE = Path(playwright.__file__).with_name("driver") / "node"  # which the tests with a browser bring along
BODY = '{"campaign": "Fr\u00fchling"}'


def example(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_the_examples_take_what_is_ours_and_nothing_else(language: str) -> None:
    secret, other, at = new_secret(), new_secret(), 1_771_243_200
    good = headers("m-1", at, BODY.encode(), [secret])
    two = headers("m-1", at, BODY.encode(), [other, secret])
    foreign = headers("m-1", at, BODY.encode(), [other])
    cases = [
        (good, BODY, at, True),
        (two, BODY, at + 299, True),
        (good, BODY, at + 301, False),
        (good, BODY, at - 301, False),
        (good, BODY + " ", at, False),
        (good | {"webhook-id": "m-2"}, BODY, at, False),
        (good | {"webhook-timestamp": str(at + 1)}, BODY, at, False),
        (good | {"webhook-timestamp": "soon"}, BODY, at, False),
        (good | {"webhook-signature": ""}, BODY, at, False),
        (good | {"webhook-signature": "v1,short"}, BODY, at, False),
        (foreign, BODY, at, False),
    ]
    told = json.dumps([[secret, *case[:3]] for case in cases])
    if language == "python":
        call = "import json, sys\nprint([is_ours(s, h, b.encode(), n) for s, h, b, n in json.loads(sys.argv[1])])"
        command = [sys.executable, "-c", f"{example(language)}\n{call}", told]
    else:
        call = "console.log(JSON.stringify(JSON.parse(process.argv[1]).map(([s, h, b, n]) => isOurs(s, h, b, n))))"
        command = [str(NODE), "-e", f"{example(language)}\n{call}", told]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert json.loads(said.lower()) == [expected for *_, expected in cases]


def test_every_macro_is_on_the_page() -> None:
    assert set(re.findall(r"\{\{([a-z_.]+)\}\}", PAGE)) == set(MACROS)


def test_every_reason_on_the_page_has_its_words() -> None:
    (given_up,) = re.findall(r"\| `given_up` \|(.*)\|", PAGE)
    (unasked,) = re.findall(r"\| `unasked` \|(.*)\|", PAGE)
    reasons = set(re.findall(r"`([a-z_]+)", given_up + unasked))
    assert {reason.rstrip("_") for reason in reasons} <= REASONS.keys()
