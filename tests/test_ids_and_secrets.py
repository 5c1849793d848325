"""Ids and secrets: their shapes, that they are constant, and that what is not ours opens nothing."""

import re
import string
import time
import uuid

import pytest
from conftest import SECRET_KEY
from hypothesis import assume, given
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from store import ids
from store.errors import ConfigError
from store.secrets import VISITOR_TOKEN_SECONDS, Vault, derived, is_token, new_token, token_hash

VAULT = Vault(SECRET_KEY)
OTHER = Vault("9" + SECRET_KEY)
MOMENTS = st.integers(min_value=0, max_value=2**48 - 1)
TEXTS = st.text(st.characters(codec="utf-8"))


@given(MOMENTS)
def test_a_made_id_is_a_uuid_of_version_seven_that_holds_its_time(moment: int) -> None:
    made = ids.uuid7(moment)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == moment


@given(MOMENTS, MOMENTS)
def test_made_ids_are_ordered_by_time(one: int, other: int) -> None:
    assume(one != other)
    earlier, later = sorted([one, other])
    assert ids.uuid7(earlier).bytes < ids.uuid7(later).bytes
    assert str(ids.uuid7(earlier)) < str(ids.uuid7(later))


def test_two_ids_of_one_moment_differ() -> None:
    assert len({ids.uuid7(0) for _ in range(1000)}) == 1000


@given(st.uuids())
def test_a_uuid_is_stored_as_it_is_however_it_is_written(given_id: uuid.UUID) -> None:
    assert ids.message_id(str(given_id), "a") == (given_id.bytes, None)
    assert ids.message_id(str(given_id).upper(), "b") == (given_id.bytes, None)


@pytest.mark.parametrize(
    "text",
    [
        "order-17",
        "",
        "{550e8400-e29b-41d4-a716-446655440000}",
        "550e8400-e29b-41d4-a716-446655440000\n",
        "é",
    ],
)
def test_any_other_text_is_stored_as_a_uuid_made_of_it_and_the_app_and_kept(text: str) -> None:
    made, kept = ids.message_id(text, "com.owner.charts")
    assert made == uuid.uuid5(uuid.NAMESPACE_URL, f"com.owner.charts\n{text}").bytes
    assert kept == text
    assert made != ids.message_id(text, "com.owner.boards")[0]


def test_a_text_that_begins_with_its_time_is_stored_as_a_uuid_that_does_too() -> None:
    text = "node-next-1774775493000-1f0e1a6c-6f5e-4f9b-9d0a-0c4b2f1d9a11"
    made, kept = ids.message_id(text, "com.a")
    assert (uuid.UUID(bytes=made).version, uuid.UUID(bytes=made).variant, kept) == (8, uuid.RFC_4122, text)
    assert int.from_bytes(made[:6], "big") == 1_774_775_493_000
    assert ids.message_id(text, "com.a") == (made, kept)
    assert len({made, ids.message_id(text, "com.b")[0], ids.message_id(f"{text}2", "com.a")[0]}) == 3
    assert uuid.UUID(bytes=ids.message_id("node-next-early-x", "com.a")[0]).version == 5


def test_a_destination_gets_a_constant_id_of_its_own_for_each_event() -> None:
    one, other = (ids.destination_message_ids(uuid.UUID(int=number)) for number in (1, 2))
    event = bytes(range(16)).hex()
    assert one(event) == "b3fd6c2d-ce0a-54e8-bf39-ae030e57f021"
    assert one(event) == one(event)
    assert one(event) != other(event)
    assert one(event) != one(event[::-1])


@pytest.mark.parametrize("text", ["", "a" * 39, "a" * 41, "A" * 40, "g" * 40, "a" * 40 + "\n", "\u0661" * 40])
def test_what_is_not_forty_lower_case_hex_digits_is_no_anonymous_id(text: str) -> None:
    assert not ids.is_anonymous_id(text)
    assert ids.is_anonymous_id("0a" * 20)


@pytest.mark.parametrize("text", ["", "a" * 201, "a\n", "a\x00", "é", "a\x7f"])
def test_what_is_not_short_printable_ascii_is_no_partner_id(text: str) -> None:
    assert not ids.is_partner_anonymous_id(text)
    assert ids.is_partner_anonymous_id("a b;c<script>" + "~" * 187)


@given(TEXTS)
def test_a_user_id_is_forty_hex_digits_constant_and_of_this_secret(account: str) -> None:
    made = VAULT.user_id(account)
    assert len(made) == 40
    assert set(made) <= set(string.hexdigits.lower())
    assert made == Vault(SECRET_KEY).user_id(account)
    assert made != OTHER.user_id(account)
    assert made != VAULT.anonymous_id_for(account)


def test_the_user_id_of_an_account_never_changes() -> None:
    assert VAULT.user_id("account-17") == "b4f0ba344ac3442d3fa34136c469b0879426f7eb"


@given(TEXTS)
def test_what_is_encrypted_is_read_again_with_the_same_secret(text: str) -> None:
    assert VAULT.decrypt(VAULT.encrypt(text)) == text


def test_what_is_encrypted_is_not_readable_and_never_the_same_twice() -> None:
    one, two = VAULT.encrypt("a write key"), VAULT.encrypt("a write key")
    assert b"write" not in one
    assert one != two


def test_another_secret_key_is_told_apart_from_a_broken_store() -> None:
    with pytest.raises(ConfigError, match="FOOTFALL_SECRET_KEY is not the one it was stored under"):
        OTHER.decrypt(VAULT.encrypt("a write key"))
    with pytest.raises(ConfigError):
        VAULT.decrypt(b"nonsense")


def test_a_fingerprint_tells_equal_keys_and_shows_none() -> None:
    assert VAULT.fingerprint("key") == VAULT.fingerprint("key")
    assert VAULT.fingerprint("key") != VAULT.fingerprint("kez")
    assert len(VAULT.fingerprint("key")) == 16


def test_each_purpose_has_a_key_of_its_own() -> None:
    purposes = ["user-id", "anonymous-id", "encryption", "fingerprint", "visitor-token"]
    assert len({derived(SECRET_KEY, purpose) for purpose in purposes}) == 5


def test_a_visitors_token_says_the_user_id_and_nothing_of_the_account() -> None:
    token = VAULT.sign_visitor("account-17", "com.owner.charts")
    assert VAULT.visitor(token, "com.owner.charts") == VAULT.user_id("account-17")
    assert "account" not in str(URLSafeTimedSerializer("?").loads_unsafe(token))


def test_a_visitors_token_is_good_for_one_app_and_one_secret() -> None:
    token = VAULT.sign_visitor("account-17", "com.owner.charts")
    assert VAULT.visitor(token, "com.owner.boards") is None
    assert OTHER.visitor(token, "com.owner.charts") is None


@given(st.one_of(TEXTS, st.integers(min_value=0, max_value=120)))
def test_a_forged_token_is_nobody(forged: str | int) -> None:
    token = VAULT.sign_visitor("account-17", "com.owner.charts")
    if isinstance(forged, int):
        at = forged % len(token)
        forged = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
    known = VAULT.visitor(forged, "com.owner.charts")
    assert known is None or known == VAULT.user_id("account-17")  # the last character carries bits that do not count


def test_a_token_ends_after_a_week(monkeypatch: pytest.MonkeyPatch) -> None:
    token = VAULT.sign_visitor("account-17", "com.owner.charts")
    assert VISITOR_TOKEN_SECONDS == 7 * 86_400
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7 * 86_400 - 5)
    assert VAULT.visitor(token, "com.owner.charts") == VAULT.user_id("account-17")
    monkeypatch.setattr(time, "time", lambda: now + 7 * 86_400 + 5)
    assert VAULT.visitor(token, "com.owner.charts") is None


@pytest.mark.parametrize(
    "signed", ["text", 17, None, [], ["a"], ["a", "b", "c"], [1, "com.owner.charts"], {"a": 1, "b": 2}]
)
def test_something_else_signed_with_our_key_is_nobody(signed: object) -> None:
    signer = URLSafeTimedSerializer(derived(SECRET_KEY, "visitor-token"), salt="visitor")
    assert VAULT.visitor(str(signer.dumps(signed)), "com.owner.charts") is None


def test_api_tokens_are_unguessable_and_stored_as_a_hash() -> None:
    token = new_token()
    assert re.fullmatch("fft_[0-9A-Za-z]{49}", token)
    assert token != new_token()
    assert token_hash("fft_x") == "b7697d584bf7aee990309216d68820c87fddc7c14ce990661a7b9ba882160631"


def test_a_scanner_tells_an_api_token_from_what_only_looks_like_one() -> None:
    token = new_token()
    assert is_token(token)
    assert not is_token(token[:-1] + ("a" if token[-1] != "a" else "b"))
    assert not is_token("xyz_" + token[4:])
    assert not is_token("")


def test_a_uuid_without_its_hyphens_is_the_same_message_id() -> None:
    whole = ids.message_id("019ab3f0-0000-7abc-8def-001122334455", "com.owner.charts")
    assert whole == (bytes.fromhex("019ab3f000007abc8def001122334455"), None)
    assert ids.message_id("019ab3f000007abc8def001122334455", "com.owner.charts") == whole
