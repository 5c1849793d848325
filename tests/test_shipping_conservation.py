"""Whatever happens between collecting and a partner's source, every event has exactly one fate, and lands at most once.

A run is killed by an error that only the test raises, at one of the three places where a crash leaves something behind:
after the attempt is on record, after the request, after the commit. (Real kills of real processes are in e2e/.)
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from engines import Stores
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from shipping_cast import KEYS, OWNER, STRANGER, Installation, an_event

from exporter import crash
from store.destinations import Action
from store.engines import exists
from store.event import Details
from wire.verdict import Reply

apps = st.sampled_from([OWNER, STRANGER])
GOOD, TOO_LARGE = an_event(), an_event(details=Details(url="https://market.example/", title="x" * 33_000))
WHATEVER = {
    "good": GOOD,
    "large": an_event(details=Details(url="https://market.example/", title="x" * 20_000)),
    "too large": TOO_LARGE,
    "not shared": an_event(suppressed="consent"),
    "nameless": an_event("page_left"),
    "another's": an_event(partner_key="former"),
}


class Killed(BaseException):
    """The process ends here."""


class Conservation(RuleBasedStateMachine):
    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self._stores = stores

    @initialize()
    def begin(self) -> None:
        self._kept = tempfile.TemporaryDirectory()
        self.installation = Installation(self._stores, Path(self._kept.name))
        self.stored: dict[str, list[str]] = {OWNER: [], STRANGER: []}
        self.poison: set[str] = set()
        self.cursors: dict[tuple[str, str], int] = {}
        self.given_up: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "installation"):
            self.heal()
            self.everything_has_landed_or_has_a_reason()
            self._kept.cleanup()

    @rule(app=apps, kinds=st.lists(st.sampled_from(sorted(WHATEVER)), min_size=1, max_size=30))
    def collect(self, app: str, kinds: list[str]) -> None:
        ids = self.installation.collect(*(WHATEVER[kind] for kind in kinds), app=app)
        sendable = [each for each, kind in zip(ids, kinds, strict=True) if kind in ("good", "large")]
        self.stored[app] += self.installation.sent_ids(sendable, app)

    @rule(app=apps)
    def collect_poison(self, app: str) -> None:
        """An event that is refused for ever, whichever batch it is in."""
        ids = self.installation.collect(GOOD, GOOD, app=app)
        good, bad = self.installation.sent_ids(ids, app)
        self.stored[app] += [good, bad]
        self.poison.add(bad)
        self.installation.fault(status=400, times="always", match={"messageId": bad})

    @rule(
        app=apps,
        fault=st.sampled_from(
            [
                {"status": 503},
                {"status": 429, "retryAfter": 600},
                {"status": 401},
                {"redirect": 302},
                {"body": {"success": False}},
                {"body": "html"},
                {"dropReply": True},
                {"status": 500, "land": True},
            ]
        ),
        times=st.integers(1, 8),
    )
    def fail(self, app: str, fault: dict[str, object], times: int) -> None:
        self.installation.fault(**fault, times=times, match={"writeKey": KEYS[app]})

    @rule()
    def export(self) -> None:
        self.installation.export()

    @rule(app=apps)
    def export_one(self, app: str) -> None:
        self.installation.export(only=app)

    @rule()
    def look(self) -> None:
        self.installation.export(dry_run=True)

    @rule(point=st.sampled_from(["after_open", "after_send", "after_close"]), passes=st.integers(0, 3))
    def die(self, point: str, passes: int) -> None:
        """A run that is killed when it comes by a point once more after it has passed it so often."""
        left = passes

        def at(name: str) -> None:
            nonlocal left
            if name == point:
                left -= 1
                if left < 0:
                    raise Killed

        with pytest.MonkeyPatch.context() as changed:
            changed.setattr(crash, "point", at)
            with contextlib.suppress(Killed):
                self.installation.export()

    @rule(app=apps)
    def new_key(self, app: str) -> None:
        """The key of the same source is made anew and the old one comes back: the ids stay as they are."""
        self.installation.set(app, segment_write_key=KEYS[app])

    @rule(app=apps, first=st.integers(0, 40), count=st.integers(0, 20))
    def replay(self, app: str, first: int, count: int) -> None:
        """A window once more, under the same ids: nothing new may land."""
        self.installation.replay(app, first, first + count)

    @rule(app=apps, action=st.sampled_from(["release", "drop"]))
    def ask_for_the_parked(self, app: str, action: Action) -> None:
        if action == "drop":
            self.given_up |= {held.message_id for held in self.installation.parked(app)}
        self.installation.ask(app, action)

    @rule()
    def time_passes(self) -> None:
        if exists(self.installation.where, "ledger"):
            self.installation.ledger("update cursors set not_before = 1 where not_before > 1")

    @precondition(lambda self: hasattr(self, "installation"))
    @invariant()
    def every_event_has_one_fate(self) -> None:
        self.installation.balanced()

    @precondition(lambda self: hasattr(self, "installation"))
    @invariant()
    def nothing_lands_twice_or_elsewhere(self) -> None:
        for app in (OWNER, STRANGER):
            landed = [message["messageId"] for message in self.installation.landed(app)]
            assert len(landed) == len(set(landed))
            assert set(landed) <= set(self.stored[app])

    @precondition(lambda self: exists(self.installation.where, "ledger"))
    @invariant()
    def no_cursor_goes_back(self) -> None:
        for app, course, seq in self.installation.ledger("select app_key, destination_id, seq from cursors"):
            assert seq >= self.cursors.get((app, course), 0)
            self.cursors[app, course] = seq

    def heal(self) -> None:
        """The network is well again, only poison is still refused."""
        self.installation.mend()
        for bad in self.poison:
            self.installation.fault(status=400, times="always", match={"messageId": bad})
        for _ in range(len(self.poison) + 2):
            self.time_passes()
            self.installation.export()

    def everything_has_landed_or_has_a_reason(self) -> None:
        parked = {row[0] for row in self.installation.ledger("select message_id from parked")}
        for app in (OWNER, STRANGER):
            landed = {message["messageId"] for message in self.installation.landed(app)}
            assert landed | parked | self.given_up >= set(self.stored[app])
            assert "pending" not in self.installation.owed(app)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wire.verdict.BASE_SECONDS", 0.0005)


def test_whatever_happens_every_event_has_one_fate(stores: Stores) -> None:
    run_state_machine_as_test(
        lambda: Conservation(stores),
        settings=settings(max_examples=8, stateful_step_count=14, deadline=None, print_blob=True),
    )


def test_a_batch_that_is_sent_again_after_a_crash_has_the_same_ids(installation: Installation) -> None:
    ids = installation.views(5)

    def send(host: str, key: str, messages: Sequence[bytes], attempt: int) -> Reply:
        installation.send(host, key, messages, attempt)
        raise Killed

    with pytest.raises(Killed):
        installation.export(send=send)
    installation.views(1)  # the batch has another end now
    installation.export()
    assert [len(messages) for _, _, messages in installation.sent] == [5, 6]
    assert [message["messageId"] for message in installation.landed()][:5] == installation.sent_ids(ids)
    assert len(installation.landed()) == 6
    assert [outcome for outcome, _, _ in installation.batches()] == ["ambiguous", "accepted"]
