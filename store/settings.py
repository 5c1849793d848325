"""Settings: environment variables that begin with FOOTFALL_, read once, checked, and frozen.

Unknown names are errors, because a misspelt setting that is silently ignored is found a month later. A secret may come
from `X_FILE` or from a systemd credential; without any, the secret key is a file in the data directory, made once.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from store.database import Server, Where
from store.endpoint import Allowed, allowed
from store.errors import ConfigError
from store.ring import IDS, lines_of, ring_of

PREFIX = "FOOTFALL_"
SEGMENT_US = "https://api.segment.io"
SEGMENT_EU = "https://events.eu1.segmentapis.com"
TEST_PREFIX = "FOOTFALL_TEST"
CREDENTIALS = {  # files that systemd hands to a unit
    "secret_key": "secret-key",
    "database_url": "database-url",
    "oidc_client_secret": "oidc-client-secret",
}
EXAMPLE_SECRETS = frozenset({"change-me", "changeme", "secret", "your-secret-key", "0123456789abcdef0123456789abcdef"})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting with its default; the meaning of each is in docs/reference/settings.md."""

    data_dir: Path = Path("data")
    database_url: str | None = None
    secret_key: str
    public_url: str | None = None
    allowed_origins: frozenset[str] = frozenset()
    cookie_domain: str | None = None
    event_prefix: str = "MPAC"
    segment_url_us: str = SEGMENT_US
    segment_url_eu: str = SEGMENT_EU
    ingest_path: str = "/e"
    consent: str = "assumed"
    retention_days: int = 90
    allowed_destinations: Allowed = Allowed()
    rejection_days: int = 30
    attempt_days: int = 90
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = None
    oidc_name: str | None = None
    unknown_key: str = "reject"

    @property
    def where(self) -> Where:
        """Where the databases are."""
        return Server(self.database_url) if self.database_url else self.data_dir

    def segment_url(self, region: str) -> str:
        return self.segment_url_eu if region == "eu" else self.segment_url_us


def _origin(text: str) -> str:
    parts = urlsplit(text.strip())
    bare = parts.hostname and "@" not in parts.netloc and parts.path in ("", "/") and not parts.query
    if parts.scheme not in ("http", "https") or not bare:
        raise ValueError("an origin such as https://marketplace.example")
    return origin_of(text.strip())


def origin_of(url: str) -> str:
    """Scheme, host and port as browsers write them in the Origin header: lower case, no port that is the usual one."""
    parts = urlsplit(url.lower())
    usual = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{parts.netloc.removesuffix(usual)}"


def _origins(text: str) -> frozenset[str]:
    return frozenset(_origin(item) for item in text.split(",") if item.strip())


def _url(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a URL that begins with https://")
    return text.strip().rstrip("/")


def _segment_url(text: str) -> str:
    url = _url(text)
    host = urlsplit(url).hostname or ""
    if not url.startswith("https://") and host not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("a URL that begins with https:// (plain http only for this machine)")
    if "/v1/" in url + "/":
        raise ValueError("a host without /v1, which is added by the sender")
    return url


def issuer_url(text: str) -> str:
    """Where a provider of sign-ins is, as it calls itself. Raises ValueError that says what would be right."""
    url = _url(text)
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if (parts.scheme != "https" and not local) or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("a URL that begins with https:// (plain http only for this machine), without ? and #")
    return url


def _one_line(text: str) -> str:
    if not 1 <= len(text.strip()) <= 500 or not text.strip().isprintable():
        raise ValueError("1 to 500 characters on one line, as the provider gave it")
    return text.strip()


def _path(text: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", text):
        raise ValueError("a path such as /e")
    return text.rstrip("/")


def _domain(text: str) -> str:
    domain = text.strip().lstrip(".")
    if not re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", domain):
        raise ValueError("a domain such as marketplace.example")
    return domain


def _choice(*allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError(" or ".join(allowed))
        return text

    return check


def _days(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 3660:
        raise ValueError("a number of days from 1 to 3660")
    return int(text)


def _prefix(text: str) -> str:
    if not text.strip() or len(text) > 40:
        raise ValueError("a name of 1 to 40 characters")
    return text.strip()


def _secret(text: str) -> str:
    """The secret key, or several: one a line, as store/ring.py reads them."""
    lines = lines_of(text)
    for key in [line.removeprefix(IDS).strip() for line in lines] or [""]:
        if len(key) < 32 or key.lower() in EXAMPLE_SECRETS or len(set(key)) < 8:
            raise ValueError("at least 32 characters that nobody can guess, e.g. of: openssl rand -hex 32")
    ring_of("\n".join(lines))
    return "\n".join(lines)


def database_url(text: str) -> str:
    """A server's URL, checked. Raises ValueError that says what would be right."""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("postgresql", "postgres") or len(parts.path) < 2:
        raise ValueError("a URL such as postgresql://user@host/database, or unset for SQLite in the data directory")
    return text.strip()


_READERS: dict[str, Callable[[str], Any]] = {
    "data_dir": Path,
    "database_url": database_url,
    "secret_key": _secret,
    "public_url": _url,
    "allowed_origins": _origins,
    "cookie_domain": _domain,
    "event_prefix": _prefix,
    "segment_url_us": _segment_url,
    "segment_url_eu": _segment_url,
    "ingest_path": _path,
    "consent": _choice("required", "assumed"),
    "retention_days": _days,
    "allowed_destinations": allowed,
    "rejection_days": _days,
    "attempt_days": _days,
    "oidc_issuer": issuer_url,
    "oidc_client_id": _one_line,
    "oidc_client_secret": _one_line,
    "oidc_name": _prefix,
    "unknown_key": _choice("reject", "pretend"),
}


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings; `overrides` (from flags) are stronger than the environment.

    Raises ConfigError that names the setting and says what would be right.
    """
    env = os.environ if environ is None else environ
    _refuse_unknown(env)
    values: dict[str, Any] = {}
    for name, read in _READERS.items():
        text = _text(env, name)
        if text is None:
            continue
        try:
            values[name] = read(text)
        except ValueError as error:
            raise ConfigError(f"{PREFIX}{name.upper()} must be {error}") from None
    values.update({name: value for name, value in overrides.items() if value is not None})
    if "secret_key" not in values:
        values["secret_key"] = _kept_secret(values.get("data_dir", Path("data")))
    return Settings(**values)


def secret_origin(environ: Mapping[str, str] | None = None) -> str | None:
    """Where the secret key comes from, in words; None: there is none yet, and `load` makes one."""
    env = os.environ if environ is None else environ
    for name in (f"{PREFIX}SECRET_KEY", f"{PREFIX}SECRET_KEY_FILE"):
        if name in env:
            return name
    if (Path(env.get("CREDENTIALS_DIRECTORY", "")) / "secret-key").exists() and "CREDENTIALS_DIRECTORY" in env:
        return "the systemd credential"
    path = Path(_text(env, "data_dir") or "data") / "secret-key"
    return str(path) if path.exists() else None


def _refuse_unknown(env: Mapping[str, str]) -> None:
    known = {PREFIX + name.upper() for name in _READERS}
    known |= {name + "_FILE" for name in known}
    for name in env:
        if not name.startswith(PREFIX) or name in known:
            continue
        if not name.startswith(TEST_PREFIX):
            raise ConfigError(f"{name} is not a setting; docs/reference/settings.md lists them all")
        if env.get(TEST_PREFIX) != "1":
            raise ConfigError(f"{name} is for tests only and refused without {TEST_PREFIX}=1")


def _text(env: Mapping[str, str], name: str) -> str | None:
    """The setting's text, from the variable itself, from the file it names, or from a systemd credential."""
    variable = PREFIX + name.upper()
    if variable in env:
        return env[variable]
    path = env.get(variable + "_FILE")
    if path is None and name in CREDENTIALS and "CREDENTIALS_DIRECTORY" in env:
        credential = Path(env["CREDENTIALS_DIRECTORY"]) / CREDENTIALS[name]
        path = str(credential) if credential.exists() else None
    if path is None:
        return None
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise ConfigError(f"{variable}_FILE: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{variable}_FILE: {path} is not text") from None


def _kept_secret(data_dir: Path) -> str:
    """The data directory's own secret key; made on first use, so that a fresh installation has no guessable one."""
    path = data_dir / "secret-key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _secret_in(path)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; set {PREFIX}DATA_DIR to a directory that can be written"
        ) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    return _secret_in(path)


def _secret_in(path: Path) -> str:
    try:
        return _secret(path.read_text().strip())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} must hold {error}") from None
