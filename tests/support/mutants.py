"""Damaged images, as many as wanted: bytes changed, cut, doubled, swapped; headers that lie."""

import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from support.dicoms import COMPRESSED, NATIVE, dicom
from support.films import draw_film, encode

_MARKERS = [0xC0, 0xC2, 0xC4, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xE1, 0xFE]


def originals() -> list[bytes]:
    """Good images of every kind, which the mutants come from."""
    film = draw_film(5, 220, 180)
    colour = np.stack([film, film[::-1], film[:, ::-1]], axis=2)
    return [
        encode(film, "JPEG", quality=90),
        encode(film, "JPEG", progressive=True),
        encode(colour, "JPEG"),
        encode(film, "PNG"),
        encode(colour, "PNG"),
        encode(film.astype(np.uint16) * 257, "PNG"),
        encode(film, "PNG", "P"),
        *(dicom(film, syntax) for syntax in (*NATIVE, *COMPRESSED)),
        *(dicom(film.astype(np.uint16) * 16, syntax, BitsStored=12) for syntax in (
            "implicit", "RLE", "JPEG lossless SV1", "JPEG-LS", "JPEG 2000")),
        dicom(colour, "JPEG baseline"),
    ]  # fmt: skip


def mutants(seed: int) -> Iterator[bytes]:
    """An endless, reproducible stream of damaged images."""
    chance = random.Random(seed)
    sources = originals()
    while True:
        data = bytearray(chance.choice(sources))
        for _ in range(chance.choice([1, 1, 2, 3])):
            data = chance.choice(_CHANGES)(data, chance)
        yield bytes(data)


def _bytes(data: bytearray, chance: random.Random) -> bytearray:
    """A few bytes anywhere, or close together where a header is."""
    reach = chance.choice([64, 400, 2000, len(data)])
    start = chance.choice([0, 0, 128, max(0, len(data) - reach)])
    for _ in range(chance.choice([1, 2, 8, 64])):
        position = min(len(data) - 1, start + chance.randrange(reach))
        data[position] = chance.choice([0, 0x7F, 0x80, 0xFF, chance.randrange(256)])
    return data


def _cut(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(1, len(data) + 1)]


def _double(data: bytearray, chance: random.Random) -> bytearray:
    start, end = sorted(chance.sample(range(len(data) + 1), 2))
    return data[:end] + data[start:end] + data[end:] if len(data) < 500_000 else data


def _drop(data: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.choice([1, 2, 100, 5000]) :] or data


def _marker(data: bytearray, chance: random.Random) -> bytearray:
    """A JPEG marker where there was none."""
    position = chance.randrange(len(data))
    data[position : position + 2] = bytes([0xFF, chance.choice(_MARKERS)])
    return data


def _size(data: bytearray, chance: random.Random) -> bytearray:
    """A header that lies about width and height, with a checksum that agrees."""
    width, height = (chance.choice([0, 1, 7_000, 30_000, 65_535, 2**31 - 1]) for _ in range(2))
    if data[:4] == b"\x89PNG" and len(data) > 33:
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    for marker in (b"\xff\xc0", b"\xff\xc2", b"\xff\xc3", b"\xff\xf7"):
        position = data.find(marker)
        if 0 <= position < len(data) - 9:
            data[position + 5 : position + 9] = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    for tag in (b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"):
        position = data.find(tag)
        if 0 <= position < len(data) - 10:
            data[position + 8 : position + 10] = struct.pack("<H", width & 0xFFFF)
    return data


def _noise(data: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(data))
    length = min(chance.choice([16, 256, 4096]), len(data) - start)
    data[start : start + length] = chance.randbytes(length)
    return data


_CHANGES = [_bytes, _bytes, _bytes, _cut, _double, _drop, _marker, _size, _noise]
