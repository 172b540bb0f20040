"""A server in TorchServe's place, behind the edge."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Upstream:
    """In TorchServe's place: answers what it is told to, in TorchServe's words, and remembers what
    it was asked. Makes failures come in an order that a real one cannot be made to follow."""

    def __init__(self):
        self.answers = []
        """Statuses to come, then 200. 0 closes the connection, None does too, but late."""
        self.requests = []
        self.released = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                upstream.requests.append((self.path, dict(self.headers), body))
                status = upstream.answers.pop(0) if upstream.answers else 200
                if status is None:
                    upstream.released.wait(30)
                if not status:
                    self.close_connection = True
                    return
                text = json.dumps(ANSWERS.get(status, {"label": "normal"}), indent=2).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                if status >= 400:
                    self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args):
                pass

        upstream = self
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()


ANSWERS = {
    500: {"code": 500, "type": "InternalServerException", "message": "Worker died."},
    507: {"code": 507, "type": "InternalServerException", "message": "Worker died."},
    503: {"code": 503, "type": "ServiceUnavailableException", "message": "no worker"},
    502: {"code": "upstream_failed", "type": "BadGateway", "message": "m"},
    504: {"code": "upstream_timeout", "type": "GatewayTimeout", "message": "m"},
    413: {"code": 413, "type": "RequestEntityTooLargeException", "message": "m"},
}


def give_key(directory, key):
    """As TorchServe writes its keys when it starts."""
    directory.mkdir(exist_ok=True)
    (directory / "key_file.json").write_text(json.dumps({"inference": {"key": key}}))
