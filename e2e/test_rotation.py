"""The secret key rotated under a running installation, step by step as the how-to guide says."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import httpx2
import pytest
from processes import SECRET_KEY, free_port
from shipping_stage import VISITOR, Stage

NEW = "4f1c9b07e2d8463aa5f09c7b1e6d2358"


def signed_in(stage: Stage, url: str, token: str) -> None:
    """A page view of somebody who is signed in."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    event = {"messageId": str(uuid.uuid4()), "name": "page_view", "app": stage.cast.owner_app, "occurredAt": now}
    event |= {"anonymousId": VISITOR, "url": f"{url}/apps/1219125/charts", "user": token}
    headers = {"Origin": url, "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:148.0) Gecko/20100101 Firefox/148.0"}
    answer = httpx2.post(f"{url}/e", json={"events": [event]}, headers=headers, trust_env=False)
    assert answer.status_code == 204, answer.text


def test_a_rotation_loses_no_token_no_user_id_and_no_write_key(stage: Stage) -> None:
    def token(secret: str) -> str:
        command = ("visitor", "token", stage.cast.owner_app, "--account-id-file", "-")
        return stage.footfall.cli(*command, stdin="account-17", check=True, FOOTFALL_SECRET_KEY=secret).stdout.strip()

    both, after = f"{NEW},{SECRET_KEY}", f"{NEW}\nids:{SECRET_KEY}"
    before = token(SECRET_KEY)
    port = free_port()
    with stage.footfall.collector(port, FOOTFALL_SECRET_KEY=both, FOOTFALL_PUBLIC_URL=f"http://127.0.0.1:{port}") as it:
        signed_in(stage, it.url, before)
        signed_in(stage, it.url, token(both))
    stage.footfall.cli("secret", "rotate", check=True, FOOTFALL_SECRET_KEY=both)
    with stage.footfall.collector(
        port, FOOTFALL_SECRET_KEY=after, FOOTFALL_PUBLIC_URL=f"http://127.0.0.1:{port}"
    ) as it:
        signed_in(stage, it.url, token(after))
        signed_in(stage, it.url, before)
    ids = [row[0] for row in stage.footfall.rows("events", "select user_id from events order by seq")]
    assert ids[0] is not None
    assert ids == [ids[0], ids[0], ids[0], None]
    assert stage.footfall.export(FOOTFALL_SECRET_KEY=after).returncode == 0
    assert stage.landed(stage.cast.owner_key) == 4


@pytest.mark.parametrize("secret", [NEW, f"{NEW},ids:{SECRET_KEY}"])
def test_a_collector_that_would_give_everybody_a_new_id_does_not_start(stage: Stage, secret: str) -> None:
    done = stage.footfall.cli("serve", "--port", str(free_port()), FOOTFALL_SECRET_KEY=secret)
    assert done.returncode == 78
    assert done.stderr.startswith("footfall: FOOTFALL_SECRET_KEY is not the one that write keys were stored")
    assert done.stderr.count("\n") == 1
