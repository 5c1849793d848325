"""Segment's API over real sockets, in the quick lane: what is answered of a message that the log cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from processes import Footfall

# No message that the door takes is known to be one; so the log is taught to refuse it, as a damaged page would.
POISON = """
    create trigger poison before insert on events when new.name = 'Poison'
    begin
      select raise(abort, 'poison');
    end"""


def call(name: str) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": "user-1"}


def test_only_the_message_that_the_log_cannot_hold_is_refused(tmp_path: Path) -> None:
    with Footfall(tmp_path / "data") as footfall:
        footfall.seed()
        key = footfall.value("registry", "select ingest_key from apps where app_key = 'com.owner.charts'")
        with footfall.collector() as collector:
            footfall.change("events", POISON)

            def post(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
                answer = collector.post(path, json=body | {"writeKey": key})
                return answer.status_code, answer.json()

            names = ["Bought", "Poison", "Sold"]
            status, told = post("/v1/batch", {"batch": [call(name) for name in names]})
            rejected = [{"index": 1, "reason": "unstorable: the event log cannot hold it"}]
            assert (status, told) == (200, {"success": True, "stored": 2, "duplicate": 0, "rejected": rejected})
            status, told = post("/v1/track", call("Poison"))
            assert (status, told["success"], told["code"], told["stored"]) == (400, False, "unstorable", 0)
        assert footfall.rows("events", "select name from events order by seq") == [("Bought",), ("Sold",)]
