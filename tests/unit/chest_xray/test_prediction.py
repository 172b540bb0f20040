import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chest_xray.batch import Outcome
from chest_xray.errors import STATUS, TYPE, InputError
from chest_xray.network.stages import OPERATING_POINTS
from chest_xray.prediction import Outputs
from chest_xray.request import InlineImage, Request
from chest_xray.response import body_of
from chest_xray_versions import build_network
from support.films import LABELS

POINTS = [[0.1, 0.4, 0.6], [0.2, 0.3, 0.7], [0.3, 0.5, 0.9]]


def outputs(version="1.0"):
    network = build_network(version)
    network.operating_points.copy_(torch.tensor(POINTS))
    return Outputs(network)


def logits(*probabilities):
    """A row of readings of a film that has these probabilities."""
    return torch.tensor([[*torch.tensor(probabilities).log().tolist(), 1.0]])


@given(st.lists(st.lists(st.floats(-50, 50), min_size=4, max_size=4), min_size=1, max_size=5))
def test_the_label_is_the_most_probable(rows):
    predictions = outputs().predictions(torch.tensor(rows))
    assert len(predictions) == len(rows)
    for prediction in predictions:
        assert tuple(prediction.probabilities) == LABELS
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.probability == max(prediction.probabilities.values())
    for prediction, row in zip(predictions, rows, strict=True):
        assert 0 <= prediction.score <= 1
        assert prediction.in_distribution == (row[3] >= 0) or abs(row[3]) < 1e-5


def test_prediction_body():
    [prediction] = outputs().predictions(torch.tensor([[0.0, 5.0, 0.0, 1.0]]))
    body = body_of(Outcome(prediction), "1.0")
    assert body["label"] == "pneumonia"
    assert body["probability"] == body["probabilities"]["pneumonia"]
    assert body["model_version"] == "1.0"
    assert (body["in_distribution"], body["in_distribution_score"]) == (True, 0.731059)
    assert body["low_confidence"] is False
    assert "operating_points" not in body
    assert json.loads(json.dumps(body)) == body


@pytest.mark.parametrize(
    ("probabilities", "low"),
    [
        ((0.61, 0.2, 0.19), False),
        ((0.59, 0.21, 0.2), True),
        ((0.05, 0.71, 0.24), False),
        ((0.05, 0.69, 0.26), True),
        ((0.05, 0.1, 0.85), True),  # what would be enough for another label
    ],
)
def test_low_confidence_is_judged_by_the_point_of_the_label(probabilities, low):
    [prediction] = outputs().predictions(logits(*probabilities))
    assert body_of(Outcome(prediction), "1.0")["low_confidence"] is low


def test_operating_points_on_request():
    [prediction] = outputs().predictions(logits(0.05, 0.64, 0.31))
    request = Request(InlineImage(b""), operating_points=True)
    points = body_of(Outcome(prediction, request), "1.0")["operating_points"]
    assert list(points) == list(LABELS)
    assert all(list(each) == list(OPERATING_POINTS) for each in points.values())
    reached = {label: [each["reached"] for each in row.values()] for label, row in points.items()}
    assert reached == {
        "normal": [False, False, False],
        "pneumonia": [True, True, False],
        "covid-19": [True, False, False],
    }
    assert points["pneumonia"]["high_specificity"]["threshold"] == pytest.approx(0.7)


def test_how_a_film_lies_becomes_a_warning():
    found = outputs("4.0")
    rows = []
    for index in range(6):
        rows.append([0.0, 0.0, 0.0, 1.0, *(9.0 * (index == each) for each in range(6))])
    unsure = [0.0, 0.0, 0.0, 1.0, 1.0, 1.1, 0.0, 0.0, 0.0, 0.0]
    warnings = [each.warnings for each in found.predictions(torch.tensor([*rows, unsure]))]
    assert warnings == [
        (), ("mirrored",), ("rotated_90",), ("rotated_180",), ("rotated_270",), ("inverted",), (),
    ]  # fmt: skip


@pytest.mark.parametrize("code", STATUS)
def test_error_body(code):
    body = body_of(Outcome(InputError(code, "Why.")), "1.0")
    assert body == {"code": code, "type": TYPE[STATUS[code]], "message": "Why."}
    assert 400 <= STATUS[code] < 600
    assert STATUS[code] != 413  # TorchServe would answer 507
