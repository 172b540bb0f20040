"""What a stranger may send to the real server: nothing gets in, nothing breaks, nothing is said."""

import base64
import gzip
import json
import os
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import requests

from chest_xray.errors import STATUS
from support import hostile_urls
from support.dicoms import COMPRESSED, NATIVE, PATIENT, dicom
from support.films import draw_film, encode
from support.mutants import mutants

DEADLINE = 10.0  # fetch_timeout_s
SOAK = int(os.environ.get("SOAK_REQUESTS", "1200"))
"""Mutants of the soak; 10,000 take some minutes."""


@pytest.fixture(scope="module", autouse=True)
def no_restart(server):
    """The same worker processes at the end as at the beginning."""
    before = pids(server)
    yield
    assert pids(server) == before


def pids(server):
    workers = server.client.describe()["workers"]
    assert {worker["status"] for worker in workers} == {"READY"}
    return {worker["pid"] for worker in workers}


def resident(pid):
    """Resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1000
    raise AssertionError


def refused(server, **request):
    """The answer to a bad request: an error of ours, on time; a good request succeeds after it."""
    headers = {**server.headers, **request.pop("headers", {})}
    start = time.monotonic()
    answer = requests.post(server.url, headers=headers, **request)
    assert time.monotonic() - start < DEADLINE + 1
    body = answer.json()
    assert STATUS[body["code"]] == answer.status_code >= 400
    assert answer.reason in {status.phrase for status in STATUS.values()} | {body["type"]}
    assert not {"Server-Error", "X-Error"} & set(answer.headers)
    good = requests.post(
        server.url, headers={**server.headers, "Content-Type": "image/png"}, data=GOOD
    )
    assert good.status_code == 200
    return body["code"]


GOOD = encode(draw_film(8, 64, 64), "PNG")


def test_urls(server, alone):
    """The whole table; names of `.example` resolve to nothing here."""
    tables = (hostile_urls.NOT_PUBLIC, hostile_urls.NO_URL, hostile_urls.OTHER_PORTS)
    urls = [hostile_urls.fill(url, alone.port) for table in tables for url in table]
    with ThreadPoolExecutor(16) as executor:
        codes = list(
            executor.map(
                lambda url: refused(
                    server,
                    data=json.dumps({"imageUrl": url}),
                    headers={"Content-Type": "application/json"},
                ),
                urls,
            )
        )
    assert set(codes) <= {
        "invalid_url", "url_not_allowed", "upstream_failed", "upstream_timeout", "empty_request",
    }  # fmt: skip
    assert codes.count("url_not_allowed") > 60
    assert alone.connections == 0


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


@pytest.mark.parametrize("name", FILES)
def test_files(server, web, name):
    data, code = FILES[name]
    data = data or jpeg_bomb_in_dicom()
    as_bytes = refused(server, data=data, headers={"Content-Type": "image/png"}) if code else None
    assert as_bytes == code
    if code:
        url = web.add("/hostile/file", data, Content_Type="image/jpeg")
        assert refused(server, json={"imageUrl": url}) == code
        packed = base64.b64encode(data).decode()
        assert refused(server, json={"data": packed}) == code
        assert refused(server, files={"file": data}) == code
    else:
        answer = requests.post(
            server.url, headers={**server.headers, "Content-Type": "image/png"}, data=data
        )
        assert answer.status_code in (200, 422)


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


@pytest.mark.parametrize("name", BODIES)
def test_bodies(server, name):
    data, headers, code = BODIES[name]
    found = refused(server, data=data, headers=headers)
    assert code is None or found == code


@pytest.mark.parametrize("header", ["describe", "explain", "Describe", "Explain"])
def test_headers_do_not_change_the_course(server, header):
    headers = {**server.headers, "Content-Type": "image/png", header: "True"}
    with ThreadPoolExecutor(4) as executor:
        calls = [
            executor.submit(requests.post, server.url, headers=headers, data=GOOD) for _ in range(8)
        ]
    assert {call.result().status_code for call in calls} == {200}


def test_nothing_that_is_sent_comes_back_in_the_head_of_an_answer(server):
    headers = {**server.headers, "X-Patient": "4711-0815", "x-request-id": "4711-0815"}
    url = "https://films.example/4711-0815"
    for request in ({"json": {"imageUrl": url + "\r\nX: y"}}, {"json": {"4711-0815": url}}):
        answer = requests.post(server.url, headers=headers, **request)
        head = f"{answer.reason} {answer.headers}"
        assert "4711" not in head
        assert "4711" not in answer.text


@pytest.mark.parametrize("syntax", [*NATIVE, *COMPRESSED])
def test_dicom_means_the_same_picture_as_png(server, web, syntax):
    film = draw_film(7, 500, 420)
    expected = requests.post(
        server.url,
        headers={**server.headers, "Content-Type": "image/png"},
        data=encode(film, "PNG"),
    ).json()["probabilities"]
    for pixels, elements in (
        (film, {}),
        (255 - film, {"PhotometricInterpretation": "MONOCHROME1"}),
        (film.astype(np.uint16) * 16, {"BitsStored": 12}),
        (np.repeat(film[..., None], 3, axis=2), {"PlanarConfiguration": 1}),
    ):
        if syntax == "JPEG baseline" and (pixels.dtype != np.uint8 or pixels.ndim == 3):
            continue  # 8 bits only; its colour is YBR, see test_dicom
        data = dicom(pixels, syntax, **elements)
        url = web.add("/wado", data, Content_Type="application/dicom")
        packed = base64.b64encode(data).decode()
        for request in (
            {"data": data, "headers": {**server.headers, "Content-Type": "application/dicom"}},
            {"json": {"imageUrl": url}, "headers": server.headers},
            {"json": {"data": packed}, "headers": server.headers},
            {"files": {"film": data}, "headers": server.headers},
        ):
            answer = requests.post(server.url, **request)
            assert answer.status_code == 200, answer.text
            assert answer.json()["probabilities"] == pytest.approx(expected, abs=0.01)


def test_a_dicom_without_modality_is_warned_of(server):
    answer = requests.post(
        server.url,
        headers={**server.headers, "Content-Type": "application/dicom"},
        data=dicom(draw_film(1), Modality=None),
    )
    assert answer.json()["warnings"] == ["modality_absent"]


def test_soak(server, web):
    """Mutants by every way in: no fault of ours, and memory as flat as after the first of them."""
    headers = {**server.headers, "Content-Type": "application/octet-stream"}

    def send(item):
        number, data = item
        if number % 4 == 0:
            url = web.add(f"/mutant/{number % 64}", data)
            answer = requests.post(server.url, headers=server.headers, json={"imageUrl": url})
        elif number % 4 == 1:
            packed = base64.b64encode(data).decode()
            answer = requests.post(server.url, headers=server.headers, json={"data": packed})
        else:
            answer = requests.post(server.url, headers=headers, data=data)
        return answer.status_code, answer.json().get("code", "")

    stream = enumerate(mutants(seed=20261123))
    settled = None
    outcomes = []
    with ThreadPoolExecutor(8) as executor:
        while len(outcomes) < SOAK:
            outcomes += executor.map(send, islice(stream, 100))
            if settled is None and len(outcomes) >= min(500, SOAK // 2):
                settled = {pid: resident(pid) for pid in pids(server)}
    assert {status for status, _ in outcomes} <= {200, 400, 415, 422}, outcomes
    assert sum(status == 200 for status, _ in outcomes) > 20
    assert sum(code == "corrupt_image" for _, code in outcomes) > SOAK // 10
    memory = [(before, resident(pid)) for pid, before in settled.items()]
    print(f"{SOAK} mutants; MB of each worker after the first 500 and at the end: {memory}")
    assert all(after < 1.1 * before for before, after in memory)


def test_logs_hold_nothing_of_all_this(server, web):
    """Runs last in this file."""
    secret = dicom(draw_film(1), Modality="CT")
    url = web.add("/film?patient=4711", secret)
    answer = requests.post(server.url, headers=server.headers, json={"imageUrl": url})
    assert answer.json()["code"] == "wrong_modality"
    request_id = answer.headers["x-request-id"]
    text = "".join(path.read_text(errors="replace") for path in server.instance.logs.glob("*.log"))
    [line] = [json.loads(line) for line in text.splitlines() if request_id in line]
    assert (line["status"], line["code"]) == (422, "wrong_modality")
    assert line["bytes"] == len(secret)
    assert len(line["host"]) == 12
    packed = base64.b64encode(secret).decode()
    for needle in (
        "4711-0815", "patient", "Patient", PATIENT.partition("^")[0], "/hostile", "/mutant",
        "/wado", "film?", "example", "127.0.0.1/", "imageUrl", "http://a", packed[200:230],
        packed[:30],
    ):  # fmt: skip
        assert needle not in text, needle
