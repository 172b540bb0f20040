import base64
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chest_xray.archive import Archive
from chest_xray_ops import archive, golden
from chest_xray_versions import DEFAULT_VERSION, weights_path
from support.films import LABELS
from support.offline import offline, served

WEIGHTS = weights_path(DEFAULT_VERSION)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return archive.build(DEFAULT_VERSION, WEIGHTS, tmp_path_factory.mktemp("store"))


def test_same_sources_same_bytes(built, tmp_path):
    assert archive.build(DEFAULT_VERSION, WEIGHTS, tmp_path).read_bytes() == built.read_bytes()


def test_manifest_and_labels(built):
    with zipfile.ZipFile(built) as file:
        model = json.loads(file.read("MAR-INF/MANIFEST.json"))["model"]
        labels = json.loads(file.read("index_to_name.json"))
        assert not [name for name in file.namelist() if "__pycache__" in name or "train" in name]
    assert (model["modelName"], model["modelVersion"]) == ("chest-xray", DEFAULT_VERSION)
    assert tuple(labels[str(index)] for index in range(len(labels))) == LABELS


def test_another_version(tmp_path):
    path = archive.build("4.1", WEIGHTS, tmp_path)
    assert path.name == "chest-xray-4.1.mar"
    with zipfile.ZipFile(path) as file:
        assert json.loads(file.read("MAR-INF/MANIFEST.json"))["model"]["modelVersion"] == "4.1"


def test_missing_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"3\.99"):
        archive.build("3.99", weights_path("3.99"), tmp_path)
    with pytest.raises(ValueError, match=r"9\.9"):
        archive.build("9.9", WEIGHTS, tmp_path)


def test_golden_answers(built, tmp_path):
    cases = golden.read(Archive.open(built))
    assert len({case.png for case in cases}) == len(cases) >= 3
    for case in cases:
        answer = offline(base64.b64decode(case.png), served(DEFAULT_VERSION))
        body = {"probabilities": answer.probabilities, "model_version": DEFAULT_VERSION}
        assert case.fault(body, DEFAULT_VERSION) == ""
        assert case.fault(body, "9.9")
        wrong = {**answer.probabilities, "normal": answer.probabilities["normal"] + 0.03}
        assert case.fault({**body, "probabilities": wrong}, DEFAULT_VERSION)
    (tmp_path / "w.pt").write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"w\.pt"):
        archive.build(DEFAULT_VERSION, tmp_path / "w.pt", tmp_path)


def test_damaged_weights_are_not_packed(tmp_path, monkeypatch):
    damaged = bytearray(WEIGHTS.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / WEIGHTS.name).write_bytes(damaged)
    monkeypatch.setattr(archive, "WEIGHTS", tmp_path)
    with pytest.raises(ValueError, match="damaged"):
        archive.build(DEFAULT_VERSION, tmp_path / WEIGHTS.name, tmp_path / "store")


def test_it_needs_nothing_of_the_repository(built, tmp_path):
    """In a fresh interpreter that knows the unpacked archive alone, every module is from there."""
    with zipfile.ZipFile(built) as file:
        file.extractall(tmp_path)
    code = (
        "import sys, chest_xray_handler, chest_xray_v4\n"
        "print([m.__file__ for n, m in sys.modules.items() if n.startswith('chest_xray')])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    files = [Path(name) for name in eval(run.stdout.splitlines()[-1])]
    assert len(files) >= 11
    assert all(path.is_relative_to(tmp_path) for path in files)
