"""What a stranger may send to the real server: nothing gets in, nothing breaks, nothing is said."""

import base64
import json
import os
import time
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
from support.hostile_bodies import BODIES, FILES, jpeg_bomb_in_dicom
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
