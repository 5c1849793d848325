"""The senders: visitors' browsers and the marketplace's back end, each remembering exactly what it was told.

An event is acknowledged by a 2xx and by nothing else. Half of the senders send again what was not acknowledged, under
the same message id, as the snippet does; the others let go of it, and then it may be stored or not.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import msgspec

from selftest.cast import APPS

SENDERS = 8
PAUSE_SECONDS = (0.0, 0.15)
RETRY_SECONDS = 0.05
POISON_SHARE = 0.05
NEARLY_A_DAY = 86_000  # further ahead is refused
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:148.0) Gecko/20100101 Firefox/148.0"
BOT = "Mozilla/5.0 (compatible; Examplebot/2.1)"
SCOPES = {"install": "installs", "app_request": "app-requests", "uninstall": "uninstalls"}


class Sent(msgspec.Struct):
    """One event as its sender knows it. `withheld` says why no partner may get it; '' when partners may."""

    event_id: str
    app: str
    name: str
    withheld: str = ""
    acknowledged: bool = False
    in_doubt: bool = False  # a connection ended before an answer came, here or behind the collector


class Senders:
    """All of them, on one port; `poisons` are (app, event id) of events that a destination is going to refuse."""

    def __init__(
        self, port: int, token: str, seed: int, poisons: list[tuple[str, str]], doubtful: bool = False
    ) -> None:
        self.doubtful = doubtful  # a 503 may follow a commit: a server dies after it, before it can say so
        self.wrong: list[str] = []
        self.poisons = deque(poisons)
        self.shed = 0
        self.asked = threading.Event()  # somebody begins a request; cleared by whoever waits for that
        self._going = threading.Event()
        self._over = threading.Event()
        self._senders = [_sender(self, port, token, seed, number) for number in range(SENDERS)]

    def start(self) -> None:
        self._going.set()
        for sender in self._senders:
            sender.start()

    def pause(self) -> None:
        """Return when all have the answer to what they sent last, or have let go of it."""
        self._going.clear()
        for sender in self._senders:
            with sender.at_work:
                pass

    def go_on(self) -> None:
        self._going.set()

    def stop(self) -> None:
        self._over.set()
        self._going.set()
        for sender in self._senders:
            if sender.is_alive():
                sender.join(60)

    def sent(self) -> list[Sent]:
        return [event for sender in self._senders for event in list(sender.sent)]

    def wait(self) -> None:
        """Return at once but in a pause."""
        self._going.wait()

    @property
    def paused(self) -> bool:
        return not self._going.is_set()

    @property
    def over(self) -> bool:
        return self._over.is_set()


class Sender(threading.Thread, ABC):
    """One of them. It has one connection, which ends with every collector that is killed."""

    def __init__(self, all_of_them: Senders, port: int, chance: random.Random, patient: bool) -> None:
        super().__init__(daemon=True)
        self.sent: list[Sent] = []
        self.at_work = threading.Lock()
        self._all = all_of_them
        self._chance = chance
        self._patient = patient
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def run(self) -> None:
        while not self._all.over:
            self._all.wait()
            with self.at_work:
                if not self._all.paused and not self._all.over:
                    self._send_some()
            time.sleep(self._chance.uniform(*PAUSE_SECONDS))
        self._connection.close()

    def _send_some(self) -> None:
        path, body, headers, events = self.request()
        self.sent += events
        while not self._told(path, body, headers, events) and self._patient and not self._all.over:
            time.sleep(RETRY_SECONDS)

    @abstractmethod
    def request(self) -> tuple[str, Any, dict[str, str], list[Sent]]:
        """What to post: path, body, headers, and the events in it."""

    def _told(self, path: str, body: Any, headers: dict[str, str], events: list[Sent]) -> bool:
        """Post once, and write down what the answer says; whether it says anything."""
        self._all.asked.set()
        try:
            self._connection.request("POST", path, json.dumps(body), headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except ConnectionRefusedError:
            self._connection.close()
            return False  # nobody was there to hear of it
        except (OSError, http.client.HTTPException):
            self._connection.close()
            for event in events:
                event.in_doubt = True
            return False
        if answer.status == 503:
            self._all.shed += 1
            for event in events:
                event.in_doubt |= self._all.doubtful
            return False
        if answer.status != 204 and not (answer.status == 200 and not json.loads(text)["rejected"]):
            self._all.wrong.append(f"{path} answered {answer.status}: {text[:200]!r}")
            return True
        for event in events:
            event.acknowledged = True
        return True


class Visitor(Sender):
    """A browser, or a bot that says so; some visitors do not share, and some have a clock that is nearly a day off."""

    def request(self) -> tuple[str, Any, dict[str, str], list[Sent]]:
        poison = self._poison()
        app, first = poison or (self._chance.choice(APPS), _event_id())
        kind = "" if poison else self._chance.choices(["", "bot", "gpc", "consent"], [8, 1, 1, 1])[0]
        clock = time.time() + self._chance.choice([0, 0, -NEARLY_A_DAY, NEARLY_A_DAY])
        events = [Sent(first, app, "page_view", kind)]
        for _ in range(self._chance.randrange(5)):
            events.append(Sent(_event_id(), app, self._chance.choice(["page_view", "tab_click", "cta_click"]), kind))
        who = {"anonymousId": f"{self._chance.getrandbits(160):040x}", "gpc": kind == "gpc"}
        who |= {"consent": {"measurement": True, "sharing": False}} if kind == "consent" else {}
        told = [
            {"messageId": event.event_id, "name": event.name, "app": event.app, "label": "Pricing", **who}
            | {"occurredAt": round(clock * 1_000), "url": "https://market.example/apps/1/a?tab=x"}
            for event in events
        ]
        headers = {"Content-Type": "text/plain", "User-Agent": BOT if kind == "bot" else BROWSER}
        return "/e", {"sentAt": round(clock * 1_000), "events": told}, headers, events

    def _poison(self) -> tuple[str, str] | None:
        """The app and the id of the next event that a destination is to refuse, now and then."""
        if not self._all.poisons or self._chance.random() > POISON_SHARE:
            return None
        with contextlib.suppress(IndexError):  # another sender was quicker
            return self._all.poisons.popleft()
        return None


class BackEnd(Sender):
    """The marketplace's server, which tells of installs, app requests and uninstalls."""

    def __init__(self, all_of_them: Senders, port: int, chance: random.Random, patient: bool, token: str) -> None:
        super().__init__(all_of_them, port, chance, patient)
        self._token = token

    def request(self) -> tuple[str, Any, dict[str, str], list[Sent]]:
        name = self._chance.choice(["install", "install", "app_request", "uninstall"])
        kind = self._chance.choices(["", "consent"], [5, 1])[0]
        events = [Sent(_event_id(), self._chance.choice(APPS), name, kind) for _ in range(self._chance.randint(1, 4))]
        told = [
            {"app": event.app, "accountId": f"account {self._chance.getrandbits(32)}", "messageId": event.event_id}
            | ({"sharing": False} if kind else {})
            for event in events
        ]
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        return f"/api/v1/{SCOPES[name]}", told, headers, events


def _sender(all_of_them: Senders, port: int, token: str, seed: int, number: int) -> Sender:
    chance, patient = random.Random(f"sender {number} {seed}"), number % 2 == 0
    if number % 4 < 3:
        return Visitor(all_of_them, port, chance, patient)
    return BackEnd(all_of_them, port, chance, patient, token)


def _event_id() -> str:
    return str(uuid.uuid4())
