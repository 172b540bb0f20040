"""Version 4.0's training on a few drawn films: views, teachers, students, and what follows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from chest_xray_residual import ResidualNet, side_by_side
from chest_xray_training import distillation, orienting, taught, teacher, views
from chest_xray_training.dataset import CHILDREN, Film, FilmDataset
from chest_xray_training.distillation import DistillationRecipe
from chest_xray_training.elsewhere import as_met_elsewhere
from chest_xray_training.gating import GateRecipe
from chest_xray_training.lite import LiteNet, folded
from chest_xray_training.recipes import RECIPES, Run, train_version
from chest_xray_training.taught import TaughtRecipe
from chest_xray_training.teacher import TeacherRecipe
from chest_xray_training.views import ViewsRecipe
from chest_xray_versions import build_network
from support.films import LABELS, draw_film

TINY = TaughtRecipe(
    views=ViewsRecipe(count=24, side=64),
    teachers=(
        TeacherRecipe(side=32, views=24, steps=2, batch_size=4),
        TeacherRecipe(side=64, views=16, steps=2, batch_size=4, seed=1),
    ),
    student=DistillationRecipe(steps=2, batch_size=4, side=32),
    answered=20,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    made = []
    for index in range(16):
        path = folder / f"{index}.png"
        Image.fromarray(draw_film(index)).save(path)
        source = CHILDREN if index % 3 < 2 and index > 5 else "ab"[index % 2]
        made.append(Film(path, path.name, LABELS[index % 3], "train", "", source=source))
    return FilmDataset(made, LABELS)


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def run(films, out, progress=lambda *steps: None, recipe=TINY):
    network, histories = taught.train(recipe, 2, films, films, out, progress)
    return network.state_dict(), histories


@pytest.fixture(scope="module")
def whole(films, tmp_path_factory):
    """The folder, weights and histories of a run."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *run(films, folder)


def test_a_run_that_was_cut_ends_the_same(films, whole, tmp_path):
    folder, weights, histories = whole
    assert list(histories) == ["teacher 0", "teacher 1", "student 0", "student 1"]
    assert all(history[-1]["step"] == 2 for history in histories.values())

    class Cut(Exception):
        pass

    def cut(what, step, steps):
        if (what, step) == ("student 1", 1):
            raise Cut

    with pytest.raises(Cut):
        run(films, tmp_path, cut)
    resumed, _ = run(films, tmp_path)
    assert same(weights, resumed)
    with pytest.raises(ValueError, match="another recipe"):
        run(films, folder, recipe=replace(TINY, seed=1))
    student = replace(TINY.student, learning_rate=1e-4)
    with pytest.raises(ValueError, match="another recipe"):
        run(films, folder, recipe=replace(TINY, student=student))


def test_what_the_students_are_taught(films, whole):
    folder, *_ = whole
    drawn = views.draw(films, TINY.views, folder / "views")
    lessons = taught.lessons_of(TINY, films, drawn, folder, lambda *steps: None)
    assert lessons.images.shape == (20, 1, 64, 64)
    assert torch.allclose(lessons.taught.sum(1), torch.ones(20), atol=1e-5)
    children = [films.films[index].source == CHILDREN for index in drawn.films[:20].tolist()]
    assert any(children)
    for child, target, row in zip(children, lessons.targets, lessons.taught, strict=True):
        # Half of what is said of a child's film is its label.
        assert not child or row[target] >= 0.5


def test_the_whole_version(films, tmp_path, monkeypatch):
    monkeypatch.setattr(orienting, "_STEPS", 2)
    gate = GateRecipe(drawn=120, variants=1, variant=as_met_elsewhere)
    monkeypatch.setitem(RECIPES, "students", replace(RECIPES["students"], gate=gate))
    histories = train_version("4.0", Run(TINY, films, films, tmp_path, CPU, lambda *steps: None))
    assert len(histories) == 2 + 3
    network = build_network("4.0")
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    network.load_state_dict(state)
    assert state["operating_points"].dtype == torch.float32
    assert network.temperature != 1
    assert network.of_children.temperature != network.temperature
    assert not torch.equal(network.of_children.head.weight, network.network.head.weight)
    assert (network.operating_points[:, 0] > 0).all()
    with torch.inference_mode():
        readings = network.eval()(torch.stack([image for image, _ in films]))
    assert torch.isfinite(readings).all()


def test_views_are_drawn_by_label_and_kind_of_patient():
    films = [Film(None, str(n), LABELS[n % 3], "train", "", source="a") for n in range(300)]
    films += [Film(None, f"k{n}", LABELS[n % 2], "train", "", source=CHILDREN) for n in range(500)]
    films[0] = replace(films[0], contradicted=True)
    recipe = ViewsRecipe(children=0.25)
    odds = views.sampling_odds(films, recipe)
    assert odds[0] == 0
    assert float(odds.sum()) == pytest.approx(1)
    for label in LABELS:
        of_label = torch.tensor([film.label == label for film in films])
        of_children = torch.tensor([film.source == CHILDREN for film in films])
        assert float(odds[of_label].sum()) == pytest.approx(1 / 3, abs=0.01)
        expected = 0.25 / 3 if label != "covid-19" else 0
        assert float(odds[of_label & of_children].sum()) == pytest.approx(expected, abs=0.005)


@pytest.fixture(scope="module")
def lite():
    torch.manual_seed(0)
    network = LiteNet(3)
    network.load_pretrained(taught.pretrained_weights())
    return network.eval()


def test_the_parts_of_the_large_network_are_the_whole(lite):
    images = torch.rand(2, 1, 96, 96)
    with torch.inference_mode():
        whole = lite(images)
        assert torch.allclose(lite.late(lite.early(images)), whole, atol=1e-4)
        assert torch.allclose(folded(lite)(images), whole, atol=1e-3)
        assert lite.early(images).shape == (2, 80, 6, 6)


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"_fc.weight": torch.zeros(1), "strange": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="is not EfficientNet-Lite0"):
        LiteNet(3).load_pretrained(tmp_path / "other.pt")


def test_every_pass_takes_each_view_once():
    for seed in (0, 1):
        passed = torch.cat([teacher.in_passes(12, 4, step, seed) for step in range(3)])
        assert sorted(passed.tolist()) == list(range(12))
    assert not torch.equal(teacher.in_passes(12, 4, 0, 0), teacher.in_passes(12, 4, 3, 0))


def test_members_that_lay_side_by_side_come_apart():
    torch.manual_seed(0)
    members = [ResidualNet(3).eval() for _ in range(3)]
    images = torch.rand(2, 1, 224, 224)
    together = side_by_side(members)
    apart = distillation.members_of(together)
    with torch.inference_mode():
        for one, other in zip(members, apart, strict=True):
            shift = (other.head.bias - one.head.bias)[None]
            assert torch.allclose(other.eval()(images), one(images) + shift, atol=1e-4)
        assert torch.allclose(
            side_by_side(apart).eval()(images), together.eval()(images), atol=1e-4
        )


def test_variants_of_films_are_still_films():
    chance = np.random.default_rng(0)
    film = np.asarray(Image.fromarray(draw_film(0)).resize((224, 224)))
    found = [as_met_elsewhere(chance, film) for _ in range(60)]
    assert all(each.shape == (224, 224) and each.dtype == np.uint8 for each in found)
    assert all(each.std() > 3 for each in found)
    assert len({each.tobytes() for each in found}) == 60
