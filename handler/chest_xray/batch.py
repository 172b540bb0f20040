"""The rows of one batch: good ones go on together, each bad one keeps its own error."""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from chest_xray.errors import InputError
from chest_xray.fetch import Fetcher
from chest_xray.image import Picture, decode_grayscale, sniff
from chest_xray.prediction import Prediction, distribution, predict
from chest_xray.request import Explanation, ImageUrl, InlineImage, Request
from chest_xray.sandbox import DicomDecoder
from chest_xray.settings import Settings
from chest_xray.slots import Slots
from chest_xray.transform import to_tensor

Outcome = Prediction | InputError


@dataclass(frozen=True)
class Row:
    """What is known of one row besides its values."""

    request: Request | None = None
    """What its caller asks; None if that could not be read."""

    size: int = 0
    """Bytes of the encoded image; 0 if there is none."""

    host: str = ""
    """The host of its imageUrl."""

    sha256: str = ""
    """Of the encoded image, for the audit trail."""

    fetch_s: float | None = None
    """Seconds from the start of the batch until the image was there."""

    decode_s: float | None = None
    """Seconds for decoding and transforming it."""

    warnings: tuple[str, ...] = ()
    """Codes of what its caller should know."""

    error: InputError | None = None
    """Why it has no value."""

    @property
    def explanation(self) -> Explanation | None:
        """The form in which its caller wants the heat map."""
        return self.request.explanation if self.request else None


@dataclass(frozen=True)
class Batch:
    """What is known of n rows."""

    values: Tensor | None
    """One per row without an error, in row order: first the images float32 (G, 1, 224, 224), then
    what the network reads in them, float32 (G, 4); None if G is 0."""

    rows: tuple[Row, ...]

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """The same batch with ``function`` applied to the values, if there are any."""
        return replace(self, values=None if self.values is None else function(self.values))

    def failed(self, error: InputError) -> "Batch":
        """The same batch with this error in the place of every value."""
        rows = (row if row.error else replace(row, error=error) for row in self.rows)
        return Batch(None, tuple(rows))

    def places(self) -> dict[int, int]:
        """Where in ``values`` the value of every row without an error is."""
        good = [index for index, row in enumerate(self.rows) if not row.error]
        return {index: position for position, index in enumerate(good)}

    def outcomes(self, answer_all: bool = False) -> list[Outcome]:
        """One prediction or error per row, in row order; the values are readings by now.

        Args:
            answer_all: predict for images that are no chest films, whether or not a row asks so.
        """
        predictions = iter([] if self.values is None else predict(self.values))
        return [row.error or _gated(next(predictions), row, answer_all) for row in self.rows]


def _gated(prediction: Prediction, row: Row, answer_all: bool) -> Outcome:
    """The prediction, unless the image is of a kind that none should be given for."""
    allowed = answer_all or bool(row.request and row.request.allow_out_of_distribution)
    if prediction.in_distribution or allowed:
        return replace(prediction, warnings=row.warnings)
    message = (
        "The image does not look like a frontal chest X-ray, so a label would mean nothing; send "
        '"allowOutOfDistribution": true beside the image to get one all the same.'
    )
    return InputError("not_a_chest_xray", message, distribution(prediction))


class ImageLoader:
    """Makes a batch of images from where they are; fetches side by side.

    Raises:
        ValueError: a setting cannot be used.
    """

    def __init__(self, settings: Settings, slots: Slots) -> None:
        self._settings = settings
        self._slots = slots
        self._fetcher = Fetcher(settings)
        self._dicom = DicomDecoder(settings)
        self._executor = ThreadPoolExecutor(settings.fetch_parallel, "fetch")

    def load(self, requests: Sequence[Request | InputError]) -> Batch:
        """Fetch, decode and transform every row.

        All fetches share one deadline, so that the slowest row keeps the others no longer than
        that, and what is there is decoded while the rest is on its way.

        Args:
            requests: per row, what it asks, or the error that it already earned.
        """
        fetches = self._fetches(requests)
        rows: dict[int, Row] = {
            index: Row(error=request)
            for index, request in enumerate(requests)
            if isinstance(request, InputError)
        }
        images: dict[int, Tensor] = {}

        def decode(parts: Sequence[tuple[Sequence[int], Row, Callable[[], bytes]]]) -> None:
            for indices, row, get in parts:
                row, image = self._image(row, get)
                rows.update(dict.fromkeys(indices, row))
                if image is not None:
                    images.update(dict.fromkeys(indices, image))

        inline = [
            ((index,), Row(), partial(bytes, request.source.data))
            for index, request in enumerate(requests)
            if isinstance(request, Request) and isinstance(request.source, InlineImage)
        ]
        if inline:
            self._slots.share(decode, inline)
        start = time.monotonic()
        while fetches:
            there = wait(fetches, return_when=FIRST_COMPLETED).done
            fetch_s = time.monotonic() - start
            found = [(fetch, *fetches.pop(fetch)) for fetch in there]
            self._slots.share(
                decode,
                [
                    (indices, Row(host=source.host, fetch_s=fetch_s), fetch.result)
                    for fetch, source, indices in found
                ],
            )
        values = torch.stack([images[index] for index in sorted(images)]) if images else None
        return Batch(
            values,
            tuple(
                replace(rows[index], request=request if isinstance(request, Request) else None)
                for index, request in enumerate(requests)
            ),
        )

    def close(self) -> None:
        """Give everything back; for tests, since a worker ends by being killed."""
        self._executor.shutdown()
        self._fetcher.close()
        self._dicom.close()

    def _fetches(
        self, requests: Sequence[Request | InputError]
    ) -> dict[Future[bytes], tuple[ImageUrl, list[int]]]:
        """A running fetch per different URL, with the rows that wait for it."""
        rows: dict[ImageUrl, list[int]] = {}
        for index, request in enumerate(requests):
            if isinstance(request, Request) and isinstance(request.source, ImageUrl):
                rows.setdefault(request.source, []).append(index)
        deadline = time.monotonic() + self._settings.fetch_timeout_s
        return {
            self._executor.submit(self._fetcher.fetch, source.url, deadline): (source, indices)
            for source, indices in rows.items()
        }

    def _image(self, row: Row, get: Callable[[], bytes]) -> tuple[Row, Tensor | None]:
        """The row with what is now known of it, and its image unless there is an error."""
        try:
            data = get()
            start = time.perf_counter()
            digest = hashlib.sha256(data).hexdigest() if self._settings.audit else ""
            row = replace(row, size=len(data), sha256=digest)
            picture = self._decode(data)
            image = to_tensor(picture.gray)
        except InputError as error:
            return replace(row, error=error), None
        decode_s = time.perf_counter() - start
        return replace(row, warnings=picture.warnings, decode_s=decode_s), image

    def _decode(self, data: bytes) -> Picture:
        limit = self._settings.max_image_bytes
        if len(data) > limit:
            raise InputError("image_too_large", f"The image has more than {limit} bytes.")
        try:
            if sniff(data) == "DICOM":
                return self._dicom.decode(data)
            return Picture(decode_grayscale(data, self._settings.max_image_pixels))
        except (MemoryError, OSError, EOFError):  # no memory, or no process for DICOM
            message = "The image could not be decoded for lack of resources; try again later."
            raise InputError("decoding_failed", message) from None
