"""What a reviewer forgets: every setting, command, option, route, metric and reason is in the reference."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from conftest import Doors, view

import footfall
from collector.assets import load_snippet
from collector.portal.frame import PageRoute
from store import settings

pytestmark = pytest.mark.only("sqlite", "a page knows no store")

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


def commands(group: click.Group, words: tuple[str, ...] = ("footfall",)) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with what a person types."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


COMMANDS = dict(commands(footfall.main))
SETTINGS = settings.Settings.__struct_fields__
each_command = pytest.mark.parametrize("words", COMMANDS)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_documented_and_can_be_set(name: str) -> None:
    assert f"`FOOTFALL_{name.upper()}`" in page("settings")
    assert name in settings._READERS


def test_no_setting_is_documented_that_does_not_exist() -> None:
    known = {f"FOOTFALL_{name.upper()}" for name in SETTINGS}
    known |= {name + "_FILE" for name in known}
    documented = set(re.findall(r"\bFOOTFALL_[A-Z_]+\b", page("settings")))
    assert {name for name in documented - known if not name.startswith("FOOTFALL_TEST")} == set()


def test_every_switch_for_tests_is_documented_as_one() -> None:
    sources = [path for folder in ("collector", "exporter", "store", "wire") for path in (ROOT / folder).rglob("*.py")]
    used = {name for path in sources for name in re.findall(r"FOOTFALL_TEST_[A-Z_]+", path.read_text())}
    missing = {name for name in used if f"`{name}`" not in page("settings")}
    assert missing == set()


@each_command
def test_every_command_is_documented_with_all_its_options(words: str) -> None:
    heading = f"## {words}\n"
    assert heading in page("commands")
    section = page("commands").partition(heading)[2].partition("\n## ")[0]
    for parameter in COMMANDS[words].params:
        if isinstance(parameter, click.Option):
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert f"`{option}" in section, option


@each_command
def test_every_command_explains_itself_with_an_example(words: str) -> None:
    text = COMMANDS[words].help or ""
    assert re.search(rf"Example: .*{words}", text), text


def test_no_command_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^## (footfall .+)$", page("commands"), re.MULTILINE)) == set(COMMANDS)


def test_every_route_is_documented(doors: Doors) -> None:
    text = page("http")
    found = doors.client.app._router.routes
    routes = [route.path for route in found if not isinstance(route, PageRoute)]
    assert len(routes) > 10
    for path in [*routes, "/e"]:
        shown = path.replace(load_snippet().hash, "<hash>").replace(":path}", "}")
        shown = re.sub(r"^/js/footfall\.[0-9a-f]+\.js$", "/js/footfall.<hash>.js", shown)
        shown = re.sub(r"^(/static/(?:vendor/)?[a-z]+/).+", r"\1…", shown)
        assert re.search(rf"`(GET|POST) {re.escape(shown)}`", text) or f"GET {shown}" in text, path


def test_the_metrics_and_their_page_agree(doors: Doors) -> None:
    doors.send(view())
    told = re.findall(r"^# TYPE (\S+) (\w+)$", doors.client.get("/metrics").text, re.MULTILINE)
    listed = re.findall(r"^\| `(footfall_\w+)` \| (\w+) \|", page("metrics"), re.MULTILINE)
    assert len(told) > 4
    assert sorted(told) == sorted(listed)


def test_every_line_of_the_logs_is_documented() -> None:
    files = [path for folder in ("collector", "commands", "exporter", "wire") for path in (ROOT / folder).rglob("*.py")]
    sources = [path.read_text() for path in files]
    said = {event for text in sources for event in re.findall(r"\.(?:note|complain)\(\s*\"([^\"]+)\"", text)}
    assert {"run began", "collector began"} <= said
    assert said == set(re.findall(r"^\| `([^`]+)` \| (?:info|warning|error) \|", page("logs"), re.MULTILINE))


def test_every_reason_for_a_refusal_is_documented() -> None:
    sources = [path.read_text() for path in (ROOT / "collector").rglob("*.py")]
    reasons = {reason for text in sources for reason in re.findall(r"Refused\(\s*\"([a-z_]+)\"", text)}
    assert {"invalid", "unknown_app", "consent_refused", "too_large", "origin"} <= reasons
    for reason in reasons | {"unstorable"}:
        assert f"`{reason}`" in page("errors"), reason
