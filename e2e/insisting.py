"""Senders that do not let go of an event: each goes to the collectors in turn, under one id, until one acknowledges it.

They write down what they were answered and what it took. A refusal that is no 503 with Retry-After is wrong, and so is
no answer at all, but where a collector may be dead.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from types import TracebackType
from typing import Any, Self
from uuid import UUID, uuid4

import httpx2
from processes import Footfall, wait_until

VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"
ANSWER_SECONDS = 25.0  # what a sender's library waits, or longer


def view(app: str, event_id: str) -> dict[str, Any]:
    """A page view in the words of the browser's door."""
    event = {"messageId": event_id, "name": "page_view", "app": app, "anonymousId": VISITOR}
    event |= {"occurredAt": "2026-02-16T12:00:00.123Z", "url": "https://market.example/apps/1/a"}
    return {"events": [event]}


class Sender(threading.Thread):
    """One of them. One that `doubles` sends every third event to all collectors, acknowledged or not."""

    def __init__(self, urls: Sequence[str], apps: Sequence[str], mortal: bool, doubles: bool) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, str] = {}  # app by id
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0
        self.wrong: list[str] = []
        self.over = threading.Event()
        self._urls, self._apps = cycle(urls), cycle(apps)
        self._rounds = len(urls)
        self._mortal, self._doubles = mortal, doubles
        self._http = httpx2.Client(trust_env=False, timeout=ANSWER_SECONDS)

    def run(self) -> None:
        number = 0
        with self._http:
            while not self.over.is_set():
                number += 1
                app, event_id = next(self._apps), str(uuid4())
                while not self._sent(app, event_id) and not self.over.is_set():
                    time.sleep(0.05)
                for _ in range(self._rounds if self._doubles and number % 3 == 0 else 0):
                    self._sent(app, event_id)

    def _sent(self, app: str, event_id: str) -> bool:
        url = next(self._urls)
        began = time.monotonic()
        try:
            answer = self._http.post(f"{url}/e", json=view(app, event_id), headers={"Origin": url})
        except httpx2.TransportError as error:
            if not self._mortal:
                self.wrong.append(f"no answer after {time.monotonic() - began:.1f} s: {error!r}")
            return False
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.answers[answer.status_code] += 1
        if answer.status_code == 204:
            self.acknowledged[event_id] = app
            return True
        if answer.status_code != 503 or not 1 <= float(answer.headers["retry-after"]) <= 60:
            self.wrong.append(f"{answer.status_code} {answer.headers} {answer.text}")
        return False


class Senders:
    """All of them. As a context manager they end with it, whatever happens."""

    def __init__(
        self, urls: Sequence[str], apps: Sequence[str], count: int = 4, mortal: bool = False, doubles: bool = False
    ) -> None:
        self._senders = [Sender(urls, apps, mortal, doubles) for _ in range(count)]

    def __enter__(self) -> Self:
        for sender in self._senders:
            sender.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        for sender in self._senders:
            sender.over.set()
        for sender in self._senders:
            sender.join()

    @property
    def acknowledged(self) -> dict[str, str]:
        """The app of each acknowledged event, by its id."""
        return {event_id: app for sender in self._senders for event_id, app in list(sender.acknowledged.items())}

    @property
    def answers(self) -> Counter[int]:
        return sum((Counter(sender.answers.copy()) for sender in self._senders), Counter())

    @property
    def slowest(self) -> float:
        """The longest that an answer took, in seconds."""
        return max(sender.slowest for sender in self._senders)

    @property
    def wrong(self) -> list[str]:
        return [line for sender in self._senders for line in sender.wrong]

    def wait_for(self, count: int, seconds: float = 60) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= wanted, f"{count} events were acknowledged", seconds)

    def wait_for_refusal(self, seconds: float = 60) -> None:
        """Wait until somebody more is told to come back."""
        before = self.answers[503]
        wait_until(lambda: self.answers[503] > before, "somebody is told to come back", seconds)


def assert_stored_once(footfall: Footfall, senders: Senders) -> set[tuple[str, str]]:
    """Everything that was acknowledged is in the log, and nothing is there twice; (app, id) of all that is."""
    rows = footfall.rows("events", "select app_key, message_id from events")
    stored = Counter((app, str(UUID(bytes=event_id))) for app, event_id in rows)
    assert {(app, event_id) for event_id, app in senders.acknowledged.items()} <= stored.keys()
    assert set(stored.values()) <= {1}
    return set(stored)


def retold(text: str) -> list[dict[str, Any]]:
    """The journal's lines."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
