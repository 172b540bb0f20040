"""A version with one label more than the others is trained, packed and loaded next to them."""

import json

import pytest
import torch

from chest_xray.archive import Archive
from chest_xray.classifier import Classifier
from chest_xray.request import InlineImage, Request
from chest_xray.settings import Settings
from chest_xray_ops import archive
from chest_xray_versions import weights_path
from support import fourth_label
from support.films import LABELS, draw_film, encode

FILM = encode(draw_film(1), "PNG")
SETTINGS = Settings(answer_out_of_distribution=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return fourth_label.build(tmp_path_factory.mktemp("fourth"))


def answer(path):
    with Classifier.load(path, SETTINGS, reference=True) as classifier:  # which starts sooner
        [outcome] = classifier.classify([Request(InlineImage(FILM))])
    return outcome.answer


def test_what_it_is_made_of(built):
    opened = Archive.open(built)
    assert (opened.version, opened.labels) == ("9.0", fourth_label.FOUR_LABELS)
    assert b"TinyNet" in opened.read("chest_xray_tiny.py")
    with pytest.raises(KeyError):
        opened.read("chest_xray_original.py")  # which it is not built on
    for case in json.loads(opened.read("golden.json")):
        assert tuple(case["probabilities"]) == fourth_label.FOUR_LABELS
    state = torch.load(built.parent.parent / "trained" / "weights.pt", weights_only=True)
    assert state["bias"].shape == (4,)


def test_it_answers_next_to_the_others(built, tmp_path):
    assert tuple(answer(built).probabilities) == fourth_label.FOUR_LABELS
    for version in ("1.0", "2.0", "3.0", "4.0"):
        path = archive.build(version, weights_path(version), tmp_path)
        assert tuple(answer(path).probabilities) == LABELS
    assert sum(answer(built).probabilities.values()) == pytest.approx(1)
