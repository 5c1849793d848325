"""A small OpenID Connect provider: a real server on loopback, that signs with RS256 and can be told to lie."""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from selftest.processes import wait_until

CLIENT_ID = "footfall-at-the-provider"
CLIENT_SECRET = "what only the two of us know"  # noqa: S105 - of tests only
KEYS = [RSAKey.generate_key(2048, {"kid": kid, "use": "sig"}) for kid in ("first", "second", "nobody's")]


class Provider:
    """Who is signed in there is `claims`; a test changes what it likes. `now` is epoch milliseconds."""

    def __init__(self) -> None:
        self.now: Callable[[], int] = lambda: 0
        self._server = uvicorn.Server(uvicorn.Config(self._app(), port=0, log_level="critical", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started, "the provider listens")
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.issuer = f"http://127.0.0.1:{port}"
        self.reset()

    def reset(self) -> None:
        self.claims: dict[str, Any] = {}  # of whoever sits at the browser
        self.told: dict[str, Any] = {}  # what only /userinfo tells of them
        self.lies: dict[str, Any] = {}  # what the id token says besides; None takes a claim away
        self.described: dict[str, Any] = {}
        self.answers: dict[str, Response] = {}  # instead of the right one, by path
        self.keys, self.signing, self.algorithm = [KEYS[0]], KEYS[0], "RS256"
        self.key_requests = 0
        self.secret_in = ""
        self.asked: list[str] = []  # the paths that were asked for
        self.codes: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._kept(self._describe)),
                Route("/authorize", self._kept(self._authorize)),
                Route("/token", self._kept(self._token), methods=["POST"]),
                Route("/userinfo", self._kept(self._userinfo)),
                Route("/keys", self._kept(self._key_set)),
            ]
        )

    def _kept(self, handler: Any) -> Any:
        async def answer(request: Request) -> Response:
            self.asked.append(request.url.path)
            given = self.answers.get(request.url.path)
            found: Response = given if given is not None else await handler(request)
            return found

        return answer

    async def _describe(self, request: Request) -> Response:
        told = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
        }
        return JSONResponse(told | self.described)

    async def _authorize(self, request: Request) -> Response:
        """Whoever sits at the browser is known at once."""
        asked = dict(request.query_params)
        if (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) != ("code", CLIENT_ID, "S256"):
            return Response("what is this?", 400)
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back = {"state": asked["state"], "code": code, "iss": self.issuer}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        given = request.headers.get("authorization", "").removeprefix("Basic ")
        posted = f"{form.get('client_id')}:{form.get('client_secret')}"
        self.secret_in = "header" if given else "form"
        if (base64.b64decode(given).decode() or posted) != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.codes.pop(form["code"], None)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        )
        if asked is None or (asked["code_challenge"], asked["redirect_uri"]) != (challenge, form["redirect_uri"]):
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse({"access_token": "for userinfo", "token_type": "Bearer", "id_token": self.signed(asked)})

    def signed(self, asked: dict[str, str]) -> str:
        now = self.now() // 1_000
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        if asked.get("max_age") == "0":
            claims["auth_time"] = now
        claims |= self.claims | self.lies
        header = {"alg": self.algorithm, "kid": self.signing.kid}
        return jwt.encode(header, {k: v for k, v in claims.items() if v is not None}, self.signing, [self.algorithm])

    async def _userinfo(self, request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer for userinfo":
            return Response(status_code=401)
        return JSONResponse({"sub": self.claims["sub"]} | self.told)

    async def _key_set(self, request: Request) -> Response:
        self.key_requests += 1
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.keys]})


def path_of(url: str) -> str:
    """Path and query, for a client that knows the host."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
