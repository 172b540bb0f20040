import pytest

from chest_xray.labels import LABELS, parse_label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("normal", "normal"),
        ("NORMAL", "normal"),
        ("PNEUMONIA", "pneumonia"),
        ("COVID-19", "covid-19"),
        ("COVID19", "covid-19"),
        ("Covid_19", "covid-19"),
        ("covid", "covid-19"),
    ],
)
def test_data_set_spellings(text, label):
    assert parse_label(text) == label
    assert label in LABELS


def test_unknown_label_is_named():
    with pytest.raises(ValueError, match="tuberculosis"):
        parse_label("tuberculosis")
