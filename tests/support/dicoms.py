"""Synthetic DICOM files in every transfer syntax that we read: films of ``films``, no patient."""

import io
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gdcm
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    generate_uid,
)

from support.films import draw_film

FILM = draw_film(3, 160, 140)
LIMIT = 1_000_000
"""Pixels; no film here has as many."""

NATIVE = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}
COMPRESSED = {
    "RLE": gdcm.TransferSyntax.RLELossless,
    "JPEG baseline": gdcm.TransferSyntax.JPEGBaselineProcess1,
    "JPEG lossless": gdcm.TransferSyntax.JPEGLosslessProcess14,
    "JPEG lossless SV1": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    "JPEG-LS": gdcm.TransferSyntax.JPEGLSLossless,
    "JPEG-LS near": gdcm.TransferSyntax.JPEGLSNearLossless,
    "JPEG 2000": gdcm.TransferSyntax.JPEG2000Lossless,
    "JPEG 2000 lossy": gdcm.TransferSyntax.JPEG2000,
}
PATIENT = "Secret^Patient"


def dicom(pixels: NDArray[Any], syntax: str = "explicit", **elements: Any) -> bytes:
    """A DX file of this picture: (H, W) grey or (H, W, 3) RGB, uint8 or uint16 or int16.

    Args:
        pixels: the stored values.
        syntax: a key of NATIVE or COMPRESSED.
        elements: data elements by keyword, beside or instead of the usual ones; None leaves out.
    """
    bits = pixels.dtype.itemsize * 8
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    native = NATIVE.get(syntax, ExplicitVRLittleEndian)
    ds.file_meta.TransferSyntaxUID = native
    values = {
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": generate_uid(entropy_srcs=["film"]),
        "Modality": "DX",
        "PatientName": PATIENT,
        "PatientID": "4711-0815",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1 if pixels.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if pixels.ndim == 2 else "RGB",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **elements,
    }
    values.setdefault("HighBit", values["BitsStored"] - 1)
    if pixels.ndim == 3:
        values.setdefault("PlanarConfiguration", 0)
        if values["PlanarConfiguration"] == 1:
            pixels = np.moveaxis(pixels, 2, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some tests want what the standard does not
        for keyword, value in values.items():
            if value is not None:
                setattr(ds, keyword, value)
    order = ">" if syntax == "big endian" else "<"
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    return _transcode(data, COMPRESSED[syntax]) if syntax in COMPRESSED else data


def dicom_of_jpeg(data: bytes, height: int, width: int) -> bytes:
    """A colour JPEG as the frame of a file, as cameras and scanners make it."""
    ds = pydicom.dcmread(io.BytesIO(dicom(np.zeros((height, width, 3), np.uint8))))
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.PixelData = encapsulate([data])
    ds["PixelData"].VR = "OB"
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def lut(entries: NDArray[Any], first: int = 0, depth: int = 8) -> pydicom.Sequence:
    """A LUT for ``ModalityLUTSequence`` or ``VOILUTSequence``."""
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, depth]
    item.LUTData = np.asarray(entries).astype("<u2").tobytes()
    return pydicom.Sequence([item])


def frames(pictures: list[NDArray[Any]]) -> bytes:
    """A file with several frames."""
    high = np.concatenate(pictures)
    data = dicom(high, NumberOfFrames=len(pictures))
    ds = pydicom.dcmread(io.BytesIO(data))
    ds.Rows = len(pictures[0])
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _transcode(data: bytes, syntax: int) -> bytes:
    with TemporaryDirectory() as name:
        before, after = Path(name, "before.dcm"), Path(name, "after.dcm")
        before.write_bytes(data)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(before))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(after))
        assert writer.Write()
        return after.read_bytes()


def agree(gray: NDArray[np.uint8], film: NDArray[np.uint8] = FILM, within: int = 1) -> None:
    """Assert that a decoded picture is the film, up to so many shades."""
    assert gray.dtype == np.uint8
    assert gray.shape == film.shape
    assert np.abs(gray.astype(int) - film).max() <= within
