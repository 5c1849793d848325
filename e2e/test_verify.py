"""`footfall app verify` and `app set --url` as processes: a code goes out, somebody reads it, and it comes back."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import time
from typing import Any

import pytest
from processes import COMMAND, PATIENCE_SECONDS, free_port
from shipping_stage import Stage

DAY_MS = 24 * 3_600_000


def verify(stage: Stage, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return stage.footfall.cli("app", "verify", stage.cast.owner_app, *arguments, **env)


def code_at_segment(stage: Stage, key: str | None = None) -> str:
    """What the partner reads in the debugger."""
    landed = stage.segment.get(f"/_/received?writeKey={key or stage.cast.owner_key}").json()
    code: str = landed[-1]["properties"]["code"]
    return code


def shown(stage: Stage, app: str | None = None) -> dict[str, Any]:
    """The app's first destination, as `app list` tells it."""
    listed = {item["key"]: item for item in stage.footfall.say("app", "list")}
    first: dict[str, Any] = listed[app or stage.cast.owner_app]["destinations"][0]
    return first


def line(stage: Stage) -> str:
    listed = stage.footfall.cli("app", "list", check=True).stdout
    return next(text for text in listed.splitlines() if text.startswith(stage.cast.owner_app))


# --- the code


def test_the_right_code_verifies_and_a_new_key_is_unverified_again(stage: Stage) -> None:
    assert "never verified" in line(stage)
    sent = verify(stage)
    assert sent.returncode == 0
    assert sent.stdout.splitlines()[-1].split() == ["verified_at", "never"]
    code = code_at_segment(stage)
    assert code not in sent.stdout + sent.stderr
    wrong = verify(stage, "--code", "WRONG2")
    assert (wrong.returncode, wrong.stderr) == (78, "footfall: that is not the code; answers that are left: 4\n")
    assert shown(stage)["verified_at"] is None
    right = verify(stage, "--code", code.lower())
    assert right.returncode == 0
    assert abs(shown(stage)["verified_at"] - time.time() * 1_000) < 60_000
    assert time.strftime("verified on %Y-%m-%d", time.gmtime(shown(stage)["verified_at"] / 1_000)) in line(stage)
    new_key = "ANOTHERKEYOFTHEOWNERSCHARTS00009"
    stage.footfall.cli("app", "set", stage.cast.owner_app, "--segment-write-key-file", "-", stdin=new_key, check=True)
    assert "never verified" in line(stage)
    assert verify(stage, "--code", code).returncode == 78


def test_what_is_said_after_sending_is_no_more_than_what_is_known(stage: Stage) -> None:
    said = verify(stage).stderr
    assert "That proves nothing: Segment answers success to any key, in any region." in said
    assert f"footfall app verify {stage.cast.owner_app} --destination main --code CODE" in said
    assert "Segment disables one without any after 14 days." in said


def test_the_test_event_is_one_track_call_that_is_passed_on_to_nobody(stage: Stage) -> None:
    verify(stage, "--json")
    (landed,) = stage.segment.get(f"/_/received?writeKey={stage.cast.owner_key}").json()
    assert (landed["type"], landed["event"], landed["integrations"]) == ("track", "Connection test", {"All": False})
    assert re.fullmatch("[A-HJKMNP-Z2-9]{6}", landed["properties"]["code"])
    assert stage.balance()[stage.cast.owner_app]["accepted"] == 0  # it is none of the app's events


@pytest.mark.parametrize(("known", "told"), [(True, "found"), (False, "not found")])
def test_segments_settings_endpoint_gives_a_hint(stage: Stage, known: bool, told: str) -> None:
    stage.segment.post("/_/keys", json={"writeKey": stage.cast.owner_key, "known": known}).raise_for_status()
    report = json.loads(verify(stage, "--json").stdout)
    assert (report["settings"], report["verified_at"]) == (told, None)


def test_where_the_settings_cannot_be_asked_the_hint_is_that_they_could_not(stage: Stage) -> None:
    page = stage.segment.url + "/_"  # a base under which there is neither
    done = verify(stage, "--json", FOOTFALL_SEGMENT_URL_US=page)
    assert done.returncode == 78
    assert done.stderr == "footfall: the test event was refused: the endpoint answers 404\n"


def test_a_test_event_that_nobody_takes_is_told_without_the_key(stage: Stage) -> None:
    done = verify(stage, FOOTFALL_SEGMENT_URL_US=f"http://127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (75, "")
    assert done.stderr == "footfall: the test event could not be sent: ConnectionError\n"
    stage.fault(status=503, body=f"you sent {stage.cast.owner_key}")
    assert verify(stage).stderr == "footfall: the test event could not be sent: you sent [write key]\n"


def test_a_code_is_asked_for_on_a_terminal(stage: Stage) -> None:
    ours, theirs = pty.openpty()
    command = [*COMMAND, "app", "verify", stage.cast.owner_app]
    running = subprocess.Popen(
        command, env=stage.footfall.env, cwd=stage.footfall.data_dir.parent, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    try:
        while not said.endswith(b"Code: "):
            said += os.read(ours, 1_024)
        os.write(ours, code_at_segment(stage).encode() + b"\n")
        assert running.wait(PATIENCE_SECONDS) == 0
    finally:
        running.kill()
        running.wait()
        os.close(ours)
    assert shown(stage)["verified_at"] is not None


def test_a_proof_of_two_weeks_ago_is_to_be_renewed(stage: Stage) -> None:
    verify(stage)
    verify(stage, "--code", code_at_segment(stage))
    assert "over 13 days ago" not in line(stage)
    with_sqlite = "update destinations set verified_at = verified_at - ?"
    stage.footfall.change("registry", with_sqlite, 14 * DAY_MS)
    assert "over 13 days ago: Segment disables sources without a destination after 14, verify it again" in line(stage)


# --- one key on two apps


def test_one_key_on_two_apps_is_told_when_it_is_set_and_in_the_list(stage: Stage) -> None:
    key = stage.cast.stranger_key
    told = stage.footfall.cli(
        "app", "set", stage.cast.owner_app, "--segment-write-key-file", "-", stdin=key, check=True
    )
    assert told.stderr == (
        f"footfall: {stage.cast.stranger_app} has this write key too: their events would go to one source\n"
    )
    assert f"the same write key as {stage.cast.stranger_app}" in line(stage)
    assert shown(stage, stage.cast.stranger_app)["same_key_as"] == [stage.cast.owner_app]


# --- another endpoint


def test_events_go_to_the_url_that_a_destination_has_and_to_segment_too(stage: Stage) -> None:
    host = f"localhost:{stage.segment.port}"
    key = "KEYOFSOMETHINGTHATISNOTSEGMENT01"
    env = {"FOOTFALL_ALLOWED_DESTINATIONS": host}
    options = ("--destination", "warehouse", "--url", f"http://{host}/eu/", "--start", "beginning")
    made = stage.footfall.cli(
        "app", "set", stage.cast.owner_app, *options, "--segment-write-key-file", "-", "--json", stdin=key, **env
    )
    assert json.loads(made.stdout)["url"] == f"http://{host}/eu"
    stage.collect(stage.cast.owner_app, 3)
    done = stage.footfall.export(**env)
    assert done.returncode == 0, done.stderr
    assert (stage.landed(stage.cast.owner_key), stage.landed(key)) == (3, 3)
    (request,) = [item for item in stage.requests() if item["writeKey"] == key]
    assert request["path"] == "/eu/v1/batch"
    verify(stage, "--destination", "warehouse", **env)
    verify(stage, "--destination", "warehouse", "--code", code_at_segment(stage, key), **env)
    names = {item["destination"]: item["verified_at"] for item in stage.footfall.say("app", "list")[1]["destinations"]}
    assert names["main"] is None
    assert names["warehouse"] is not None


def test_a_permission_that_is_taken_back_pauses_the_destination_and_nothing_arrives(stage: Stage) -> None:
    host = f"localhost:{stage.segment.port}"
    options = ("--destination", "warehouse", "--url", f"http://{host}", "--start", "beginning")
    key = "KEYOFSOMETHINGTHATISNOTSEGMENT01"
    given = {"stdin": key, "check": True, "FOOTFALL_ALLOWED_DESTINATIONS": host}
    stage.footfall.cli("app", "set", stage.cast.owner_app, *options, "--segment-write-key-file", "-", **given)
    stage.collect(stage.cast.owner_app, 2)
    done = stage.footfall.export("--json")
    assert done.returncode == 75
    (deferred,) = [item["deferred"] for item in json.loads(done.stdout)["destinations"] if item["deferred"]]
    assert f"its address is refused: {host} is not permitted" in deferred
    assert (stage.landed(stage.cast.owner_key), stage.landed(key)) == (2, 0)
    assert [item for item in stage.requests() if item["writeKey"] == key] == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://events.acme.example", "--url must be a URL that begins with https://; plain http is for this machine"),
        ("https://127.0.0.1", "--url must be at a public address; 127.0.0.1 is loopback"),
        ("https://me:secret@events.acme.example", "no user, no password"),
        ("https://events.acme.example/v1", "--url must be without /v1"),
    ],
)
def test_a_url_that_must_not_be_used_is_not_stored(stage: Stage, url: str, told: str) -> None:
    done = stage.footfall.cli("app", "set", stage.cast.owner_app, "--url", url)
    assert done.returncode == 78
    assert told in done.stderr
    assert "secret" not in done.stderr
    assert shown(stage)["url"] == ""
