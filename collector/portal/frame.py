"""What every page of the portal stands in: who may ask, the headers of the answer, the look, and forms.

Who asks is found once, here: a page that is not for them answers as if it were not there. What a page reads it reads
for the partner of the one who asks, never for one that the request names.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

import jinja2
import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

import journal
from collector import sender
from collector.assets import TEMPLATES
from collector.portal import words
from collector.portal.numbers.titles import TITLES
from collector.portal.packing import packed
from store.accounts import Accounts
from store.database import Database
from store.errors import ConfigError, Unavailable
from store.people import sessions
from store.people.links import Links
from store.people.roster import Person, Role
from store.people.second_factor import Tickets
from store.people.sessions import Session
from store.readers import Readers
from store.secrets import Vault
from store.settings import Settings

if TYPE_CHECKING:
    from collector.provider import Provider
    from collector.quarantine import Quarantine

CALM_SECONDS = 5.0  # after a start
MOST_FORM_BYTES = 32 * 1024
MOST_FIELDS = 100
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "Vary": "Accept-Encoding, Sec-Fetch-Site",
    "X-Content-Type-Options": "nosniff",
}

Access = frozenset[Role]
VIEWERS: Access = frozenset({"operator", "owner", "editor", "viewer"})
EDITORS: Access = frozenset({"operator", "owner", "editor"})
OWNERS: Access = frozenset({"operator", "owner"})
OPERATORS: Access = frozenset({"operator"})


class Who(msgspec.Struct, frozen=True):
    """Who asks."""

    person: Person
    session: Session

    @property
    def partner_key(self) -> str | None:
        """Whose data they may see; None: everybody's, for operators."""
        return self.person.partner_key

    def may(self, access: Access) -> bool:
        return self.person.role in access


class NotFound(Exception):
    """There is no such thing, or none that this person may know of: they cannot tell which."""


class BadForm(ConfigError):
    """What was sent is no form that can be read; `status` is the answer's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Portal:
    """What the pages share. The registry is read by one connection and written by another, so that no page sees half a
    change; the log and the ledger are lent to who reads them. `templates` are such as an installation adds."""

    def __init__(
        self,
        settings: Settings,
        registry: Database,
        writer: Database,
        provider: Provider | None = None,
        templates: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self.provider = provider  # of sign-ins by OpenID Connect, where there is one
        self.vault = Vault(settings.secret_key)
        self.links = Links(settings.secret_key)
        self.tickets = Tickets(settings.secret_key)
        self.registry = registry
        self.readers = Readers(settings.where)
        self.accounts = Accounts(settings.where, self.readers)
        self.looking = asyncio.Lock()  # one look at the accounts at a time
        self.writer = writer
        self.quarantine: Quarantine | None = None  # of the collector that the portal runs in
        self.secure = not (settings.public_url or "").startswith("http://")
        self.cookie = "__Host-footfall" if self.secure else "footfall"
        self._templates = _templates()
        if templates:
            loader = jinja2.ChoiceLoader([jinja2.DictLoader(templates), jinja2.FileSystemLoader(TEMPLATES)])
            self._templates = self._templates.overlay(loader=loader)

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def page(
        self, request: Request, name: str, values: Mapping[str, Any] | None = None, status: int = 200
    ) -> HTMLResponse:
        """A page by its template, with who asks and where we are."""
        who: Who | None = getattr(request.state, "who", None)
        shared = {"who": who, "here": request.scope["path"], "query": request.scope["query_string"].decode("latin-1")}
        shared["provider"] = self.provider.name if self.provider else ""
        known = {"EDITORS": EDITORS, "OWNERS": OWNERS, "OPERATORS": OPERATORS, "TITLES": TITLES}
        text = self._templates.get_template(f"portal/{name}").render(shared | known | dict(values or {}))
        return HTMLResponse(text, status, HEADERS)

    def url(self, path: str) -> str:
        """An address that can be handed over."""
        return (self.settings.public_url or "http://127.0.0.1:8000") + path


@cache
def _templates() -> jinja2.Environment:
    """One for the process: to compile a template takes longer than to make most pages."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= FILTERS
    return found


def compile_templates(ended: threading.Event) -> None:
    """All of them, or until the collector has ended, so that no page's first visitor waits for it. Who sent while there
    was no collector comes first.
    """
    ended.wait(CALM_SECONDS)
    templates = _templates()
    for name in templates.list_templates(extensions=["html"]):
        if name.startswith("portal/") and not ended.is_set():
            templates.get_template(name)


def date(at: int | None) -> str:
    """Epoch milliseconds as a machine reads them; templates put them in <time>, with words of `ago` or `moment`."""
    return "" if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at / 1_000))


def moment(at: int | None) -> str:
    """Epoch milliseconds as a person reads them, with the zone."""
    return "never" if at is None else time.strftime("%-d %b %Y, %H:%M UTC", time.gmtime(at / 1_000))


def number(n: int | float) -> str:
    """With thin spaces between thousands."""
    return f"{n:,}".replace(",", "\u202f")


FILTERS: dict[str, Callable[..., str]] = {"date": date, "moment": moment, "number": number, **words.FILTERS}

Handler = Callable[[Portal, Request], Awaitable[Response]]


class Page(msgspec.Struct, frozen=True):
    """One address: who may ask for it (None: anybody, signed in or not), and what answers.

    `proved`: only for who gave their password lately; the others are asked for it first.
    """

    path: str
    handler: Handler
    access: Access | None
    method: str = "GET"
    proved: bool = False


class PageRoute(Route):
    """The address of a page: for people, and no part of the API."""


def routes(portal: Portal, pages: list[Page]) -> list[Route]:
    """One for each path, so that another method is answered by the portal too, with its headers."""
    by_path: dict[str, dict[str, Page]] = {}
    for page in pages:
        by_path.setdefault(page.path, {})[page.method] = page
    return [PageRoute(path, _Guarded(portal, methods)) for path, methods in by_path.items()]


class _Guarded:
    """The pages of one path behind everything that is asked of a request before them."""

    def __init__(self, portal: Portal, pages: Mapping[str, Page]) -> None:
        self._portal = portal
        self._pages = pages

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        except Exception as error:  # whatever it was, the answer has the headers of every answer, and tells nothing
            journal.note("a page failed", "error", page=next(iter(self._pages.values())).path, **journal.failure(error))
            response = self._portal.page(request, "error.html", {"title": "That went wrong", "text": FAILED}, 500)
        await packed(request, response)(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        portal = self._portal
        if not is_our_host(request, portal.settings.public_url):
            return portal.page(request, "elsewhere.html", {"url": portal.settings.public_url}, 421)
        page = self._pages.get("GET" if request.method == "HEAD" else request.method)
        if page is None:
            text = "This address is not for what was sent to it."
            response: Response = portal.page(request, "error.html", {"title": "Not like this", "text": text}, 405)
            response.headers["Allow"] = ", ".join(sorted(self._pages))
            return response
        if request.method not in ("GET", "HEAD") and is_cross_site(request):
            return portal.page(request, "error.html", {"title": "Not from here", "text": CROSS_SITE}, 403)
        try:
            found = await self._who(request)
            request.state.who = found
            if page.access is not None and found is None:
                return to_sign_in(request)
            if "\x00" in request.scope["path"]:  # nothing is called so, and no database takes it
                raise NotFound
            if page.access is not None and found is not None and not found.may(page.access):
                raise NotFound
            if page.proved and not is_proved(portal, request):
                return to_prove(request)
            return await page.handler(portal, request)
        except BadForm as error:
            return portal.page(request, "error.html", {"title": "Not understood", "text": f"{error}."}, error.status)
        except NotFound:
            text = "There is nothing at this address, or nothing that you may see."
            return portal.page(request, "error.html", {"title": "Not found", "text": text}, 404)
        except Unavailable:
            values = {"title": "Not now", "text": "The page cannot be made now. Try again in a moment."}
            response = portal.page(request, "error.html", values, 503)
            response.headers["Retry-After"] = "5"
            return response

    async def _who(self, request: Request) -> Who | None:
        token = request.cookies.get(self._portal.cookie)
        now = self._portal.now()
        found = await sessions.find(self._portal.registry, now, token) if token else None
        if found is None:
            return None
        await sessions.see(self._portal.writer, now, found[0])
        return Who(found[1], found[0])


FAILED = "The page cannot be made. The operator finds the reason in the collector's log."
CROSS_SITE = "This was sent from another site than the portal's own. Open the page here and try again."


def is_cross_site(request: Request) -> bool:
    """Whether another site made a browser send this: by the fetch metadata, or for older browsers by the Origin.

    A client that sends neither is no browser, and has nobody's cookie (docs/decisions/0018).
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()


def is_our_host(request: Request, public_url: str | None) -> bool:
    """Whether a page was asked for by a name that it has: that of the public URL, if there is one, or this machine's.

    Another name that leads here is somebody else's, whose pages could read ours as their own.
    """
    if public_url is None:
        return True
    try:
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return False
    return name in (urlsplit(public_url).hostname, "localhost", "127.0.0.1", "::1")


def who(request: Request) -> Who:
    """Who asks, on a page that is not for everybody."""
    found: Who = request.state.who
    return found


def to_sign_in(request: Request) -> Response:
    query = request.scope["query_string"].decode("latin-1")
    wanted = request.scope["path"] + (f"?{query}" if query else "")
    then = f"?next={quote(wanted, safe='')}" if request.method == "GET" and wanted != "/" else ""
    return RedirectResponse(f"/sign-in{then}", 303, HEADERS)


def is_proved(portal: Portal, request: Request) -> bool:
    """Whether who asks gave their password lately enough for what finders of an open browser must not do."""
    return sessions.is_proved(who(request).session, portal.now())


def to_prove(request: Request) -> Response:
    """Ask for the password first; then back to the page, or to the one whose form was sent."""
    sent_from = urlsplit(request.headers.get("referer", ""))
    back = request.scope["path"] if request.method in ("GET", "HEAD") else local_path(sent_from.path)
    return RedirectResponse(f"/prove?next={quote(back, safe='')}", 303, HEADERS)


def local_path(wanted: str) -> str:
    """Where to go on: a path of ours, or the beginning."""
    plain = (
        wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable() and "\\" not in wanted
    )
    return wanted if plain else "/"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a small url-encoded form, the last of each name. Raises BadForm when it is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadForm(415, "A url-encoded form is expected")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            raise BadForm(413, "The form is too large")
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"))
    except ValueError:
        raise BadForm(400, "The form cannot be read") from None
    if any("\x00" in text for field in fields.items() for text in field):
        raise BadForm(400, "The form cannot be read")
    return fields


def client_address(request: Request) -> str:
    """Where a request comes from: what the proxy on this machine says, if one does."""
    return sender.address(request.client.host if request.client else "", request.headers.getlist("x-forwarded-for"))


def with_session(portal: Portal, response: Response, token: str) -> Response:
    """Signed in: the cookie is the browser's, and no script's."""
    response.set_cookie(
        portal.cookie, token, max_age=sessions.LONGEST_MS // 1_000, secure=portal.secure, httponly=True, samesite="lax"
    )
    return response


def without_session(portal: Portal, response: Response) -> Response:
    response.delete_cookie(portal.cookie, secure=portal.secure, httponly=True, samesite="lax")
    return response


def see(path: str) -> Response:
    """Go on to another page, after something was done."""
    return RedirectResponse(path, 303, HEADERS)


def sentence(error: Exception) -> str:
    """What is wrong, as a page says it."""
    text = str(error)
    return f"{text[0].upper()}{text[1:]}."
