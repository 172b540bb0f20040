"""What the workers count, for Prometheus.

With PROMETHEUS_MULTIPROC_DIR set before the start, every worker counts in files of its own there,
which the supervisor adds up; else in memory.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, values

from chest_xray.errors import STATUS
from chest_xray.worker.contract import COUNTS_VARIABLE

STAGES = ("queue", "fetch", "decode", "inference", "handler")
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_PROBABILITIES = tuple(percent / 100 for percent in range(35, 101, 5))
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16)
_FILE_BYTES = 1 << 17
"""Room in one file; what a worker counts takes a quarter of it."""


class Metrics:
    """Counts of one worker, of one model version.

    Every series is there from the start, at 0: Prometheus sees a first event only as a step from
    0, and to find a series costs more than to count.
    """

    def __init__(self, version: str, labels: Sequence[str]) -> None:
        _reserve()
        self.registry = registry = CollectorRegistry()
        requests = Counter(
            "chest_xray_requests",
            "Requests that a worker answered, by model version and HTTP status.",
            ["version", "status"],
            registry=registry,
        )
        predictions = Counter(
            "chest_xray_predictions",
            "Labels that were given, by model version.",
            ["version", "label"],
            registry=registry,
        )
        refused = Counter(
            "chest_xray_refused",
            "Requests answered without a label, by model version and error code.",
            ["version", "reason"],
            registry=registry,
        )
        stages = Histogram(
            "chest_xray_stage_seconds",
            "Seconds in a stage. Of a request: queue (from the proxy to the worker), fetch (until "
            "its imageUrl is there), decode. Of a batch: inference, handler (all of it).",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        probability = Histogram(
            "chest_xray_probability",
            "Probability of the label that was given.",
            ["label"],
            buckets=_PROBABILITIES,
            registry=registry,
        )
        statuses = sorted({200, *(status.value for status in STATUS.values())})
        self._requests = {each: requests.labels(version, str(each)) for each in statuses}
        self._predictions = {label: predictions.labels(version, label) for label in labels}
        self._refused = {code: refused.labels(version, code) for code in STATUS}
        self._stages = {stage: stages.labels(stage) for stage in STAGES}
        self._probability = {label: probability.labels(label) for label in labels}
        self._batch = Histogram(
            "chest_xray_batch_size",
            "Requests that a worker answered at once.",
            buckets=_SIZES,
            registry=registry,
        )

    def batch(self, size: int) -> None:
        """So many requests are answered at once."""
        self._batch.observe(size)

    def stage(self, stage: str, seconds: float) -> None:
        """One of STAGES took so long."""
        self._stages[stage].observe(seconds)

    def answered(
        self, status: int, label: str | None, probability: float | None, code: str | None
    ) -> None:
        """One request: with a label and its probability, or with the code of an error."""
        self._requests[status].inc()
        if code:
            self._refused[code].inc()
        elif label and probability is not None:
            self._predictions[label].inc()
            self._probability[label].observe(probability)


def _reserve() -> None:
    """Take the room for this worker's files, or count in memory: a write to a mapped file ends the
    worker if the disk is full then."""
    folder = os.environ.get(COUNTS_VARIABLE)
    for kind in ("counter", "histogram") if folder else ():
        path = Path(folder or "", f"{kind}_{os.getpid()}.db")
        try:
            with suppress(FileExistsError), path.open("xb") as file:
                file.write(bytes(_FILE_BYTES))
        except OSError:
            with suppress(OSError):
                path.unlink()
            values.ValueClass = values.MutexValue
