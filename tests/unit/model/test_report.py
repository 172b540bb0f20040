"""A whole evaluation of a few drawn films, as its script makes it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from chest_xray.labels import LABELS
from chest_xray_training import report
from chest_xray_training.dataset import Film
from support.films import draw_film
from support.paths import ROOT

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
    found = report.evaluate(films, probabilities, films, probabilities)
    assert found["figures"]["accuracy"]["value"] == round(56 / 60, 4)
    low, high = (found["figures"]["accuracy"][bound] for bound in ("low", "high"))
    assert low < 56 / 60 <= high
    assert found["patients"] == 30
    assert found["figures"]["sensitivity normal"]["value"] == 1
    assert found["table"]["pneumonia"]["right"] == 18
    assert set(found["subgroups"]) == {"sex", "age", "view", "source"}
    assert found["subgroups"]["sex"]["F"]["films"] == 30
    assert "unseen" not in json.dumps(found["within_source_auroc"])
    points = found["operating_points"]["normal"]["high_sensitivity"]
    assert points["sensitivity"]["value"] == 1
    assert points["specificity"]["value"] == round(36 / 40, 4)


def test_evaluate_script(tmp_path):
    data = tmp_path / "films"
    for split in ("train", "valid", "test"):
        for index in range(12):
            path = data / split / LABELS[index % 3] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_film(index + len(split) * 100)).save(path)
    out, samples = tmp_path / "report", tmp_path / "samples"
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "evaluate.py", "--data", data, "--version", "1.0",
         "--out", out, "--samples", samples],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    evaluation = json.loads(run.stdout)
    assert evaluation == json.loads((out / "evaluation.json").read_text())
    with (out / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = sum(row["label"] == row["predicted"] for row in rows)
    assert (right, len(rows)) == (evaluation["table"]["all"]["right"], 12)
    page = (out / "evaluation.md").read_text()
    assert f"{right} / 12" in page
    for name in ("confusion_matrix", "per_label_accuracy", "reliability"):
        with Image.open(out / f"{name}.png") as plot:
            assert plot.width > 300
    assert len(list(samples.iterdir())) == 2  # films are shown there alone
