"""A whole evaluation of a few drawn films, as its script makes it."""

import csv
import json
import subprocess
import sys

from PIL import Image

from support.films import LABELS, draw_film
from support.paths import ROOT


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
