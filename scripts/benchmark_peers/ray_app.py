"""Ray Serve: HAProxy before replicas, each of which gathers its requests into batches.

This is what Ray documents as its high throughput mode. The default, a proxy in Python, is measured
by setting both variables of ``HIGH_THROUGHPUT`` to 0.

Ray's workers, and HAProxy with them, have process groups of their own, so a signal to this
program's group misses them. It therefore adopts every orphan below it and, on SIGTERM, kills all of
its descendants.
"""

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

REQUIREMENTS = ("ray[serve]==2.60.0",)
PATH = "/predict"

BATCH_SIZE = 8
BATCH_WAIT_S = 0.005
HIGH_THROUGHPUT = ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED")
# Ray's fixed places would outlive the run, and its fixed ports may be somebody else's.
HAPROXY_FILES = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "haproxy.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "state",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "state/server-state",
}
FIXED_PORTS = (
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
)
PR_SET_CHILD_SUBREAPER = 36
STOP_S = 5.0


def request(image: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and body: Ray Serve hands the body to the replica as it came."""
    return {"Content-Type": "image/jpeg"}, image


class Classifier:
    """A replica, working in its event loop as Ray's image classifiers do.

    Threads would fill no batches: requests that decode side by side end one by one.
    """

    def __init__(self) -> None:
        from ray import serve

        from benchmark_peers import work

        self.code = work.from_environment()
        self.infer = serve.batch(max_batch_size=BATCH_SIZE, batch_wait_timeout_s=BATCH_WAIT_S)(
            self.infer_batch
        )

    async def infer_batch(self, images: list[Any]) -> list[dict[str, Any]]:
        """One forward pass for as many requests as came together."""
        return self.code.infer(images)

    async def __call__(self, http: Any) -> Any:
        return await self.infer(self.code.decode(await http.body()))


def serve_forever(folder: str) -> None:
    """Start a cluster of one node that keeps its files in ``folder``, and wait to be killed."""
    # Read by Ray at its import; without a token of ours it writes one into the home folder.
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_TOKEN=secrets.token_hex(32))
    for variable in HIGH_THROUGHPUT:
        os.environ.setdefault(variable, "1")
    for variable, name in HAPROXY_FILES.items():
        os.environ[variable] = f"{folder}/{name}"
    os.environ.update(zip(FIXED_PORTS, map(str, _free_ports(len(FIXED_PORTS))), strict=True))

    import ray
    from ray import serve

    # The class has to come by its module's name: __main__ would be another module in a replica.
    from benchmark_peers import ray_app

    workers = int(os.environ["WORKERS"])
    quiet = {"enable_access_log": False, "log_level": "WARNING"}
    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="warning",
        _temp_dir=folder,
    )
    signal.signal(signal.SIGTERM, _stop)  # over Ray's own, which leaves processes behind
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])},
        logging_config=quiet,
    )
    deployment = serve.deployment(
        num_replicas=workers,
        ray_actor_options={"num_cpus": 1},
        # One batch at work, one gathering; the default, 5, could never fill a batch.
        max_ongoing_requests=2 * BATCH_SIZE,
        logging_config=quiet,
    )(ray_app.Classifier)
    serve.run(deployment.bind(), route_prefix=PATH)
    while True:
        signal.pause()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listened on a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]


def _stop(signum: int, frame: object) -> None:
    raise SystemExit(0)


def _descendants() -> set[int]:
    """Processes below this one, in whatever session."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name, which is in parentheses and may hold anything: state, parent.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found: set[int] = set()
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found.update(below)
        todo += below
    return found


def _kill_descendants() -> None:
    """SIGKILL them until none is left; those that they orphan come to this process."""
    until = time.monotonic() + STOP_S
    while (left := _descendants()) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.02)


def main() -> None:
    """Serve until killed."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, _stop)
    folder = tempfile.mkdtemp(prefix="ray-")
    try:
        serve_forever(folder)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _kill_descendants()
        shutil.rmtree(folder, ignore_errors=True)
        # Ray's handlers at exit would only wait for the cluster that is gone.
        os._exit(0)


if __name__ == "__main__":
    main()
