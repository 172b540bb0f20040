"""BentoML: a service of WORKERS processes with adaptive batching."""

import os
import sys

REQUIREMENTS = ("bentoml==1.4.38",)
PATH = "/predict"


def request(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body: multipart, its documented form of files."""
    boundary = "film"
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="image"; filename="film.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = head.encode() + image + f"\r\n--{boundary}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, body


def main() -> None:
    """Serve until killed."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.execv(
        sys.executable,
        [sys.executable, "-m", "bentoml", "serve", "benchmark_peers.bentoml_service:Films",
         "--host", "127.0.0.1", "--port", os.environ["PORT"]],
    )  # fmt: skip


if __name__ == "__main__":
    main()
