"""Changes a version's number of workers while callers are answered throughout."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

from chest_xray.worker.contract import retirement_order
from chest_xray_ops.torchserve.client import ServerError, ServerUnreachable, TorchServeClient
from chest_xray_ops.torchserve.instance import Instance

_RETIRE_S = 10.0
"""Seconds within which a worker must have finished its work and obeyed the order to retire."""
_POLL_S = 0.01


def scale(
    client: TorchServeClient,
    instance: Instance,
    workers: int,
    version: str | None = None,
    timeout_s: float = 120,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Add or remove workers one by one, and wait for each: a start takes a core from the workers
    that answer, and a worker must be idle when it is removed.

    Args:
        client: asks the server.
        instance: the same server.
        workers: the number of workers that the version should have.
        version: by default the default version.
        timeout_s: for each worker to be READY.
        say: is called when a worker may lose requests.

    Raises:
        TimeoutError: a worker was not READY in time.
    """
    description = client.describe(version)
    version, now = description["modelVersion"], description["minWorkers"]
    for count in range(now + 1, workers):
        client.scale(count, version)
        client.wait_ready(count, version, timeout_s)
    for count in range(now - 1, workers - 1, -1):
        with _last_worker_idle(client, instance, version) as idle:
            if not idle:
                say("a worker may be removed while it works; its requests are answered with 500")
            client.scale(count, version)
        client.wait_ready(count, version, timeout_s)
    client.scale(workers, version)
    client.wait_ready(workers, version, timeout_s)


@contextmanager
def _last_worker_idle(client: TorchServeClient, instance: Instance, version: str) -> Iterator[bool]:
    """Whether the worker that is removed next, TorchServe's last one, stays idle meanwhile."""
    workers = client.describe(version)["workers"]
    if not workers or workers[-1]["status"] != "READY":
        yield True  # it is given no requests
        return
    if instance.envelope:  # it cannot read a question without a body
        yield False
        return
    try:
        order = retirement_order(instance.scratch, workers[-1]["pid"])
        order.touch()
    except OSError:  # the server runs on another machine
        yield False
        return
    with ThreadPoolExecutor(1) as executor:
        question: Future[None] | None = None
        deadline = time.monotonic() + _RETIRE_S
        try:
            while order.exists() and time.monotonic() < deadline:
                if question is None or question.done():  # workers take turns: it was another's
                    question = executor.submit(_ask, client, version)
                time.sleep(_POLL_S)
        finally:
            idle = not order.exists()
            order.unlink(missing_ok=True)
        yield idle


def _ask(client: TorchServeClient, version: str) -> None:
    with suppress(ServerError, ServerUnreachable):
        client.ask_a_worker(version, _RETIRE_S)
