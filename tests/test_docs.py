"""The documentation agrees with itself and with the code: links, index of decisions, words, and the events' examples.

Its commands are run, with real processes, by e2e/test_docs_run.py.
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from shipping_cast import a_destination

from collector.directory import Directory
from collector.doors.listing import Facts, Judge
from store import registry
from store.campaign import campaign
from store.engines import open_writer
from store.event import Details, Event
from store.registry import App
from store.secrets import Vault
from wire.mapping import Mapper

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DECISIONS = ROOT / "docs" / "decisions"

_FENCES = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FORBIDDEN = re.compile(
    r"/work/|/root/|/home/|\bclaude\b|\bprompts?\b|\bAI\b|\bLLM\b|(?<![\w&])#\d+\b|pypi\.org|files\.python[h]osted|registry\.npmjs",
    re.IGNORECASE,
)
_SAYS_WHY_NOT = {
    "README.md",
    "docs/README.md",
    "docs/glossary.md",
    "docs/explanation/accepted.md",
    "docs/reference/delivery.md",
}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    return _FENCES.sub("", page.read_text())


def anchor(heading: str) -> str:
    """As the usual renderers make it: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(found) for found in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} is not there"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        assert not fragment or fragment in anchors(target), f"{link}: no such heading"


@each_page
def test_a_page_speaks_of_the_project_alone(page: Path) -> None:
    assert _FORBIDDEN.findall(page.read_text()) == []


@each_page
def test_nothing_is_called_delivered(page: Path) -> None:
    if str(page.relative_to(ROOT)) not in _SAYS_WHY_NOT:
        assert "delivered" not in page.read_text().lower()


@each_page
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    for name in re.findall(r"`((?:collector|exporter|store|wire|tests|e2e)/[\w/]+\.py)", page.read_text()):
        assert (ROOT / name).exists(), name


def test_every_page_is_on_the_map() -> None:
    listed = {
        (ROOT / "docs" / link.partition("#")[0]).resolve() for link in _LINK.findall(prose(ROOT / "docs/README.md"))
    }
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs") and page.parent != DECISIONS}
    assert pages - {ROOT / "docs" / "README.md"} <= listed


def test_every_decision_is_in_the_index_under_its_title() -> None:
    index = (DECISIONS / "README.md").read_text()
    for record in sorted(DECISIONS.glob("[0-9]*.md")):
        number, title = re.match(r"# (\d{4}) (.+)\n", record.read_text()).groups()  # type: ignore[union-attr]
        assert record.name.startswith(number)
        assert f"| [{number}]({record.name}) | {title} |" in index


# --- the events' examples


DESTINATION = UUID("6f1d2c3a-8b4e-5f60-9a7b-1c2d3e4f5061")
RECEIVED_AT = int(datetime.fromisoformat("2026-03-29T09:11:33.042+00:00").timestamp() * 1_000)
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:148.0) Gecko/20100101 Firefox/148.0"


def example(name: str) -> Any:
    page = (ROOT / "docs" / "reference" / "events.md").read_text()
    (text,) = re.findall(rf"^```json {name}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return json.loads(text)


def message(event: Event, app: App, profile: str) -> Any:
    destination = a_destination(app_key=app.app_key, destination_id=str(DESTINATION), profile=profile)
    return json.loads(Mapper(app, destination, "MPAC").map(event).wire)


@pytest.fixture
def judged(tmp_path: Path) -> tuple[Event, App]:
    """The example's body as the collector judges it, and its app."""

    async def judge() -> tuple[Event, App]:
        async with await open_writer(tmp_path, "registry") as db:
            await registry.add_partner(db, 0, "acme", "1211971", "Acme Apps")
            app = await registry.add_app(db, 0, "com.acme.charts", "acme", "1219125", "Charts")
            directory = Directory(db)
            await directory.refresh()
            body = json.dumps(example("sent")).encode()
            judge = Judge(directory, Vault("a secret key of tests, not short"), "required")
            arrivals = judge.judge_clean(body, Facts(RECEIVED_AT, AGENT, "en-GB"))
            assert arrivals is not None
            app_key, message_id, *rest, details = arrivals[0].row
            return Event(1, app_key, message_id.hex(), *rest, msgspec.json.decode(details, type=Details)), app

    return asyncio.run(judge())


def test_the_example_is_stored_as_the_page_says(judged: tuple[Event, App]) -> None:
    event, _ = judged
    assert msgspec.to_builtins(event.details) == example("stored")
    assert event.partner_anonymous_id == "visitor-17"


@pytest.mark.parametrize("profile", ["mpac", "segment"])
def test_the_example_leaves_as_the_page_says(judged: tuple[Event, App], profile: str) -> None:
    event, app = judged
    assert message(event, app, profile) == example(profile)


def test_the_example_of_an_install_leaves_as_the_page_says(judged: tuple[Event, App]) -> None:
    event, app = judged
    install = msgspec.structs.replace(
        event,
        message_id=UUID("32e377f9-d6c0-44d2-a986-7b2c12498558").hex,
        name="install",
        source="server",
        occurred_at=RECEIVED_AT + 60_000,
        user_id="0efffdf9a0db5f80d0927f9c0d269e8089c72df8",
        details=Details(campaign=campaign(example("stored")["query"])),
    )
    assert message(install, app, "mpac") == example("install")
