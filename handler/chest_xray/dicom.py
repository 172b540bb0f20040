"""DICOM file -> grayscale as a reading room sees it. Runs in a process of its own: ``sandbox``.

The steps and their order are the standard's (PS3.3 C.11): modality LUT or rescale, VOI LUT or
window, then the inversion of MONOCHROME1. Of the data set only the elements listed below are
read, and nothing but the picture and our own words leaves this module.
"""

import io
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, uid
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array

from chest_xray.errors import InputError
from chest_xray.image import Picture, too_many

_PLAIN = {uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian}
_TRANSFER_SYNTAXES = {
    *_PLAIN,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
}
_ELEMENTS = [
    "SpecificCharacterSet",
    "Modality",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
]
_MODALITIES = ("CR", "DX")
# Named in the answer; anything else found there may be anything, a patient's name too.
_OTHER_MODALITIES = {
    "AR", "AU", "BI", "BMD", "CT", "DG", "DMS", "DOC", "ECG", "EEG", "EPS", "ES", "FID", "GM",
    "HD", "IO", "IVOCT", "IVUS", "KO", "LEN", "LS", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM",
    "OPT", "OPV", "OSS", "OT", "PLAN", "PR", "PT", "PX", "REG", "RESP", "RF", "RG", "RTDOSE",
    "RTIMAGE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RWV", "SEG", "SM", "SMR", "SR", "SRF", "STAIN",
    "TG", "US", "VA", "VF", "XA", "XC",
}  # fmt: skip
_ROWS = 32
_DEPTHS = (8, 10, 12, 14, 16)  # bits per pixel that detectors have


def decode_dicom(data: bytes, max_pixels: int) -> Picture:
    """Decode the first frame of one CR or DX file.

    Args:
        data: a DICOM file (PS3.10).
        max_pixels: the largest rows times columns that is decoded.

    Returns:
        The picture, 0 black to 255 white, and a warning ``modality_absent`` or
        ``first_frame_only`` where that applies.

    Raises:
        InputError: ``wrong_modality``, ``unsupported_image``, ``image_too_large`` or
            ``corrupt_image``.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(data, max_pixels)
    except InputError:
        raise
    except Exception:
        # Damaged files make pydicom and its decoders raise almost anything.
        message = "The DICOM file is damaged or cut off."
        raise InputError("corrupt_image", message) from None


def is_plain(data: bytes) -> bool:
    """Whether a file is decoded without the help of any library of C++: it is not compressed."""
    start = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=["Modality"])
    return start.file_meta.TransferSyntaxUID in _PLAIN


def _decode(data: bytes, max_pixels: int) -> Picture:
    ds = pydicom.dcmread(io.BytesIO(data), specific_tags=list(_ELEMENTS))
    found = []
    modality = str(ds.get("Modality") or "").strip().upper()
    if not modality:
        found.append("modality_absent")
    elif modality not in _MODALITIES:
        named = modality if modality in _OTHER_MODALITIES else "another modality"
        raise InputError("wrong_modality", f"Send a CR or DX image; this is {named}.")
    if ds.file_meta.TransferSyntaxUID not in _TRANSFER_SYNTAXES:
        message = "Send DICOM uncompressed, RLE, JPEG (8-bit or lossless), JPEG-LS or JPEG 2000."
        raise InputError("unsupported_image", message)
    if "PixelData" not in ds:
        message = "The DICOM file has no picture, or is cut off before its end."
        raise InputError("corrupt_image", message)
    if int(ds.Rows) * int(ds.Columns) > max_pixels:
        raise too_many(max_pixels)
    if int(ds.get("NumberOfFrames") or 1) > 1:
        found.append("first_frame_only")
    pixels = pixel_array(ds, index=0)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, ds)
    gray = _of_colour(pixels) if pixels.ndim == 3 else _of_samples(pixels, ds)
    return Picture(gray, tuple(found))


def _of_colour(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Luminance (H, W) of RGB (H, W, 3), as for PNG; a window is for grey alone."""
    if pixels.dtype.itemsize > 1:
        pixels = pixels >> 8
    return np.asarray(Image.fromarray(pixels.astype(np.uint8)).convert("L"))


def _of_samples(pixels: NDArray[Any], ds: Dataset) -> NDArray[np.uint8]:
    """uint8 (H, W) of stored values (H, W), by a table of what each possible value looks like."""
    bits = int(ds.BitsStored)
    if not 1 <= bits <= 16 or pixels.dtype.itemsize > 2 or pixels.dtype.kind not in "iu":
        raise ValueError("no grey picture")
    signed = int(ds.PixelRepresentation) == 1
    stored: NDArray[Any] = pixels.astype(f"u{pixels.dtype.itemsize}")  # negative ones wrap around
    if not ds.file_meta.TransferSyntaxUID.is_encapsulated:
        stored = stored >> max(0, int(ds.get("HighBit", bits - 1)) + 1 - bits)
    # Bits above the stored ones once held overlays. The table is in the order of this index, in
    # which the negative values of a signed picture come last.
    index = stored & ((1 << bits) - 1)
    values = np.arange(1 << bits)
    if signed:
        values[1 << (bits - 1) :] -= 1 << bits
    padding = _padding(ds, values)
    table = _brightness(ds, values, partial(_largest, index, padding))
    if ds.PhotometricInterpretation == "MONOCHROME1":
        table = 1 - table
    table[padding] = 0
    # Every shade has the same share of the range: an 8-bit film that was widened to any depth, by
    # shifting or by scaling, comes back exactly, as it does from a 16-bit PNG.
    return _through((table * 256).clip(0, 255).astype(np.uint8), index)


def _through(table: NDArray[np.uint8], index: NDArray[np.integer]) -> NDArray[np.uint8]:
    """``table[index]``, a few rows at a time: numpy widens what it takes as an index to 8 bytes."""
    gray = np.empty(index.shape, np.uint8)
    for start in range(0, len(index), _ROWS):
        rows = slice(start, start + _ROWS)
        np.take(table, index[rows], out=gray[rows], mode="clip")  # none is outside
    return gray


def _largest(
    index: NDArray[np.integer], padding: NDArray[np.bool_], values: NDArray[np.float64]
) -> float:
    """The largest of the values that occur in the picture; minus infinity if it is all padding."""
    if not padding.any() and (np.diff(values) >= 0).all():
        return float(values[index.max()])
    used = np.zeros(values.shape, bool)
    used[index] = True
    return float(values[used & ~padding].max(initial=-np.inf))


def _padding(ds: Dataset, values: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which stored values are no picture but the surroundings (PS3.3 C.7.5.1.1.2)."""
    if ds.get("PixelPaddingValue") is None:
        return np.zeros(values.shape, bool)
    one = int(ds.PixelPaddingValue)
    other = int(ds.get("PixelPaddingRangeLimit") or one)
    return (values >= min(one, other)) & (values <= max(one, other))


def _brightness(
    ds: Dataset, stored: NDArray[np.integer], largest: Callable[[NDArray[np.float64]], float]
) -> NDArray[np.float64]:
    """0 to 1 for every possible stored value; ``largest`` tells what the values that occur in the
    picture go up to."""
    values = stored.astype(np.float64)
    if sequence := ds.get("ModalityLUTSequence"):
        values, low, high = _look_up(sequence[0], values, ds)
    else:
        slope, intercept = ds.get("RescaleSlope"), ds.get("RescaleIntercept")
        if slope is not None and intercept is not None:
            values = values * float(slope) + float(intercept)
        low, high = float(values.min()), float(values.max())
    if sequence := ds.get("VOILUTSequence"):
        values, low, high = _look_up(sequence[0], values, ds)
    elif (window := _window(ds, values)) is not None:
        return window
    elif low == 0 and (most := largest(values)) >= 0:
        # Files without a window often declare 16 bits for a detector that has fewer.
        high = min([high, *(float(2**depth - 1) for depth in _DEPTHS if most < 2**depth)])
    if not high > low:
        raise ValueError("no range")
    return ((values - low) / (high - low)).clip(0, 1)


def _look_up(
    item: Dataset, values: NDArray[np.float64], ds: Dataset
) -> tuple[NDArray[np.float64], float, float]:
    """Values through a LUT (PS3.3 C.11.1.1), and the range that its entries can have."""
    count, first, depth = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if ds.file_meta.TransferSyntaxUID.is_little_endian else ">"
        data = np.frombuffer(data, np.uint8 if len(data) == count else f"{order}u2")
    entries = np.asarray(data, np.float64)[: count or 2**16]
    index = (np.rint(values).astype(np.int64) - first).clip(0, len(entries) - 1)
    return entries[index], 0.0, float(2**depth - 1)


def _window(ds: Dataset, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Values through the first window (PS3.3 C.11.2.1), 0 to 1; None if there is none of use."""
    centre, width = _first(ds.get("WindowCenter")), _first(ds.get("WindowWidth"))
    function = str(ds.get("VOILUTFunction") or "LINEAR").upper()
    if centre is None or width is None or not np.isfinite([centre, width]).all():
        return None
    if function == "SIGMOID" and width > 0:
        return np.asarray(1 / (1 + np.exp((-4 * (values - centre) / width).clip(-700, 700))))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if width < 0 or (width == 0 and function != "LINEAR"):
        return None
    if width == 0:
        return (values > centre).astype(np.float64)
    return ((values - centre) / width + 0.5).clip(0, 1)


def _first(value: object) -> float | None:
    """The first of an element's values; several windows are alternatives."""
    if isinstance(value, pydicom.multival.MultiValue):
        value = value[0] if len(value) else None
    return None if value in (None, "") else float(value)  # type: ignore[arg-type]
