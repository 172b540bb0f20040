"""Whether a worker can still read images: one that fails again and again ends itself."""

import logging
import os
from threading import Lock

from chest_xray.classifier import Observer, place_of
from chest_xray.worker.activity import Activity

log = logging.getLogger(__name__)

_MAX_FAILURES = 3


class WorkerHealth(Observer):
    """Ends the worker at its third failure in succession, so that TorchServe starts another: it may
    have lost its GPU, which only a new process gets back."""

    def __init__(self, activity: Activity) -> None:
        """``activity`` is told of every success."""
        self._activity = activity
        self._failures = 0
        self._counting = Lock()  # parts of a batch may fail side by side

    def succeeded(self) -> None:
        self._failures = 0
        self._activity.answered()

    def failed(self, error: Exception) -> None:
        with self._counting:
            self._failures += 1
            count = self._failures
        log.error("%s, %d in succession:\n%s", type(error).__name__, count, place_of(error))
        if count >= _MAX_FAILURES:
            os._exit(1)
