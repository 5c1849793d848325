"""`footfall export` and whatever answers: nobody, somebody who hangs, somebody else, nonsense without end."""

from __future__ import annotations

import base64
import sqlite3
from pathlib import Path

import pytest
from listener import Listener
from processes import free_port
from shipping_stage import Stage


def test_partners_that_hang_or_drip_do_not_delay_the_others(stage: Stage) -> None:
    """What the others sent arrives, in order of receipt, before the one that hangs is given up and tried again."""
    stage.collect(stage.cast.owner_app, 2)
    stage.collect(stage.cast.sibling_app, 2)
    stage.collect(stage.cast.stranger_app, 1_300)
    stage.fault(hang=60, match={"writeKey": stage.cast.owner_key})
    stage.fault(slowDrip=4, match={"writeKey": stage.cast.sibling_key})
    done = stage.footfall.export()
    assert done.returncode == 0
    keys = [request["writeKey"] for request in stage.requests()]
    assert keys.count(stage.cast.stranger_key) == 3
    others_last = max(at for at, key in enumerate(keys) if key == stage.cast.stranger_key)
    for slow in (stage.cast.owner_key, stage.cast.sibling_key):
        attempts = [at for at, key in enumerate(keys) if key == slow]
        assert len(attempts) == 2
        assert attempts[1] > others_last, "it was tried again only after the others were through"
        assert stage.landed(slow) == 2
    assert stage.footfall.rows("ledger", "select outcome, count(*) from batches group by outcome") == [
        ("accepted", 5),
        ("ambiguous", 2),
    ]
    balance = stage.balance()
    assert [balance[app]["accepted"] for app in sorted(balance)] == [2, 2, 1_300]


def test_a_run_waits_a_second_and_a_half_for_a_destination_that_did_not_answer_the_runs_before(stage: Stage) -> None:
    stage.footfall.export()  # begins the cursors
    with sqlite3.connect(stage.footfall.data_dir / "ledger.db") as ledger:
        ledger.execute("update cursors set tripped = 'no answer again and again', trips = 1")
    ledger.close()
    stage.collect(stage.cast.owner_app, 2)
    stage.fault(hang=60, match={"writeKey": stage.cast.owner_key})
    done = stage.footfall.export()
    assert done.returncode == 75
    assert "1 destinations deferred" in done.stdout
    ((outcome, events, latency),) = stage.footfall.rows("ledger", "select outcome, events, latency_ms from batches")
    assert (outcome, events) == ("ambiguous", 1)
    assert 1_500 <= latency < 14_000
    assert stage.balance()[stage.cast.owner_app]["pending"] == 2


SUCCESS = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{"success": true}'


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (b"", "ambiguous"),
        (b"HTTP/1.1 2", "ambiguous"),
        (b"SSH-2.0-SSLError\r\n", "ambiguous"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{", "ambiguous"),
        (b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 17\r\n\r\n{"success": true}', "ambiguous"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"[" * 300_000, "deferred"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"\xff\xfe" * 50_000, "deferred"),
        (b"HTTP/1.1 503 X\r\nConnection: close\r\n\r\n" + b"[" * 300_000, "deferred"),
        (b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nConnection: close\r\n\r\n{}", "deferred"),
    ],
    ids="nothing half-a-line ssh half-a-body no-gzip brackets bytes brackets-503 cookie".split(),
)
def test_no_answer_however_strange_ends_the_run_or_counts_as_success(stage: Stage, answer: bytes, outcome: str) -> None:
    stage.collect(stage.cast.owner_app, 1)
    listener = Listener(answer, SUCCESS)
    done = stage.footfall.export(FOOTFALL_SEGMENT_URL_US=listener.url)
    listener.close()
    assert done.returncode == 0, done.stderr
    assert stage.footfall.rows("ledger", "select outcome from batches order by batch_id") == [
        (outcome,),
        ("accepted",),
    ]
    assert b"cookie" not in listener.heard[1].lower()


def test_an_answer_without_end_is_left_where_it_is(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 1)
    listener = Listener(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b" " * 100_000_000, SUCCESS)
    done = stage.footfall.export(FOOTFALL_SEGMENT_URL_US=listener.url)
    listener.close()
    assert done.returncode == 0
    assert listener.written < 20_000_000
    assert stage.footfall.rows("ledger", "select outcome, detail from batches order by batch_id") == [
        ("deferred", "unknown reply"),
        ("accepted", ""),
    ]


def test_where_nobody_listens_or_speaks_tls_nothing_has_left_and_everything_stays_pending(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 1)
    stage.collect(stage.cast.stranger_app, 1)
    stage.footfall.cli("app", "set", stage.cast.stranger_app, "--region", "eu", "--start", "beginning", check=True)
    done = stage.footfall.export(
        FOOTFALL_SEGMENT_URL_US=f"http://127.0.0.1:{free_port()}",
        FOOTFALL_SEGMENT_URL_EU=stage.segment.url.replace("http:", "https:"),
    )
    assert done.returncode == 75
    assert stage.footfall.rows("ledger", "select app_key, outcome, detail, count(*) from batches group by 1, 2, 3") == [
        (stage.cast.owner_app, "deferred", "ConnectionError", 5),
        (stage.cast.stranger_app, "deferred", "SSLError", 5),
    ]
    assert [item["pending"] for item in stage.balance().values()] == [0, 1, 1]


def test_a_redirect_is_not_followed_so_that_the_key_goes_nowhere_else(stage: Stage) -> None:
    stage.collect(stage.cast.owner_app, 1)
    elsewhere = Listener(SUCCESS)
    stage.fault(redirect=307, location=f"{elsewhere.url}/v1/batch")
    assert stage.footfall.export().returncode == 75
    elsewhere.close()
    assert elsewhere.heard == []
    assert stage.footfall.rows("ledger", "select outcome, status from batches") == [("deferred", 307)]


def test_the_environment_neither_replaces_the_key_nor_diverts_the_request(stage: Stage, tmp_path: Path) -> None:
    stage.collect(stage.cast.owner_app, 1)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    proxy = f"http://127.0.0.1:{free_port()}"
    listener = Listener(SUCCESS)
    env = {"NETRC": str(netrc), "HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": "", "no_proxy": ""}
    done = stage.footfall.export(FOOTFALL_SEGMENT_URL_US=listener.url, **env)
    listener.close()
    assert done.returncode == 0
    expected = base64.b64encode(f"{stage.cast.owner_key}:".encode())
    assert b"authorization: basic " + expected.lower() in listener.heard[0].lower()
