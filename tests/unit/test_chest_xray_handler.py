"""The handler, driven with TorchServe's own Context and an unpacked archive, but no server."""

import os
import shutil
import tempfile
import threading
import time

import numpy as np
import pytest
import torch

from chest_xray.batch import Image
from chest_xray.request import InlineImage
from chest_xray.worker import retirement
from chest_xray.worker.contract import retirement_order
from chest_xray_handler import ChestXrayHandler
from support.films import draw_film, encode
from support.torchserve_context import ask, context_of

FILM = encode(draw_film(1), "PNG")


def test_good_and_bad_rows_of_one_batch(handler, unpacked):
    rows = [
        {"body": bytearray(FILM)},
        {"body": bytearray(b"GIF89a")},
        {"file": bytearray(FILM)},
        {},
        {"body": bytearray(FILM[:500])},
        {"body": {"imageUrl": "file:///etc/passwd"}},
        {"body": bytearray(encode(draw_film(2), "JPEG"))},
    ]
    bodies, statuses, context = ask(handler, unpacked, rows)
    assert statuses == [200, 415, 200, 400, 422, 400, 200]
    [alone], _, _ = ask(handler, unpacked, rows[-1:])
    assert bodies[0] == bodies[2]
    assert bodies[6]["probability"] == pytest.approx(alone["probability"], abs=1e-5)
    assert bodies[6] != bodies[0]
    assert [set(body) for body in (bodies[1], bodies[3])] == [{"code", "type", "message"}] * 2
    assert all(context.get_response_content_type(i) == "application/json" for i in range(7))


def test_all_rows_bad(handler, unpacked):
    _, statuses, _ = ask(handler, unpacked, [{}, {}])
    assert statuses == [400, 400]


def test_client_headers_do_not_change_the_course(handler, unpacked):
    rows = [{"body": bytearray(FILM)}] * 2
    headers = [{"describe": "True", "explain": "False"}, {"Describe": "True"}]
    bodies, statuses, _ = ask(handler, unpacked, rows, headers)
    assert statuses == [200, 200]
    assert all("label" in body for body in bodies)


def test_a_worker_that_is_to_leave(handler, unpacked, tmp_path, monkeypatch):
    """It stands still at a question of the operator's, and never with a caller's request."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(retirement, "_STAY_S", 0)
    told = retirement_order(tmp_path, os.getpid())
    told.touch()
    question = {"describe": "True"}
    for rows, headers in (
        ([{"body": bytearray(FILM)}], [question]),
        ([{}, {}], [question, question]),
        ([{}], [{}]),
    ):
        ask(handler, unpacked, rows, headers)
        assert told.exists()
    ask(handler, unpacked, [{}], [question])
    assert not told.exists()


def test_the_original_projects_form(handler, unpacked):
    rows = [{"body": bytearray(FILM)}, {"body": bytearray(FILM)}, {"body": bytearray(b"")}]
    old = {"X-Answer-Form": "result"}
    [body, plain, error], statuses, _ = ask(handler, unpacked, rows, [old, {}, old])
    assert body == {"result": {key: plain[key] for key in ("label", "probability")}}
    assert (error["code"], statuses[2]) == ("empty_request", 400)


def test_explanations_beside_predictions_and_errors(handler, unpacked):
    rows = [{"body": bytearray(data)} for data in (FILM, FILM, b"GIF89a", FILM)]
    headers = [
        {"explain": "True"},
        {"explain": "False"},
        {"explain": "True", "Accept": "image/png"},
        {"explain": "True", "Accept": "image/png"},
    ]
    bodies, statuses, context = ask(handler, unpacked, rows, headers)
    assert statuses == [200, 200, 415, 200]
    grid = bodies[0].pop("heatmap")
    assert sum(map(sum, grid)) == pytest.approx(1, abs=1e-3)
    assert bodies[0]["label"] == bodies[1]["label"]
    assert bodies[0]["probabilities"] == pytest.approx(bodies[1]["probabilities"], abs=1e-5)
    assert bodies[2]["code"] == "unsupported_image"
    assert bodies[3].startswith(b"\x89PNG")
    types = [context.get_response_content_type(index) for index in range(4)]
    assert types == ["application/json"] * 3 + ["image/png"]


def test_a_film_and_what_is_none_in_one_batch(unpacked):
    """With the committed defaults; the gate is replaced, so that it is not what is tested."""
    handler = ChestXrayHandler()
    handler.initialize(context_of(unpacked, []))

    def read(images):
        readings = torch.zeros(len(images), 4 + len(handler.classifier.network.orientations))
        readings[:, 3] = torch.where(images.mean((1, 2, 3)) > 0.5, 1.0, -1.0)
        return readings

    handler.classifier._form.forward = read
    dark, light = (encode(np.full((30, 30), shade, np.uint8), "PNG") for shade in (20, 200))
    allowed = {"file": bytearray(dark), "allowOutOfDistribution": bytearray(b"true")}
    rows = [{"body": bytearray(dark)}, {"body": bytearray(light)}, allowed]
    bodies, statuses, context = ask(handler, unpacked, rows, [{"explain": "True"}, {}, {}])
    handler.classifier.close()
    assert statuses == [422, 200, 200]
    assert bodies[0]["code"] == "not_a_chest_xray"
    assert [body["in_distribution"] for body in bodies] == [False, True, False]
    assert ["label" in body for body in bodies] == [False, True, True]
    assert context.get_response_status(0)[1] == "UnprocessableContent"


def test_damaged_weights_stop_the_worker(unpacked, tmp_path):
    folder = shutil.copytree(unpacked, tmp_path / "model")
    [weights] = folder.glob("*.pt")
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ValueError, match="SHA-256"):
        ChestXrayHandler().initialize(context_of(folder, []))


def test_invalid_json_is_known_by_its_declared_type(handler, unpacked):
    rows = [{"body": bytearray(b"nonsense")}] * 2
    headers = [{"Content-type": "application/json; charset=utf-8"}, {"content-type": "image/png"}]
    bodies, statuses, _ = ask(handler, unpacked, rows, headers)
    assert statuses == [400, 415]
    assert bodies[0]["code"] == "invalid_json"


def test_an_envelope_may_unfold_one_request(handler, unpacked):
    rows = [{"imageUrl": "file:///x"}, FILM]
    bodies = handler.handle(rows, context_of(unpacked, [{}]))
    assert bodies[0]["code"] == "invalid_url"
    assert "label" in bodies[1]


def test_wrong_setting_stops_the_worker(unpacked):
    with pytest.raises(ValueError, match="fetch_time"):
        ChestXrayHandler().initialize(
            context_of(unpacked, [], config={"handler": {"fetch_time": 1}})
        )


@pytest.mark.parametrize(
    ("variable", "value"), [("ALLOWED_HOSTS", "http://pacs.local/"), ("FETCH_TIMEOUT_S", "soon")]
)
def test_wrong_variable_stops_the_worker(unpacked, monkeypatch, variable, value):
    monkeypatch.setenv(f"CHEST_XRAY_{variable}", value)
    with pytest.raises(ValueError, match=rf"(?i){variable}"):
        ChestXrayHandler().initialize(context_of(unpacked, []))


def test_foreign_labels_stop_the_worker(unpacked, tmp_path):
    folder = shutil.copytree(unpacked, tmp_path / "model")
    (folder / "index_to_name.json").write_text('{"0": "cat", "1": "dog", "2": "cow"}')
    with pytest.raises(ValueError, match="cat"):
        ChestXrayHandler().initialize(context_of(folder, []))


def test_parts_that_fail_side_by_side_are_all_counted(unpacked, monkeypatch):
    """However they come, the third failure ends the worker, and none is passed over."""
    handler = ChestXrayHandler()
    handler.initialize(context_of(unpacked, []))
    both, ended = threading.Barrier(2), []

    def fail(images):
        both.wait()
        raise RuntimeError

    monkeypatch.setattr(handler.classifier, "_form", fail)
    monkeypatch.setattr("chest_xray.worker.health.os._exit", ended.append)
    monkeypatch.setattr("chest_xray.worker.health.log.error", lambda *_: time.sleep(0.05))

    def infer():
        image = Image(InlineImage(b""), pixels=torch.zeros(1, 224, 224))
        handler.classifier.infer([image])
        assert image.error.code == "inference_failed"

    for _ in range(2):
        threads = [threading.Thread(target=infer) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    handler.classifier.close()
    assert ended == [1, 1]  # the third and, since this process goes on, the fourth
