"""The same picture in every form of DICOM."""

import numpy as np
import pytest

from chest_xray.dicom import decode_dicom
from chest_xray.errors import InputError
from chest_xray.image import decode_grayscale
from support.dicoms import (
    COMPRESSED,
    FILM,
    LIMIT,
    NATIVE,
    PATIENT,
    agree,
    dicom,
    dicom_of_jpeg,
    frames,
    lut,
)
from support.films import encode

WIDE = FILM.astype(np.uint16) * 16  # 12 bits


def gray_of(data):
    return decode_dicom(data, LIMIT).gray


def code_of(data):
    with pytest.raises(InputError) as caught:
        decode_dicom(data, LIMIT)
    assert PATIENT.partition("^")[0] not in caught.value.message
    return caught.value.code


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 12])
def test_every_transfer_syntax(decoder, syntax, photometric, bits):
    if (syntax, bits) == ("JPEG baseline", 12):
        pytest.skip("JPEG baseline has 8 bits")
    pixels, full = (FILM, 255) if bits == 8 else (WIDE, 4095)
    if photometric == "MONOCHROME1":
        pixels = full - pixels
    data = dicom(pixels, syntax, BitsStored=bits, PhotometricInterpretation=photometric)
    agree(decoder.decode(data).gray, within=3 if syntax == "JPEG baseline" else 1)


@pytest.mark.parametrize("syntax", ["explicit", "RLE", "JPEG lossless SV1", "JPEG-LS", "JPEG 2000"])
@pytest.mark.parametrize("planar", [0, 1])
def test_colour(decoder, syntax, planar):
    data = dicom(np.repeat(FILM[..., None], 3, axis=2), syntax, PlanarConfiguration=planar)
    agree(decoder.decode(data).gray)


def test_coloured_picture_has_the_luminance_of_the_png():
    colour = np.stack([FILM, FILM[::-1], FILM[:, ::-1]], axis=2)
    agree(gray_of(dicom(colour)), decode_grayscale(encode(colour, "PNG"), LIMIT), 0)


def test_ybr():
    # Grey in YBR_FULL: the colour differences are 128.
    ybr = np.stack([FILM, np.full_like(FILM, 128), np.full_like(FILM, 128)], axis=2)
    agree(gray_of(dicom(ybr, PhotometricInterpretation="YBR_FULL")))


def test_colour_in_jpeg_baseline():
    colour = np.stack([FILM, FILM[::-1], FILM[:, ::-1]], axis=2)
    data = encode(colour, "JPEG", quality=95)
    agree(gray_of(dicom_of_jpeg(data, *FILM.shape)), decode_grayscale(data, LIMIT), 2)


def test_palette():
    table = np.arange(256, dtype=np.uint16) * 257
    palette = {}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{name}PaletteColorLookupTableData"] = table.tobytes()
    agree(gray_of(dicom(FILM, PhotometricInterpretation="PALETTE COLOR", **palette)))


def test_rescale_comes_before_the_window():
    # As CT-like detectors store it: value * 2 - 1000, shown with a window in those units.
    elements = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    window = {"WindowCenter": 2 * 2048 - 1000, "WindowWidth": 2 * 4096}
    agree(gray_of(dicom(WIDE, BitsStored=12, **elements, **window)))


def test_window_cuts_both_ends():
    gray = gray_of(dicom(WIDE, BitsStored=12, WindowCenter=2048, WindowWidth=1024))
    expected = (((WIDE - 2047.5) / 1023 + 0.5).clip(0, 1) * 255).round()
    assert np.abs(gray - expected).max() <= 1


def test_the_first_of_several_windows():
    several = dicom(WIDE, BitsStored=12, WindowCenter=[2048, 100], WindowWidth=[4096, 10])
    agree(gray_of(several))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_functions(function):
    gray = gray_of(
        dicom(WIDE, BitsStored=12, WindowCenter=2048, WindowWidth=2000, VOILUTFunction=function)
    ).astype(int)
    order = np.argsort(WIDE, axis=None)
    assert (np.diff(gray.flat[order]) >= 0).all()
    assert np.abs(gray[np.abs(WIDE.astype(int) - 2048) < 16] - 128).max() <= 3


def test_inversion_comes_last():
    window = {"WindowCenter": 2048, "WindowWidth": 1024, "BitsStored": 12}
    plain = gray_of(dicom(WIDE, **window)).astype(int)
    inverted = gray_of(dicom(WIDE, PhotometricInterpretation="MONOCHROME1", **window))
    assert np.abs(255 - plain - inverted).max() <= 1


def test_voi_lut_with_more_entries_than_shades():
    entries = np.arange(4096) // 16
    agree(gray_of(dicom(WIDE, BitsStored=12, VOILUTSequence=lut(entries))))


def test_voi_lut_goes_before_a_window():
    entries = np.arange(4096)[::-1]
    gray = gray_of(
        dicom(WIDE, BitsStored=12, VOILUTSequence=lut(entries, depth=12), WindowCenter=1,
              WindowWidth=2)
    )  # fmt: skip
    agree(255 - gray)


def test_modality_lut():
    entries = np.arange(4096) * 4
    agree(gray_of(dicom(WIDE, BitsStored=12, ModalityLUTSequence=lut(entries, depth=14))))


def test_signed_values():
    signed = WIDE.astype(np.int16) - 2048
    agree(gray_of(dicom(signed, BitsStored=12)))
    agree(gray_of(dicom(signed, "JPEG lossless SV1", BitsStored=12)))


def test_overlay_bits_are_no_picture():
    drawn = WIDE.copy()
    drawn[::7] |= 0x8000
    agree(gray_of(dicom(drawn, BitsStored=12)))


def test_padding_is_black_in_both_polarities():
    pixels = WIDE.copy()
    pixels[:20] = 4095
    padded = {"BitsStored": 12, "PixelPaddingValue": 4095}
    assert gray_of(dicom(pixels, **padded))[:20].max() == 0
    pixels[:20] = 0
    padded = {"BitsStored": 12, "PixelPaddingValue": 0, "PixelPaddingRangeLimit": 3}
    gray = gray_of(dicom(pixels, PhotometricInterpretation="MONOCHROME1", **padded))
    assert gray[:20].max() == 0
    agree(255 - gray[20:], FILM[20:])


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("windowed", [False, True])
def test_a_widened_film_comes_back_exactly(bits, photometric, windowed):
    full = 2**bits - 1
    window = {"WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits} if windowed else {}
    for wide in (
        FILM.astype(np.uint32) << (bits - 8),
        FILM.astype(np.uint32) * full // 255,
        (FILM * (full / 255)).round(),
    ):
        if photometric == "MONOCHROME1":
            wide = full - wide
        pixels = wide.astype(np.uint16)
        data = dicom(pixels, BitsStored=bits, PhotometricInterpretation=photometric, **window)
        agree(gray_of(data), within=0)


def test_a_depth_declared_too_large():
    agree(gray_of(dicom(WIDE)))  # 16 bits declared, 12 used, no window


@pytest.mark.parametrize("modality", ["CT", "MR", "US", "MG", "SR", "SECRET"])
def test_other_modalities(modality):
    with pytest.raises(InputError) as caught:
        decode_dicom(dicom(FILM, Modality=modality), LIMIT)
    assert caught.value.code == "wrong_modality"
    assert (modality in caught.value.message) == (modality != "SECRET")


@pytest.mark.parametrize("modality", ["CR", "DX"])
def test_radiographs(modality):
    assert decode_dicom(dicom(FILM, Modality=modality), LIMIT).warnings == ()


def test_absent_modality_and_several_frames_are_warned_of():
    assert decode_dicom(dicom(FILM, Modality=None), LIMIT).warnings == ("modality_absent",)
    picture = decode_dicom(frames([FILM, FILM[::-1]]), LIMIT)
    assert picture.warnings == ("first_frame_only",)
    agree(picture.gray, within=0)


def test_too_large():
    assert code_of(dicom(FILM, Rows=5000, Columns=5000)) == "image_too_large"


def test_no_picture_and_foreign_transfer_syntax():
    data = dicom(FILM)
    assert code_of(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4\0")) in (
        "unsupported_image",
        "corrupt_image",
    )
    assert code_of(dicom(FILM, Rows=None)) == "corrupt_image"


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.99])
@pytest.mark.parametrize("syntax", ["explicit", "RLE", "JPEG-LS"])
def test_cut_off(decoder, syntax, share):
    data = dicom(FILM, syntax)
    with pytest.raises(InputError) as caught:
        decoder.decode(data[: max(140, int(len(data) * share))])
    assert caught.value.code in ("corrupt_image", "unsupported_image")
