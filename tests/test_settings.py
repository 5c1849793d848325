"""Settings: what each may be, where it may come from, and what is refused with which words."""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from store.database import Server
from store.endpoint import Allowed
from store.errors import ConfigError
from store.settings import Settings, load

KEY = "b1d8a2c47f603e95d2b8e6a1c3f5079d"


def read(**env: str) -> Settings:
    return load({"FOOTFALL_SECRET_KEY": KEY, **env})


def test_without_any_setting_the_defaults_hold(tmp_path: Path) -> None:
    assert load({"FOOTFALL_SECRET_KEY": KEY}) == Settings(
        data_dir=Path("data"),
        database_url=None,
        secret_key=KEY,
        public_url=None,
        allowed_origins=frozenset(),
        cookie_domain=None,
        event_prefix="MPAC",
        segment_url_us="https://api.segment.io",
        segment_url_eu="https://events.eu1.segmentapis.com",
        ingest_path="/e",
        consent="assumed",
        retention_days=90,
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("data_dir", "/var/lib/footfall", Path("/var/lib/footfall")),
        ("public_url", "https://footfall.example/", "https://footfall.example"),
        ("public_url", "http://localhost:8000", "http://localhost:8000"),
        ("allowed_origins", "https://a.example", {"https://a.example"}),
        (
            "allowed_origins",
            " https://A.example/ ,http://b.example:8080,",
            {"https://a.example", "http://b.example:8080"},
        ),
        ("allowed_origins", "https://a.example:443,http://b.example:80", {"https://a.example", "http://b.example"}),
        ("allowed_origins", "", set()),
        ("cookie_domain", ".marketplace.example", "marketplace.example"),
        ("event_prefix", " Shop ", "Shop"),
        ("segment_url_us", "https://proxy.example/segment/", "https://proxy.example/segment"),
        ("segment_url_us", "http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("segment_url_us", "http://localhost:8001", "http://localhost:8001"),
        ("segment_url_eu", "http://[::1]:8001/eu", "http://[::1]:8001/eu"),
        ("ingest_path", "/collect/events/", "/collect/events"),
        ("consent", "required", "required"),
        ("consent", "assumed", "assumed"),
        ("retention_days", "1", 1),
        ("retention_days", "3660", 3660),
        ("allowed_destinations", "", Allowed()),
        ("allowed_destinations", "Proxy.Example", Allowed(frozenset({("proxy.example", 443)}))),
        (
            "allowed_destinations",
            " [::1]:80 ,10.1.0.0/16",
            Allowed(frozenset({("::1", 80)}), (ip_network("10.1.0.0/16"),)),
        ),
    ],
)
def test_a_good_value_is_read(name: str, text: str, value: Any) -> None:
    assert getattr(read(**{f"FOOTFALL_{name.upper()}": text}), name) == value


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("public_url", "footfall.example", "a URL that begins with https://"),
        ("public_url", "https://:443", "a URL that begins with https://"),
        ("public_url", "", "a URL that begins with https://"),
        ("allowed_origins", "https://a.example/shop", "an origin such as https://marketplace.example"),
        ("allowed_origins", "https://a.example?x=1", "an origin such as https://marketplace.example"),
        ("allowed_origins", "https://me@a.example", "an origin such as https://marketplace.example"),
        ("allowed_origins", "*", "an origin such as https://marketplace.example"),
        ("allowed_origins", "null", "an origin such as https://marketplace.example"),
        ("cookie_domain", "a.example; Secure", "a domain such as marketplace.example"),
        ("cookie_domain", "https://a.example", "a domain such as marketplace.example"),
        ("cookie_domain", "", "a domain such as marketplace.example"),
        ("event_prefix", "  ", "a name of 1 to 40 characters"),
        ("event_prefix", "x" * 41, "a name of 1 to 40 characters"),
        ("segment_url_us", "https://api.segment.io/v1", "a host without /v1, which is added by the sender"),
        ("segment_url_us", "https://api.segment.io/v1/", "a host without /v1, which is added by the sender"),
        ("segment_url_eu", "https://api.segment.io/v1/batch", "a host without /v1, which is added by the sender"),
        (
            "segment_url_us",
            "http://api.segment.io",
            "a URL that begins with https:// (plain http only for this machine)",
        ),
        (
            "segment_url_us",
            "http://127.0.0.1.example",
            "a URL that begins with https:// (plain http only for this machine)",
        ),
        ("ingest_path", "e", "a path such as /e"),
        ("ingest_path", "/", "a path such as /e"),
        ("ingest_path", "//", "a path such as /e"),
        ("ingest_path", "/e?x=1", "a path such as /e"),
        ("ingest_path", "/e e", "a path such as /e"),
        ("ingest_path", "/%65", "a path such as /e"),
        ("consent", "maybe", "required or assumed"),
        ("retention_days", "0", "a number of days from 1 to 3660"),
        ("retention_days", "-1", "a number of days from 1 to 3660"),
        ("retention_days", "1.5", "a number of days from 1 to 3660"),
        ("retention_days", "3661", "a number of days from 1 to 3660"),
        ("allowed_destinations", "10.1.2.3/16", "hosts, host:port or networks such as 10.1.0.0/16, not 10.1.2.3/16"),
        ("allowed_destinations", "https://a.example", "hosts, host:port or networks"),
        ("database_url", "mysql://localhost/x", "a URL such as postgresql://user@host/database"),
        ("database_url", "postgresql://localhost", "a URL such as postgresql://user@host/database"),
        ("secret_key", "short", "at least 32 characters that nobody can guess"),
        ("secret_key", "", "at least 32 characters that nobody can guess"),
        ("secret_key", "a" * 64, "at least 32 characters that nobody can guess"),
        ("secret_key", "0123456789ABCDEF0123456789abcdef", "at least 32 characters that nobody can guess"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_with_what_would_be(name: str, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read(**{f"FOOTFALL_{name.upper()}": text})
    assert str(refused.value).startswith(f"FOOTFALL_{name.upper()} must be {told}")


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        read(FOOTFALL_SECRET_KEY="hunter2hunter2")  # noqa: S106
    assert "hunter2" not in str(refused.value)


def test_a_name_that_is_no_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^FOOTFALL_CONSNET is not a setting; docs/reference/settings.md lists"):
        read(FOOTFALL_CONSNET="required")


@pytest.mark.parametrize("switch", [{}, {"FOOTFALL_TEST": "0"}, {"FOOTFALL_TEST": "yes"}])
def test_a_switch_for_tests_is_refused_outside_tests(switch: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="for tests only and refused without FOOTFALL_TEST=1"):
        read(FOOTFALL_TEST_CRASH_AT="after_send", **switch)


def test_a_switch_for_tests_is_let_through_in_tests() -> None:
    assert read(FOOTFALL_TEST_CRASH_AT="after_send", FOOTFALL_TEST="1").secret_key == KEY


def test_what_belongs_to_other_programs_is_none_of_our_business() -> None:
    assert read(PATH="/bin", FOOTFAL_X="1").consent == "assumed"


def test_a_flag_is_stronger_than_the_environment() -> None:
    env = {"FOOTFALL_SECRET_KEY": KEY, "FOOTFALL_DATA_DIR": "/one"}
    assert load(env, data_dir=Path("/two")).data_dir == Path("/two")
    assert load(env, data_dir=None).data_dir == Path("/one")


def test_a_value_comes_from_the_file_that_the_setting_names(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"  {KEY}\n")
    (tmp_path / "prefix").write_text("Shop\n")
    env = {"FOOTFALL_SECRET_KEY_FILE": str(tmp_path / "key"), "FOOTFALL_EVENT_PREFIX_FILE": str(tmp_path / "prefix")}
    settings = load(env)
    assert (settings.secret_key, settings.event_prefix) == (KEY, "Shop")


def test_the_variable_itself_wins_over_its_file() -> None:
    assert read(FOOTFALL_CONSENT="required", FOOTFALL_CONSENT_FILE="/nowhere").consent == "required"


def test_a_file_that_is_missing_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FOOTFALL_CONSENT_FILE: /nowhere/x: No such file or directory"):
        read(FOOTFALL_CONSENT_FILE="/nowhere/x")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="binary is not text"):
        read(FOOTFALL_CONSENT_FILE=str(tmp_path / "binary"))


def test_a_service_managers_credential_is_the_secret_key(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text(KEY + "\n")
    assert load({"CREDENTIALS_DIRECTORY": str(tmp_path)}).secret_key == KEY


def test_a_service_managers_credential_is_the_databases_url_and_weaker_than_the_setting(tmp_path: Path) -> None:
    (tmp_path / "database-url").write_text("postgresql://collector:hidden@db.example/footfall\n")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path), "FOOTFALL_SECRET_KEY": KEY}
    assert load(env).where == Server("postgresql://collector:hidden@db.example/footfall")
    assert load(env | {"FOOTFALL_DATABASE_URL": "postgresql://localhost/other"}).where == Server(
        "postgresql://localhost/other"
    )


def test_a_server_is_named_without_its_password() -> None:
    server = Server("postgresql://collector:hidden@db.example:5433/footfall")
    assert str(server) == "PostgreSQL at db.example:5433/footfall"
    assert "hidden" not in repr(server)


def test_a_credentials_directory_without_ours_changes_nothing(tmp_path: Path) -> None:
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path), "FOOTFALL_DATA_DIR": str(tmp_path / "data")}
    assert load(env).secret_key == (tmp_path / "data" / "secret-key").read_text()


def test_without_a_secret_one_is_made_once_and_kept_for_the_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = load({"FOOTFALL_DATA_DIR": str(tmp_path / "data")}).secret_key
    finally:
        os.umask(before)
    kept = tmp_path / "data" / "secret-key"
    assert load({"FOOTFALL_DATA_DIR": str(tmp_path / "data")}).secret_key == made == kept.read_text()
    assert len(made) == 64
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o007 == 0


def test_a_kept_secret_that_was_emptied_is_told_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text("")
    with pytest.raises(ConfigError, match="secret-key must hold at least 32 characters"):
        load({"FOOTFALL_DATA_DIR": str(tmp_path)})
    assert (tmp_path / "secret-key").read_text() == ""


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="set FOOTFALL_DATA_DIR to a directory that can be written"):
        load({"FOOTFALL_DATA_DIR": str(tmp_path / "file" / "data")})


def test_each_region_has_its_segment() -> None:
    settings = read(FOOTFALL_SEGMENT_URL_US="https://us.example", FOOTFALL_SEGMENT_URL_EU="https://eu.example")
    assert (settings.segment_url("us"), settings.segment_url("eu")) == ("https://us.example", "https://eu.example")
