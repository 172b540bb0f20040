"""Requests -> outcomes, in any process: the whole path of an image, with no server around it.

    with Classifier.load(Path("chest-xray-4.0.mar")) as classifier:
        [outcome] = classifier.classify([Request(InlineImage(data))])

A batch goes through :meth:`Classifier.classify` from top to bottom: its images are fetched side by
side, decoded and read on the cores that are free (or read on the GPU), judged by the gate, and
explained where that is asked for. TorchServe's handler, evaluation, golden answers and the
benchmark all use this class.
"""

import hashlib
import logging
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chest_xray.archive import Archive
from chest_xray.batch import Image, Outcome, images_of, outcome
from chest_xray.errors import InputError
from chest_xray.fetch import Fetcher
from chest_xray.image import Picture, decode_grayscale, sniff
from chest_xray.machine import cores
from chest_xray.network.compiled import serving_form, warm_up
from chest_xray.network.explanation import heatmaps
from chest_xray.network.loading import load_network
from chest_xray.network.stages import ServedNet
from chest_xray.prediction import Outputs
from chest_xray.request import ImageUrl, Request
from chest_xray.sandbox import DicomDecoder
from chest_xray.settings import Settings
from chest_xray.transform import at_own_aspect, to_tensor
from chest_xray.worker.core_slots import CoreSlots

log = logging.getLogger(__name__)


class Observer:
    """Is told how reading goes: a worker of TorchServe draws its conclusions from it."""

    def succeeded(self) -> None:
        """The network has read a part of a batch."""

    def failed(self, error: Exception) -> None:
        """The network could not read a part of a batch, whose rows get ``inference_failed``."""
        log.error("%s:\n%s", type(error).__name__, place_of(error))


def place_of(error: Exception) -> str:
    """Where an error was raised, for a log; not its message, which may quote what a caller sent."""
    return "".join(traceback.format_tb(error.__traceback__))


class Classifier:
    """One version, ready to answer; a context manager, since it holds threads and processes.

    Several threads may ask it at a time.
    """

    def __init__(
        self,
        network: ServedNet,
        version: str,
        settings: Settings,
        device: torch.device | None = None,
        *,
        reference: bool = False,
        shared: Path | None = None,
        observer: Observer | None = None,
    ) -> None:
        """
        Args:
            network: for inference; it is moved to ``device``.
            version: that answers name.
            device: CPU by default.
            reference: compute the network as it was trained, in double precision. Slow, but every
                processor gives the same digits, as golden answers and reports need.
            shared: the folder in which several processes agree on who computes on which core; by
                default this process has all its cores for itself.
            observer: is told how reading goes.

        Raises:
            ValueError: a setting cannot be used.
        """
        self.version, self.labels = version, network.labels
        self._outputs = Outputs(network)
        self.settings = settings
        self.device = device or torch.device("cpu")
        network = network.double() if reference else network
        self.network = network.to(self.device).eval()
        self._precision = torch.float64 if reference else torch.float32
        self._observer = observer or Observer()
        with ExitStack() as stack:
            threads = torch.get_num_threads()
            stack.callback(torch.set_num_threads, threads)
            torch.set_num_threads(settings.threads)  # before anything computes: others may be busy
            self._form: nn.Module = self.network
            if not reference:
                self._form = serving_form(self.network, self.device, settings.bfloat16)
                warm_up(self._form)
            if shared is None:
                folder = tempfile.TemporaryDirectory(prefix="chest-xray-")
                shared = Path(stack.enter_context(folder))
            self._fetcher = Fetcher(settings)
            stack.callback(self._fetcher.close)
            self._dicom = DicomDecoder(settings)
            stack.callback(self._dicom.close)
            count = max(1, cores() // settings.threads)
            self._cores = CoreSlots(count, shared, lambda: torch.set_num_threads(settings.threads))
            stack.callback(self._cores.close)
            self._fetching = stack.enter_context(
                ThreadPoolExecutor(settings.fetch_parallel, "fetch")
            )
            self._stack = stack.pop_all()

    @classmethod
    def load(
        cls, source: Path | str, settings: Settings | None = None, **options: Any
    ) -> "Classifier":
        """The classifier of a ``.mar`` file or of an unpacked archive.

        Args:
            settings: by default those that the archive was packed with.
            options: as of the constructor.

        Raises:
            FileNotFoundError, ValueError: as :meth:`Archive.open` and the constructor raise them.
        """
        archive = Archive.open(Path(source))
        if settings is None:
            settings = Settings.packed_in(archive, {})
        return cls(load_network(archive), archive.version, settings, **options)

    def __enter__(self) -> "Classifier":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads and processes that it started."""
        self._stack.close()

    def classify(self, requests: Sequence[Request | InputError]) -> list[Outcome]:
        """Answer every request by itself, in order.

        Args:
            requests: what is asked; an error stands for a request that could not be understood.
        """
        images = images_of(requests)
        distinct = list({id(image): image for image in images if image}.values())
        self._fetch([image for image in distinct if isinstance(image.source, ImageUrl)])
        self._read(distinct)
        answer_all = self.settings.answer_out_of_distribution
        outcomes = [
            outcome(request, image, answer_all)
            for request, image in zip(requests, images, strict=True)
        ]
        self._explain({id(each.image): each.image for each in outcomes if each.explanation})
        return outcomes

    def _fetch(self, images: Sequence[Image]) -> None:
        """Fetch images side by side. All share one deadline, so that the slowest keeps the others
        no longer than that."""
        deadline = time.monotonic() + self.settings.fetch_timeout_s
        for fetching in [self._fetching.submit(self._fetch_one, each, deadline) for each in images]:
            fetching.result()

    def _fetch_one(self, image: Image, deadline: float) -> None:
        assert isinstance(image.source, ImageUrl)
        start = time.monotonic()
        try:
            image.data = self._fetcher.fetch(image.source.url, deadline)
        except InputError as error:
            image.error = error
        image.fetch_s = time.monotonic() - start

    def _read(self, images: Sequence[Image]) -> None:
        """Decode and read images on the cores that are free; a GPU reads all of them at once."""
        if not images:
            return
        fetched = any(image.fetch_s is not None for image in images)
        if self.device.type == "cuda":
            self._cores.share(self.decode, images, fetched)
            self.infer(images)
        else:
            self._cores.share(self._decode_and_infer, images, fetched)

    def _decode_and_infer(self, images: Sequence[Image]) -> None:
        self.decode(images)
        self.infer(images)

    def decode(self, images: Sequence[Image]) -> None:
        """Decode and transform images, or note why that cannot be done."""
        for image in images:
            if image.error:
                continue
            start = time.perf_counter()
            try:
                self._decode_one(image)
            except InputError as error:
                image.error = error
            else:
                image.decode_s = time.perf_counter() - start
            image.data = b""

    def _decode_one(self, image: Image) -> None:
        image.size = len(image.data)
        if self.settings.audit:
            image.sha256 = hashlib.sha256(image.data).hexdigest()
        picture = self._picture(image.data)
        image.warnings = picture.warnings
        image.pixels = to_tensor(picture.gray)
        if image.explained:
            image.film = at_own_aspect(picture.gray)

    def _picture(self, data: bytes) -> Picture:
        limit = self.settings.max_image_bytes
        if len(data) > limit:
            raise InputError("image_too_large", f"The image has more than {limit} bytes.")
        try:
            if sniff(data) == "DICOM":
                return self._dicom.decode(data)
            return Picture(decode_grayscale(data, self.settings.max_image_pixels))
        except (MemoryError, OSError, EOFError):  # no memory, or no process for DICOM
            message = "The image could not be decoded for lack of resources; try again later."
            raise InputError("decoding_failed", message) from None

    def infer(self, images: Sequence[Image]) -> None:
        """Have the network read what was decoded; if it fails, that is an error of each image."""
        decoded = [image for image in images if image.pixels is not None]
        if not decoded:
            return
        start = time.perf_counter()
        try:
            pixels = torch.stack([image.pixels for image in decoded if image.pixels is not None])
            predictions = self._outputs.predictions(self.readings(pixels))
        except Exception as error:
            self._observer.failed(error)
            message = "The image could not be classified because of an internal error; try again."
            for image in decoded:
                image.error = InputError("inference_failed", message)
            return
        seconds = time.perf_counter() - start
        for image, prediction in zip(decoded, predictions, strict=True):
            image.prediction, image.inference_s = prediction, seconds
            if not image.explained:
                image.pixels = None
        self._observer.succeeded()

    @torch.inference_mode()
    def readings(self, pixels: Tensor) -> Tensor:
        """float32 (N, 1, 224, 224) -> readings (N, outputs) as of ServedNet, on the CPU."""
        readings: Tensor = self._form(pixels.to(self._precision))
        return readings

    def _explain(self, images: dict[int, Image | None]) -> None:
        """Heat maps of images that have a label, each once."""
        explained = [image for image in images.values() if image and image.pixels is not None]
        if not explained:
            return
        pixels = torch.stack([image.pixels for image in explained if image.pixels is not None])
        with self._cores.one():
            pixels = pixels.to(self.device, self._precision)
            with torch.inference_mode():
                upright = self.network.upright(pixels)
            heats = self.network.as_sent(heatmaps(self.network.network, upright), pixels).cpu()
        for image, heat in zip(explained, heats, strict=True):
            image.heatmap = heat.float()
