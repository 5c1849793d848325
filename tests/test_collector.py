"""The collector as a whole: health, counts, served files, routes, and what it answers while the store is unwell."""

import asyncio
import base64
import gzip
import hashlib
import json
import re
import time
from collections.abc import Callable
from typing import Any

import brotli
import pytest
from conftest import SITE, Cast, Doors, view
from waiting import until

from collector import writer as writer_module
from collector.assets import load_snippet, load_static
from collector.directory import Directory
from store import registry
from store.balance import examine
from store.engines import open_reader, open_writer


@pytest.fixture
def hashed() -> str:
    """The path of the snippet as it is built now."""
    return f"/js/footfall.{load_snippet().hash}.js"


def test_health_says_alive_and_readiness_ready(doors: Doors) -> None:
    assert doors.client.get("/healthz").json() == {"status": "alive"}
    assert doors.client.get("/readyz").json() == {"status": "ready"}


def test_every_line_of_the_metrics_is_one_that_prometheus_reads(doors: Doors) -> None:
    doors.send(view(), view(name="no"))
    doors.tell("installs", b"nonsense")
    answer = doors.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    label = r'[a-z_]+="[^"\\\n]*"'
    line = re.compile(rf"(# (HELP|TYPE) footfall_[a-z_]+ .+|footfall_[a-z_]+(\{{{label}(,{label})*\}})? [\d.e-]+)")
    for text in answer.text.splitlines():
        assert line.fullmatch(text), text
    assert 'footfall_messages_total{door="browser",outcome="stored",reason=""} 1' in answer.text
    assert 'footfall_messages_total{door="installs",outcome="rejected",reason="invalid"} 1' in answer.text
    assert "footfall_store_unwell 0" in answer.text


def test_the_metrics_count_every_commit(doors: Doors) -> None:
    doors.send(view())
    doors.send(view())
    samples = dict(line.rsplit(" ", 1) for line in doors.client.get("/metrics").text.splitlines() if line[0] != "#")
    buckets = [int(n) for name, n in samples.items() if name.startswith("footfall_commit_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == int(samples["footfall_commit_seconds_count"]) == 2
    assert float(samples["footfall_commit_seconds_sum"]) > 0


def test_the_metrics_of_the_doors_name_no_app_partner_or_id(doors: Doors) -> None:
    doors.send(view(), view(app="com.nobody.marker"))
    text = doors.client.get("/metrics").text
    assert not re.search(r"com\.|owner|marker|[0-9a-f]{32}", text)


# --- an unwell store


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Say whether the disk counts as full."""
    monkeypatch.setattr(writer_module, "PROBE_SECONDS", 0.001)
    monkeypatch.setattr(writer_module, "DISK_FLOOR_BYTES", 2**62)

    def set_full(is_full: bool) -> None:
        monkeypatch.setattr(writer_module, "DISK_FLOOR_SHARE", 2.0 if is_full else 0.0)

    set_full(False)
    return set_full


def wait_until_ready(doors: Doors) -> None:
    until(lambda: doors.client.get("/readyz").status_code == 200)


@pytest.mark.only("sqlite", "a server's disk is its own to watch")
def test_while_the_store_is_unwell_every_door_says_503_and_it_heals_without_anybody_asking(
    doors: Doors, cast: Cast, full_disk: Callable[[bool], None]
) -> None:
    full_disk(True)
    for attempt in range(3):  # the first finds out, the others are turned away unread
        answer = doors.send(view())
        assert (answer.status_code, answer.json()) == (503, {"reason": "unavailable"}), attempt
        assert 2 <= int(answer.headers["Retry-After"]) <= 5
        assert answer.headers["access-control-allow-origin"] == SITE
        assert "Retry-After" in answer.headers["access-control-expose-headers"]
    told = doors.tell("installs", {"app": "com.owner.charts", "accountId": "a"})
    assert (told.status_code, int(told.headers["Retry-After"]) >= 2) == (503, True)
    unready = doors.client.get("/readyz")
    assert unready.status_code == 503
    assert unready.json()["reason"].startswith("the disk is full")
    assert doors.client.get("/healthz").status_code == 200
    assert "footfall_store_unwell 1" in doors.client.get("/metrics").text

    full_disk(False)
    wait_until_ready(doors)
    assert doors.send(view()).status_code == 204
    assert cast.balance() == {"received": 5, "stored": 1, "duplicate": 0, "rejected": 0, "shed": 4}


@pytest.mark.only("sqlite", "a server's disk is its own to watch")
def test_a_refusal_needs_no_store(doors: Doors, cast: Cast, full_disk: Callable[[bool], None]) -> None:
    full_disk(True)
    assert doors.post(b"nonsense").status_code == 400
    assert doors.post(b"nonsense").status_code == 503  # now it is known
    full_disk(False)
    wait_until_ready(doors)
    assert cast.balance() == {"received": 2, "stored": 0, "duplicate": 0, "rejected": 0, "shed": 2}


def test_when_too_much_waits_the_doors_shed_and_count(
    doors: Doors, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_QUEUED_ROWS", 0)
    answer = doors.send(view())
    assert (answer.status_code, 1 <= int(answer.headers["Retry-After"]) <= 5) == (503, True)
    monkeypatch.setattr(writer_module, "MAX_QUEUED_ROWS", 100)
    assert doors.send(view()).status_code == 204
    assert cast.balance() == {"received": 2, "stored": 1, "duplicate": 0, "rejected": 0, "shed": 1}


# --- the registry changes while it runs


def test_an_app_and_a_token_made_while_it_runs_work_at_once(doors: Doors, cast: Cast) -> None:
    async def add() -> str:
        async with await open_writer(cast.where, "registry") as db:
            await registry.add_app(db, 0, "com.owner.new", "owner", "77", "New")
            return await registry.add_token(db, 0, "new", frozenset({"installs"}))

    assert doors.send(view(app="com.owner.new")).status_code == 400
    token = doors.client.portal.call(add)  # type: ignore[union-attr]
    assert doors.send(view(app="com.owner.new")).status_code == 204
    assert doors.tell("installs", {"app": "com.owner.new", "accountId": "a"}, token=token).status_code == 200


def test_of_two_that_name_a_new_app_at_once_neither_is_refused(cast: Cast) -> None:
    """The second must wait for what the first one's look brings, not be told the old view."""

    async def work() -> None:
        async with await open_reader(cast.where, "registry") as reader:
            directory = Directory(reader)
            found = await asyncio.gather(*(directory.find_app("com.owner.charts", time.monotonic()) for _ in range(5)))
            assert [app.plugin_id if app else None for app in found] == ["1219125"] * 5

    asyncio.run(work())


def test_a_request_full_of_made_up_apps_looks_into_the_registry_once(cast: Cast) -> None:
    async def work() -> None:
        async with await open_reader(cast.where, "registry") as reader:
            directory = Directory(reader)
            asked = time.monotonic()
            assert await directory.find_app("made up", asked) is None
            async with await open_writer(cast.where, "registry") as db:
                await registry.add_app(db, 0, "made up", "owner", "77", "New")
            assert await directory.find_app("made up", asked) is None
            assert await directory.find_app("made up", time.monotonic()) is not None

    asyncio.run(work())


# --- the sums


def test_the_sums_at_the_doors_are_examined_against_what_is_stored(doors: Doors, cast: Cast) -> None:
    event = view()
    doors.send(event, event, view(name="no"))
    findings = doors.client.portal.call(examine, cast.where)  # type: ignore[union-attr]
    assert findings.balanced
    assert findings.lines()[1] == "doors: received 3 = stored 1 + duplicate 1 + rejected 1 + shed 0"


def test_a_sum_that_is_off_is_found(doors: Doors, cast: Cast) -> None:
    doors.send(view())
    doors.client.__exit__()

    async def tamper() -> Any:
        async with await open_writer(cast.where, "log") as db:
            await db.execute("update door_tallies set n = n + 6 where outcome = 'received' and app_key <> ''")
        return await examine(cast.where)

    findings = asyncio.run(tamper())
    assert not findings.balanced
    assert findings.lines()[1].endswith("; OFF BY 6")


# --- the snippet


@pytest.mark.parametrize("name", ["plain", "hashed"])
def test_the_snippet_comes_in_the_smallest_form_that_the_browser_takes(doors: Doors, hashed: str, name: str) -> None:
    path = {"plain": "/js/footfall.js", "hashed": hashed}[name]
    plain = doors.client.get(path, headers={"Accept-Encoding": "identity"})
    assert plain.status_code == 200
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    assert plain.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    unpack = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}
    for accepted, coding in [
        ("gzip, deflate, br", "br"),
        ("GZIP", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br; q=0", None),
        ("gzip;q=0", None),
        ("deflate", None),
        ("*", None),
        ("", None),
    ]:
        with doors.client.stream("GET", path, headers={"Accept-Encoding": accepted}) as answer:
            raw = b"".join(answer.iter_raw())
        assert answer.headers.get("content-encoding") == coding, accepted
        assert int(answer.headers["content-length"]) == len(raw)
        assert unpack[coding](raw) == plain.content


def test_the_hashed_snippet_never_changes_and_the_plain_one_soon_may(doors: Doors, hashed: str) -> None:
    assert doors.client.get(hashed).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert doors.client.get("/js/footfall.js").headers["cache-control"].startswith("public, max-age=3600")


def test_the_published_integrity_is_that_of_the_bytes_that_a_browser_runs(doors: Doors, hashed: str) -> None:
    body = doors.client.get(hashed).content
    assert load_snippet().integrity == "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()


def test_pages_of_any_site_may_load_the_snippet(doors: Doors, hashed: str) -> None:
    headers = doors.client.get(hashed, headers={"Origin": "https://elsewhere.example"}).headers
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("written", ["{}", "W/{}", '"other", {}', '"other",W/{}', "*"])
def test_what_a_browser_has_already_is_not_sent_again(doors: Doors, hashed: str, written: str) -> None:
    for coding in ("br", "gzip", "identity"):
        tag = doors.client.get(hashed, headers={"Accept-Encoding": coding}).headers["etag"]
        headers = {"Accept-Encoding": coding, "If-None-Match": written.format(tag)}
        answer = doors.client.get(hashed, headers=headers)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)


def test_each_form_has_a_tag_of_its_own(doors: Doors, hashed: str) -> None:
    tags = {doors.client.get(hashed, headers={"Accept-Encoding": coding}).headers["etag"] for coding in ("br", "gzip")}
    assert len(tags) == 2
    answer = doors.client.get(hashed, headers={"If-None-Match": '"another"'})
    assert answer.status_code == 200


def test_a_range_is_ignored(doors: Doors, hashed: str) -> None:
    whole = doors.client.get(hashed, headers={"Accept-Encoding": "identity"}).content
    for asked in ("bytes=0-1", "bytes=" + ",".join(f"{n}-{n + 1}" for n in range(3_000))):
        answer = doors.client.get(hashed, headers={"Range": asked, "Accept-Encoding": "identity"})
        assert (answer.status_code, answer.content) == (200, whole)


def test_a_head_has_the_headers_and_no_body(doors: Doors, hashed: str) -> None:
    get = doors.client.get(hashed)
    head = doors.client.head(hashed)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == get.headers["etag"]
    assert head.headers["content-length"] == get.headers["content-length"]


def test_our_pages_own_files_are_a_fixed_map(doors: Doors) -> None:
    served = load_static()
    assert "/static/css/house.css" in served
    for path in served:
        answer = doors.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/e/",
        "/healthz/",
        "/js/",
        "/js/footfall.0000000000000000.js",
        "/js/dist/footfall.js",
        "/js/../footfall.py",
        "/static/css/../../footfall.py",
        "/static/css/%2e%2e/%2e%2e/pyproject.toml",
        "/static/css/..%2f..%2fpyproject.toml",
        "/static/css/house.css%00.js",
        "//evil.example/static/css/house.css",
        "/data/secret-key",
        "/docs",
        "/openapi.yaml",
    ],
)
def test_any_other_path_is_404_and_never_a_redirect(doors: Doors, path: str) -> None:
    answer = doors.client.get("http://testserver" + path, headers={"Host": "evil.example"}, follow_redirects=False)
    assert answer.status_code == 404
    assert "evil" not in str(answer.headers) + answer.text


def test_the_door_of_the_house_is_the_portals(doors: Doors) -> None:
    answer = doors.client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_no_answer_tells_what_it_runs_on(doors: Doors, hashed: str) -> None:
    for path in ("/", "/healthz", "/nothing", hashed):
        assert "server" not in doors.client.get(path).headers
    body = json.dumps({"events": [view()]})
    assert set(doors.client.post("/e", content=body, headers={"Origin": SITE}).headers) == {
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-expose-headers",
        "vary",
    }
