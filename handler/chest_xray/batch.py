"""What is known of the images of one batch, and what became of the requests that asked about them.

An :class:`Image` is filled in step by step while it is fetched, decoded and read. Requests that
name the same URL share one image by reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from chest_xray.errors import InputError
from chest_xray.prediction import Prediction, distribution
from chest_xray.request import Explanation, ImageSource, ImageUrl, InlineImage, Request


@dataclass(eq=False)
class Image:
    """One image on its way from where it is to what the network reads in it."""

    source: ImageSource
    explained: bool = False
    """Somebody asks for a heat map of it."""

    data: bytes = b""
    """As it was sent or fetched; dropped once it is decoded."""

    size: int = 0
    """Bytes of the encoded image; 0 if there is none."""

    sha256: str = ""
    """Of the encoded image, in hexadecimal, if the audit trail needs it."""

    fetch_s: float | None = None
    """Seconds until it was fetched; None if it came with the request."""

    decode_s: float | None = None
    """Seconds for decoding and transforming it."""

    inference_s: float | None = None
    """Seconds in which the network read it and what else was in its part of the batch."""

    pixels: Tensor | None = None
    """float32 (1, 224, 224) in [0, 1]; kept until the network has read it, or explained it."""

    film: Tensor | None = None
    """float32 (H, W) in [0, 1] at its own aspect, if a heat map is asked for."""

    warnings: tuple[str, ...] = ()
    """Codes of what its callers should know."""

    prediction: Prediction | None = None
    """What the network says, whether or not it is a film."""

    heatmap: Tensor | None = None
    """float32 (h, w), if somebody who gets a label asks for it."""

    error: InputError | None = None
    """Why there is no prediction."""

    @property
    def host(self) -> str:
        """The host of its imageUrl; empty if it came with the request."""
        return self.source.host if isinstance(self.source, ImageUrl) else ""


@dataclass(frozen=True)
class Outcome:
    """What became of one request."""

    answer: Prediction | InputError
    request: Request | None = None
    """None if it could not be understood."""
    image: Image | None = field(default=None, compare=False)
    """What it asks about."""

    @property
    def explanation(self) -> Explanation | None:
        """The form of the heat map that belongs to the answer; None if there is none."""
        labelled = isinstance(self.answer, Prediction)
        return self.request.explanation if self.request and labelled else None


def images_of(requests: Sequence[Request | InputError]) -> list[Image | None]:
    """The image that every request asks about; None for those that are errors already."""
    fetched: dict[ImageUrl, Image] = {}
    found: list[Image | None] = []
    for request in requests:
        if isinstance(request, InputError):
            found.append(None)
            continue
        source = request.source
        if isinstance(source, InlineImage):
            image = Image(source, data=source.data)
        else:
            image = fetched.setdefault(source, Image(source))
        image.explained |= request.explanation is not None
        found.append(image)
    return found


def outcome(request: Request | InputError, image: Image | None, answer_all: bool) -> Outcome:
    """What a request gets, once its image is read.

    Args:
        answer_all: give a label to images that are no chest films, whether or not it was asked for.
    """
    if isinstance(request, InputError):
        return Outcome(request)
    assert image
    if image.prediction is None:
        assert image.error
        return Outcome(image.error, request, image)
    allowed = answer_all or request.allow_out_of_distribution
    return Outcome(_gated(image.prediction, image.warnings, allowed), request, image)


def _gated(
    prediction: Prediction, warnings: tuple[str, ...], allowed: bool
) -> Prediction | InputError:
    """The prediction, unless the image is of a kind that none should be given for."""
    if prediction.in_distribution or allowed:
        return replace(prediction, warnings=(*warnings, *prediction.warnings))
    message = (
        "The image does not look like a frontal chest X-ray, so a label would mean nothing. Send "
        '"allowOutOfDistribution": true with the image to get one all the same.'
    )
    return InputError("not_a_chest_xray", message, distribution(prediction))
