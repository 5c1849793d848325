"""A collector under siege: what an attacker sends, and what must hold after every attack.

    def test_…(siege: Siege) -> None:
        assert siege.post("/e", body).status == 400

The surprising thing is that the last check of each test is not in it: when it ends, `check_well` asks whether the
collector still answers, stayed small, never failed, lost count of nothing and logged one line for each record.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from processes import PATIENCE_SECONDS, Cast, Footfall, Process

SITE = "https://marketplace.example"
VISITOR = "89b60ff131fa6d32b85f0893a8670fbc2a9608d0"
PEAK_KIB = 200 * 1024
BACK_END = ("/api/v1/installs", "/api/v1/app-requests", "/api/v1/uninstalls")
DOORS = ("/e", *BACK_END)

_STATUS = re.compile(rb"(?:^|\r\n|[}\]\n.a-z])HTTP/1\.1 (\d{3}) ")
_RECORD = {"level": "warning", "event": "Invalid HTTP request received."}  # the one thing that an attacker gets logged


@dataclass(frozen=True)
class Answer:
    """One answer. `headers` keeps every header, in order, names in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def reason(self) -> str:
        """Why it was refused as a whole; empty for a receipt."""
        return str(self.json().get("reason", "")) if self.body else ""

    @property
    def rejected(self) -> list[tuple[int, str]]:
        """Index and reason, without its details, of each rejected message."""
        return [(item["index"], item["reason"].partition(":")[0]) for item in self.json()["rejected"]]

    def json(self) -> Any:
        return json.loads(self.body)


class Siege:
    """One collector for all attackers, with the cast behind it."""

    def __init__(self, footfall: Footfall, cast: Cast, collector: Process) -> None:
        self.footfall = footfall
        self.cast = cast
        self.collector = collector
        self._statuses: list[int] = []
        self._logged = 0

    def begin(self) -> None:
        """A new attack: what the last one was blamed for is not blamed on this one."""
        self._statuses.clear()
        self._logged = len(self.collector.log())

    def raw(self, sent: bytes, timeout: float = PATIENCE_SECONDS) -> bytes:
        """Send bytes as they are; all that comes back until the other side closes, which it must do in time."""
        received = b""
        with self.collector.connect(timeout=timeout) as connection:
            try:
                connection.sendall(sent)
                while piece := connection.recv(65536):
                    received += piece
            except ConnectionError:
                pass
        self._statuses += [int(status) for status in _STATUS.findall(received)]
        return received

    def ask(self, method: str, target: str, body: bytes = b"", *lines: str | bytes) -> Answer:
        """One request on a connection of its own. `lines` are header lines, sent after our own."""
        own = ("Host: collector.example", "Connection: close", *lines, f"Content-Length: {len(body)}")
        head = [line.encode() if isinstance(line, str) else line for line in (f"{method} {target} HTTP/1.1", *own)]
        head_back, _, body_back = self.raw(b"\r\n".join(head) + b"\r\n\r\n" + body).partition(b"\r\n\r\n")
        first, *rest = head_back.decode("latin-1").split("\r\n")
        headers = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in rest)]
        return Answer(int(first.split()[1]), headers, body_back)

    def post(self, door: str, body: bytes, *lines: str | bytes) -> Answer:
        """A body for a door, from an allowed page or with a good token."""
        ours = f"Origin: {SITE}" if door == "/e" else f"Authorization: Bearer {self.cast.token}"
        return self.ask("POST", door, body, "User-Agent: Firefox/148.0", ours, *lines)

    def details(self, message_id: str) -> dict[str, Any]:
        """What is stored of the event with this UUID."""
        key = bytes.fromhex(message_id.replace("-", ""))
        return dict(json.loads(self.footfall.value("events", "select details from events where message_id = ?", key)))

    def column(self, name: str, message_id: str) -> Any:
        key = bytes.fromhex(message_id.replace("-", ""))
        return self.footfall.value("events", f"select {name} from events where message_id = ?", key)

    def count(self, table: str) -> int:
        return int(self.footfall.value("events", f"select count(*) from {table}"))

    def every_byte(self) -> bytes:
        """All files of the data directory and all that was logged but the first record, which says where it listens."""
        files = [path.read_bytes() for path in sorted(self.footfall.data_dir.rglob("*")) if path.is_file()]
        return b"\n".join([*files, self.collector.log().partition("\n")[2].encode()])

    def check_well(self) -> None:
        """What holds after every attack."""
        assert [status for status in self._statuses if status >= 500 and status != 503] == []
        assert self.collector.get("/readyz").status_code == 200
        assert self.collector.peak_kib() < PEAK_KIB
        lines = self.collector.log()[self._logged :].splitlines()
        assert [record for record in map(json.loads, lines) if not _RECORD.items() <= record.items()] == []
        sums = dict(
            self.footfall.rows(
                "events",
                "select outcome, sum(n) from door_tallies group by outcome"
                " union all select 'events', count(*) from events",
            )
        )
        sums = {"received": 0, "stored": 0, "duplicate": 0, "rejected": 0, "shed": 0} | sums
        assert sums["received"] == sums["stored"] + sums["duplicate"] + sums["rejected"] + sums["shed"], sums
        assert sums["stored"] == sums["events"], sums


def message(door: str, **changed: Any) -> dict[str, Any]:
    """A message that is good at that door, with the fields given."""
    good = {"messageId": str(uuid.uuid4()), "app": Cast.owner_app}
    if door != "/e":
        return good | {"accountId": "account-17"} | changed
    now = datetime.now(UTC).isoformat()
    listing = {"name": "page_view", "occurredAt": now, "anonymousId": VISITOR, "url": f"{SITE}/apps/1219125/charts"}
    return good | listing | changed


def with_field(door: str, field: bytes) -> bytes:
    """A good message with more fields, written last, so that they win over those of the same name."""
    return json.dumps(message(door)).encode()[:-1] + b"," + field + b"}"


def body_of(door: str, *messages: dict[str, Any] | bytes) -> bytes:
    """The body that carries messages through a door; bytes go in as they are."""
    texts = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in messages]
    listed = b"[" + b",".join(texts) + b"]"
    return b'{"events":' + listed + b"}" if door == "/e" else listed
