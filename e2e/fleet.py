"""Several exporters on one server, each of which may be killed and replaced, and what each of them did."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count, pairwise
from types import TracebackType
from typing import Self
from uuid import UUID, uuid5

from insisting import retold
from processes import COMMAND
from shipping_stage import Stage

from selftest.processes import Process

ENDED = "the exporter ended before the answer was recorded"


@dataclass
class Fleet:
    """Exporters by number; a replacement has a number of its own. As a context manager it ends them all."""

    stage: Stage
    every: str = "1"
    running: dict[int, Process] = field(default_factory=dict)
    dead: dict[int, Process] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, how_many: int = 1) -> list[int]:
        """Their numbers."""
        footfall, started = self.stage.footfall, []
        for number in (next(self._numbers) for _ in range(how_many)):
            command = [*COMMAND, "export", "--every", self.every]
            self.running[number] = Process(command, footfall.env, footfall.home / f"exporter-{number}.log")
            started.append(number)
        return started

    def replace_one(self, chance: random.Random) -> None:
        """Kill any of them, and start another in its place."""
        number = chance.choice(sorted(self.running))
        assert self.running[number].kill() == -9
        self.dead[number] = self.running.pop(number)
        self.start()

    def stop(self) -> None:
        """Let those that run end in order."""
        for process in self.running.values():
            process.stop()

    def accepted(self) -> dict[int, int]:
        """How many events each has had accepted."""
        sql = "select run_id, sum(events)::bigint from batches where outcome = 'accepted' group by run_id"
        by_run = dict(self.stage.footfall.rows("ledger", sql))
        everybody = self.running | self.dead
        return {
            number: sum(by_run.get(line["run"], 0) for line in retold(process.log()) if line["event"] == "run began")
            for number, process in sorted(everybody.items())
        }


def assert_one_at_a_time(stage: Stage, latency: float) -> int:
    """No two requests of one app were under way at once, but where a lease ran out over one of them: the ledger says of
    that one that its exporter ended. `latency` is what Segment took for each at least, in seconds. How many there were.
    """
    began: dict[str, list[float]] = {}
    for request in stage.requests():
        began.setdefault(request["writeKey"], []).append(datetime.fromisoformat(request["receivedAt"]).timestamp())
    together = {
        key: sum(later - earlier < latency for earlier, later in pairwise(sorted(times)))
        for key, times in began.items()
    }
    sql = "select app_key, count(*) from batches where outcome = 'ambiguous' and detail = ? group by app_key"
    excused = {f"WRITEKEYOF{app}": n for app, n in stage.footfall.rows("ledger", sql, ENDED)}
    assert {key: n for key, n in together.items() if n > excused.get(key, 0)} == {}
    return sum(together.values())


def assert_each_landed_once(stage: Stage) -> int:
    """Every event that is stored landed under its own app's key, once, and nothing else did; the sums say the same, and
    no attempt is left open. How many there are."""
    footfall = stage.footfall
    destinations = footfall.rows("registry", "select app_key, destination_id from destinations where active = 1")
    namespaces = {app: UUID(destination_id) for app, destination_id in destinations}
    stored = footfall.rows("events", "select app_key, message_id from events")
    expected = Counter(
        (f"WRITEKEYOF{app}", str(uuid5(namespaces[app], str(UUID(bytes=message_id))))) for app, message_id in stored
    )
    landed = Counter((message["writeKey"], message["messageId"]) for message in stage.segment.get("/_/received").json())
    assert landed == expected
    assert set(stage.segment.get("/_/counts").json()["dropped"]) <= {"duplicate"}
    assert footfall.value("ledger", "select count(*) from batches where outcome = 'open'") == 0
    balance = stage.balance()
    assert sum(found["accepted"] for found in balance.values()) == len(stored)
    assert sum(found["pending"] for found in balance.values()) == 0
    return len(stored)
