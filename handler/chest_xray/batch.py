"""The rows of one batch: good ones go on together, each bad one keeps its own error."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from chest_xray.errors import InputError
from chest_xray.fetch import fetch
from chest_xray.image import decode_grayscale
from chest_xray.prediction import Prediction, predict
from chest_xray.request import ImageSource, ImageUrl, InlineImage
from chest_xray.settings import Settings
from chest_xray.transform import to_tensor

Outcome = Prediction | InputError


@dataclass(frozen=True)
class Batch:
    """What is known of n rows: a value for each good one, an error for each other one."""

    values: Tensor | None
    """First the images float32 (G, 3, 224, 224), then the logits float32 (G, 3); None if G is 0."""

    rows: tuple[int, ...]
    """The row each value belongs to, ascending, G of them."""

    errors: dict[int, InputError]
    """The error of every other row."""

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """The same batch with ``function`` applied to the values, if there are any."""
        values = None if self.values is None else function(self.values)
        return Batch(values, self.rows, self.errors)

    def outcomes(self) -> list[Outcome]:
        """One prediction or error per row, in row order; the values are logits by now."""
        predictions = [] if self.values is None else predict(self.values)
        by_row: dict[int, Outcome] = {
            **self.errors,
            **dict(zip(self.rows, predictions, strict=True)),
        }
        return [by_row[row] for row in sorted(by_row)]


def load_images(sources: Sequence[ImageSource | InputError], settings: Settings) -> Batch:
    """Fetch, decode and transform every row; fetches run side by side.

    Args:
        sources: per row, where its image is, or the error that its request already earned.
    """
    images: dict[int, Tensor] = {}
    errors: dict[int, InputError] = {}
    with ThreadPoolExecutor(settings.fetch_parallel) as executor:
        fetches = {
            row: executor.submit(fetch, source.url, settings)
            for row, source in enumerate(sources)
            if isinstance(source, ImageUrl)
        }
        for row, source in enumerate(sources):
            try:
                data = fetches[row].result() if row in fetches else _inline(source, settings)
                images[row] = to_tensor(decode_grayscale(data, settings.max_image_pixels))
            except InputError as error:
                errors[row] = error
    values = torch.stack(list(images.values())) if images else None
    return Batch(values, tuple(images), errors)


def _inline(source: ImageSource | InputError, settings: Settings) -> bytes:
    if isinstance(source, InputError):
        raise source
    assert isinstance(source, InlineImage)
    limit = settings.max_image_bytes
    if len(source.data) > limit:
        raise InputError("image_too_large", f"The image has more than {limit} bytes.")
    return source.data
