"""Shorthand for the tests of the fake Segment: what they send, and how they ask what became of it."""

import base64
from typing import Any

from starlette.testclient import TestClient

KEY = "KEYOFTHEOWNER0000000000000000001"
OTHER_KEY = "KEYOFASTRANGER000000000000000002"
TRACK = {"type": "track", "event": "Listing Viewed", "userId": "ann"}
OK = b'{"success": true}'


def batch(*items: object, key: str = KEY, **more: object) -> dict[str, Any]:
    return {"batch": list(items), "writeKey": key, "sentAt": "2026-01-01T00:00:00.000Z", **more}


def send(segment: TestClient, *items: object, path: str = "/v1/batch", **more: Any) -> bytes:
    answer = segment.post(path, json=batch(*items, **more))
    assert answer.status_code == 200
    return answer.content


def received(segment: TestClient, query: str = "") -> list[dict[str, Any]]:
    return segment.get("/_/received" + query).json()


def ids(segment: TestClient, query: str = "") -> list[str]:
    return [message["messageId"] for message in received(segment, query)]


def reasons(segment: TestClient) -> list[str]:
    return [drop["reason"] for drop in segment.get("/_/dropped").json()]


def say(segment: TestClient, route: str, **fields: object) -> Any:
    answer = segment.post(f"/_/{route}", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def basic(credentials: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials.encode()).decode()}
