"""bytes -> grayscale: JPEG and PNG in every colour form mean the same picture; DICOM is told apart.

What the bytes are is told from the bytes alone: names and declared types are not looked at.
"""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from chest_xray.errors import InputError

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"%PDF", "PDF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop"),
    (b"SIMPLE  =", "FITS"),
    (b"\x93NUMPY", "NumPy"),
    (b"\0\0\1\0", "ICO"),
    (b"\x5c\x01\0\0", "NIfTI"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)

ENOUGH = 448
"""Pixels of a side that a JPEG is decoded to at least, if it has them: twice the side of the
transform's output (which cannot be imported here, where DICOM's process has no room for torch)."""


@dataclass(frozen=True)
class Picture:
    """A decoded image."""

    gray: NDArray[np.uint8]
    """Shape (H, W), 0 black to 255 white."""

    warnings: tuple[str, ...] = ()
    """Codes of what the caller should know about it."""


def sniff(data: bytes) -> str:
    """``DICOM``, ``JPEG``, ``PNG``, or a word for what else the content is."""
    if data[128:132] == b"DICM":  # before it lies a preamble that may look like anything
        return "DICOM"
    for magic, name in _SIGNATURES:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return "HEIF, AVIF or a film clip"
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in text:
        return "SVG"
    if text.startswith((b"<!doctype html", b"<html")) or b"<html" in text:
        return "HTML"
    if text.startswith(b"<"):
        return "XML"
    if text.startswith((b"{", b"[")):
        return "JSON"
    return "text" if text and _printable(text) else "something else"


def unsupported(data: bytes) -> InputError:
    """The error for content that no decoder of ours takes."""
    found = sniff(data)
    return InputError("unsupported_image", f"Send JPEG, PNG or DICOM; this is {found}.")


def decode_grayscale(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode one JPEG or PNG, recognised by its content.

    16-bit samples keep their high byte, colour becomes luminance (ITU-R 601-2, as Pillow's
    ``L``), transparency is laid on black and EXIF orientation is applied.

    Args:
        data: the encoded image.
        max_pixels: the largest width times height that is decoded.

    Returns:
        uint8, shape (H, W), 0 black to 255 white.

    Raises:
        InputError: ``unsupported_image``, ``image_too_large`` or ``corrupt_image``.
    """
    kind = sniff(data)
    if kind not in ("JPEG", "PNG"):
        raise unsupported(data)
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images, where the limit decides, and of damaged metadata.
            warnings.simplefilter("ignore")
            return _decode(data, kind, max_pixels)
    except Image.DecompressionBombError:
        raise too_many(max_pixels) from None
    except (InputError, MemoryError):
        raise
    except Exception:
        # Damaged files make Pillow raise almost anything: OSError, SyntaxError, struct.error …
        message = f"The {kind} image is damaged or cut off."
        raise InputError("corrupt_image", message) from None


def _decode(data: bytes, kind: str, max_pixels: int) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(data), formats=(kind,))
    if image.width * image.height > max_pixels:
        raise too_many(max_pixels)
    if getattr(image, "n_frames", 1) > 1:
        message = f"A {kind} with several frames is not supported; send one of them."
        raise InputError("unsupported_image", message)
    if kind == "JPEG":
        # Luminance alone, and at 1/2, 1/4 or 1/8 of its size while both sides stay above what the
        # transform resizes without averaging: the codec skips what would be averaged away.
        image.draft("L", (ENOUGH, ENOUGH))
    image.load()
    return _to_grayscale(_upright(image))


def too_many(max_pixels: int) -> InputError:
    """The error for a picture over the limit."""
    return InputError("image_too_large", f"The image has more than {max_pixels} pixels.")


def _printable(text: bytes) -> bool:
    return all(byte >= 0x20 or byte in b"\t\r\n" for byte in text)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says; a damaged EXIF block does not make the picture worse."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:
        pass
    return image


def _to_grayscale(image: Image.Image) -> NDArray[np.uint8]:
    """uint8 (H, W) from any mode that Pillow's JPEG and PNG readers produce."""
    if image.mode.startswith("I"):  # 16-bit grey; "I" in older Pillow
        # The high byte, so that 8-bit films widened by x256 and by x257 both come back exactly.
        return (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return np.asarray(image if image.mode == "L" else image.convert("L"))
