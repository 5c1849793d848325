"""A write key through every command, answer and failure: afterwards it is in no output, no log, no file and no process.

What an export alone may say of a key is in test_export_process.py; here a key goes all the ways that there are.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from processes import COMMAND, SECRET_KEY, free_port
from shipping_stage import Stage

PLAIN = "MARKERmarkerMARKERmarkerMARKER42"
ODD = 'MARKER/"quoted"\\back+slash%20&<ü>'
NEW_SECRET = "4f1c9b07e2d8463aa5f09c7b1e6d2358"  # noqa: S105 - of tests only


def forms(key: str) -> dict[str, bytes]:
    """How a key may be written somewhere."""
    written = {
        "as it is": key,
        "as JSON": json.dumps(key)[1:-1],
        "as JSON in UTF-8": json.dumps(key, ensure_ascii=False)[1:-1],
        "in a URL": quote(key, safe=""),
        "as the header": base64.b64encode(f"{key}:".encode()).decode()[:-4],
        "as repr": repr(key)[1:-1],
        "in hex": key.encode().hex(),
    }
    return {form: text.encode() for form, text in written.items()}


def found(key: str, where: dict[str, bytes]) -> list[tuple[str, str]]:
    return [(place, form) for place, data in where.items() for form, text in forms(key).items() if text in data]


def files(stage: Stage) -> dict[str, bytes]:
    home = stage.footfall.data_dir.parent
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def shown_by(running: subprocess.Popen[bytes]) -> dict[str, bytes]:
    """What everybody on the machine can see of a process."""
    return {name: Path(f"/proc/{running.pid}/{name}").read_bytes() for name in ("cmdline", "environ", "comm")}


class Said:
    """Every command's output, with the exit codes that are wanted."""

    def __init__(self, stage: Stage) -> None:
        self._footfall = stage.footfall
        self.all: dict[str, bytes] = {}

    def run(self, *arguments: str, code: int = 0, stdin: str = "", **env: str) -> None:
        done = self._footfall.cli(*arguments, stdin=stdin, **env)
        assert done.returncode == code, done.stderr
        self.all[f"{len(self.all)}: {' '.join(arguments)}"] = (done.stdout + done.stderr).encode()


@pytest.mark.parametrize("key", [PLAIN, ODD], ids=["plain", "odd"])
def test_a_write_key_is_nowhere(stage: Stage, key: str) -> None:
    said, app = Said(stage), stage.cast.owner_app
    with_key = ("--segment-write-key-file", "-")
    said.run("app", "set", app, *with_key, stdin=key)
    said.run("app", "set", stage.cast.sibling_app, *with_key, "--json", stdin=key)  # which warns
    said.run("app", "set", app, "--url", f"https://user:{key[:6]}@acme.example", code=78)
    echo = f"you sent {key}, {json.dumps({'writeKey': key})}, {quote(key, safe='')}, Basic "
    echo += base64.b64encode(f"{key}:".encode()).decode()

    nobody = f"http://127.0.0.1:{free_port()}"
    said.run("app", "verify", app, code=75, FOOTFALL_SEGMENT_URL_US=nobody)
    stage.fault(status=503, body=echo)
    said.run("app", "verify", app, code=75)
    stage.fault(status=400, body=echo)
    said.run("app", "verify", app, code=78)
    said.run("app", "verify", app, "--json")
    said.run("app", "verify", app, "--code", "WRONG2", code=78)

    stage.collect(app, 4)
    said.run("export", "--json", code=75, FOOTFALL_SEGMENT_URL_US=nobody)
    stage.fault(hang=2)
    for fault in ({"status": 503}, {"status": 400, "times": 3}, {"status": 200}, {"status": 429}):
        stage.fault(body=echo, **fault)
    running = stage.footfall.start_export()
    visible: dict[str, bytes] = {}
    while running.poll() is None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            visible |= shown_by(running)
    assert running.returncode in (0, 75)
    assert visible
    for _ in range(10):  # a run may leave what fails to the next
        if not stage.segment.get("/_/faults").json():
            break
        stage.footfall.cli("app", "resume", app, check=True)
        assert stage.footfall.start_export().wait(60) in (0, 75)
    excerpts = stage.footfall.rows("ledger", "select detail from batches where detail like '%you sent%'")
    assert len(excerpts) >= 3

    said.run("app", "list")
    said.run("app", "list", "--json")
    said.run("doctor", "--json", "--max-age", "0")
    said.run("park", "list", "--json")
    said.run("secret", "rotate", FOOTFALL_SECRET_KEY=f"{NEW_SECRET},{SECRET_KEY}")
    said.run("app", "set", app, "--region", "eu", code=78, FOOTFALL_SECRET_KEY=SECRET_KEY)

    setting = subprocess.Popen(
        [*COMMAND, "app", "set", app, *with_key],
        env=stage.footfall.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    visible |= {f"app set: {name}": data for name, data in shown_by(setting).items()}
    setting.communicate(key.encode())

    assert found(key, said.all) == []
    assert found(key, files(stage)) == []
    assert found(key, visible) == []
    assert found(key, {"what is looked for": echo.encode()}) != []


def test_no_secret_key_is_in_the_data_directory_when_it_is_kept_elsewhere(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 1)
    stage.footfall.export()
    assert found(SECRET_KEY, files(stage)) == []
