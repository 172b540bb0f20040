import pytest

from chest_xray_training.metrics import confusion_matrix, summarise, wilson_interval

TRUTHS = ["normal"] * 4 + ["pneumonia"] * 2
GUESSES = ["normal", "normal", "normal", "covid-19", "pneumonia", "normal"]


def test_table():
    summary = summarise(TRUTHS, GUESSES)
    assert summary["per_label"]["normal"]["accuracy"] == 0.75
    assert summary["per_label"]["pneumonia"]["count"] == 2
    assert summary["per_label"]["covid-19"]["accuracy"] is None
    assert summary["overall"]["right"] == 4
    assert summary["overall"]["accuracy"] == 0.6667
    assert summary["balanced_accuracy"] == 0.625


def test_rows_are_true_and_columns_predicted():
    assert confusion_matrix(TRUTHS, GUESSES) == [[3, 0, 1], [1, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    # The original report's 87 % of 936, and the ends, from statsmodels' proportion_confint.
    [(814, 936, 0.8466, 0.8898), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0, 1)],
)
def test_wilson_interval(right, count, low, high):
    assert wilson_interval(right, count) == pytest.approx((low, high), abs=2e-4)
