"""The original project's Flask route under gunicorn, without its detour over the disk."""

import os
import sys
from typing import Any

REQUIREMENTS = ("flask==3.1.3", "gunicorn==27.0.1")
PATH = "/predict"


def request(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body."""
    return {"Content-Type": "image/jpeg"}, image


def create() -> Any:
    """The WSGI application; gunicorn calls it in each of its processes."""
    import flask

    from benchmark_peers import work

    code = work.from_environment()
    app = flask.Flask(__name__)

    @app.post(PATH)  # type: ignore[untyped-decorator]
    def predict() -> Any:
        return code.infer([code.decode(flask.request.get_data())])[0]

    return app


def main() -> None:
    """Serve until killed."""
    arguments = ["--bind", f"127.0.0.1:{os.environ['PORT']}", "--workers", os.environ["WORKERS"]]
    arguments += ["--log-level", "warning", "benchmark_peers.gunicorn_app:create()"]
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", *arguments])


if __name__ == "__main__":
    main()
