"""Drawn films in every form that is measured; no patient's."""

import io

import numpy as np
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

IMAGES = ("JPEG 512", "JPEG 1024", "JPEG 2048", "PNG 1024", "DICOM 1024")


def draw(name: str) -> bytes:
    """The image of this name, encoded; a JPEG has about as many bytes as a film's."""
    kind, _, side = name.partition(" ")
    size = int(side)
    y, x = np.mgrid[0:size, 0:size] / size
    picture = 150 + 40 * np.sin(6 * y)
    for centre in (0.3, 0.7):
        lung = ((x - centre) / 0.16) ** 2 + ((y - 0.5) / 0.36) ** 2
        picture = picture - 90 * np.exp(-(lung**3))
    picture = picture + 6 * np.sin(60 * y + 8 * (x - 0.5) ** 2)  # ribs
    picture = picture + np.random.default_rng(0).normal(0, 2, (size, size))
    gray = picture.clip(0, 255).astype(np.uint8)
    if kind == "DICOM":
        return _dicom(gray)
    buffer = io.BytesIO()
    Image.fromarray(gray).save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()


def _dicom(gray: np.ndarray) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.Modality = meta.MediaStorageSOPClassUID, "DX"
    data.Rows, data.Columns = gray.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = 0
    data.PixelData = (gray.astype(np.uint16) << 4).tobytes()
    buffer = io.BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
