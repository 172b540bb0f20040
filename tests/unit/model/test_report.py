"""The figures of a report, from predictions that are known."""

import json
from pathlib import Path

import numpy as np

from chest_xray_training import report
from chest_xray_training.dataset import Film
from chest_xray_training.metrics import operating_points
from support.films import LABELS

SOURCES = ("here", "there")


def test_report_of_known_answers():
    films = [
        Film(
            path=Path("none"),
            name=f"{index}.png",
            label=LABELS[index % 3],
            split="test",
            patient_id=f"p{index // 2}",
            source=SOURCES[index % 2],
            sex="FM"[index % 2],
            age=10 + index,
            view="PA",
        )
        for index in range(60)
    ]
    truths = np.arange(60) % 3
    probabilities = np.full((60, 3), 0.1)
    probabilities[np.arange(60), truths] = 0.8
    probabilities[:6] = [0.8, 0.1, 0.1]  # two of them are normal
    points = operating_points(truths, probabilities, LABELS)
    found = report.evaluate(films, probabilities, points, LABELS)
    assert found["figures"]["accuracy"]["value"] == round(56 / 60, 4)
    low, high = (found["figures"]["accuracy"][bound] for bound in ("low", "high"))
    assert low < 56 / 60 <= high
    assert found["patients"] == 30
    assert found["figures"]["sensitivity normal"]["value"] == 1
    assert found["table"]["pneumonia"]["right"] == 18
    assert set(found["subgroups"]) == {"age group", "sex", "age", "view", "source"}
    assert found["subgroups"]["sex"]["F"]["films"] == 30
    assert "unseen" not in json.dumps(found["within_source_auroc"])
    points = found["operating_points"]["normal"]["high_sensitivity"]
    assert points["sensitivity"]["value"] == 1
    assert points["specificity"]["value"] == round(36 / 40, 4)
