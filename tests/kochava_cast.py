"""Calls in Kochava's form: the official samples, what other senders make of them, and shorthand to send them."""

import copy
import json
from typing import Any

from conftest import Cast, Doors
from httpx2 import Response

TRACK, LINK = "/track/json", "/v1/cpi/identityLink.php"

# support.kochava.com/server-to-server-integration/post-install-event-setup/
EVENT: dict[str, Any] = {
    "data": {
        "usertime": 1521574016,
        "app_version": "1.0.0",
        "device_ver": "",
        "device_ids": {"idfa": "{idfa}"},
        "device_ua": (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 8_0 like Mac OS X) AppleWebKit/534.46 (KHTML, like Gecko)"
            " Version/5.1 Mobile/9A334 Safari/7534.48.3"
        ),
        "event_name": "SubscriptionTest",
        "origination_ip": "104.219.46.66",
        "currency": "USD",
        "gdpr_privacy_consent": {
            "gdpr_applies": 1,
            "tc_string": "some example string",
            "ad_user_data": 1,
            "ad_personalization": 1,
        },
        "event_data": {"id": "123", "name": "Skis", "sum": 150},
    },
    "action": "event",
    "kochava_app_id": "<APP GUID HERE>",
    "kochava_device_id": "<CUSTOM VALUE>",
}
# support.kochava.com/articles/server-to-server-integration/18474-s2s-without-device-ua
INSTALL: dict[str, Any] = {
    "action": "install",
    "kochava_app_id": "koconversionsdemo174ea19bc63928c",
    "app_ver": "3.3.0",
    "kochava_device_id": "KD5b085ab00b386",
    "data": {
        "origination_ip": "69.224.141.777",
        "device_ua": "",
        "device_ver": "iPhone-iOS-13.6.0",
        "device_ids": {
            "idfa": "kochava-test-idfa-2015-12-09-12",
            "idfv": "333BA75-FE08-AAA4-9EF0-98A6AD293FEC",
            "adid": "",
            "android_id": "",
        },
    },
}
# support.kochava.com/server-to-server-integration/identitylink-setup
IDENTITY_LINK: dict[str, Any] = {
    "kochava_app_id": "kogamerdna114e9bb34812587",
    "device_id": {"idfa": "A6334005-9019-46BB-9659-74FD0BD33585"},
    "device_hash_method": {"idfa": "md5"},
    "data": {"SGID": "2718281828"},
}
# segmentio/action-destinations (MIT), destinations/kochava/event/__tests__/index.test.ts
SEGMENT_ACTIONS: dict[str, Any] = {
    "action": "event",
    "kochava_app_id": "ko-app-guid-123",
    "kochava_device_id": "device-1",
    "data": {
        "device_ids": {"idfa": "idfa-abc"},
        "device_ua": "Mozilla%2F5.0%20(iPhone)",
        "device_ver": "14.4",
        "origination_ip": "104.219.46.66",
        "app_version": "1.0.0",
        "usertime": 1616263616,
        "event_name": "Subscription Started",
        "event_data": {"currency": "USD", "sum": 150},
        "currency": "USD",
        "device_limit_tracking": False,
    },
}


def guid(cast: Cast, app_key: str = "com.owner.charts") -> str:
    """How callers name an app."""
    ((found,),) = cast.rows("select guid from apps where app_key = ?", app_key, nature="registry")
    return str(found)


def call(cast: Cast, sample: dict[str, Any] = EVENT, app_key: str = "com.owner.charts", **data: Any) -> dict[str, Any]:
    """A sample for an app of the cast, with other data; None takes a field away."""
    made: dict[str, Any] = copy.deepcopy(sample) | {"kochava_app_id": guid(cast, app_key)}
    made["data"] |= data
    made["data"] = {key: value for key, value in made["data"].items() if value is not None}
    return made


def post(doors: Doors, body: Any, path: str = TRACK, **headers: str) -> Response:
    """Bytes go as they are, all else as JSON; `headers` with _ for -."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return doors.client.post(path, content=content, headers={key.replace("_", "-"): v for key, v in headers.items()})
