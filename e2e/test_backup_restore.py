"""The restore drill: back up while both processes work, lose the data directory, put the copy back, and go on."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
from processes import COMMAND, PATIENCE_SECONDS, Process, wait_until
from shipping_stage import VISITOR, Stage


class Visitors(threading.Thread):
    """Sends page views until told to stop, and writes down the ids of those that were stored."""

    def __init__(self, collector: Process, app: str) -> None:
        super().__init__()
        self.stored: list[str] = []
        self._collector = collector
        self._app = app
        self._enough = threading.Event()

    def run(self) -> None:
        with httpx2.Client(trust_env=False, timeout=PATIENCE_SECONDS) as http:
            while not self._enough.is_set():
                ids = [str(uuid4()) for _ in range(5)]
                answer = http.post(
                    self._collector.url + "/e", content=json.dumps({"events": list(map(self._view, ids))})
                )
                assert answer.is_success, answer.text
                self.stored += ids

    def _view(self, event_id: str) -> dict[str, Any]:
        view = {"messageId": event_id, "name": "page_view", "app": self._app, "anonymousId": VISITOR}
        return view | {"occurredAt": "2026-02-16T12:00:00.123Z", "url": "https://market.example/apps/1/a"}

    def stop(self) -> None:
        self._enough.set()
        self.join()


def newest(into: Path) -> Path:
    return max(path for path in into.iterdir() if not path.name.endswith(".part"))


def ids(stage: Stage, key: str) -> list[str]:
    return [message["messageId"] for message in stage.segment.get(f"/_/received?writeKey={key}").json()]


def test_a_restored_installation_goes_on_and_every_event_lands_once(stage: Stage, tmp_path: Path) -> None:
    footfall, cast, into = stage.footfall, stage.cast, tmp_path / "backups"
    with footfall.collector() as collector:
        visitors = Visitors(collector, cast.owner_app)
        others = Visitors(collector, cast.sibling_app)
        visitors.start()
        others.start()
        try:
            wait_until(lambda: len(visitors.stored) > 50 and len(others.stored) > 50, "events came in")
            assert footfall.export("--app", cast.owner_app).returncode == 0
            running = footfall.start_export("--app", cast.owner_app)
            made = footfall.say("backup", str(into))
            running.wait(PATIENCE_SECONDS)
            before = len(visitors.stored)
            wait_until(lambda: len(visitors.stored) > before + 50, "more came in after the backup")
        finally:
            visitors.stop()
            others.stop()
        assert footfall.export().returncode == 0
    assert made["manifest"]["balanced"]
    landed = {key: ids(stage, key) for key in (cast.owner_key, cast.sibling_key)}
    assert len(landed[cast.owner_key]) == len(visitors.stored)
    assert len(landed[cast.sibling_key]) == len(others.stored)

    shutil.rmtree(footfall.data_dir)
    shutil.copytree(newest(into), footfall.data_dir)
    restored = stage.balance()
    assert restored[cast.sibling_app]["pending"] > 50
    assert restored[cast.sibling_app]["accepted"] == 0
    assert 50 < restored[cast.owner_app]["collected"] < len(visitors.stored)

    with footfall.collector() as collector:
        again = Visitors(collector, cast.owner_app)
        again.start()
        wait_until(lambda: len(again.stored) > 20, "the restored collector stores")
        again.stop()
    assert footfall.export().returncode == 0
    caught_up = stage.balance()
    assert {item["pending"] for item in caught_up.values()} == {0}
    assert caught_up[cast.sibling_app]["accepted"] > 50
    assert ids(stage, cast.sibling_key) == landed[cast.sibling_key], "what was sent again landed again"
    owners = ids(stage, cast.owner_key)
    assert owners[: len(visitors.stored)] == landed[cast.owner_key]
    assert len(owners) == len(set(owners)) == len(visitors.stored) + len(again.stored)


def test_a_backup_that_is_killed_leaves_nothing_under_a_final_name(stage: Stage, tmp_path: Path) -> None:
    into, footfall = tmp_path / "backups", stage.footfall
    with (footfall.data_dir / "removal.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = subprocess.Popen([*COMMAND, "backup", str(into)], env=footfall.env, cwd=tmp_path)
        wait_until(lambda: into.exists() and list(into.glob("*.part")), "the backup has begun")
        running.kill()
        running.wait()
    assert [path.suffix for path in into.iterdir()] == [".part"]
    assert footfall.cli("backup", str(into)).returncode == 0
    (path,) = into.iterdir()
    assert (path / "manifest.json").exists()
    assert path.suffix != ".part"
