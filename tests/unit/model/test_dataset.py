import pytest
import torch

from chest_xray_training.dataset import FilmDataset, read_films
from support.films import LABELS, draw_film, encode


def write(path, seed=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(draw_film(seed), "PNG"))


def test_folders(tmp_path):
    for name in ("train/NORMAL/a.png", "train/COVID19/b.png", "val/PNEUMONIA/deep/c.png",
                 "test/normal/d.png"):  # fmt: skip
        write(tmp_path / name)
    (tmp_path / "train" / "NORMAL" / "notes.txt").write_text("no film")
    assert [(f.name, f.label) for f in read_films(tmp_path, LABELS, "train")] == [
        ("train/COVID19/b.png", "covid-19"),
        ("train/NORMAL/a.png", "normal"),
    ]
    assert [film.label for film in read_films(tmp_path, LABELS, "valid")] == ["pneumonia"]


def test_metadata(tmp_path):
    write(tmp_path / "images" / "a.png")
    (tmp_path / "metadata.csv").write_text(
        "file,label,source,patient_id,split\n"
        "images/a.png,covid-19,here,p1,test\nimages/b.png,normal,here,,train\n"
    )
    [film] = read_films(tmp_path, LABELS, "test")
    assert (film.label, film.patient_id, film.path.exists()) == ("covid-19", "p1", True)
    image, target = FilmDataset([film], LABELS)[0]
    assert image.shape == (1, 224, 224)
    assert image.dtype == torch.float32
    assert target == 2


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="metadata.csv"):
        read_films(tmp_path, LABELS, "test")
    (tmp_path / "metadata.csv").write_text("file,split\na.png,test\n")
    with pytest.raises(ValueError, match="label"):
        read_films(tmp_path, LABELS, "test")
    (tmp_path / "metadata.csv").write_text("file,label,split\na.png,normal,test\n")
    with pytest.raises(ValueError, match="valid"):
        read_films(tmp_path, LABELS, "valid")
    with pytest.raises(ValueError, match="nowhere"):
        read_films(tmp_path, LABELS, "nowhere")
    with pytest.raises(ValueError, match=r"a\.png"):
        FilmDataset(read_films(tmp_path, LABELS, "test"), LABELS)


def test_radiologists_may_contradict_a_label(tmp_path):
    rows = ["file,label,split,rsna_class", "a.png,pneumonia,train,Normal"]
    rows += ["b.png,pneumonia,train,Lung Opacity", "c.png,normal,train,Lung Opacity"]
    rows += ["d.png,normal,train,", "e.png,covid-19,train,Normal"]
    (tmp_path / "metadata.csv").write_text("\n".join(rows) + "\n")
    found = [film.contradicted for film in read_films(tmp_path, LABELS)]
    assert found == [True, False, True, False, False]


def test_children_are_told_from_adults(tmp_path):
    rows = ["file,label,split,age,source", "a.png,normal,test,17,a", "b.png,normal,test,18,a"]
    rows += ["c.png,normal,test,,kermany-pediatric", "d.png,normal,test,,a"]
    (tmp_path / "metadata.csv").write_text("\n".join(rows) + "\n")
    found = [film.age_group for film in read_films(tmp_path, LABELS)]
    assert found == ["children", "adults", "children", ""]
