"""A web server for the URLs that tests send, and a listener that nobody may reach."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class WebServer:
    """A real web server on loopback that answers what a test registered."""

    url: str
    host: str
    """As a setting names it."""
    pages: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)

    def add(self, path: str, body: bytes, status: int = 200, **headers: str) -> str:
        """Answer ``path`` with this; returns its URL."""

        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            for name, value in {"Content_Length": str(len(body)), **headers}.items():
                request.send_header(name.replace("_", "-"), value)
            request.end_headers()
            request.wfile.write(body)

        self.pages[path] = page
        return self.url + path

    def add_drip(self, path: str, seconds: float) -> str:
        """Answer ``path`` with a byte every tenth of a second, for so long."""

        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.end_headers()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                request.wfile.write(b"\xff")
                time.sleep(0.1)

        self.pages[path] = page
        return self.url + path


@contextmanager
def serve_web() -> Iterator[WebServer]:
    """A web server until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True  # as every caller asks
            page = server.pages.get(self.path)
            if page is None:
                self.send_error(404)
                return
            with suppress(BrokenPipeError, ConnectionResetError):  # the client had enough
                page(self)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128  # the default of 5 makes a burst of connections wait a second

    http = Server(("127.0.0.1", 0), Handler)
    host = f"127.0.0.1:{http.server_port}"
    server = WebServer(f"http://{host}", host)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield server
    http.shutdown()
    http.server_close()


class Alone:
    """A listener on loopback that nobody may reach; counts who does."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self._listener.accept()[0].close()
                self.connections += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
