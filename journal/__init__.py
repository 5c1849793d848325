"""How both processes speak: one JSON line per record on standard error, or plain words when that is a terminal.

Under systemd a line begins with its priority, but only while standard error is the journal itself: a file that it was
redirected to stays plain JSON. Of an exception its class and place are told, never its text, which may quote a payload.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

Level = Literal["error", "warning", "info"]
PRIORITY: dict[Level, int] = {"error": 3, "warning": 4, "info": 6}  # syslog's
FRAMES = 8


def note(event: str, level: Level = "info", **fields: Any) -> None:
    """Say what happened: `event` is a constant text, the fields are what differs. Never a key, never a payload."""
    if sys.stderr.isatty():
        sys.stderr.write(words(event, fields) + "\n")
    else:
        sys.stderr.buffer.write(line(event, level, fields, time.time(), in_the_journal()))
    sys.stderr.flush()


def line(event: str, level: Level, fields: Mapping[str, Any], now: float, with_priority: bool = False) -> bytes:
    """One record as it is written, `now` in epoch seconds."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1_000) % 1_000:03}Z"
    told = msgspec.json.encode({"at": at, "level": level, "event": event, **fields}) + b"\n"
    return b"<%d>%s" % (PRIORITY[level], told) if with_priority else told


def words(event: str, fields: Mapping[str, Any]) -> str:
    """The same for a person."""
    said = ", ".join(f"{name} {value}" for name, value in fields.items())
    return f"{event}: {said}" if said else event


def in_the_journal() -> bool:
    """Whether standard error is the journal: the variable names its device and inode, see systemd.exec(5)."""
    try:
        stream = os.fstat(sys.stderr.fileno())
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def listen() -> None:
    """From now on, what libraries log comes here too, warnings and worse."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    root.handlers[:] = [Records()]


class Records(logging.Handler):
    """Tells log records of libraries: their first line, because the others may hold values."""

    def emit(self, record: logging.LogRecord) -> None:
        if sys.stderr.isatty() and record.exc_info and record.exc_info[0] is not None:
            traceback.print_exception(*record.exc_info)
        try:
            said = record.getMessage().strip().partition("\n")[0]
            note(said, _level(record), logger=record.name, **_failure(record.exc_info))
        except Exception:  # a record that cannot be told must not end what it tells of
            self.handleError(record)


def _level(record: logging.LogRecord) -> Level:
    if record.levelno >= logging.ERROR:
        return "error"
    return "warning" if record.levelno >= logging.WARNING else "info"


def failure(error: BaseException) -> dict[str, Any]:
    """The fields that tell of an exception: its class and place, never its text."""
    return {"error": type(error).__name__, "where": _where(error.__traceback__)}


def _failure(exc_info: Any) -> dict[str, Any]:
    if not exc_info or exc_info[0] is None:
        return {}
    return failure(exc_info[1])


def _where(tb: TracebackType | None) -> list[str]:
    """The last frames, innermost last, as folder/file:line function."""
    frames = traceback.extract_tb(tb)[-FRAMES:]
    return [f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in frames]
