"""The one class TorchServe calls; wiring only. What happens to a row is told in ``chest_xray``."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import torch
from ts.torch_handler.image_classifier import ImageClassifier

from chest_xray.batch import Batch, ImageLoader, Outcome, Row
from chest_xray.errors import InputError
from chest_xray.labels import LABELS
from chest_xray.request import ImageSource, parse_source
from chest_xray.response import refusal, render
from chest_xray.settings import Settings
from chest_xray.slots import Slots, cores
from chest_xray.transform import CHANNELS, SIZE

# TorchServe logs a line per request and a traceback per body that is no JSON at the root logger
# (the caller gets an error instead), and its metric lines at "ts"; real faults stay visible.
logging.getLogger().setLevel(logging.ERROR)
logging.getLogger("ts").setLevel(logging.WARNING)
_log = logging.getLogger("chest_xray")
_log.setLevel(logging.INFO)


class ChestXrayHandler(ImageClassifier):  # type: ignore[misc]
    """Answers every row of a batch by itself; keeps nothing between batches."""

    def initialize(self, context: Any) -> None:
        """Load settings and weights and warm up; whatever raises here ends the worker."""
        settings = Settings.load(context.model_yaml_config.get("handler") or {}, os.environ)
        self.slots = Slots(max(1, cores() // settings.threads))
        self.loader = ImageLoader(settings, self.slots)
        torch.set_num_threads(settings.threads)
        super().initialize(context)
        names = tuple(self.mapping.get(str(index)) for index in range(len(self.mapping)))
        if names != LABELS:
            raise ValueError(f"index_to_name.json says {names}, the code says {LABELS}")
        self.model_version = context.manifest["model"]["modelVersion"]
        # The first pass sets up kernels and memory: before READY, not in the first caller's time.
        self.inference(Batch(torch.zeros(1, CHANNELS, SIZE, SIZE), (Row(),)))

    def handle(self, data: Sequence[Any], context: Any) -> list[dict[str, Any]]:
        """One body per row, in order, and its status and content type set on ``context``."""
        sources = [_source(row, context, index) for index, row in enumerate(data)]
        batch = self.inference(self.preprocess(sources))
        # An envelope may unfold one request into several rows; TorchServe then packs the bodies
        # of several rows into one answer, which no row's status can describe.
        if len(batch.rows) == len(context.request_ids):
            for index, row in enumerate(batch.rows):
                context.set_response_content_type(index, "application/json")
                if row.error:
                    context.set_response_status(row.error.status.value, row.error.type, index)
                    _log.info("%s", refusal(context.get_request_id(index), row))
        return [render(outcome, self.model_version) for outcome in self.postprocess(batch)]

    def preprocess(self, data: Sequence[ImageSource | InputError]) -> Batch:
        """Image sources -> a batch of images."""
        return self.loader.load(data)

    @torch.inference_mode()
    def inference(self, data: Batch) -> Batch:
        """A batch of images -> a batch of logits, on the device TorchServe assigned."""
        with self.slots.one():
            return data.map(lambda images: self.model(images.to(self.device)).cpu())

    def postprocess(self, data: Batch) -> list[Outcome]:
        """A batch of logits -> one outcome per row."""
        return data.outcomes()


def _source(row: Any, context: Any, index: int) -> ImageSource | InputError:
    headers = context.get_all_request_header(index) if index in context.request_ids else {}
    # TorchServe decides both on the server's side: the path alone makes it an explanation.
    if headers.get("explain") == "True":
        return InputError("no_explanations", "This version gives predictions only.")
    content_type = next((v for k, v in headers.items() if k.lower() == "content-type"), "")
    try:
        return parse_source(row, declared_json="json" in str(content_type).lower())
    except InputError as error:
        return error
