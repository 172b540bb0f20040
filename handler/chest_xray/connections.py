"""Connections to the servers of images: one to each judged address, kept between fetches, and shut
at the deadline of the fetch that uses it."""

import math
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from threading import Condition, Lock, Thread

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.util.connection import is_connection_dropped

from chest_xray.egress import Target

_MAX_IDLE = 64
_MAX_IDLE_S = 15.0
_HEADERS = {
    "User-Agent": "chest-xray/1.0",
    "Accept": "image/*, application/dicom",
    "Accept-Encoding": "identity",  # what is counted is what is kept
}


class StaleConnection(Exception):
    """A kept connection was closed by the other side before it answered."""


class Connection:
    """A connection to one judged address."""

    def __init__(self, http: HTTPConnection, target: Target, address: str) -> None:
        self.http = http
        self.key = (target.scheme, target.host, target.port, address)
        self.idle_since: float | None = None
        """None as long as it is new."""

    def ask(self, target: Target) -> urllib3.BaseHTTPResponse:
        """Send the request and read the headers of its answer."""
        try:
            self.http.request(
                "GET",
                target.path,
                headers={"Host": target.authority, **_HEADERS},
                preload_content=False,
                decode_content=False,
            )
            return self.http.getresponse()
        except (HTTPException, ConnectionError, ssl.SSLError):
            if self.idle_since is None:
                raise
            raise StaleConnection from None


class IdleConnections:
    """Connections that wait for their next request, the latest used first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._connections: deque[Connection] = deque()

    def take(self, target: Target, addresses: list[str]) -> Connection | None:
        """A live one to any of these addresses, under this name."""
        keys = [(target.scheme, target.host, target.port, address) for address in addresses]
        while True:
            with self._lock:
                found = next((one for one in self._connections if one.key in keys), None)
                if found is None:
                    return None
                self._connections.remove(found)
            assert found.idle_since is not None
            fresh = time.monotonic() - found.idle_since < _MAX_IDLE_S
            if fresh and not is_connection_dropped(found.http):
                return found
            found.http.close()

    def give(self, connection: Connection) -> None:
        """Keep it; the one that was not used for longest makes room."""
        connection.idle_since = time.monotonic()
        with self._lock:
            self._connections.appendleft(connection)
            surplus = self._connections.pop() if len(self._connections) > _MAX_IDLE else None
        if surplus:
            surplus.http.close()

    def close(self) -> None:
        """Close those that wait."""
        with self._lock:
            while self._connections:
                self._connections.pop().http.close()


class DeadlineWatch:
    """Shuts connections at their deadlines, since a socket's own limit is for each single read.

    One thread for all: a timer for each would cost a fifth of a fetch.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._deadlines: dict[socket.socket, float] = {}
        self._closed = False
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    @contextmanager
    def until(self, deadline: float, sock: socket.socket) -> Iterator[None]:
        """Shut ``sock`` at the deadline unless the block has ended before."""
        with self._changed:
            first = deadline < self._next()
            self._deadlines[sock] = deadline
            if first:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._deadlines[sock]

    def close(self) -> None:
        """End the thread; no deadline is kept any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _next(self) -> float:
        return min(self._deadlines.values(), default=math.inf)

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for sock in [each for each, end in self._deadlines.items() if end <= now]:
                    self._deadlines[sock] = math.inf  # once is enough
                    with suppress(OSError):
                        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS, too
                end = self._next()
                self._changed.wait(None if end == math.inf else end - now)
