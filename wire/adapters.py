"""How a request leaves: an adapter whose answers have an end, and one that connects only to what it has checked.

The second is for addresses that a partner gave. It resolves a name once for each connection, judges every address that
came back, and connects to one of those very addresses, so that a name which leads elsewhere a moment later leads
nowhere. TLS and the Host header keep the name.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Self

import requests
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError

from store.endpoint import Allowed, refusal

ANSWER_SECONDS = 15.0  # for the next bytes of an answer, and for the whole of it
ANSWER_BYTES = 65_536
CONNECT_SECONDS = 10.0  # over all addresses of a name, where a request sets no limit of its own

Found = list[tuple[Any, Any, int, str, tuple[Any, ...]]]
Resolve = Callable[..., Found]  # as socket.getaddrinfo


class Forbidden(Exception):
    """A name leads where no connection is made to; no byte has left."""


class Bounded(requests.adapters.HTTPAdapter):
    """Reads the beginning of an answer, which says it all, within a deadline for the whole: requests itself waits for
    the next byte, not for the last.
    """

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(*args, **kwargs)
        patience = kwargs["timeout"]
        seconds = patience[1] if isinstance(patience, tuple) else ANSWER_SECONDS
        deadline, pieces, size = time.monotonic() + seconds, [], 0
        while size < ANSWER_BYTES and (piece := response.raw.read1(ANSWER_BYTES - size, decode_content=True)):
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() > deadline:
                response.raw.close()
                raise requests.ReadTimeout("the answer does not end")
        if size >= ANSWER_BYTES:
            response.raw.close()
        response.raw = BytesIO(b"".join(pieces))
        return response


class Guarded(Bounded):
    """Sends only to addresses that are public, or that the operator has allowed. `connected` is given every socket."""

    def __init__(
        self,
        permitted: Allowed,
        resolve: Resolve = socket.getaddrinfo,
        connected: Callable[[socket.socket], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.poolmanager.pool_classes_by_scheme = _pools(permitted, resolve, connected or (lambda _: None))


def never_connected(error: Exception) -> bool:
    """Whether no byte of the batch can have left: no such name, nobody there, or no TLS with whoever is."""
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.SSLError, requests.exceptions.InvalidURL)):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


class Deadline:
    """Cuts the connections of a `with` when its time is up, whatever they are doing: a peer that sends its answer, or
    its greeting, byte by byte keeps every shorter limit.
    """

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._watched: list[socket.socket] = []
        self.over = False

    def watch(self, reached: socket.socket) -> None:
        """A copy is kept, because TLS takes the socket itself apart."""
        with self._lock:
            self._watched.append(reached.dup())
        if self.over:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            self.over = True
            for reached in self._watched:
                with suppress(OSError):
                    reached.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            for reached in self._watched:
                reached.close()
            self._watched.clear()


def _pools(permitted: Allowed, resolve: Resolve, connected: Callable[[socket.socket], None]) -> dict[str, Any]:
    """Connection pools by scheme, of connections that check where they go."""

    class Http(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _told(_connect(self, "http", permitted, resolve), connected)

    class Https(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _told(_connect(self, "https", permitted, resolve), connected)

    class HttpPool(HTTPConnectionPool):
        ConnectionCls = Http

    class HttpsPool(HTTPSConnectionPool):
        ConnectionCls = Https

    return {"http": HttpPool, "https": HttpsPool}


def _told(reached: socket.socket, connected: Callable[[socket.socket], None]) -> socket.socket:
    connected(reached)
    return reached


def _connect(connection: HTTPConnection, scheme: str, permitted: Allowed, resolve: Resolve) -> socket.socket:
    """A socket to one of the checked addresses; one that is refused keeps the others from being tried, because whoever
    gave it means no good. Raises Forbidden, and urllib3's own exceptions for what the network does.
    """
    host, port = connection.host, connection.port
    try:
        found = resolve(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        failure = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
        raise NameResolutionError(host, connection, failure) from None
    for _, _, _, _, place in found:
        if why := refusal(scheme, host, port, ip_address(place[0]), permitted):
            raise Forbidden(why)
    seconds = connection.timeout if isinstance(connection.timeout, (int, float)) else CONNECT_SECONDS
    deadline, failed = time.monotonic() + seconds, "there is no address"
    for family, _, _, _, place in found:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        reached = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in connection.socket_options or ():
                reached.setsockopt(*option)
            reached.settimeout(left)
            reached.connect(place)
        except OSError as error:
            reached.close()
            failed = str(error)
        else:
            reached.settimeout(seconds)
            return reached
    raise NewConnectionError(connection, failed)
