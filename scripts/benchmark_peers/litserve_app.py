"""LitServe: FastAPI takes HTTP, worker processes decode and infer in batches."""

import base64
import json
import os

REQUIREMENTS = ("litserve==0.2.19",)
PATH = "/predict"


def request(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body: text in JSON, the form of its documentation's image examples."""
    body = json.dumps({"image": base64.b64encode(image).decode()}).encode()
    return {"Content-Type": "application/json"}, body


def main() -> None:
    """Serve until killed."""
    import litserve

    from benchmark_peers.litserve_api import Film

    server = litserve.LitServer(
        Film(max_batch_size=8, batch_timeout=0.005),
        accelerator="cpu",
        workers_per_device=int(os.environ["WORKERS"]),
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        generate_client_file=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
