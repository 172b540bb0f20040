"""Small synthetic trees in the shape of the public downloads."""

import csv
import json
from collections import defaultdict

import pytest

from chest_xray_ops.cli import main
from chest_xray_training.dataset import FilmDataset, read_films
from chest_xray_training.prepare import prepare, read_kaggle, read_list
from support.films import LABELS, draw_film, encode


def write(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(draw_film(seed, 40, 40), "JPEG"))
    return path


@pytest.fixture
def kaggle(tmp_path):
    """20 patients of two pneumonia films and 20 of one normal film, spread over its own split."""
    root = tmp_path / "chest_xray"
    for n in range(20):
        own = ("train", "test", "val")[n % 3]
        for m, kind in enumerate(("bacteria", "virus")):
            folder = root / ("train" if m else own) / "PNEUMONIA"
            write(folder / f"person{n}_{kind}_{m}.jpeg", 100 + 2 * n + m)
        write(root / own / "NORMAL" / f"IM-{n:04d}-0001.jpeg", 300 + n)
    (root / "train" / "NORMAL" / ".DS_Store").write_bytes(b"x")
    return root


def rows_of(folder):
    with (folder / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_disjoint(rows):
    splits = defaultdict(set)
    for row in rows:
        splits[row["patient_id"]].add(row["split"])
    assert all(len(seen) == 1 for seen in splits.values())


def test_kaggle_tree(kaggle, tmp_path):
    done = prepare(read_kaggle(kaggle, LABELS), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 60
    assert_disjoint(rows)
    assert done.left_out == {}
    for label, count in (("normal", 20), ("pneumonia", 40)):
        train = sum(row["split"] == "train" and row["label"] == label for row in rows)
        assert train / count == pytest.approx(0.7, abs=0.1)
    assert {"train", "valid", "test"} == {row["split"] for row in rows}
    assert len(FilmDataset(read_films(tmp_path / "out", LABELS, "test"), LABELS)) > 0


@pytest.mark.parametrize(
    "text",
    [
        "1 a.jpg pneumonia cohen\n1 b.jpg pneumonia cohen\n2 c.jpg COVID-19 sirm\n",
        "a.jpg,pneumonia,1,cohen\nb.jpg,pneumonia,1,cohen\nc.jpg,COVID-19,2,sirm\n",
        "label\tfile\tpatient_id\tsource\npneumonia\ta.jpg\t1\tcohen\npneumonia\tb.jpg\t1\tcohen\n"
        "covid\tc.jpg\t2\tsirm\n",
    ],
    ids=["as published", "csv without header", "tsv with header"],
)
def test_covidx_lists(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    films = read_list(tmp_path / "list.txt", tmp_path, LABELS)
    assert [(f.path.name, f.label, f.patient_id) for f in films] == [
        ("a.jpg", "pneumonia", "cohen-1"),
        ("b.jpg", "pneumonia", "cohen-1"),
        ("c.jpg", "covid-19", "sirm-2"),
    ]


def test_a_patient_of_two_lists_is_one_patient(tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text(f"{name}.jpg normal 12\n")
    [train] = read_list(tmp_path / "train.txt", tmp_path, LABELS)
    [test] = read_list(tmp_path / "test.txt", tmp_path, LABELS)
    assert train.patient_id == test.patient_id
    assert train.source != test.source


@pytest.mark.parametrize(
    ("text", "named"), [("", "empty"), ("1 a.jpg lupus\n", "label"),
                        ("1 a.jpg normal\n2 b.jpg lupus\n", "line 2"),
                        ("1 a.jpg normal\n2\n", "line 2")]
)  # fmt: skip
def test_lists_that_cannot_be_read(tmp_path, text, named):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(ValueError, match=named):
        read_list(tmp_path / "list.txt", tmp_path, LABELS)


def test_copies_contradictions_and_damage(tmp_path):
    write(tmp_path / "a.jpg", 1)
    write(tmp_path / "copy.jpg", 1)
    write(tmp_path / "c.jpg", 3)
    write(tmp_path / "c2.jpg", 3)
    for n in range(4, 8):
        write(tmp_path / f"{n}.jpg", n)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "list.txt").write_text(
        # a and its copy make patients 1 and 2 one patient, so film 4 goes where a goes
        "1 a.jpg normal\n2 copy.jpg normal\n2 4.jpg normal\n"
        "3 c.jpg normal\n3 c2.jpg pneumonia\n"
        "5 5.jpg normal\n6 6.jpg normal\n7 7.jpg normal\n"
        "8 broken.jpg normal\n9 gone.jpg normal\n"
    )
    done = prepare(read_list(tmp_path / "list.txt", tmp_path, LABELS), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert done.left_out == {
        "corrupt_image": 1,
        "file is missing": 1,
        "copy of another image": 1,
        "same image under two labels": 2,
    }
    assert len(rows) == 5
    assert_disjoint(rows)
    joined = [r for r in rows if r["file"].startswith(("images/a_", "images/4_"))]
    assert len({row["patient_id"] for row in joined}) == 1


def test_script(kaggle, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["data", "--kaggle", str(kaggle), "--out", out]) == 0
    report = json.loads(capsys.readouterr().out)
    assert sum(sum(labels.values()) for labels in report["films"].values()) == 60
    assert main(["data", "--kaggle", str(kaggle), "--out", out]) == 1  # never overwrites
    assert "exists" in capsys.readouterr().err
