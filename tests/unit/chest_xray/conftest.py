"""Fixtures of several modules of the request path."""

import pytest

from chest_xray.sandbox import DicomDecoder
from chest_xray.settings import Settings
from support.dicoms import LIMIT


@pytest.fixture(scope="module")
def decoder():
    made = DicomDecoder(Settings(max_image_pixels=LIMIT, dicom_timeout_s=2.0))
    yield made
    made.close()
