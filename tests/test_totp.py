"""Codes of an authenticator app, against the vectors of RFC 4226 and RFC 6238."""

import base64

import pytest

from store.people.totp import address, code, new_secret, step_of

SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "eight"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_a_code_is_that_of_rfc_6238(seconds: int, eight: str) -> None:
    assert code(SECRET, seconds // 30, 8) == eight
    assert code(SECRET, seconds // 30) == eight[2:]


def test_a_code_is_that_of_rfc_4226() -> None:
    expected = "755224 287082 359152 969429 338314 254676 287922 162583 399871 520489".split()
    assert [code(SECRET, step) for step in range(10)] == expected


def test_a_clock_may_be_off_by_one_step_either_way() -> None:
    now = 100 * 30_000 + 7_000
    assert [step_of(SECRET, code(SECRET, step), now, 0) for step in range(97, 104)] == [
        None,
        None,
        99,
        100,
        101,
        None,
        None,
    ]


def test_a_code_is_taken_once_and_an_older_one_not_after_it() -> None:
    now = 100 * 30_000
    assert step_of(SECRET, code(SECRET, 100), now, 100) is None
    assert step_of(SECRET, code(SECRET, 99), now, 100) is None
    assert step_of(SECRET, code(SECRET, 101), now, 100) == 101


def test_a_code_may_have_the_space_that_apps_show() -> None:
    assert step_of(SECRET, " 287 082\n", 30_000, 0) == 1


@pytest.mark.parametrize(
    "given", ["", "28708", "2870820", "+87082", "\uff12\uff18\uff17\uff10\uff18\uff12", "a" * 30_000, "-1", "\x00"]
)
def test_what_is_no_code_is_wrong_and_no_failure(given: str) -> None:
    assert step_of(SECRET, given, 30_000, 0) is None


def test_a_secret_is_160_random_bits() -> None:
    assert len(base64.b32decode(new_secret())) == 20
    assert new_secret() != new_secret()


def test_the_address_names_whose_and_of_what() -> None:
    assert address("ABC", "o'neil+x@acme.example") == (
        "otpauth://totp/Footfall:o%27neil%2Bx%40acme.example?secret=ABC&issuer=Footfall"
    )
