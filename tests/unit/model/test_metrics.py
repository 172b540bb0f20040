import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from chest_xray_training.metrics import (
    accuracies,
    at_threshold,
    auroc,
    average_precision,
    calibration_error,
    confusion_matrix,
    figures,
    operating_points,
    wilson_interval,
    with_intervals,
    within_source,
)
from support.films import LABELS

TRUTHS = np.array([0, 0, 0, 0, 1, 1])
PREDICTED = np.array([0, 0, 0, 2, 1, 0])


def certain(predicted, probability=0.8):
    rest = (1 - probability) / 2
    return np.where(np.eye(3)[predicted] == 1, probability, rest)


def test_the_originals_table():
    table = accuracies(TRUTHS, PREDICTED, LABELS)
    assert list(table) == [*LABELS, "all"]
    assert table["normal"]["accuracy"] == 0.75
    assert table["pneumonia"]["count"] == 2
    assert table["covid-19"]["accuracy"] is None
    assert (table["all"]["right"], table["all"]["accuracy"]) == (4, 0.6667)


def test_rows_are_true_and_columns_predicted():
    assert confusion_matrix(TRUTHS, PREDICTED, 3) == [[3, 0, 1], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # The original report's 87 % of 936, and the ends, from statsmodels' proportion_confint.
    [(814, 936, 0.8466, 0.8898), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0, 1)],
)
def test_wilson_interval(right, count, low, high):
    assert wilson_interval(right, count) == pytest.approx((low, high), abs=2e-4)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0, 0.1, 0.3, 0.7, 1])), min_size=1))
def test_areas_are_the_librarys(rows):
    positive, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    found = auroc(positive, scores), average_precision(positive, scores)
    if positive.all() or not positive.any():
        assert all(map(math.isnan, found))
    else:
        expected = roc_auc_score(positive, scores), average_precision_score(positive, scores)
        assert found == pytest.approx(expected)


def test_figures_by_hand():
    found = figures(TRUTHS, certain(PREDICTED), LABELS)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced accuracy"] == pytest.approx((0.75 + 0.5) / 2)
    assert found["sensitivity normal"] == 0.75
    assert found["specificity normal"] == 0.5
    assert found["ppv normal"] == 0.75
    assert found["ppv covid-19"] == 0
    assert math.isnan(found["sensitivity covid-19"])
    assert math.isnan(found["auroc covid-19"])
    assert found["auroc pneumonia"] == pytest.approx(0.75)  # one above, one equal to the others
    assert found["ece"] == pytest.approx(0.8 - 4 / 6)
    wrong, right = 0.8**2 + 0.9**2 + 0.1**2, 0.2**2 + 2 * 0.1**2
    assert found["brier"] == pytest.approx((2 * wrong + 4 * right) / 6)


def test_an_honest_forecaster_has_no_calibration_error():
    chance = np.random.default_rng(0)
    probabilities = chance.dirichlet(np.ones(3), 50_000)
    truths = np.array([chance.choice(3, p=row) for row in probabilities[:20_000]])
    assert calibration_error(truths, probabilities[:20_000]) < 0.015
    sharper = probabilities[:20_000] ** 3
    sharper /= sharper.sum(1, keepdims=True)
    assert calibration_error(truths, sharper) > 0.1


def test_intervals_are_drawn_by_patient():
    right = np.array([1.0] * 50 + [0.0] * 50)

    def share(films):
        return {"share": right[films].mean(), "never": math.nan}

    alone = with_intervals(share, [str(i) for i in range(100)])
    assert alone["share"]["value"] == 0.5
    assert alone["share"]["low"] == pytest.approx(0.4, abs=0.02)
    assert alone["share"]["high"] == pytest.approx(0.6, abs=0.02)
    assert alone["never"] == {"value": None, "low": None, "high": None}
    patients = with_intervals(share, [str(i // 10) for i in range(100)])  # ten films each
    assert patients["share"]["low"] < 0.3


def test_within_a_source_only_its_own_films_count():
    truths = np.array([0, 1] * 40)
    sources = ["a"] * 40 + ["b"] * 40
    probabilities = certain(truths)
    probabilities[:40] = 1 / 3  # nothing is known of the films of a
    found = within_source(truths, probabilities, sources, LABELS)
    assert found == {"pneumonia against normal, a": 0.5, "pneumonia against normal, b": 1.0}
    assert within_source(truths, probabilities, sources, LABELS, least=21) == {}


def test_operating_points_reach_what_they_are_named_for():
    chance = np.random.default_rng(1)
    truths = np.repeat([0, 1, 2], 100)
    scores = np.eye(3)[truths] * 0.6 + chance.random((300, 3))
    probabilities = scores / scores.sum(1, keepdims=True)
    points = operating_points(truths, probabilities, LABELS)
    for index, label in enumerate(LABELS):
        found = {
            name: at_threshold(truths == index, probabilities[:, index], threshold)
            for name, threshold in points[label].items()
        }
        assert found["high_sensitivity"][0] >= 0.95
        assert found["high_specificity"][1] >= 0.95
        assert sum(found["balanced"]) >= max(map(sum, found.values()))
