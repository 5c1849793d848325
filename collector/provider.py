"""An OpenID Connect provider: where it sends people to be known, and who it says that somebody is. Every call blocks.

Only who has the extra `oidc` can import this. The addresses are the operator's own and the issuer's, not a partner's,
so any may be asked; each answer has a deadline and an end. Nothing is believed that the issuer did not sign for us,
now, for the very browser that asked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
import urllib3
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from store.errors import ConfigError, Refused, Unavailable
from store.settings import PREFIX, Settings, issuer_url
from wire.adapters import Bounded

BACK = "/sign-in/openid/back"
ANSWER_SECONDS = (5.0, 10.0)  # to connect, and for the whole answer
DESCRIPTION_MS = 3_600_000  # how long the provider's description of itself, and its keys, count
FAILED_MS = 10_000  # how long a provider that did not answer is not asked again: a flood of tries waits for none
KEYS_MS = 60_000  # how often its keys are asked for anew, at most
LONGEST_SUBJECT = 255
SKEW_SECONDS = 60  # by which its clock may be another than ours
# Signed with a key of which only the issuer has the secret half; never by the client secret, never not at all.
SIGNED = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class Asked(msgspec.Struct, frozen=True):
    """What is to come back from the provider, or to be told it then."""

    state: str
    nonce: str
    verifier: str


class Identity(msgspec.Struct, frozen=True):
    """Who somebody is there. `email` is '' unless the provider has verified it; `mfa`: it asked for a second step;
    `known_at`: when it last made sure of them, epoch seconds, None when it does not say."""

    subject: str
    email: str
    mfa: bool
    known_at: float | None


class _Description(msgspec.Struct, frozen=True):
    """What a provider says of itself, at /.well-known/openid-configuration."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class Provider:
    """Raises ConfigError for settings that do not suffice. The methods raise Refused for what is not believed, and
    Unavailable when the provider does not answer as one; what they say holds no secret and nothing that a browser sent.
    """

    def __init__(self, settings: Settings) -> None:
        for name in ("oidc_client_id", "oidc_client_secret", "public_url"):
            if not getattr(settings, name):
                raise ConfigError(f"{PREFIX}OIDC_ISSUER needs {PREFIX}{name.upper()} too")
        self.issuer = settings.oidc_issuer or ""
        self.name = settings.oidc_name or urlsplit(self.issuer).netloc
        self._client = {"client_id": settings.oidc_client_id, "client_secret": settings.oidc_client_secret}
        self._redirect = f"{settings.public_url}{BACK}"
        self._lock = threading.Lock()  # one of all that wait asks
        self._description: _Description | None = None
        self._described_at = 0
        self._keys: KeySet | None = None
        self._keys_at = 0
        self._failed_at: int | None = None

    def ask(self, now: int, again: bool) -> tuple[str, Asked]:
        """Where to send a browser, and what to keep for when it comes back. `again`: whoever is known there already is
        to be asked all the same."""
        asked = Asked(generate_token(43), generate_token(43), generate_token(64))
        more = {"prompt": "login", "max_age": "0"} if again else {}
        with self._session() as session:
            url, _ = session.create_authorization_url(
                self._described(now).authorization_endpoint,
                state=asked.state,
                nonce=asked.nonce,
                code_verifier=asked.verifier,
                **more,
            )
        return str(url), asked

    def identity(self, now: int, asked: Asked, code: str) -> Identity:
        """Who a code stands for. It is taken once: that is for the provider to see to."""
        described = self._described(now)
        with self._session(described) as session, _asking():
            answer = session.fetch_token(
                described.token_endpoint,
                grant_type="authorization_code",
                code=code,
                code_verifier=asked.verifier,
                allow_redirects=False,
            )
            claims = self._claims(now, described, asked, dict(answer))
            if "email" not in claims and described.userinfo_endpoint and "access_token" in answer:
                told = _told(session, described.userinfo_endpoint)
                if told.get("sub") != claims["sub"]:
                    raise Refused("it tells of another subject")
                claims |= {name: told.get(name) for name in ("email", "email_verified")}
        return _identity(claims)

    def _claims(self, now: int, described: _Description, asked: Asked, answer: dict[str, Any]) -> dict[str, Any]:
        """What the id token says, once its signature, issuer, audience, times and nonce are as they must be."""
        signed = answer.get("id_token")
        if not isinstance(signed, str):
            raise Refused("no id token")
        try:
            token = _verified(signed, self._key_set(now, described))
        except (InvalidKeyIdError, BadSignatureError):
            token = _verified(signed, self._key_set(now, described, anew=True))
        claims = CodeIDToken(
            token.claims,
            token.header,
            {
                "iss": {"essential": True, "values": [described.issuer]},
                "aud": {"essential": True, "values": [self._client["client_id"]]},
            },
            {"nonce": asked.nonce, "client_id": self._client["client_id"], "access_token": answer.get("access_token")},
        )
        claims.validate(now=now // 1_000, leeway=SKEW_SECONDS)
        if not 1 <= len(claims["sub"]) <= LONGEST_SUBJECT or not claims["sub"].isprintable():
            raise Refused("no subject")
        return dict(claims)

    def _described(self, now: int) -> _Description:
        with self._lock:
            if self._description is not None and 0 <= now - self._described_at < DESCRIPTION_MS:
                return self._description
            if self._failed_at is not None and 0 <= now - self._failed_at < FAILED_MS:
                raise Unavailable("it did not answer a moment ago", FAILED_MS / 1_000)
            try:
                self._description = self._read_description()
            except Unavailable:
                self._failed_at = now
                raise
            self._described_at, self._failed_at = now, None
            return self._description

    def _read_description(self) -> _Description:
        with self._session() as session, _asking():
            told = _told(session, f"{self.issuer}/.well-known/openid-configuration")
            described = msgspec.convert(told, _Description)
            if described.issuer.rstrip("/") != self.issuer:
                raise Unavailable("it calls itself otherwise than FOOTFALL_OIDC_ISSUER does")
            for url in (described.authorization_endpoint, described.token_endpoint, described.jwks_uri):
                issuer_url(url.partition("?")[0])
            return described

    def _key_set(self, now: int, described: _Description, anew: bool = False) -> KeySet:
        """The issuer's keys; `anew`: one that signed is not among them, which is so after it has changed them."""
        with self._lock:
            age = now - self._keys_at
            if self._keys is None or not 0 <= age < (KEYS_MS if anew else DESCRIPTION_MS):
                with self._session() as session:
                    told: Any = _told(session, described.jwks_uri)
                self._keys = KeySet.import_key_set(told)
                self._keys_at = now
            return self._keys

    @contextmanager
    def _session(self, described: _Description | None = None) -> Iterator[OAuth2Session]:
        """Straight there: it reads nothing of the environment, which may hold another's password for the same host."""
        posted = described is not None and "client_secret_basic" not in described.token_endpoint_auth_methods_supported
        with OAuth2Session(
            **self._client,
            scope="openid email",
            redirect_uri=self._redirect,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_post" if posted else "client_secret_basic",
            default_timeout=ANSWER_SECONDS,
        ) as session:
            session.trust_env = False
            session.mount("https://", Bounded())
            session.mount("http://", Bounded())
            yield session


def _told(session: OAuth2Session, url: str) -> dict[str, Any]:
    """One of the provider's JSON objects. With a token, if the session has one by now."""
    answer = session.get(url, withhold_token=not session.token, allow_redirects=False)
    if answer.status_code != 200:
        raise Unavailable(f"it answered {answer.status_code}")
    return msgspec.json.decode(answer.content, type=dict[str, Any])


def _verified(signed: str, keys: KeySet) -> jwt.Token:
    return jwt.decode(signed, keys, registry=JWSRegistry(algorithms=list(SIGNED), strict_check_header=False))


def _identity(claims: dict[str, Any]) -> Identity:
    email, methods, known_at = claims.get("email"), claims.get("amr"), claims.get("auth_time")
    verified = claims.get("email_verified") is True and isinstance(email, str) and email.isprintable()
    return Identity(
        claims["sub"],
        str(email) if verified else "",
        isinstance(methods, list) and "mfa" in methods,
        known_at if isinstance(known_at, (int, float)) and not isinstance(known_at, bool) else None,
    )


@contextmanager
def _asking() -> Iterator[None]:
    """The many ways in which an answer is none, as the two that there are. None of their texts is passed on: they may
    hold what the provider wrote, or a code."""
    try:
        yield
    except ClaimError as error:
        raise Refused(f"its id token: {error.claim}") from None
    except (OAuthError, JoseError) as error:
        raise Refused(f"it refused the code, or its id token is none: {type(error).__name__}") from None
    except (OSError, urllib3.exceptions.HTTPError, ValueError, TypeError, KeyError) as error:
        raise Unavailable(f"its answer is none: {type(error).__name__}") from None
