"""As many workers as the load asks for: more while requests wait, fewer after a long calm."""

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
_MOST_CALM_S = 3600.0


@dataclass
class Controller:
    """Decides how many workers to have; knows nothing of where they run.

    It grows by a step when requests wait, and shrinks by one only after a calm that is long beside
    what a start takes. If it turns out that the worker was needed, the next calm must be twice as
    long: so it does not swing.
    """

    least: int
    most: int
    step: int = 1
    """Workers that come and go together: on GPUs one for each, so that all have as many."""
    full: float = 16.0
    """Images in a batch: more workers are wanted when half a batch is queued for each."""
    calm_s: float = 60.0
    """With all but nothing queued, until a worker is one too many."""
    rest_s: float = 15.0
    """After a change, until the next: in which a new worker starts and shows."""
    _changed_at: float = float("-inf")
    _shrunk_at: float = float("-inf")
    _calm_since: float | None = None

    def wanted(self, now: float, workers: int, queued: float) -> int:
        """The number of workers to have.

        Args:
            now: seconds on any clock.
            workers: there now.
            queued: requests that no worker has taken yet, the mean since the last call.
        """
        if queued >= 1 or self._calm_since is None:
            self._calm_since = now
        if not self.least <= workers <= self.most:
            return min(max(workers, self.least), self.most)
        if now - self._changed_at < self.rest_s:
            return workers
        if queued > self.full * workers / 2 and workers < self.most:
            if now - self._shrunk_at < self.calm_s:
                self.calm_s = min(2 * self.calm_s, _MOST_CALM_S)
            self._changed_at = now
            return min(workers + self.step, self.most)
        calm_since = max(self._calm_since, self._changed_at)
        if now - calm_since > self.calm_s and workers > self.least:
            self._changed_at = self._shrunk_at = now
            return max(workers - self.step, self.least)
        return workers


def autoscale(
    instance: Instance,
    bounds: tuple[int, int],
    step: int,
    version: str | None,
    say: Callable[[str], None],
) -> Any:
    """Follow the load until interrupted.

    Raises:
        ValueError: the bounds are none, or no multiples of ``step``.
    """
    least, most = bounds
    if not 1 <= least <= most:
        raise ValueError(f"bounds {least} to {most} are none")
    if least % step or most % step:
        raise ValueError(f"bounds {least} to {most} are no multiples of {step}, one per GPU")
    controllers: dict[str, Controller] = defaultdict(lambda: Controller(least, most, step))
    say(f"between {least} and {most} workers; Ctrl-C leaves as many as there are")
    while True:
        try:
            # A client anew: a server that was started anew has other keys.
            _decide(TorchServeClient.of(instance), instance, controllers, version, say)
        except (ServerError, ServerUnreachable, TimeoutError) as error:  # it may be starting
            say(f"no answer: {error}")
            time.sleep(_SAMPLE_S)


def _decide(
    client: TorchServeClient,
    instance: Instance,
    controllers: Mapping[str, Controller],
    version: str | None,
    say: Callable[[str], None],
) -> None:
    """Look at the queues for a while, and change what is to be changed."""
    queued: dict[str, list[int]] = defaultdict(list)
    decide_at = time.monotonic() + _DECIDE_S
    while time.monotonic() < decide_at:
        time.sleep(_SAMPLE_S)
        versions = [each for each in client.versions() if _meant(each, version)]
        for each in versions:
            queued[each.version].append(each.queued)
    for each in versions:
        samples = queued[each.version]
        mean = sum(samples) / len(samples)
        target = controllers[each.version].wanted(time.monotonic(), each.wanted, mean)
        if target != each.wanted:
            say(f"{each.version}: {each.wanted} -> {target} workers, {mean:.0f} queued")
            scale(client, instance, target, each.version, say=say)


def _meant(each: Version, version: str | None) -> bool:
    return each.version == version if version else each.default
