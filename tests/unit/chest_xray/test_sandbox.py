"""The process that decodes DICOM: it ends what takes too much, and is replaced when it dies."""

import os
import signal
import time
from contextlib import suppress

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chest_xray.errors import InputError
from chest_xray.sandbox import DicomDecoder
from chest_xray.settings import Settings
from support.dicoms import (
    COMPRESSED,
    FILM,
    agree,
    dicom,
)
from support.films import draw_film


def test_a_deflated_bomb_is_stopped():
    bomb = dicom(np.zeros((10_000, 10_000), np.uint16), "deflated")
    small = DicomDecoder(Settings(dicom_memory_bytes=400_000_000))
    assert len(bomb) < 1_000_000
    with pytest.raises(InputError) as caught:
        small.decode(bomb)
    assert caught.value.code == "corrupt_image"
    agree(small.decode(dicom(FILM)).gray)
    small.close()


def test_an_endless_decoder_is_stopped():
    short = DicomDecoder(Settings(dicom_timeout_s=0.002))
    start = time.monotonic()
    with pytest.raises(InputError):
        short.decode(dicom(draw_film(1, 3000, 3000), "JPEG 2000"))
    assert time.monotonic() - start < 5
    short.close()


def test_a_process_that_was_killed_is_replaced(decoder):
    agree(decoder.decode(dicom(FILM)).gray)
    os.kill(decoder._process.pid, signal.SIGKILL)
    decoder._process.wait()  # its fork would answer until it is known to be dead
    agree(decoder.decode(dicom(FILM)).gray)


def fork_of(decoder):
    """The process that has read a file last and will read the next one."""
    agree(decoder.decode(dicom(FILM)).gray)
    [fork] = psutil.Process(decoder._process.pid).children()
    return fork.pid


@pytest.mark.parametrize("other", [dicom(FILM, "JPEG 2000"), dicom(FILM, "deflated"), b"DICM" * 99])
def test_no_file_meets_what_a_library_or_damage_left_behind(decoder, other):
    first = fork_of(decoder)
    assert fork_of(decoder) == first
    with suppress(InputError):
        decoder.decode(other)
    assert fork_of(decoder) != first


def test_a_fork_that_was_killed_while_it_waited_is_replaced(decoder):
    for _ in range(3):
        os.kill(fork_of(decoder), signal.SIGKILL)
        agree(decoder.decode(dicom(FILM, "RLE")).gray)


SAMPLES = [dicom(FILM, syntax) for syntax in ("explicit", *COMPRESSED)]


@settings(max_examples=300)
@given(
    sample=st.sampled_from(SAMPLES),
    changes=st.lists(st.tuples(st.integers(128, 40_000), st.integers(0, 255)), min_size=1),
    cut=st.none() | st.integers(132, 40_000),
)
def test_damage_is_a_picture_or_the_callers_error(decoder, sample, changes, cut):
    data = bytearray(sample)
    for position, value in changes:
        data[132 + position % (len(data) - 132)] = value
    try:
        gray = decoder.decode(bytes(data[:cut])).gray
        assert gray.ndim == 2
        assert gray.dtype == np.uint8
    except InputError as error:
        assert error.status in (415, 422)
