"""The one class that TorchServe calls; wiring only. ``chest_xray.classifier`` tells what happens to
a request."""

import logging
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from chest_xray.batch import Outcome
from chest_xray.classifier import Classifier
from chest_xray.errors import InputError
from chest_xray.request import Explanation, Headers, Request, parse_headers, parse_request
from chest_xray.response import body_of
from chest_xray.settings import Settings
from chest_xray.worker.access_log import AccessLog
from chest_xray.worker.activity import Activity
from chest_xray.worker.connection_keeper import ConnectionKeeper
from chest_xray.worker.contract import LOGS_VARIABLE
from chest_xray.worker.health import WorkerHealth
from chest_xray.worker.image_classifier import ImageClassifier
from chest_xray.worker.retirement import stand_still_if_told

# TorchServe logs a line per request and a traceback per body that is not JSON at the root logger
# (the caller gets an error instead), and its metric lines at "ts"; real faults stay visible.
logging.getLogger().setLevel(logging.ERROR)
logging.getLogger("ts").setLevel(logging.WARNING)


class ChestXrayHandler(ImageClassifier):  # type: ignore[misc]
    """Answers every row of a batch by itself; keeps nothing between batches."""

    def initialize(self, context: Any) -> None:
        """Load settings and weights and warm up; whatever raises here ends the worker."""
        settings = Settings.load(context.model_yaml_config.get("handler"), os.environ)
        folder = Path(context.system_properties["model_dir"])
        self.activity = Activity(context.manifest["model"]["modelVersion"])
        self.classifier = Classifier.load(
            folder,
            settings,
            device=_device(context.system_properties),
            shared=Path(tempfile.gettempdir()),
            observer=WorkerHealth(self.activity),
        )
        logs = os.environ.get(LOGS_VARIABLE)
        self.access_log = AccessLog(
            self.classifier.version,
            self.classifier.labels,
            Path(logs) if logs else None,
            settings.audit,
        )
        self.keeper = ConnectionKeeper()
        self.initialized = True

    def handle(self, data: Sequence[Any], context: Any) -> list[dict[str, Any] | bytes]:
        """One body per row, in order, and its status and content type set on ``context``."""
        with self.keeper.at_work(), self.activity.hold():
            if list(data) == [{}] and context.get_request_header(0, "describe") == "True":
                stand_still_if_told()
            start = time.perf_counter()
            headers = _headers(len(data), context)
            outcomes = self.classifier.classify(list(map(_request, data, headers)))
            bodies = [
                body_of(outcome, self.classifier.version, sent.result_only)
                for outcome, sent in zip(outcomes, headers, strict=True)
            ]
            if _one_row_each(len(data), context):
                for index, (outcome, body) in enumerate(zip(outcomes, bodies, strict=True)):
                    _set_status(context, index, outcome, body)
            self.access_log.keep(headers, outcomes, time.perf_counter() - start)
            return bodies


def _device(properties: Mapping[str, Any]) -> torch.device:
    """The GPU that TorchServe assigned to this worker, or the CPU."""
    number = properties.get("gpu_id")
    cuda = torch.cuda.is_available() and number is not None
    return torch.device(f"cuda:{number}" if cuda else "cpu")


def _one_row_each(rows: int, context: Any) -> bool:
    """Whether every row is a request of its own. An envelope may unfold one request into several
    rows; TorchServe then packs their bodies into one answer, which no row's headers and status can
    describe."""
    return rows == len(context.request_ids)


def _headers(rows: int, context: Any) -> list[Headers]:
    if not _one_row_each(rows, context):
        return [Headers()] * rows
    return [
        parse_headers(context.get_all_request_header(index), context.get_request_id(index))
        for index in range(rows)
    ]


def _request(row: Any, headers: Headers) -> Request | InputError:
    try:
        return parse_request(row, headers)
    except InputError as error:
        return error


def _set_status(context: Any, index: int, outcome: Outcome, body: dict[str, Any] | bytes) -> None:
    kind = Explanation.OVERLAY if isinstance(body, bytes) else Explanation.GRID
    context.set_response_content_type(index, kind.value)
    if isinstance(outcome.answer, InputError):
        context.set_response_status(outcome.answer.status.value, outcome.answer.type, index)
