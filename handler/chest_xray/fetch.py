"""Image URL -> bytes: everything that touches the network, and its limits.

Name lookup, connections, redirects, time and size. ``egress`` says where it may go; what the bytes
are is not looked at. Nothing here writes to disk or logs a URL.
"""

import logging
import socket
import ssl
import time
from contextlib import closing, suppress
from http.client import HTTPException
from threading import Thread

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from chest_xray.connections import Connection, DeadlineWatch, IdleConnections, StaleConnection
from chest_xray.egress import Egress, Target
from chest_xray.errors import InputError
from chest_xray.settings import Settings

_MAX_REDIRECTS = 3
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK_BYTES = 65_536
_MAX_ADDRESSES = 4  # tried one after the other, each with its share of the time
_FAULTS = (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError)

# It warns of headers that it cannot parse, with the URL.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


class Fetcher:
    """Fetches images for many threads and keeps connections alive between fetches.

    A connection goes to the very address that was judged, while certificate, SNI and Host header
    go by name. Every fetch resolves and judges anew; a kept connection is used again only if its
    address is among those judged this time.
    """

    def __init__(self, settings: Settings) -> None:
        self._egress = Egress(settings)
        self._max_bytes = settings.max_image_bytes
        self._idle = IdleConnections()
        self._watch = DeadlineWatch()
        # The system's authorities (SSL_CERT_FILE names others) and, where it has none, certifi's.
        self._tls = ssl.create_default_context()
        self._tls.load_verify_locations(certifi.where())

    def fetch(self, url: str, deadline: float) -> bytes:
        """The body behind ``url``, of at most ``max_image_bytes``.

        Args:
            url: as the caller sent it.
            deadline: on the clock of ``time.monotonic``; over by then, whatever the server does.

        Raises:
            InputError: ``invalid_url``, ``url_not_allowed``, ``image_not_found``,
                ``upstream_failed``, ``upstream_timeout`` or ``image_too_large``.
        """
        target = self._egress.target(url)
        for _ in range(_MAX_REDIRECTS + 1):
            addresses = _resolve(target, deadline)
            self._egress.judge(target, addresses)
            try:
                answer = self._get(target, addresses[:_MAX_ADDRESSES], deadline)
            except _FAULTS:
                raise _fault(deadline) from None
            if isinstance(answer, bytes):
                return answer
            target = self._egress.redirected(target, answer)
        raise InputError("upstream_failed", "The image's server redirects too often.")

    def close(self) -> None:
        """Close the connections that wait; for tests."""
        self._idle.close()
        self._watch.close()

    def _get(self, target: Target, addresses: list[str], deadline: float) -> bytes | str:
        """The body, or the location of a redirect."""
        if kept := self._idle.take(target, addresses):
            try:
                return self._exchange(kept, target, deadline)
            except StaleConnection:
                pass  # its server had given it up: not a word was answered, so ask again
        return self._exchange(self._connect(target, addresses, deadline), target, deadline)

    def _connect(self, target: Target, addresses: list[str], deadline: float) -> Connection:
        for index, address in enumerate(addresses):
            share = _remaining(deadline) / (len(addresses) - index)
            if target.scheme == "https":
                made: HTTPConnection = HTTPSConnection(
                    address,
                    target.port,
                    timeout=share,
                    ssl_context=self._tls,
                    server_hostname=target.host,
                )
            else:
                made = HTTPConnection(address, target.port, timeout=share)
            try:
                made.connect()
            except _FAULTS:
                made.close()
                if index == len(addresses) - 1:
                    raise
            else:
                return Connection(made, target, address)
        raise AssertionError("a name that resolves has an address")

    def _exchange(self, connection: Connection, target: Target, deadline: float) -> bytes | str:
        """One request and its answer; the connection is kept if it can be used again."""
        http = connection.http
        http.timeout = _remaining(deadline)
        keep = False
        try:
            with (
                self._watch.until(deadline, http.sock),
                closing(connection.ask(target)) as response,
            ):
                if response.status in _REDIRECTS and "location" in response.headers:
                    return response.headers["location"]
                _check(response)
                body = _read(response, self._max_bytes)
                if time.monotonic() >= deadline:  # a body cut off may look like one that ended
                    raise _timeout()
                keep = http.sock is not None and response.closed
                return body
        finally:
            if keep:
                self._idle.give(connection)
            else:
                http.close()


def _resolve(target: Target, deadline: float) -> list[str]:
    """Every address of a host; the system's resolver knows no time limit, so a thread waits for it.

    Raises:
        InputError: ``upstream_failed`` or ``upstream_timeout``.
    """

    def look_up(flags: int) -> None:
        for *_, address in socket.getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM, flags=flags
        ):
            found.append(str(address[0]))

    def look_up_name() -> None:
        with suppress(OSError, UnicodeError):
            look_up(0)

    found: list[str] = []
    try:
        look_up(socket.AI_NUMERICHOST)  # an address in any notation needs no lookup
    except (OSError, UnicodeError):
        thread = Thread(target=look_up_name, daemon=True)
        thread.start()
        thread.join(_remaining(deadline))
        if thread.is_alive():
            raise _timeout() from None
    if not found:
        raise _fault(deadline)
    return list(dict.fromkeys(found))


def _check(response: urllib3.BaseHTTPResponse) -> None:
    if response.status in (404, 410):
        raise InputError("image_not_found", "The image's server has no image at imageUrl.")
    if response.status != 200:
        message = f"The image's server answered with status {response.status}."
        raise InputError("upstream_failed", message)
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        message = "The image's server compresses its answer, which it was asked not to do."
        raise InputError("upstream_failed", message)


def _read(response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    """The whole body; an endless one ends at the limit."""
    too_large = InputError("image_too_large", f"The image has more than {limit} bytes.")
    if (response.length_remaining or 0) > limit:  # Content-Length, where it makes sense
        raise too_large
    body = bytearray()
    while chunk := response.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


def _remaining(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


def _fault(deadline: float) -> InputError:
    if time.monotonic() >= deadline:
        return _timeout()
    return InputError("upstream_failed", "The image's server could not be reached.")


def _timeout() -> InputError:
    return InputError("upstream_timeout", "The image's server took too long.")
