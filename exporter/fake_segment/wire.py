"""The fake on a real socket: connections that can be cut, and a door that can be shut.

An ASGI application has no say over its connection, so uvicorn's protocol class is taught to hand itself to the
request (`state["connection"]`), and its server to hand itself to the application.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# With l_onoff 1 and l_linger 0 closing a socket sends a reset and forgets what was not sent yet.
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Connection(HttpToolsProtocol):
    """One client's connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["connection"] = self

    async def outlast(self, seconds: float) -> None:
        """Wait that long, or until the client has gone."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.lost.wait(), seconds)

    async def cut(self, *, hard: bool) -> None:
        """End the connection at once. Returns when uvicorn knows, or else it would answer with a 500 of its own."""
        if hard:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()
        await self.lost.wait()


class Server(uvicorn.Server):
    """The listening side."""

    def shut(self) -> tuple[str, int]:
        """Stop listening, so that the kernel refuses new connections, and end the open ones once they are idle."""
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        for listener in self.servers:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        return host, port

    async def reopen(self, address: tuple[str, int], after: float) -> None:
        await asyncio.sleep(after)
        await self.startup(sockets=[socket.create_server(address)])
