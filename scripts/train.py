"""Train the network on a data set and keep the weights of the best validation loss.

examples:
  python scripts/train.py --data ~/chest-xray
  python scripts/train.py --data ~/chest-xray --preset converged --out build/train/mine

A run that was cut off goes on where it stopped when the same command is given again.
"""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from chest_xray_net import ChestXrayNet
from chest_xray_training import loop, plots
from chest_xray_training.dataset import FilmDataset, read_films
from cli import ROOT, console, parser, progress_bar, run


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="data set folder")
    arguments.add_argument("--preset", choices=loop.PRESETS, default="original")
    arguments.add_argument("--epochs", type=int, help="instead of the preset's")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    arguments.add_argument("--out", type=Path, help="default: build/train/PRESET")
    arguments.add_argument("--restart", action="store_true", help="forget an earlier run in OUT")
    args = arguments.parse_args()

    recipe = replace(loop.PRESETS[args.preset], seed=args.seed)
    if args.epochs:
        recipe = replace(recipe, epochs=args.epochs)
    out = args.out or ROOT / "build" / "train" / args.preset
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if args.restart:
        (out / loop.CHECKPOINT).unlink(missing_ok=True)

    films = {split: read_films(args.data, split) for split in ("train", "valid")}
    with progress_bar() as bar:
        reading = bar.add_task("reading films", total=sum(map(len, films.values())))
        train_films, valid_films = (
            FilmDataset(films[split], lambda: bar.advance(reading)) for split in ("train", "valid")
        )
        task = bar.add_task("training", total=None)

        def progress(epoch: int, step: int, steps: int) -> None:
            bar.update(task, description=f"epoch {epoch}", completed=step, total=steps)

        history = loop.train(
            ChestXrayNet(), recipe, train_films, valid_films, out, device, progress
        )
    plots.learning_curve(history, out / "learning_curve.png")
    best = min(history, key=lambda row: row["valid_loss"])
    weights = out / loop.WEIGHTS
    console.print(f"next: make evaluate DATA={args.data} WEIGHTS={weights}")
    print(
        json.dumps(
            {"recipe": asdict(recipe), "device": str(device), "epochs": len(history), "best": best,
             "weights": str(weights)},
            indent=2,
        )
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
