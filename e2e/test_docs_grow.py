"""The guide from one machine to several, followed by an installation that works all the while: everything that was sent
arrives once."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from pages import DOCS, agrees, blocks, runs
from processes import free_port

from selftest.cluster import Cluster

PAGE = DOCS / "how-to" / "grow.md"
SECONDS = 600  # for a machine that has much else to do

# What the reader has: an installation of one machine, which takes events in and sends them.
BEFORE = """
set -euo pipefail
say() { for message in "${@:2}"; do
  curl --silent --fail --retry 20 --retry-connrefused --retry-delay 1 --output /dev/null \\
    --header "Authorization: Bearer $TOKEN" "http://127.0.0.1:$1/api/v1/installs" \\
    --data '{"app": "com.acme.charts", "accountId": "account-'$message'", "messageId": "'$message'"}'
done; }
sudo() { kill %?serve; wait %?serve || true; }  # systemctl stop …
footfall fake-segment --port "$SEGMENT_PORT" &
footfall migrate
footfall partner add acme --partner-id 1211971 --name "Acme Apps"
footfall app add com.acme.charts --partner acme --plugin-id 1219125 --name Charts
echo ACMESWRITEKEY0000000000000000001 | footfall app set com.acme.charts --segment-write-key-file -
TOKEN=$(footfall token add back-end --scope installs | sed -n 's/^token *//p')
footfall serve --port "$PORT" &
say "$PORT" a b c
footfall export
say "$PORT" d e
"""
AFTER = """
say "$SECOND_PORT" f e
say "$PORT" g a
FOOTFALL_DATABASE_URL=$EXPORTER footfall export
FOOTFALL_DATABASE_URL=$OWNER footfall doctor --max-age 0 --quiet
footfall migrate && exit 1  # the files are not to be worked on any more
curl --silent "http://127.0.0.1:$SEGMENT_PORT/_/received" > landed.json
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with what every block printed, and `landed.json` of what the fake Segment got."""
    out = tmp_path_factory.mktemp("grow")
    ports = {name: str(free_port()) for name in ("PORT", "SECOND_PORT", "SEGMENT_PORT")}
    with Cluster(durable=True) as cluster:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FOOTFALL_")} | ports
        environment |= {
            "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
            "ADMIN": cluster.url,
            "DB_HOST": "127.0.0.1",
            "DB_PORT": str(cluster.port),
            "FOOTFALL_DATA_DIR": str(out / "data"),
            "FOOTFALL_SEGMENT_URL_US": f"http://127.0.0.1:{ports['SEGMENT_PORT']}",
        }
        lines = [f"exec > {shlex.quote(str(out / 'before'))} 2>&1", BEFORE]
        for block in runs(PAGE):
            lines += [f"exec > {shlex.quote(str(out / block.name))} 2>&1", block.text]
        lines += [f"exec > {shlex.quote(str(out / 'after'))} 2>&1", AFTER]
        bash = shutil.which("bash")
        assert bash
        running = subprocess.Popen([bash, "-c", "\n".join(lines)], env=environment, cwd=out, start_new_session=True)
        try:
            code = running.wait(SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
        printed = sorted((path for path in out.iterdir() if path.is_file()), key=lambda path: path.stat().st_mtime_ns)
        assert code == 0, f"{printed[-1].name} failed: {printed[-1].read_text()}"
    return out


def test_what_was_sent_before_and_after_arrived_once(followed: Path) -> None:
    landed = [message["messageId"] for message in json.loads((followed / "landed.json").read_text())]
    assert len(landed) == len(set(landed)) == 7


def test_what_the_page_says_is_printed_is_printed(followed: Path) -> None:
    for block, shown in pairwise(blocks(PAGE)):
        if block.kind == "sh" and shown.kind == "text":
            printed = (followed / block.name).read_text()
            assert agrees(printed, shown.text), f"line {shown.line}: it prints\n{printed}"
