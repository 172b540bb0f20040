"""A fetcher with short limits, and servers that do what a test says with each connection."""

import socket
import threading
import time
from contextlib import closing, suppress

import pytest

from chest_xray.errors import InputError
from chest_xray.fetch import Fetcher
from chest_xray.settings import Settings
from support.waiting import on_time

LIMIT = 100_000

TIMEOUT = 1.0


def fetcher_for(*hosts, **settings):
    settings = {"fetch_timeout_s": TIMEOUT, "max_image_bytes": LIMIT, **settings}
    return closing(Fetcher(Settings(allowed_hosts=hosts, **settings)))


def get(fetcher, url):
    return fetcher.fetch(url, time.monotonic() + TIMEOUT)


def code_of(fetcher, url):
    """The code of the error, on time and without a word of the URL."""
    with on_time(TIMEOUT), pytest.raises(InputError) as caught:
        get(fetcher, url)
    assert "127.0.0.1" not in caught.value.message
    return caught.value.code


class RawServer:
    """Answers every connection by a function of the socket; counts connections."""

    def __init__(self, talk, context=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}/"
        self.connections = 0
        self.names = []
        self._talk, self._context = talk, context
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):
            while True:
                sock = self.listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self._answer, args=[sock], daemon=True).start()

    def _answer(self, sock):
        with suppress(OSError), sock:
            if self._context is None:
                self._talk(sock)
            else:
                with self._context.wrap_socket(sock, server_side=True) as tls:
                    self._talk(tls)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def request_of(sock):
    """Read one request's head; False once the other side is gone."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = sock.recv(4096)
        if not part:
            return b""
        head += part
    return head


def once(answer):
    def talk(sock):
        request_of(sock)
        sock.sendall(answer)

    return talk


def drip(first, piece, pause=0.05):
    """``first``, then ``piece`` again and again."""

    def talk(sock):
        request_of(sock)
        sock.sendall(first)
        while True:
            time.sleep(pause)
            sock.sendall(piece)

    return talk


def keep_alive(sock):
    while request_of(sock):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfilm")
