"""A server that says what it is told to, byte by byte, and remembers what it heard: what no HTTP server would do."""

from __future__ import annotations

import contextlib
import socket
import threading


class Listener:
    """A server that says to every connection what it was told to say, byte by byte."""

    def __init__(self, answer: bytes, *more: bytes) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.heard: list[bytes] = []
        self.written = 0
        self._answers = [answer, *more]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                heard = b""
                while b"\r\n\r\n" not in heard:
                    heard += connection.recv(65_536)
                head, _, body = heard.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                while len(body) < length:
                    body += connection.recv(65_536)
                self.heard.append(head + b"\r\n\r\n" + body)
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                with contextlib.suppress(OSError):  # the other end has heard enough
                    while answer:
                        sent = connection.send(answer[:65_536])
                        self.written += sent
                        answer = answer[sent:]

    def close(self) -> None:
        self.socket.close()
