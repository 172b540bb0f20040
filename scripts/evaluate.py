"""Evaluate a version on one split of a data set and write its report.

examples:
  python scripts/evaluate.py --data ~/chest-xray --version 2.0
  python scripts/evaluate.py --data ~/chest-xray --weights build/train/1.0-converged/weights.pt

Leaves evaluation.json, evaluation.md, predictions.csv and plots in OUT. The sheets of sample films
and of failures show films, so they go to a folder outside the project.
"""

import csv
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.markdown import Markdown

from chest_xray.archive import sha256
from chest_xray.labels import LABELS
from chest_xray.network.compiled import serving_form
from chest_xray.prediction import Prediction, predict
from chest_xray_ops.archive import VERSION
from chest_xray_ops.cli import ROOT, console, parser, progress_bar, run
from chest_xray_training import plots, protocols, report
from chest_xray_training.dataset import SPLITS, FilmDataset, read_films
from chest_xray_training.faithfulness import faithfulness
from chest_xray_training.loop import outputs_of
from chest_xray_training.metrics import share
from chest_xray_versions import load_network, weights_path

_SHEET = 20  # films on a sheet


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="data set folder")
    arguments.add_argument("--version", default=VERSION)
    arguments.add_argument("--split", choices=SPLITS, default="test")
    arguments.add_argument("--weights", type=Path, help="default: model/weights/VERSION.pt")
    arguments.add_argument(
        "--out", type=Path, help="default: reports/VERSION, or build/evaluate with --weights"
    )
    arguments.add_argument("--samples", type=Path, help="folder of the sheets of films")
    args = arguments.parse_args()
    weights = args.weights or weights_path(args.version)
    folder = ROOT / ("build/evaluate" if args.weights else "reports")
    out = args.out or folder / args.version / ("" if args.split == "test" else args.split)
    samples = (args.samples or Path(tempfile.gettempdir()) / "chest-xray-samples").resolve()
    if samples.is_relative_to(ROOT):
        arguments.error("--samples must lie outside the project: the sheets show films")

    network = load_network(args.version, weights)
    device = torch.device("cpu")
    served = serving_form(network, device)
    splits = dict.fromkeys(("valid", args.split))
    films = {split: read_films(args.data, split) for split in splits}
    datasets, probabilities, scores = {}, {}, {}
    with progress_bar() as bar:
        reading = bar.add_task("reading films", total=sum(map(len, films.values())))
        task = bar.add_task("classifying", total=sum(map(len, films.values())))
        for split in splits:
            datasets[split] = FilmDataset(films[split], lambda: bar.advance(reading))
            answers: list[Prediction] = []
            for readings, _ in outputs_of(served, datasets[split], device):
                answers += predict(readings, network.labels)
                bar.advance(task, len(readings))
            probabilities[split] = np.array([list(each.probabilities.values()) for each in answers])
            scores[split] = np.array([each.score for each in answers])
        bar.add_task("deleting what heat maps call hot", total=None)
        faithful = faithfulness(network, datasets[args.split])
        bar.add_task("asking where films are from", total=None)
        probe_films = FilmDataset(read_films(args.data, "train"))
        probe = protocols.name_the_source(network, probe_films, datasets[args.split])
        bar.add_task("drawing patients again and again, for the intervals", total=None)
        evaluation = {
            "version": args.version,
            "data": args.data.resolve().name,
            "split": args.split,
            "weights_sha256": sha256(weights),
            "temperature": round(float(network.temperature), 4),
            "bias": [round(value, 4) for value in network.bias.tolist()],
            "refused_as_no_film": {split: share(scores[split] < 0.5) for split in splits},
            "explanations": faithful,
            "source_named_from_the_maps": probe,
            **report.evaluate(
                films[args.split], probabilities[args.split], films["valid"], probabilities["valid"]
            ),
        }

        if args.version.startswith("3.") and args.split == "test" and not args.weights:
            bar.add_task("measuring experiments", total=None)
            evaluation["experiments"] = protocols.measure(args.data)

    out.mkdir(parents=True, exist_ok=True)
    text = report.markdown(evaluation)
    (out / "evaluation.json").write_text(json.dumps(evaluation, indent=2) + "\n", encoding="utf-8")
    (out / "evaluation.md").write_text(text, encoding="utf-8")
    predicted = [LABELS[index] for index in probabilities[args.split].argmax(1)]
    with (out / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "label", "predicted", *LABELS])
        for film, answer, row in zip(
            films[args.split], predicted, probabilities[args.split], strict=True
        ):
            writer.writerow([film.name, film.label, answer, *(f"{share:.6f}" for share in row)])
    title = f"version {args.version}, {args.split} split, {len(predicted)} films"
    plots.per_label_accuracy(evaluation["table"], title, out / "per_label_accuracy.png")
    plots.confusion_matrix(evaluation["confusion_matrix"], title, out / "confusion_matrix.png")
    plots.reliability(evaluation["reliability"], title, out / "reliability.png")

    truths = [film.label for film in films[args.split]]
    every = range(len(truths))
    wrong = [index for index in every if predicted[index] != truths[index]]
    for name, indices in (("sample", every), ("failures", wrong)):
        chosen = random.Random(0).sample(indices, min(_SHEET, len(indices)))
        sheet = [_shown(datasets[args.split], predicted, truths, index) for index in chosen]
        plots.sample_sheet(sheet, samples / f"{args.version}-{args.split}-{name}.png")
    console.print(Markdown(text))
    console.print(f"report: {out}\nsheets of films: {samples}", soft_wrap=True)
    print(json.dumps(evaluation, indent=2))
    return 0


def _shown(
    dataset: FilmDataset, predicted: Sequence[str], truths: Sequence[str], index: int
) -> tuple[object, str, str]:
    picture = (dataset[index][0][0].numpy() * 255).astype(np.uint8)
    return picture, predicted[index], truths[index]


if __name__ == "__main__":
    sys.exit(run(main))
