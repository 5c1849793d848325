"""What the proof says in the end: Markdown that can be published as it is, or JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from selftest.cluster import Cluster
from selftest.judgement import Judgement
from selftest.plan import Plan
from selftest.play import Happened


class Machine(msgspec.Struct, frozen=True):
    """On what it ran."""

    date: str
    footfall: str
    python: str
    database: str
    system: str
    processor: str
    disk: str


class Report(msgspec.Struct, frozen=True):
    """The whole of it; it holds when nothing was found wrong."""

    plan: Plan
    machine: Machine
    happened: Happened
    judgement: Judgement

    @property
    def holds(self) -> bool:
        return not self.judgement.wrong

    def told(self) -> dict[str, Any]:
        """For JSON: all but what landed."""
        told: dict[str, Any] = {"holds": self.holds}
        for part in (self.plan, self.machine, self.happened, self.judgement):
            told |= {name: value for name, value in msgspec.to_builtins(part).items() if name != "landed"}
        return told

    def markdown(self) -> str:
        """For people."""
        return "\n".join([*self._head(), *self._figures(), *self._damage()]) + "\n"

    def _head(self) -> list[str]:
        j, plan = self.judgement, self.plan
        minutes = f" --minutes {plan.minutes:g}" if plan.minutes else ""
        engine = " --postgresql" if plan.postgresql else ""
        kills = sum(self.happened.kills.values())
        verdict = (
            f"Held: {j.acknowledged:,} events were acknowledged while processes were killed {kills} times. None was"
            " lost, none is without a fate, none landed twice within Segment's day."
        )
        wrong = [f"- {line}" for line in j.wrong]
        return [
            "# Self-test of what is stored and accepted",
            "",
            *([verdict] if self.holds else ["**It did not hold:**", "", *wrong]),
            "",
            f"`footfall selftest delivery --kills {plan.kills}{minutes} --seed {plan.seed}{engine}`",
            "",
            *_table(
                "on what", "", msgspec.to_builtins(self.machine) | {"took": f"{self.happened.seconds / 60:.1f} minutes"}
            ),
        ]

    def _figures(self) -> list[str]:
        j = self.judgement
        at_the_doors = {
            "events sent": j.tried,
            "events acknowledged with a 2xx": j.acknowledged,
            "requests told to come back later (503)": self.happened.shed,
            "events in the log": j.stored,
            "of these, events whose answer was lost with a connection": j.stored_unanswered,
        }
        beyond = {
            "accepted": j.fates["accepted"],
            "parked": j.fates["parked"],
            **{f"suppressed: {why}": n for why, n in sorted(j.suppressed.items())},
            "pending at sound destinations": j.fates["pending"],
            "pending at the destination that is broken for good": j.pending_at_broken,
        }
        judged = {
            "acknowledged events lost": j.lost,
            "events without a fate": j.without_fate,
            "copies sent, dropped by Segment as doubled": j.doubled_before,
            "events doubled after that": j.doubled_after,
            "messages under another app's key": j.misdirected,
            "difference in the two balances": j.difference,
        }
        return [
            *_table("at the doors", "events", at_the_doors),
            *_table("per event and destination", "events", beyond),
            *_table("judged, event by event", "", judged),
        ]

    def _damage(self) -> list[str]:
        faults: dict[str, object] = dict(sorted(self.happened.faults.items()))
        if "disk full" not in faults:
            faults["disk full"] = "no" if self.machine.disk == TINY else f"left out: {self._why_no_disk()}"
        return [
            *_table("killed (SIGKILL)", "times", dict(sorted(self.happened.kills.items()))),
            *_table("done wrong", "times", faults),
        ][:-1]

    def _why_no_disk(self) -> str:
        return "the server has its own" if self.plan.postgresql else "no small file system could be mounted"


TINY = "a small one in memory"


def machine(tiny_disk: bool, server: Cluster | None = None) -> Machine:
    """This machine, without its name."""
    return Machine(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        footfall=importlib.metadata.version("footfall"),
        python=platform.python_version(),
        database=f"PostgreSQL {server.value('show server_version')}" if server else f"SQLite {sqlite3.sqlite_version}",
        system=f"{platform.system()} {platform.release()}, {platform.machine()}",
        processor=f"{os.cpu_count()} of {_processor()}",
        disk=TINY if tiny_disk else "that of temporary files",
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def _table(first: str, second: str, rows: Mapping[str, object]) -> list[str]:
    shown = [
        f"| {name} | {value:,} |" if isinstance(value, int) else f"| {name} | {value} |" for name, value in rows.items()
    ]
    return [f"| {first} | {second} |", "|---|---|", *shown, ""]
