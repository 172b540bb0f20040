"""Evaluate weights on one split of a data set: the original project's table and plots.

examples:
  python scripts/evaluate.py --data ~/chest-xray
  python scripts/evaluate.py --data ~/chest-xray --split valid --weights build/train/mine/weights.pt

Leaves evaluation.json, predictions.csv and plots in OUT. The sheet of sample films shows films, so
it goes to a folder outside the project.
"""

import csv
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from archive import VERSION, weights_path
from chest_xray.labels import LABELS
from chest_xray.prediction import predict
from chest_xray_net import ChestXrayNet
from chest_xray_training import plots
from chest_xray_training.dataset import SPLITS, FilmDataset, read_films
from chest_xray_training.loop import logits_of
from chest_xray_training.metrics import summarise
from cli import ROOT, console, parser, progress_bar, run

_SHEET = 20  # films on the sample sheet


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="data set folder")
    arguments.add_argument("--split", choices=SPLITS, default="test")
    arguments.add_argument("--weights", type=Path, default=weights_path(VERSION))
    arguments.add_argument("--out", type=Path, help="default: build/evaluate/SPLIT")
    arguments.add_argument("--samples", type=Path, help="folder of the sample sheet")
    args = arguments.parse_args()
    out = args.out or ROOT / "build" / "evaluate" / args.split
    samples = (args.samples or Path(tempfile.gettempdir()) / "chest-xray-samples").resolve()
    if samples.is_relative_to(ROOT):
        arguments.error("--samples must lie outside the project: the sheet shows films")

    films = read_films(args.data, args.split)
    model = ChestXrayNet()
    model.load_state_dict(torch.load(args.weights, map_location="cpu", weights_only=True))
    predictions = []
    with progress_bar() as bar:
        reading = bar.add_task("reading films", total=len(films))
        dataset = FilmDataset(films, lambda: bar.advance(reading))
        task = bar.add_task("classifying", total=len(films))
        for logits, _ in logits_of(model, dataset, torch.device("cpu")):
            predictions += predict(logits)
            bar.advance(task, len(logits))

    predicted = [prediction.label for prediction in predictions]
    summary = {
        "data": args.data.resolve().name,
        "split": args.split,
        "weights": args.weights.name,
        **summarise([film.label for film in films], predicted),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    with (out / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "predicted", *LABELS])
        for film, prediction in zip(films, predictions, strict=True):
            shares = [f"{prediction.probabilities[label]:.6f}" for label in LABELS]
            writer.writerow([film.name, film.label, prediction.label, *shares])
    title = f"{args.split} split, {len(films)} films"
    plots.per_label_accuracy(summary, title, out / "per_label_accuracy.png")
    plots.confusion_matrix(summary, title, out / "confusion_matrix.png")

    chosen = random.Random(0).sample(range(len(films)), min(_SHEET, len(films)))
    sheet = [
        ((dataset[i][0][0].numpy() * 255).astype(np.uint8), predicted[i], films[i].label)
        for i in chosen
    ]
    plots.sample_sheet(sheet, samples / f"{args.split}.png")
    console.print(_table(summary))
    console.print(f"report: {out}\nsample films: {samples / f'{args.split}.png'}", soft_wrap=True)
    print(json.dumps(summary, indent=2))
    return 0


def _table(summary: dict[str, Any]) -> Table:
    """The original project's table, for people."""
    table = Table("label", "accuracy", "right / all", "95 % interval")
    for name, row in {**summary["per_label"], "all": summary["overall"]}.items():
        accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.2%}"
        low, high = row["interval_95"]
        table.add_row(
            name, accuracy, f"{row['right']} / {row['count']}", f"{low:.2%} to {high:.2%}"
        )
    return table


if __name__ == "__main__":
    sys.exit(run(main))
