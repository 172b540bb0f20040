"""Fits the number of workers to the load: more while requests wait, fewer after a long calm."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chest_xray_ops.torchserve.client import (
    ServerError,
    ServerUnreachable,
    TorchServeClient,
    Version,
)
from chest_xray_ops.torchserve.instance import Instance
from chest_xray_ops.versions.scaling import scale

_SAMPLE_S = 0.5
_DECIDE_S = 5.0
_MAX_CALM_S = 3600.0


@dataclass
class Controller:
    """Decides how many workers there should be; knows nothing of where they run.

    It grows by a step when requests wait, and shrinks by a step only after a calm that is long
    compared with a worker's start. If the worker turns out to have been needed, the next calm must
    be twice as long, which keeps the number from swinging.
    """

    min_workers: int
    max_workers: int
    step: int = 1
    """Workers that are added or removed together: one per GPU, so that all GPUs have the same."""
    batch_size: float = 16.0
    """Images in a batch; workers are added when half a batch is queued for each."""
    calm_s: float = 60.0
    """Seconds with next to nothing queued after which a worker is removed."""
    rest_s: float = 15.0
    """Seconds from a change to the next one, in which a new worker starts and takes effect."""
    _changed_at: float = float("-inf")
    _shrunk_at: float = float("-inf")
    _calm_since: float | None = None

    def wanted(self, now: float, workers: int, queued: float) -> int:
        """The number of workers that there should be.

        Args:
            now: seconds on any clock.
            workers: their number now.
            queued: requests that no worker has taken yet, as the mean since the last call.
        """
        if queued >= 1 or self._calm_since is None:
            self._calm_since = now
        if not self.min_workers <= workers <= self.max_workers:
            return min(max(workers, self.min_workers), self.max_workers)
        if now - self._changed_at < self.rest_s:
            return workers
        if queued > self.batch_size * workers / 2 and workers < self.max_workers:
            if now - self._shrunk_at < self.calm_s:
                self.calm_s = min(2 * self.calm_s, _MAX_CALM_S)
            self._changed_at = now
            return min(workers + self.step, self.max_workers)
        calm_since = max(self._calm_since, self._changed_at)
        if now - calm_since > self.calm_s and workers > self.min_workers:
            self._changed_at = self._shrunk_at = now
            return max(workers - self.step, self.min_workers)
        return workers


def autoscale(
    instance: Instance,
    bounds: tuple[int, int],
    step: int,
    version: str | None,
    say: Callable[[str], None],
) -> Any:
    """Fit the number of workers to the load until interrupted.

    Args:
        instance: the server.
        bounds: the smallest and the largest number of workers.
        step: workers that are added or removed together.
        version: the version to scale; None scales whichever is the default one at the time.
        say: is called with every change and of every failure.

    Raises:
        ValueError: the bounds contradict each other, or are not multiples of ``step``.
    """
    low, high = bounds
    if low < 1:
        raise ValueError(f"invalid bounds: min {low} < 1")
    if low > high:
        raise ValueError(f"invalid bounds: min {low} > max {high}")
    if low % step or high % step:
        raise ValueError(f"invalid bounds: {low} and {high} must be multiples of {step}, the GPUs")
    controllers: dict[str, Controller] = defaultdict(lambda: Controller(low, high, step))
    say(f"keeping between {low} and {high} workers; Ctrl-C ends this and leaves the workers")
    while True:
        try:
            # A new client each time: a server that was restarted has other keys.
            _decide(TorchServeClient.of(instance), instance, controllers, version, say)
        except (ServerError, ServerUnreachable, TimeoutError) as error:  # it may be starting
            say(f"retrying: {error}")
            time.sleep(_SAMPLE_S)


def _decide(
    client: TorchServeClient,
    instance: Instance,
    controllers: Mapping[str, Controller],
    version: str | None,
    say: Callable[[str], None],
) -> None:
    """Watch the queues for a while, then give each version the workers that it needs."""
    queued: dict[str, list[int]] = defaultdict(list)
    decide_at = time.monotonic() + _DECIDE_S
    while time.monotonic() < decide_at:
        time.sleep(_SAMPLE_S)
        versions = [served for served in client.versions() if _meant(served, version)]
        for served in versions:
            queued[served.version].append(served.queued)
    for served in versions:
        samples = queued[served.version]
        mean = sum(samples) / len(samples)
        target = controllers[served.version].wanted(time.monotonic(), served.wanted, mean)
        if target != served.wanted:
            say(f"{served.version}: {served.wanted} -> {target} workers, {mean:.0f} queued")
            scale(client, instance, target, served.version, say=say)


def _meant(served: Version, version: str | None) -> bool:
    """Whether this is the version of that name, or without a name the default one."""
    return served.version == version if version else served.default
