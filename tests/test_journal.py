"""Lines for the journal: one JSON object each, a priority only where one belongs, and nothing of what was sent."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TextIO

import pytest
from conftest import Doors, view

import journal
from exporter.report import Voice

NOON = 1_771_243_200.123


class Spoken:
    """What was written to standard error, which is a file while a test is in here."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def listening(self) -> Iterator[TextIO]:
        root = logging.getLogger()
        before = root.handlers[:], root.level
        with self._path.open("w") as file, redirect_stderr(file):
            yield file
        root.handlers[:] = before[0]
        root.setLevel(before[1])

    def text(self) -> str:
        return self._path.read_text()

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def spoken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spoken:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    return Spoken(tmp_path / "stderr")


def test_a_record_is_one_line_of_json_with_its_fields() -> None:
    line = journal.line("run ended", "info", {"accepted": 3, "reason": "two\nlines"}, NOON)
    assert line == (
        b'{"at":"2026-02-16T12:00:00.123Z","level":"info","event":"run ended","accepted":3,"reason":"two\\nlines"}\n'
    )


@pytest.mark.parametrize(("level", "priority"), [("error", b"<3>{"), ("warning", b"<4>{"), ("info", b"<6>{")])
def test_the_journal_gets_the_priority_first(level: journal.Level, priority: bytes) -> None:
    assert journal.line("it", level, {}, NOON, with_priority=True).startswith(priority)


def test_there_is_a_priority_when_standard_error_is_the_journal(
    spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spoken.listening() as file:
        stream = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
        journal.note("it", "warning")
    assert spoken.text().startswith('<4>{"at":')


def test_a_file_beside_the_journal_gets_plain_json(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    with spoken.listening():
        journal.note("it")
    assert [each["event"] for each in spoken.records()] == ["it"]


def test_on_a_terminal_it_is_words() -> None:
    assert journal.words("run ended", {"accepted": 3, "seconds": 0.5}) == "run ended: accepted 3, seconds 0.5"
    assert journal.words("collector ended", {}) == "collector ended"


def test_the_exporter_speaks_the_same_way(spoken: Spoken) -> None:
    with spoken.listening():
        voice = Voice()
        voice.note("run began", run="r")
        voice.complain("run failed", reason="no disk")
    told = spoken.records()
    assert [(each["level"], each["event"]) for each in told] == [("info", "run began"), ("error", "run failed")]
    assert told[1]["reason"] == "no disk"


def test_what_libraries_log_is_told_too(spoken: Spoken) -> None:
    with spoken.listening():
        journal.listen()
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logging.getLogger("uvicorn.error").info("nobody needs this")
    (record,) = spoken.records()
    assert (record["level"], record["logger"]) == ("warning", "uvicorn.error")
    assert record["event"] == "Invalid HTTP request received."


def test_an_exception_is_told_by_class_and_place_without_its_text(spoken: Spoken) -> None:
    with spoken.listening():
        journal.listen()
        try:
            raise ValueError("a payload of somebody's")
        except ValueError:
            logging.getLogger("asyncio").exception("Task exception was never retrieved\nfuture: somebody's payload")
    (record,) = spoken.records()
    assert (record["event"], record["error"]) == ("Task exception was never retrieved", "ValueError")
    assert record["where"][-1].startswith("tests/test_journal.py:")
    assert "payload" not in spoken.text()


@pytest.mark.only("sqlite", "a server's disk is its own to watch")
def test_a_store_that_fails_and_recovers_is_told_once_each(
    doors: Doors, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    with spoken.listening():
        with monkeypatch.context() as full:
            full.setattr("collector.writer.DISK_FLOOR_BYTES", 2**60)
            full.setattr("collector.writer.DISK_FLOOR_SHARE", 1.0)
            full.setattr("collector.writer.PROBE_SECONDS", 0.01)
            assert [doors.send(view()).status_code for _ in range(3)] == [503, 503, 503]
        while doors.client.get("/readyz").status_code == 503:
            pass
    failed, recovered = spoken.records()
    assert (failed["level"], failed["event"]) == ("error", "the event log cannot be written")
    assert failed["reason"].startswith("the disk is full: ")
    assert (recovered["level"], recovered["event"]) == ("info", "the event log can be written again")
