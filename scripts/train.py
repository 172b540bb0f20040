"""Train a version's network on a data set, and fit its calibration and its gate.

examples:
  python scripts/train.py --data ~/chest-xray
  python scripts/train.py --data ~/chest-xray --version 1.0 --preset original --out build/mine

A run that was cut off goes on where it stopped when the same command is given again.
"""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from chest_xray_ops.archive import VERSION
from chest_xray_ops.cli import ROOT, console, parser, progress_bar, run
from chest_xray_training import loop, plots
from chest_xray_training.dataset import FilmDataset, read_films
from chest_xray_training.recipes import PRESETS, Run, default_preset, train_version


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="data set folder")
    arguments.add_argument("--version", default=VERSION)
    arguments.add_argument("--preset", choices=PRESETS, help="default: the version's own")
    arguments.add_argument("--epochs", type=int, help="instead of the preset's, of 1.x and 2.x")
    arguments.add_argument("--steps", type=int, help="instead of the preset's, of 3.x")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--device", help="cpu or cuda (default: cuda if there is one)")
    arguments.add_argument("--out", type=Path, help="default: build/train/VERSION-PRESET")
    arguments.add_argument("--restart", action="store_true", help="forget an earlier run in OUT")
    args = arguments.parse_args()

    preset = args.preset or default_preset(args.version)
    length = {"epochs": args.epochs, "steps": args.steps}
    given = {name: value for name, value in length.items() if value}
    try:
        recipe = replace(PRESETS[preset], seed=args.seed, **given)
    except TypeError:
        arguments.error(f"preset {preset} has no {' and '.join(given)}")
    out = args.out or ROOT / "build" / "train" / f"{args.version}-{preset}"
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if args.restart:
        for checkpoint in out.glob(f"*/{loop.CHECKPOINT}"):
            checkpoint.unlink()

    films = {split: read_films(args.data, split) for split in ("train", "valid")}
    with progress_bar() as bar:
        reading = bar.add_task("reading films", total=sum(map(len, films.values())))
        train_films, valid_films = (
            FilmDataset(films[split], lambda: bar.advance(reading)) for split in ("train", "valid")
        )
        task = bar.add_task("training", total=None)

        def progress(what: str, step: int, steps: int) -> None:
            bar.update(task, description=what, completed=step, total=steps)

        job = Run(recipe, train_films, valid_films, out, device, progress)
        histories = train_version(args.version, job)
    for name, history in histories.items():
        plots.learning_curve(history, out / f"learning_curve_{name}.png")
    weights = out / loop.WEIGHTS
    console.print(f"next: make evaluate DATA={args.data} VERSION={args.version} WEIGHTS={weights}")
    print(
        json.dumps(
            {
                "version": args.version,
                "recipe": asdict(recipe),
                "device": str(device),
                "networks": {
                    name: {
                        "length": list(history[-1].values())[0],
                        "best": min(history, key=lambda row: row["valid_loss"]),
                    }
                    for name, history in histories.items()
                },
                "weights": str(weights),
            },
            indent=2,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
