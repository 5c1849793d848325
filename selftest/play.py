"""What happens on the scene: acts, each with its faults and its kill, and pauses in which all is mended.

Segment's clock moves in such a pause only, while nothing is in doubt: a message id that it has forgotten in the middle
of an attempt would land twice at the real Segment too (docs/explanation/accepted.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable

import msgspec

from selftest.cast import Place
from selftest.plan import POISONS, REQUEST, Act, Plan, acts
from selftest.processes import Failed, wait_until
from selftest.scene import Scene
from selftest.senders import Senders
from store import balance

DAY_SECONDS = 86_400
ANSWER_SECONDS = 0.006  # about what a request takes here
FIRST_REQUEST_SECONDS = 1.5
POINT_SECONDS = 120.0
FULL_DISK_SECONDS = 60.0
SETTLE_SECONDS = 600.0
LOOKS_EVERY = 10  # acts
MOST_PENDING = 6  # faults that wait for a request; with more, no request would ever be well
POISONED = ("com.heron.charts", "com.wren.forms")


class Happened(msgspec.Struct):
    """What was done, and what was found to be wrong while it was done."""

    kills: Counter[str] = msgspec.field(default_factory=Counter)
    faults: Counter[str] = msgspec.field(default_factory=Counter)
    landed: dict[str, list[tuple[str, str, str]]] = {}  # by write key: message id, app, when
    shed: int = 0
    wrong: list[str] = []
    seconds: float = 0.0


class Play:
    """One performance of a plan on a scene."""

    def __init__(self, scene: Scene, plan: Plan, tell: Callable[[str], None] = lambda line: None) -> None:
        self.scene = scene
        self.plan = plan
        self.happened = Happened()
        self.poisons = _poisons(plan.seed)
        self.senders = Senders(scene.port, scene.cast.token, plan.seed, self.poisons, plan.postgresql)
        self._tell = tell
        self._began = time.monotonic()
        self._days = [(2, -DAY_SECONDS), (1, DAY_SECONDS)]  # after so many thirds of the kills, the next at the end

    def perform(self) -> None:
        """The whole of it; at its end everything is mended and every process but the fake Segment has ended."""
        self._spoil()
        self.senders.start()
        try:
            for number, act in enumerate(acts(self.plan.seed, self.plan.postgresql)):
                if self._is_over():
                    break
                self._perform(act)
                if number % LOOKS_EVERY == 0:
                    self._look()
                if self._days and self._kills() * 3 >= self.plan.kills * self._days[-1][0]:
                    self._move_clock(self._days.pop()[1])
        finally:
            self.senders.stop()
        self.settle()
        self.scene.collector.stop()
        self._take_landed()
        self.happened.shed = self.senders.shed
        self.happened.wrong += self.senders.wrong
        self.happened.seconds = time.monotonic() - self._began

    def _is_over(self) -> bool:
        return self._kills() >= self.plan.kills and time.monotonic() - self._began >= self.plan.minutes * 60

    def _kills(self) -> int:
        return sum(self.happened.kills.values())

    def _spoil(self) -> None:
        """What stays wrong from beginning to end: a broken destination, and events that a sound one refuses."""
        for place in self.scene.cast.places:
            if place.broken:
                self._always("403 from beginning to end", place, {"status": 403})
        for app, event_id in self.poisons:
            for place in self.scene.cast.places:
                if place.app == app:
                    self._always("400 for one event", place, {"status": 400}, messageId=place.message_id(event_id))

    def _always(self, name: str, place: Place, fault: dict[str, object], **match: str) -> None:
        self.scene.segment.always(fault | {"match": {"writeKey": place.write_key, **match}})
        self.happened.faults[name] += 1

    def _perform(self, act: Act) -> None:
        for fault in act.faults if self.scene.segment.pending() < MOST_PENDING else ():
            self.scene.segment.control("POST", "/_/fault", fault.body)
            self.happened.faults[fault.name] += 1
        if not self.scene.exporters:
            self.scene.start_exporter()
        if act.pair:
            self.scene.start_exporter()
            self.happened.faults["two exporters at once"] += 1
        if act.full_disk and self.scene.tiny_disk:
            self._fill_disk()
        if act.victim == "server":
            self._kill_server(act)
        elif act.victim == "collector":
            self._kill_collector(act)
        elif act.point:
            self._kill_at_point(act)
        else:
            self._kill_exporter(act)
        self.scene.empty_disk()

    def _fill_disk(self) -> None:
        """Until somebody was told to come back later."""
        shed = self.senders.shed
        self.scene.fill_disk()
        wait_until(lambda: self.senders.shed > shed, "a full disk makes the collector refuse", FULL_DISK_SECONDS)
        self.happened.faults["disk full"] += 1

    def _kill_collector(self, act: Act) -> None:
        time.sleep(act.wait)
        if act.point == REQUEST:
            self.senders.asked.clear()
            self.senders.asked.wait(1)
            time.sleep(act.wait * ANSWER_SECONDS)
        when = "with a request under way" if act.point else "at any instant"
        self._count(f"collector, {when}", self.scene.collector.kill())
        self.scene.empty_disk()
        self.scene.start_collector()

    def _kill_server(self, act: Act) -> None:
        """The database server; the processes live on, and go on when it is there again."""
        time.sleep(act.wait)
        if self.scene.server:
            self.scene.server.kill()
            self.scene.server.start()
            self._count("PostgreSQL server, at any instant", -9)

    def _kill_exporter(self, act: Act) -> None:
        asked = self.scene.segment.requests()
        with contextlib.suppress(Failed):  # refused connections are no requests
            wait_until(lambda: self.scene.segment.requests() > asked, "a request", FIRST_REQUEST_SECONDS)
        time.sleep(act.wait)
        self._count("exporter, at any instant", self.scene.exporters.pop(0).kill())

    def _kill_at_point(self, act: Act) -> None:
        while self.scene.exporters:
            self._count("exporter, at any instant", self.scene.exporters.pop().kill())
        self.scene.empty_disk()
        self.scene.start_exporter(act.point)
        ended = self.scene.exporters.pop()
        wait_until(lambda: not ended.running, f"an exporter dies {act.point}", POINT_SECONDS)
        self._count(f"exporter, {act.point}", ended.wait())

    def _count(self, kind: str, code: int) -> None:
        if code == -9:
            self.happened.kills[kind] += 1
        else:
            self.happened.wrong.append(f"{kind}: it had ended by itself with {code}")
        if self._kills() % 20 == 0:
            self._tell(f"{self._kills()} kills")

    def _look(self) -> None:
        """Hold the sums against each other in the middle of it all, as `footfall doctor` does.

        What was paused for a day is tried again, as an operator would have it: a day is longer than this.
        """
        self._take_landed()
        self.scene.resume()
        self.happened.wrong += [line for line in _findings(self.scene).lines() if "OFF BY" in line]

    def _take_landed(self) -> None:
        for message in self.scene.segment.landed():
            told = message["messageId"], message["properties"].get("pluginKey", ""), message["receivedAt"]
            self.happened.landed.setdefault(message["writeKey"], []).append(told)

    def _move_clock(self, seconds: int) -> None:
        self.senders.pause()
        self.settle()
        self.scene.segment.control("POST", "/_/clock", {"advance": seconds})
        self.happened.faults["Segment's clock a day on" if seconds > 0 else "Segment's clock a day back"] += 1
        self.senders.go_on()

    def settle(self) -> None:
        """Mend everything, and export until nothing is pending for a sound destination. The senders are silent."""
        self.scene.stop_exporters()
        self.scene.segment.mend()
        self.scene.resume()
        sound = {place.destination_id for place in self.scene.sound}
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            self.scene.export_once()
            if not any(owed.pending for owed in _findings(self.scene).destinations if owed.destination in sound):
                return


def _findings(scene: Scene) -> balance.Findings:
    return asyncio.run(balance.examine(scene.where))


def _poisons(seed: int) -> list[tuple[str, str]]:
    """Events that a destination refuses for what they hold: app and event id."""
    chance = random.Random(f"poisons {seed}")
    return [
        (POISONED[number % len(POISONED)], str(uuid.UUID(int=chance.getrandbits(128), version=4)))
        for number in range(POISONS)
    ]
