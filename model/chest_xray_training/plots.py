"""Figures of a training or an evaluation -> plots, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no screen on a server
from matplotlib import pyplot as plt


def learning_curve(history: Sequence[dict[str, float]], path: Path) -> None:
    """Training and validation loss, and validation accuracy, by epoch or step."""
    unit = "epoch" if "epoch" in history[0] else "step"
    epochs = [row[unit] for row in history]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.plot(epochs, [row["train_loss"] for row in history], marker=".", label="training loss")
    axes.plot(epochs, [row["valid_loss"] for row in history], marker=".", label="validation loss")
    accuracy = [row["valid_accuracy"] for row in history]
    axes.plot(epochs, accuracy, marker=".", label="validation accuracy")
    axes.set_xlabel(unit)
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(figure, path)


def per_label_accuracy(rows: dict[str, Any], title: str, path: Path) -> None:
    """Bars of accuracy per label and overall, with 95 % intervals and counts."""
    heights = [row["accuracy"] or 0.0 for row in rows.values()]
    # An accuracy of 1 lies a rounding above its own interval.
    below = [max(0.0, h - r["interval_95"][0]) for h, r in zip(heights, rows.values(), strict=True)]
    above = [max(0.0, r["interval_95"][1] - h) for h, r in zip(heights, rows.values(), strict=True)]
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.bar(list(rows), heights, yerr=[below, above], capsize=4, color="tab:blue")
    for index, row in enumerate(rows.values()):
        axes.text(index, 0.02, f"{row['right']}/{row['count']}", ha="center", color="white")
    axes.set_ylim(0, 1)
    axes.set_ylabel("accuracy")
    axes.set_title(title)
    _save(figure, path)


def confusion_matrix(matrix: dict[str, Any], title: str, path: Path) -> None:
    """Counts, true labels down, predicted labels across, shaded by share of the true label."""
    counts, labels = matrix["rows_true_columns_predicted"], matrix["labels"]
    shares = [[cell / max(1, sum(row)) for cell in row] for row in counts]
    figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(counts):
        for j, cell in enumerate(row):
            dark = shares[i][j] > 0.5
            axes.text(j, i, str(cell), ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    _save(figure, path)


def right_by_collection(
    sources: Mapping[str, Mapping[str, Any]], labels: Sequence[str], title: str, path: Path
) -> None:
    """How many films of each collection and label are right: green where most are, red where few
    are, grey where there is no film."""
    shares = [
        [(row["right"][label]["accuracy"] if label in row["right"] else np.nan) for label in labels]
        for row in sources.values()
    ]
    figure, axes = plt.subplots(figsize=(6.5, 1.2 + 0.6 * len(sources)), layout="constrained")
    colors = plt.get_cmap("RdYlGn").with_extremes(bad="lightgrey")
    axes.imshow(np.ma.masked_invalid(shares), cmap=colors, vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(sources.values()):
        for j, label in enumerate(labels):
            if hits := row["right"].get(label):
                text = f"{hits['right']} of {hits['count']}: {100 * hits['accuracy']:.0f} %"
                axes.text(j, i, text, ha="center", va="center")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(sources)), list(sources))
    axes.set_title(f"Films answered rightly\n{title}")
    _save(figure, path)


def reliability(rows: Sequence[dict[str, float]], title: str, path: Path) -> None:
    """How often an answer is right against how probable it says it is, and how many there are."""
    figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="honest")
    stated = [row["probability"] for row in rows]
    axes.plot(stated, [row["accuracy"] for row in rows], marker="o", label="measured")
    for row in rows:
        axes.annotate(str(int(row["count"])), (row["probability"], row["accuracy"]), fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("probability of the answer")
    axes.set_ylabel("share of right answers")
    axes.set_title(title)
    axes.legend()
    _save(figure, path)


def sample_sheet(samples: Sequence[tuple[Any, str, str]], path: Path) -> None:
    """The original's sheet of films titled "predicted (true)", green if right and red if not.

    Args:
        samples: (uint8 image (H, W), predicted label, true label), at most 20.
    """
    columns = 5
    lines = -(-len(samples) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(2.6 * columns, 2.9 * lines), layout="constrained", squeeze=False
    )
    for axes in grid.flat:
        axes.axis("off")
    for axes, (image, predicted, truth) in zip(grid.flat, samples, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        color = "green" if predicted == truth else "red"
        axes.set_title(f"{predicted} ({truth})", color=color, fontsize=10)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
