"""The rows of one batch: good ones go on together, each bad one keeps its own error."""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, NoReturn

import torch
from torch import Tensor

from chest_xray.errors import InputError
from chest_xray.fetch import Fetcher
from chest_xray.image import Picture, decode_grayscale, sniff
from chest_xray.prediction import Prediction, distribution, predict
from chest_xray.request import Explanation, ImageUrl, InlineImage, Request
from chest_xray.sandbox import DicomDecoder
from chest_xray.settings import Settings
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

    inference_s: float | None = None
    """Seconds in which the network read it and what else was in its part of the batch."""

    image: Tensor | None = None
    """float32 (1, 224, 224), if a heat map of it is asked for."""

    warnings: tuple[str, ...] = ()
    """Codes of what its caller should know."""

    error: InputError | None = None
    """Why it has no value."""

    @property
    def explanation(self) -> Explanation | None:
        """The form in which its caller wants the heat map."""
        return self.request.explanation if self.request else None


@dataclass(frozen=True)
class EncodedImage:
    """An image of a batch, as it was sent or fetched, for one row or several."""

    indices: tuple[int, ...]
    """Of the rows that ask about it."""

    get: Callable[[], bytes]
    """Gives its bytes, or raises InputError."""

    known: Row = Row()
    """What is known of it so far."""

    kept: bool = False
    """A heat map of it is asked for."""


@dataclass(frozen=True)
class Batch:
    """What is known of n images or rows."""

    values: Tensor | None
    """One per row without an error, in row order: first the images float32 (G, 1, 224, 224), then
    what the network reads in them, float32 (G, 4); None if G is 0."""

    rows: tuple[Row, ...]

    @classmethod
    def join(cls, parts: "Sequence[Batch]") -> "Batch":
        """The parts of a batch, one after the other."""
        values = [part.values for part in parts if part.values is not None]
        whole = values[0] if len(values) == 1 else torch.cat(values) if values else None
        return cls(whole, tuple(chain.from_iterable(part.rows for part in parts)))

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """The same batch with ``function`` applied to the values, if there are any, and the time
        that took."""
        if self.values is None:
            return self
        start = time.perf_counter()
        values = function(self.values)
        seconds = time.perf_counter() - start
        return Batch(values, self._now_known(inference_s=seconds))

    def failed(self, error: InputError) -> "Batch":
        """The same batch with this error in the place of every value."""
        return Batch(None, self._now_known(error=error))

    def _now_known(self, **known: Any) -> tuple[Row, ...]:
        """The rows, with this in those without an error."""
        return tuple(row if row.error else replace(row, **known) for row in self.rows)

    def of_rows(
        self, requests: "Sequence[Request | InputError]", images: Sequence[EncodedImage]
    ) -> "Batch":
        """This batch of images as one of the rows that ask about them.

        Args:
            requests: per row, what it asks, or the error that it already earned.
            images: what this batch was made of.
        """
        position = {index: place for place, image in enumerate(images) for index in image.indices}
        good = [place for place, row in enumerate(self.rows) if not row.error]
        value = {place: index for index, place in enumerate(good)}
        rows, taken = [], []
        for index, request in enumerate(requests):
            if isinstance(request, InputError):
                rows.append(Row(error=request))
                continue
            place = position[index]
            rows.append(replace(self.rows[place], request=request))
            if place in value:
                taken.append(value[place])
        values = self.values
        if values is not None and taken != list(range(len(values))):
            values = values[taken]
        return Batch(values, tuple(rows))

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

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fetcher = Fetcher(settings)
        self._dicom = DicomDecoder(settings)
        self._executor = ThreadPoolExecutor(settings.fetch_parallel, "fetch")

    def fetch(self, requests: Sequence[Request | InputError]) -> list[EncodedImage]:
        """The images of a batch, once they are there.

        Rows with the same URL share one image. All fetches share one deadline, so that the slowest
        row keeps the others no longer than that.

        Args:
            requests: per row, what it asks, or the error that it already earned.
        """
        images = []
        rows: dict[ImageUrl, list[int]] = {}
        kept: set[ImageUrl] = set()
        for index, request in enumerate(requests):
            if not isinstance(request, Request):
                continue
            source, explained = request.source, request.explanation is not None
            if isinstance(source, InlineImage):
                images.append(EncodedImage((index,), partial(bytes, source.data), kept=explained))
            else:
                rows.setdefault(source, []).append(index)
                kept.update([source] if explained else [])
        deadline = time.monotonic() + self._settings.fetch_timeout_s
        fetches = {
            source: self._executor.submit(_timed, self._fetcher.fetch, source.url, deadline)
            for source in rows
        }
        for source, fetch in fetches.items():
            seconds, get = fetch.result()
            known = Row(host=source.host, fetch_s=seconds)
            images.append(EncodedImage(tuple(rows[source]), get, known, source in kept))
        return images

    def decode(self, images: Sequence[EncodedImage]) -> Batch:
        """Decode and transform every image."""
        rows, values = [], []
        for image in images:
            row, value = self._decode_one(image)
            rows.append(row)
            if value is not None:
                values.append(value)
        return Batch(torch.stack(values) if values else None, tuple(rows))

    def close(self) -> None:
        """Give everything back; for tests, since a worker ends by being killed."""
        self._executor.shutdown()
        self._fetcher.close()
        self._dicom.close()

    def _decode_one(self, image: EncodedImage) -> tuple[Row, Tensor | None]:
        """What is now known of it, and its values unless there is an error."""
        row = image.known
        try:
            data = image.get()
            start = time.perf_counter()
            digest = hashlib.sha256(data).hexdigest() if self._settings.audit else ""
            row = replace(row, size=len(data), sha256=digest)
            picture = self._decode(data)
            value = to_tensor(picture.gray)
        except InputError as error:
            return replace(row, error=error), None
        decode_s = time.perf_counter() - start
        kept = value if image.kept else None
        return replace(row, warnings=picture.warnings, decode_s=decode_s, image=kept), value

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


def _timed(fetch: Callable[[str, float], bytes], url: str, deadline: float) -> Any:
    """Seconds of a fetch, and what gives its bytes or raises why there are none."""
    start = time.monotonic()
    try:
        data = fetch(url, deadline)
    except InputError as error:
        return time.monotonic() - start, partial(_raise, error)
    return time.monotonic() - start, partial(bytes, data)


def _raise(error: InputError) -> NoReturn:
    raise error
