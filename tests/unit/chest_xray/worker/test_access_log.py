"""What is kept of answers, and where it goes."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from chest_xray.batch import Image, Outcome
from chest_xray.errors import InputError
from chest_xray.prediction import Prediction
from chest_xray.request import Headers, ImageUrl, InlineImage
from chest_xray.worker.access_log import AccessLog, LineFile
from chest_xray.worker.contract import ACCESS_LOG, AUDIT_LOG, PROBE_VARIABLE

SHARES = {"normal": 0.1, "pneumonia": 0.7, "covid-19": 0.2}
LABELLED = Prediction("pneumonia", SHARES, score=0.9)
REFUSED = InputError("corrupt_image", "The image is damaged.")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def made(folder, audit):
    return AccessLog("3.0", tuple(SHARES), folder, audit)


def keep(log, answers, images=None, headers=None):
    images = images or [None] * len(answers)
    headers = [
        replace(sent, request_id=f"id-{index}")
        for index, sent in enumerate(headers or [Headers()] * len(answers))
    ]
    outcomes = [Outcome(answer, image=image) for answer, image in zip(answers, images, strict=True)]
    log.keep(headers, outcomes, 0.03)


def image(host="", **known):
    found = Image(ImageUrl(f"https://{host}/film") if host else InlineImage(b""))
    for name, value in known.items():
        setattr(found, name, value)
    return found


def test_a_line_for_every_answer(tmp_path):
    good = image("pacs.local", size=77, fetch_s=0.5, decode_s=0.0021, inference_s=0.02)
    bad = image(size=5, error=REFUSED)
    headers = [Headers(waited_s=0.25), Headers()]
    keep(made(tmp_path, False), [LABELLED, REFUSED], [good, bad], headers)
    first, second = lines(tmp_path / ACCESS_LOG)
    assert first.pop("time").endswith("+00:00")
    assert len(first.pop("host")) == 12
    assert first == {
        "request_id": "id-0",
        "version": "3.0",
        "status": 200,
        "label": "pneumonia",
        "queue_ms": 250.0,
        "fetch_ms": 500.0,
        "decode_ms": 2.1,
        "inference_ms": 20.0,
        "bytes": 77,
    }
    del second["time"]
    assert second == {
        "request_id": "id-1",
        "version": "3.0",
        "status": 422,
        "code": "corrupt_image",
        "bytes": 5,
    }
    assert not (tmp_path / AUDIT_LOG).exists()


def test_the_audit_trail_says_who_and_which_image(tmp_path):
    images = [image(size=77, sha256="ab" * 32), image(error=REFUSED)]
    headers = [Headers(key="ward-7"), Headers()]
    keep(made(tmp_path, True), [LABELLED, REFUSED], images, headers)
    first, second = lines(tmp_path / AUDIT_LOG)
    assert (first["key"], first["sha256"], first["probability"]) == ("ward-7", "ab" * 32, 0.7)
    assert (second["code"], second["probability"]) == ("corrupt_image", None)


def test_probes_leave_no_trace_if_they_know_the_password(tmp_path, monkeypatch):
    monkeypatch.setenv(PROBE_VARIABLE, "sesame")
    log = made(tmp_path, True)
    keep(log, [LABELLED], headers=[Headers(probe="sesame")])
    assert not (tmp_path / ACCESS_LOG).read_text()
    keep(log, [LABELLED] * 2, headers=[Headers(probe="sesame"), Headers(probe="guess")])
    assert [line["request_id"] for line in lines(tmp_path / ACCESS_LOG)] == ["id-1"]
    monkeypatch.delenv(PROBE_VARIABLE)
    keep(made(tmp_path, False), [LABELLED], headers=[Headers(probe="")])
    assert len(lines(tmp_path / ACCESS_LOG)) == 2


def test_a_rotated_file_is_left_for_a_new_one(tmp_path):
    path = tmp_path / "access.log"
    file = LineFile(path)
    file.write([{"n": 1}])
    path.rename(tmp_path / "access.log.1")
    file.write([{"n": 2}])
    file.write([{"n": 3}])
    assert lines(tmp_path / "access.log.1") == [{"n": 1}]
    assert lines(path) == [{"n": 2}, {"n": 3}]


def test_a_file_that_nobody_rotates_makes_way(tmp_path):
    files = [LineFile(tmp_path / "access.log", most_bytes=20_000) for _ in range(4)]

    def write(file):
        for number in range(500):
            file.write([{"number": number}])

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, files))
    assert {path.name for path in tmp_path.iterdir()} == {"access.log", "access.log.1"}
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 20_200
        lines(path)
    assert (tmp_path / "access.log.1").stat().st_size > 20_000


def test_lines_of_several_writers_do_not_mix(tmp_path):
    files = [LineFile(tmp_path / "access.log") for _ in range(4)]
    batch = [{"text": "x" * 300}] * 16

    def write(file):
        for _ in range(100):
            file.write(batch)

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, files))
    assert lines(tmp_path / "access.log") == batch * 400


@pytest.mark.parametrize("place", ["/dev/full", "gone/access.log"])
def test_a_disk_that_takes_nothing_costs_lines_not_answers(tmp_path, place):
    file = LineFile(tmp_path / place)
    for _ in range(3):
        file.write([{"n": 1}])


def test_no_folder_no_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keep(made(None, True), [LABELLED])
    assert not list(tmp_path.iterdir())
