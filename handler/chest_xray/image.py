"""bytes -> grayscale: JPEG and PNG in every colour form mean the same picture."""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from chest_xray.errors import InputError

_SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG"}


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
    kind = next((name for magic, name in _SIGNATURES.items() if data.startswith(magic)), None)
    if kind is None:
        raise InputError("unsupported_image", "The image is neither JPEG nor PNG.")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images; the limit below decides instead.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=(kind,))
        if image.width * image.height > max_pixels:
            raise InputError("image_too_large", f"The image has more than {max_pixels} pixels.")
        if getattr(image, "is_animated", False) and kind == "PNG":
            raise InputError("unsupported_image", "Animated PNG is not supported.")
        image.load()
        return _to_grayscale(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError:
        message = f"The image has more than {max_pixels} pixels."
        raise InputError("image_too_large", message) from None
    except (InputError, MemoryError):
        raise
    except Exception:
        # Damaged files make Pillow raise almost anything: OSError, SyntaxError, struct.error …
        message = f"The {kind} image is damaged or cut off."
        raise InputError("corrupt_image", message) from None


def _to_grayscale(image: Image.Image) -> NDArray[np.uint8]:
    """uint8 (H, W) from any mode that Pillow's JPEG and PNG readers produce."""
    if image.mode.startswith("I"):  # 16-bit grey; "I" in older Pillow
        # The high byte, so that 8-bit films widened by x256 and by x257 both come back exactly.
        return (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return np.asarray(image.convert("L"))
