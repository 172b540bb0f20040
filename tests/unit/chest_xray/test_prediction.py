import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chest_xray.batch import Outcome
from chest_xray.errors import STATUS, TYPE, InputError
from chest_xray.prediction import predict
from chest_xray.response import body_of
from support.films import LABELS


@given(st.lists(st.lists(st.floats(-50, 50), min_size=4, max_size=4), min_size=1, max_size=5))
def test_the_label_is_the_most_probable(rows):
    predictions = predict(torch.tensor(rows), LABELS)
    assert len(predictions) == len(rows)
    for prediction in predictions:
        assert tuple(prediction.probabilities) == LABELS
        assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert prediction.probability == max(prediction.probabilities.values())
    for prediction, row in zip(predictions, rows, strict=True):
        assert 0 <= prediction.score <= 1
        assert prediction.in_distribution == (row[3] >= 0) or abs(row[3]) < 1e-5


def test_prediction_body():
    body = body_of(Outcome(predict(torch.tensor([[0.0, 5.0, 0.0, 1.0]]), LABELS)[0]), "1.0")
    assert body["label"] == "pneumonia"
    assert body["probability"] == body["probabilities"]["pneumonia"]
    assert body["model_version"] == "1.0"
    assert (body["in_distribution"], body["in_distribution_score"]) == (True, 0.731059)
    assert json.loads(json.dumps(body)) == body


@pytest.mark.parametrize("code", STATUS)
def test_error_body(code):
    body = body_of(Outcome(InputError(code, "Why.")), "1.0")
    assert body == {"code": code, "type": TYPE[STATUS[code]], "message": "Why."}
    assert 400 <= STATUS[code] < 600
    assert STATUS[code] != 413  # TorchServe would answer 507
