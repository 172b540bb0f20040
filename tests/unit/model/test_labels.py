import pytest

from chest_xray_training.labels import parse_label

LABELS = ("normal", "pneumonia", "covid-19")


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
    assert parse_label(text, LABELS) == label


def test_unknown_label_is_named():
    with pytest.raises(ValueError, match="tuberculosis"):
        parse_label("tuberculosis", LABELS)


def test_every_version_has_spellings_of_its_own_labels():
    assert parse_label("TUBERCULOSIS", (*LABELS, "tuberculosis")) == "tuberculosis"
    with pytest.raises(ValueError, match="unknown label 'covid'"):
        parse_label("covid", ("normal", "pneumonia"))
