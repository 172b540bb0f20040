"""Another number of workers, while callers are answered throughout."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

from chest_xray.worker.contract import retirement_order
from chest_xray_ops.torchserve.client import ServerError, ServerUnreachable, TorchServeClient
from chest_xray_ops.torchserve.instance import MODEL, Instance

_LEAVE_S = 10.0
_POLL_S = 0.01


def scale(
    client: TorchServeClient,
    instance: Instance,
    workers: int,
    version: str | None = None,
    model: str = MODEL,
    timeout_s: float = 120,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Change a version's number of workers, one by one, and wait for them: a start takes a core
    from those that answer, and one that goes must have nothing at work.

    Raises:
        TimeoutError: one of them was not READY in time.
    """
    description = client.describe(model, version)
    version, now = description["modelVersion"], description["minWorkers"]
    for count in range(now + 1, workers):
        client.scale(count, version, model)
        client.wait_ready(count, version, model, timeout_s)
    for count in range(now - 1, workers - 1, -1):
        with _standing_still(client, instance, version, model) as still:
            if not still:
                say("a worker may have to leave its work, which is answered with 500")
            client.scale(count, version, model)
        client.wait_ready(count, version, model, timeout_s)
    client.scale(workers, version, model)
    client.wait_ready(workers, version, model, timeout_s)


@contextmanager
def _standing_still(
    client: TorchServeClient, instance: Instance, version: str, model: str
) -> Iterator[bool]:
    """Whether the worker that goes next, TorchServe's last, has nothing at work meanwhile."""
    workers = client.describe(model, version)["workers"]
    if not workers or workers[-1]["status"] != "READY":
        yield True  # it is given nothing
        return
    if instance.envelope:  # which cannot read a question without a body
        yield False
        return
    try:
        told = retirement_order(instance.scratch, workers[-1]["pid"])
        told.touch()
    except OSError:  # that is not on this machine
        yield False
        return
    with ThreadPoolExecutor(1) as asking:
        asked: Future[None] | None = None
        deadline = time.monotonic() + _LEAVE_S
        try:
            while told.exists() and time.monotonic() < deadline:
                if asked is None or asked.done():  # workers take turns: it was another's
                    asked = asking.submit(_ask, client, version, model)
                time.sleep(_POLL_S)
        finally:
            stands = not told.exists()
            told.unlink(missing_ok=True)
        yield stands


def _ask(client: TorchServeClient, version: str, model: str) -> None:
    with suppress(ServerError, ServerUnreachable):
        client.ask_a_worker(version, model, _LEAVE_S)
