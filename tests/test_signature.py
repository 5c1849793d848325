"""Signatures of webhooks, against the vector of the Standard Webhooks libraries and by their own rule."""

import base64
import hashlib
import hmac

import pytest

from wire.signature import PREFIX, headers, new_secret, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of the libraries' own tests
MESSAGE, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_vector_of_the_libraries() -> None:
    assert sign(MESSAGE, AT, BODY, SECRET) == SIGNATURE
    assert headers(MESSAGE, AT, BODY, [SECRET]) == {
        "webhook-id": MESSAGE,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_two_secrets_sign_beside_each_other_the_newest_first() -> None:
    newest = new_secret()
    found = headers(MESSAGE, AT, BODY, [newest, SECRET])["webhook-signature"].split(" ")
    key = base64.b64decode(newest.removeprefix(PREFIX))
    expected = base64.b64encode(hmac.new(key, b"%s.%d.%s" % (MESSAGE.encode(), AT, BODY), hashlib.sha256).digest())
    assert found == [f"v1,{expected.decode()}", SIGNATURE]


def test_every_byte_counts() -> None:
    others = [
        sign(MESSAGE + "x", AT, BODY, SECRET),
        sign(MESSAGE, AT + 1, BODY, SECRET),
        sign(MESSAGE, AT, b"", SECRET),
    ]
    assert SIGNATURE not in others
    assert len(set(others)) == 3


def test_a_secret_is_of_the_documented_form_and_another_each_time() -> None:
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20
    assert {(each[:6], len(base64.b64decode(each[6:], validate=True))) for each in secrets} == {("whsec_", 32)}


def test_what_is_no_secret_is_no_key() -> None:
    with pytest.raises(ValueError, match="base64"):
        sign(MESSAGE, AT, BODY, "whsec_no!")
