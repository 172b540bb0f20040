"""A classifier from an archive, in a process that knows no server."""

import io
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from chest_xray.classifier import Classifier
from chest_xray.request import Explanation, ImageUrl, InlineImage, Request
from chest_xray.response import body_of
from chest_xray.settings import Settings
from chest_xray_versions import DEFAULT_VERSION
from support.dicoms import dicom
from support.films import draw_film, encode

WIDE = draw_film(0, 300, 200)
SCRIPT = """
import sys
from pathlib import Path
from chest_xray.classifier import Classifier
from chest_xray.request import InlineImage, Request

with Classifier.load(sys.argv[1]) as classifier:
    films = [Path(name).read_bytes() for name in sys.argv[2:]]
    for outcome in classifier.classify([Request(InlineImage(film), True) for film in films]):
        print(outcome.answer.label, outcome.answer.probability)
"""


@pytest.fixture(scope="module")
def packed(store):
    return store / f"chest-xray-{DEFAULT_VERSION}.mar"


@pytest.fixture(scope="module")
def classifier(packed, web):
    with Classifier.load(packed, Settings(allowed_hosts=(web.host,))) as made:
        yield made


def test_a_script_of_few_lines_anywhere(packed, tmp_path):
    """Three films and a DICOM, with no server, in a folder that knows nothing of the project."""
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(encode(draw_film(index), "PNG"))
    (tmp_path / "3.dcm").write_bytes(dicom(draw_film(0)))
    names = ["0.png", "1.png", "2.png", "3.dcm"]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(packed), *names],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    labels, probabilities = zip(*(line.split() for line in run.stdout.splitlines()), strict=True)
    assert len(labels) == 4
    assert float(probabilities[3]) == pytest.approx(float(probabilities[0]), abs=0.01)
    assert labels[3] == labels[0]
    assert run.stderr == ""


def test_it_ends_what_it_started(packed):
    before, threads = threading.active_count(), torch.get_num_threads()
    with Classifier.load(packed) as classifier:
        [outcome] = classifier.classify([Request(InlineImage(dicom(WIDE)))])
        assert outcome.image.size > 0
        decoder = classifier._dicom._process
        assert decoder.poll() is None
    assert decoder.poll() is not None
    assert threading.active_count() == before
    assert torch.get_num_threads() == threads


def test_the_reference_is_the_network_in_double_precision(packed):
    request = [Request(InlineImage(encode(WIDE, "PNG")), True)]
    with (
        Classifier.load(packed, reference=True) as exact,
        Classifier.load(packed, Settings(bfloat16=False)) as quick,
    ):
        [one], [other] = exact.classify(request), quick.classify(request)
        pixels = torch.rand(2, 1, 224, 224)
        assert exact.readings(pixels).dtype == torch.float64
    assert other.answer.probabilities == pytest.approx(one.answer.probabilities, abs=1e-5)
    assert other.answer.score == pytest.approx(one.answer.score, abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "size"), [((300, 200), (336, 224)), ((200, 300), (224, 336)), ((9, 900), (224, 896))]
)
def test_overlays_keep_the_films_aspect(classifier, shape, size):
    film = np.linspace(0, 255, shape[0] * shape[1]).reshape(shape).astype(np.uint8)
    request = Request(InlineImage(encode(film, "PNG")), True, Explanation.OVERLAY)
    picture = Image.open(io.BytesIO(body_of(classifier.classify([request])[0], "4.0")))
    assert picture.size == (size[1], size[0])


def test_equal_urls_and_different_forms_share_one_reading(classifier, web):
    url = web.add("/classifier/film", encode(WIDE, "PNG"))
    forms = [None, Explanation.GRID, Explanation.OVERLAY]
    outcomes = classifier.classify([Request(ImageUrl(url), True, form) for form in forms])
    assert len({id(outcome.image) for outcome in outcomes}) == 1
    plain, grid, overlay = (body_of(outcome, "4.0") for outcome in outcomes)
    assert "heatmap" not in plain
    assert sum(map(sum, grid["heatmap"])) == pytest.approx(1, abs=1e-3)
    assert overlay.startswith(b"\x89PNG")
