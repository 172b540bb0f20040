"""The one class TorchServe calls; wiring only. What happens to a row is told in ``chest_xray``."""

import logging
import os
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from chest_xray.batch import Batch, EncodedImage, ImageLoader, Outcome, Row
from chest_xray.errors import InputError
from chest_xray.labels import LABELS
from chest_xray.machine import cores
from chest_xray.network.compiled import serving_form, warm_up
from chest_xray.network.explanation import heatmaps, overlay
from chest_xray.prediction import Prediction
from chest_xray.request import Explanation, Headers, Request, parse_headers, parse_request
from chest_xray.response import render, result_only
from chest_xray.settings import Settings
from chest_xray.worker.access_log import Records
from chest_xray.worker.activity import Busy
from chest_xray.worker.checksum import verify_weights
from chest_xray.worker.connection_keeper import Keeper
from chest_xray.worker.contract import LOGS_VARIABLE
from chest_xray.worker.core_slots import Slots
from chest_xray.worker.image_classifier import ImageClassifier
from chest_xray.worker.retirement import stand_still_if_told

# TorchServe logs a line per request and a traceback per body that is no JSON at the root logger
# (the caller gets an error instead), and its metric lines at "ts"; real faults stay visible.
logging.getLogger().setLevel(logging.ERROR)
logging.getLogger("ts").setLevel(logging.WARNING)
log = logging.getLogger(__name__)

_MOST_FAILURES = 3


class ChestXrayHandler(ImageClassifier):  # type: ignore[misc]
    """Answers every row of a batch by itself; keeps nothing between batches."""

    def initialize(self, context: Any) -> None:
        """Load settings and weights and warm up; whatever raises here ends the worker."""
        self.settings = Settings.load(context.model_yaml_config.get("handler") or {}, os.environ)
        set_threads = partial(torch.set_num_threads, self.settings.threads)
        set_threads()
        self.slots = Slots(max(1, cores() // self.settings.threads), set_threads)
        self.loader = ImageLoader(self.settings)
        model = context.manifest["model"]
        self.model_version = model["modelVersion"]
        self.busy = Busy(self.model_version)
        self.failures, self.counting = 0, Lock()
        logs = os.environ.get(LOGS_VARIABLE)
        self.records = Records(
            self.model_version, Path(logs) if logs else None, self.settings.audit
        )
        verify_weights(Path(context.system_properties["model_dir"]), model["serializedFile"])
        super().initialize(context)
        names = tuple(self.mapping.get(str(index)) for index in range(len(self.mapping)))
        if names != LABELS:
            raise ValueError(f"index_to_name.json says {names}, the code says {LABELS}")
        self.serving = serving_form(self.model, self.device, self.settings.bfloat16)
        warm_up(self.serving)
        self.keeper = Keeper()

    def handle(self, data: Sequence[Any], context: Any) -> list[dict[str, Any] | bytes]:
        """One body per row, in order, and its status and content type set on ``context``."""
        with self.keeper.at_work(), self.busy.hold():
            if list(data) == [{}] and context.get_request_header(0, "describe") == "True":
                stand_still_if_told()
            return self._handle(data, context)

    def _handle(self, data: Sequence[Any], context: Any) -> list[dict[str, Any] | bytes]:
        begin = time.perf_counter()
        # An envelope may unfold one request into several rows; TorchServe then packs the bodies
        # of several rows into one answer, which no row's headers and status can describe.
        each = len(data) == len(context.request_ids)
        headers = [
            parse_headers(context.get_all_request_header(index)) if each else Headers()
            for index in range(len(data))
        ]
        readings = self._read(list(map(_request, data, headers)))
        outcomes = self.postprocess(readings)
        bodies = self.respond(readings.rows, outcomes)
        ids = [""] * len(data)
        if each:
            for index, (body, outcome) in enumerate(zip(bodies, outcomes, strict=True)):
                kind = Explanation.OVERLAY if isinstance(body, bytes) else Explanation.GRID
                context.set_response_content_type(index, kind.value)
                if isinstance(outcome, InputError):
                    context.set_response_status(outcome.status.value, outcome.type, index)
                if headers[index].result_only and not isinstance(body, bytes):
                    bodies[index] = result_only(body)
                ids[index] = context.get_request_id(index)
        handler_s = time.perf_counter() - begin
        self.records.keep(ids, headers, readings.rows, outcomes, handler_s)
        return bodies

    def _read(self, requests: Sequence[Request | InputError]) -> Batch:
        """Requests -> a batch of readings, computed on the cores that are free and on the device
        TorchServe assigned."""
        images = self.loader.fetch(requests)
        fetched = any(image.known.fetch_s is not None for image in images)
        if not images:
            batch = Batch(None, ())
        elif self.device.type == "cuda":  # which takes a batch at once
            batch = self.inference(Batch.join(self.slots.share(self.preprocess, images, fetched)))
        else:
            batch = Batch.join(self.slots.share(self._read_part, images, fetched))
        return batch.of_rows(requests, images)

    def _read_part(self, images: Sequence[EncodedImage]) -> Batch:
        return self.inference(self.preprocess(images))

    def preprocess(self, data: Sequence[EncodedImage]) -> Batch:
        """Encoded images -> a batch of images."""
        return self.loader.decode(data)

    def inference(self, data: Batch) -> Batch:
        """A batch of images -> a batch of readings, or of errors if that fails. A worker for which
        it fails again and again ends itself, and TorchServe starts another: it may have lost its
        GPU, which only a new process gets back."""
        try:
            readings = data.map(self._network)
        except Exception as error:
            with self.counting:  # parts of a batch may fail side by side
                self.failures += 1
                count = self.failures
            # Its place alone: a message may quote what a caller sent.
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s, %d in succession:\n%s", type(error).__name__, count, place)
            if count >= _MOST_FAILURES:
                os._exit(1)
            message = "The image could not be classified for a fault of ours; try again."
            return data.failed(InputError("inference_failed", message))
        self.failures = 0
        self.busy.answered()
        return readings

    @torch.inference_mode()
    def _network(self, images: Tensor) -> Tensor:
        readings: Tensor = self.serving(images)
        return readings

    def postprocess(self, data: Batch) -> list[Outcome]:
        """A batch of readings -> one outcome per row."""
        return data.outcomes(self.settings.answer_out_of_distribution)

    def respond(
        self, rows: Sequence[Row], outcomes: Sequence[Outcome]
    ) -> list[dict[str, Any] | bytes]:
        """The body of every row, with a heat map for those that asked for one and have a label."""
        bodies: list[dict[str, Any] | bytes]
        bodies = [render(outcome, self.model_version) for outcome in outcomes]
        films = {
            index: row.image
            for index, (row, outcome) in enumerate(zip(rows, outcomes, strict=True))
            if row.explanation and row.image is not None and isinstance(outcome, Prediction)
        }
        if not films:
            return bodies
        images = torch.stack(list(films.values()))
        with self.slots.one():
            heats = heatmaps(self.model.network, images.to(self.device)).cpu()
        for (index, film), heat in zip(films.items(), heats, strict=True):
            if rows[index].explanation is Explanation.OVERLAY:
                bodies[index] = overlay(film[0], heat)
            else:
                bodies[index] = render(outcomes[index], self.model_version, heat)
        return bodies


def _request(row: Any, headers: Headers) -> Request | InputError:
    try:
        return parse_request(row, headers)
    except InputError as error:
        return error
