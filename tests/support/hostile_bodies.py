"""Files and bodies that a stranger may send, and the code that each is refused with."""

import gzip
import json
import struct
import zlib

import numpy as np

from support.dicoms import dicom
from support.films import draw_film, encode


def png_of(width, height, body=b""):
    """A PNG whose header says so and whose data is ``body``, unpacked."""

    def chunk(kind, data):
        packed = kind + data
        return struct.pack(">I", len(data)) + packed + struct.pack(">I", zlib.crc32(packed))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(body, 9)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*each) for each in ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    )


FILES = {
    "decompression bomb": (png_of(40_000, 40_000, b"\0" * 10_000_000), "image_too_large"),
    "as large as a header can say": (png_of(2**31 - 1, 2**31 - 1), "image_too_large"),
    "no height": (png_of(100, 0), "corrupt_image"),
    "more data than pixels": (png_of(10, 10, b"\0" * 30_000_000), None),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1/'/></svg>",
            "unsupported_image"),
    "SVG with an entity": (b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM "
                           b"'file:///etc/passwd'>]><svg>&b;</svg>", "unsupported_image"),
    "ImageMagick script": (b"push graphic-context\nfill 'url(http://127.0.0.1/)'",
                           "unsupported_image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "unsupported_image"),
    "TIFF": (encode(draw_film(1), "TIFF"), "unsupported_image"),
    "GIF": (encode(draw_film(1), "GIF"), "unsupported_image"),
    "WebP": (encode(draw_film(1), "WEBP"), "unsupported_image"),
    "PDF": (b"%PDF-1.7\n1 0 obj\n", "unsupported_image"),
    "gzipped film": (gzip.compress(encode(draw_film(1), "PNG")), "unsupported_image"),
    "pickle": (b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94", "unsupported_image"),
    "JPEG's first bytes alone": (b"\xff\xd8\xff", "corrupt_image"),
    "DICOM's first bytes alone": (b"\0" * 128 + b"DICM", "corrupt_image"),
    "DICOM of another modality": (dicom(draw_film(1), Modality="CT"), "wrong_modality"),
    "DICOM of a giant": (dicom(draw_film(1), Rows=65_535, Columns=65_535), "image_too_large"),
    "deflated DICOM bomb": (dicom(np.zeros((9_000, 9_000), np.uint16), "deflated"),
                            "image_too_large"),
    "JPEG bomb in DICOM": (None, "corrupt_image"),
    "cut-off DICOM": (dicom(draw_film(1), "JPEG-LS")[:-5000], "corrupt_image"),
}  # fmt: skip


def jpeg_bomb_in_dicom():
    """A frame that says 65,500 x 65,500 inside a file that says 300 x 260."""
    data = bytearray(dicom(draw_film(1), "JPEG lossless SV1"))
    position = data.index(b"\xff\xc3")
    data[position + 5 : position + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


JSON_TYPE = {"Content-Type": "application/json"}

BODIES = {
    "nothing": (b"", JSON_TYPE, "empty_request"),
    "blank": (b" \n", JSON_TYPE, "empty_request"),
    "half JSON": (b'{"imageUrl": "htt', JSON_TYPE, "invalid_json"),
    "JSON with a comma": (b'{"imageUrl": "http://a.example/",}', JSON_TYPE, "invalid_json"),
    "single quotes": (b"{'imageUrl': 'http://a.example/'}", JSON_TYPE, "invalid_json"),
    "no UTF-8": (b'{"imageUrl": "\xff\xfe"}', JSON_TYPE, "invalid_json"),
    "UTF-16": ('{"imageUrl": "x"}'.encode("utf-16"), JSON_TYPE, None),
    "null": (b"null", JSON_TYPE, "invalid_request"),
    "a number": (b"3", JSON_TYPE, "invalid_request"),
    "true": (b"true", JSON_TYPE, "invalid_request"),
    "a list": (b"[1, 2]", JSON_TYPE, "invalid_request"),
    "a string": (b'"http://a.example/"', JSON_TYPE, "invalid_json"),
    "an empty object": (b"{}", JSON_TYPE, "empty_request"),
    "both": (b'{"imageUrl": "http://a.example/", "data": "eA=="}', JSON_TYPE, "invalid_request"),
    "neither": (b'{"image": "eA=="}', JSON_TYPE, "unknown_key"),
    "one more": (b'{"data": "eA==", "patient": "4711"}', JSON_TYPE, "unknown_key"),
    "a list of URLs": (b'{"imageUrl": ["http://a.example/"]}', JSON_TYPE, "invalid_request"),
    "an object": (b'{"imageUrl": {"href": "x"}}', JSON_TYPE, "invalid_request"),
    "null URL": (b'{"imageUrl": null}', JSON_TYPE, "invalid_request"),
    "NaN": (b'{"imageUrl": NaN}', JSON_TYPE, "invalid_request"),
    "deep": (b'{"a":' * 200_000, JSON_TYPE, "invalid_json"),
    "deep list": (b"[" * 200_000 + b"]" * 200_000, JSON_TYPE, "invalid_json"),
    "many keys": (json.dumps({str(i): i for i in range(300_000)}).encode(), JSON_TYPE,
                  "unknown_key"),
    "a long number": (b'{"imageUrl": ' + b"9" * 100_000 + b"}", JSON_TYPE, None),
    "a long URL": (b'{"imageUrl": "http://' + b"a" * 5_000_000 + b'"}', JSON_TYPE, "invalid_url"),
    "a long word": (b'{"data": "' + b"!" * 5_000_000 + b'"}', JSON_TYPE, "invalid_base64"),
    "escapes": (b'{"imageUrl": "\\u0000\\ud800"}', JSON_TYPE, "invalid_url"),
    "nested prototype": (b'{"__proto__": {"imageUrl": "x"}}', JSON_TYPE, "unknown_key"),
    "text": (b"hello", {"Content-Type": "text/plain"}, "invalid_json"),
    "text, no UTF-8": (b"\xff\xfe", {"Content-Type": "text/plain"}, "unsupported_image"),
    "XML": (b"<a/>", {"Content-Type": "application/xml"}, "unsupported_image"),
    "zeros": (b"\0" * 1000, {"Content-Type": "image/png"}, "unsupported_image"),
    "a form": (b"imageUrl=ftp%3A%2F%2Fa", {"Content-Type": "application/x-www-form-urlencoded"},
               "invalid_url"),
    "a form of another field": (b"patient=4711",
                                {"Content-Type": "application/x-www-form-urlencoded"},
                                "unsupported_image"),
}  # fmt: skip
