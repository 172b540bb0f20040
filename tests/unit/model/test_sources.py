"""Where answers are right, by kind of patient and by collection."""

from pathlib import Path

import numpy as np

from chest_xray_training.dataset import CHILDREN, Film
from chest_xray_training.sources import by_group, by_source, original_mixture, original_table
from support.films import LABELS


def film(source, label, number=0):
    return Film(Path("none"), f"{source}-{label}-{number}", label, "test", "", source=source)


FILMS = [
    *(film(CHILDREN, "normal", number) for number in range(4)),
    *(film(CHILDREN, "pneumonia", number) for number in range(4)),
    *(film("a", "normal", number) for number in range(3)),
    *(film("a", "covid-19", number) for number in range(5)),
]
ANSWERS = ["normal"] * 4 + ["pneumonia"] * 3 + ["covid-19"] + ["pneumonia"] * 3 + ["covid-19"] * 5
PROBABILITIES = np.full((len(FILMS), 3), 0.1)
PROBABILITIES[np.arange(len(FILMS)), [LABELS.index(answer) for answer in ANSWERS]] = 0.8
LOW = np.array([answer == "pneumonia" for answer in ANSWERS])


def test_the_original_mixture():
    kinds = {(each.source, each.label) for each in original_mixture(FILMS)}
    assert kinds == {(CHILDREN, "normal"), (CHILDREN, "pneumonia"), ("a", "covid-19")}


def test_groups():
    found = by_group(FILMS, PROBABILITIES, LOW, LABELS)
    films = {name: row["films"] for name, row in found.items()}
    original = "as the original project measured"
    assert films == {
        "collections of adults": 8, "collection of children": 8, "both": 16, original: 13,
    }  # fmt: skip
    assert found["collection of children"]["balanced_accuracy"] == 0.875
    assert found["collections of adults"]["table"]["normal"]["accuracy"] == 0
    assert found["collections of adults"]["low_confidence"]["films"] == 3
    assert found["collections of adults"]["right_if_confidence"]["low"]["accuracy"] == 0
    assert found["collections of adults"]["right_if_confidence"]["high"]["accuracy"] == 1
    rows = original_table(found)
    assert [row[0] for row in rows] == [*LABELS, "all"]
    assert rows[1][1].startswith("75.0 %")
    assert rows[1][2] == "76.2 %"


def test_groups_that_have_no_film_are_left_out():
    adults = [each for each in FILMS if each.source == "a" and each.label == "normal"]
    found = by_group(adults, PROBABILITIES[8:11], LOW[8:11], LABELS)
    assert set(found) == {"collections of adults", "both"}
    assert original_table(found) == []


def test_collections():
    refused = np.arange(len(FILMS)) == 15
    found = by_source(FILMS, PROBABILITIES, refused, LABELS)
    assert list(found) == ["a", CHILDREN]
    assert found["a"]["right"]["covid-19"] == {
        "accuracy": 1.0, "right": 5, "count": 5, "interval_95": [0.5655, 1.0],
    }  # fmt: skip
    assert "pneumonia" not in found["a"]["right"]
    assert found["a"]["sensitivity_pneumonia"] is None
    assert found["a"]["specificity_pneumonia"] == 0.625
    assert found[CHILDREN]["sensitivity_pneumonia"] == 0.75
    assert found["a"]["refused"]["films"] == 1
    assert found[CHILDREN]["refused"]["films"] == 0
