import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from chest_xray.errors import InputError
from chest_xray.image import ENOUGH, decode_grayscale
from chest_xray.transform import SIZE, resize
from support.films import draw_film, encode, forms

FILM = draw_film(3)
LIMIT = 1_000_000


def code_of(data):
    with pytest.raises(InputError) as caught:
        decode_grayscale(data, LIMIT)
    return caught.value.code


@pytest.mark.parametrize("form", forms(FILM))
def test_every_form_is_the_same_picture(form):
    gray = decode_grayscale(forms(FILM)[form], LIMIT)
    assert gray.dtype == np.uint8
    assert np.array_equal(gray, FILM)


@pytest.mark.parametrize("mode", [None, "RGB", "CMYK"])
def test_jpeg(mode):
    gray = decode_grayscale(encode(FILM, "JPEG", mode, quality=95), LIMIT)
    assert np.abs(gray.astype(int) - FILM).mean() < 2


def test_bilevel_png():
    gray = decode_grayscale(encode(FILM, "PNG", "1"), LIMIT)
    assert set(np.unique(gray)) == {0, 255}


def test_transparency_lies_on_black():
    image = np.zeros((4, 4, 4), np.uint8)
    image[..., :3] = 200  # white enough, but fully transparent
    assert decode_grayscale(encode(image, "PNG"), LIMIT).max() == 0


def test_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    gray = decode_grayscale(encode(FILM, "JPEG", exif=exif), LIMIT)
    assert gray.shape == FILM.shape[::-1]


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"\0" * 200,
     encode(FILM, "GIF"), encode(FILM, "TIFF"), encode(FILM, "WEBP")],
    ids=["empty", "text", "svg", "pdf", "zeros", "gif", "tiff", "webp"],
)  # fmt: skip
def test_neither_jpeg_nor_png(data):
    assert code_of(data) == "unsupported_image"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (encode(FILM, "GIF"), "GIF"),
        (encode(FILM, "TIFF"), "TIFF"),
        (encode(FILM, "WEBP"), "WebP"),
        (encode(FILM, "BMP"), "BMP"),
        (encode(FILM, "JPEG2000"), "JPEG 2000"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?><a/>", "XML"),
        (b"\xef\xbb\xbf <!DOCTYPE HTML><title>404", "HTML"),
        (b'{"error": "no film"}', "JSON"),
        (b"PK\x03\x04film.dcm", "ZIP"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\0\0\0\x20ftypavif", "AVIF"),
        (b"no film", "text"),
        (bytes(range(256)), "something else"),
    ],
)
def test_what_was_found_is_said(data, found):
    with pytest.raises(InputError) as caught:
        decode_grayscale(data, LIMIT)
    assert caught.value.code == "unsupported_image"
    assert found in caught.value.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
def test_cut_off(kind, share):
    data = encode(FILM, kind)
    assert code_of(data[: max(12, int(len(data) * share))]) == "corrupt_image"


@pytest.mark.parametrize("side", [2_000, 60_000])
def test_too_many_pixels_by_header_alone(side):
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header
    chunk += struct.pack(">I", zlib.crc32(b"IHDR" + header))
    idat = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    assert code_of(b"\x89PNG\r\n\x1a\n" + chunk + idat) == "image_too_large"


def test_multi_picture_jpeg():
    frames = [Image.fromarray(draw_film(seed)) for seed in (1, 2)]
    data = encode(FILM, "MPO", save_all=True, append_images=frames)
    assert data.startswith(b"\xff\xd8\xff")
    assert code_of(data) == "unsupported_image"


def test_damaged_exif_is_ignored():
    data = encode(FILM, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 40)
    assert decode_grayscale(data, LIMIT).shape == FILM.shape


def test_animated_png():
    frames = [Image.fromarray(draw_film(seed)) for seed in (1, 2)]
    data = encode(FILM, "PNG", save_all=True, append_images=frames)
    assert code_of(data) == "unsupported_image"


@given(
    kind=st.sampled_from(["JPEG", "PNG"]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1),
)
def test_damage_is_a_picture_or_the_callers_error(kind, changes):
    data = bytearray(encode(FILM[:64, :64], kind))
    for position, value in changes:
        data[position % len(data)] = value
    try:
        gray = decode_grayscale(bytes(data), LIMIT)
        assert gray.ndim == 2
        assert gray.dtype == np.uint8
    except InputError as error:
        assert error.status in (415, 422)


def test_a_large_jpeg_is_decoded_at_a_smaller_scale_to_nearly_the_same():
    gray = draw_film(3, 1400, 1000)
    found = decode_grayscale(encode(gray, "JPEG", quality=95), 10**9)
    assert found.shape == (700, 500)
    assert min(found.shape) >= ENOUGH == 2 * SIZE
    difference = resize(found).astype(int) - resize(gray)
    assert np.abs(difference).mean() < 1
    assert np.abs(difference).max() <= 6


@pytest.mark.parametrize("shape", [(895, 2000), (600, 600), (300, 260)])
def test_a_jpeg_that_would_become_too_small_keeps_its_size(shape):
    assert decode_grayscale(encode(draw_film(4, *shape), "JPEG"), 10**9).shape == shape
