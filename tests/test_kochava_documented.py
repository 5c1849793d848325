"""The reference of Kochava's calls is true: each row names a test that there is, and its lists are the code's."""

import re
from pathlib import Path

import pytest

from collector.doors import authentication, calls, kochava
from store.authentication import MODES, MOST_PAIRS

pytestmark = pytest.mark.only("sqlite", "a page knows no store")

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "reference" / "kochava.md").read_text()
SOURCES = [path.read_text() for folder in ("tests", "e2e") for path in (ROOT / folder).glob("test_*.py")]
TESTS = {name for text in SOURCES for name in re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE)}


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables under one heading, without the tables' own heads."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines][1:]


def test_every_test_that_it_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT)) - {"test_id"}
    assert len(named) > 25
    assert named - TESTS == set()


@pytest.mark.parametrize(
    "heading", ["Where senders disagree", "What led to an install", "Kochava's document, paragraph by paragraph"]
)
def test_every_row_names_a_test(heading: str) -> None:
    assert len(rows(heading)) > 4
    assert [row for row in rows(heading) if not re.fullmatch(r"`test_\w+`(, `test_\w+`)*", row[-1])] == []


def test_its_actions_are_those_of_the_code() -> None:
    told = {row[0].strip("`"): row[1] for row in rows("Actions")}
    assert tuple(told) == calls.ACTIONS
    for action, name in (("install", calls.INSTALLED), ("click", calls.CLICKED), ("impression", calls.SEEN)):
        assert f"`{name}`" in told[action]


def test_its_statuses_and_limits_are_those_of_the_code() -> None:
    assert {int(row[0]) for row in rows("Answers")} == {200, 400, 503, *kochava.STATUS.values()}
    assert (kochava.MAX_CALLS, kochava.MAX_BODY) == (1_000, 2 * 1024 * 1024)
    for path in (kochava.TRACK_PATH, kochava.LINK_PATH):
        assert f"`POST {path}`" in TEXT


def test_every_flag_is_documented() -> None:
    flags = {
        "bad_time",
        "bad_address",
        "odd_event_data",
        "idfa_refused",
        "test_id",
        "developer_claim",
        "reserved_keys",
    }
    source = (ROOT / "collector" / "doors" / "calls.py").read_text()
    assert set(re.findall(r'(?:append\(|\[)"([a-z]+_[a-z_]+)"[\])]', source)) <= flags
    assert {flag for flag in flags if f"`{flag}`" not in TEXT} == set()


def test_the_page_on_authentication_has_the_codes_rules_headers_and_limits() -> None:
    text = " ".join((ROOT / "docs" / "reference" / "authentication.md").read_text().split())
    headers = (authentication.API_KEY, authentication.TOKEN, authentication.KEY, authentication.TIMESTAMP)
    for header in (*headers, authentication.NONCE, authentication.SIGNATURE):
        assert f"`{header.decode().title()}`" in text
    assert all(f"| `{mode}` |" in text for mode in MODES)
    assert f"at most {authentication.TOLERANCE_SECONDS} from our clock" in text
    assert f"At most {MOST_PAIRS} are live" in text
    assert f"at most {authentication.MOST_REQUESTS:,} requests and {authentication.MOST_BYTES >> 20} MiB" in text
    assert {f"`{reason}`" for reason in authentication.STATUS} <= set(
        re.findall(r"`\w+`", (ROOT / "docs" / "reference" / "errors.md").read_text())
    )
