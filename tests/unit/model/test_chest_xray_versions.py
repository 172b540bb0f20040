"""A version is one class, found by its module's name."""

import sys
from pathlib import Path

import pytest

import chest_xray_versions
from chest_xray_versions import (
    build_network,
    load_network,
    network_class,
    network_file,
    network_parts,
    weights_path,
)

VERSIONS = ("1.0", "2.0", "3.0", "4.0")
HELPER = "outputs = 4\n"
ONE_MORE_LABEL = """
from chest_xray.network.stages import ServedNet
from chest_xray_nine import outputs
from chest_xray_original import OriginalNet


class ChestXrayV9(ServedNet):
    title = "one more label"
    labels = ("normal", "pneumonia", "covid-19", "tuberculosis")
    recipe = "single"

    def __init__(self):
        super().__init__(OriginalNet(outputs))
"""


@pytest.fixture
def another(tmp_path, monkeypatch):
    """The folder of a version that the repository does not have."""
    (tmp_path / "chest_xray_v9.py").write_text(ONE_MORE_LABEL)
    (tmp_path / "chest_xray_nine.py").write_text(HELPER)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("chest_xray_v9", "chest_xray_nine"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_says_what_it_is(version):
    found = network_class(version)
    assert found.__name__ == f"ChestXrayV{version[0]}"
    assert found.labels == ("normal", "pneumonia", "covid-19")
    assert found.title
    assert found.recipe in {"single", "voters", "members", "students"}
    assert network_class(f"{version[0]}.17") is found


def test_the_parts_of_a_version_are_what_it_imports():
    parts = {version: [part.stem for part in network_parts(version)] for version in VERSIONS}
    assert parts["1.0"] == parts["2.0"] == ["chest_xray_original"]
    assert parts["3.0"] == ["chest_xray_residual"]
    own = ["chest_xray_orientation", "chest_xray_patients", "chest_xray_residual"]
    assert parts["4.0"] == own


def test_a_version_in_another_folder(another):
    assert network_file("9.0") == another / "chest_xray_v9.py"
    assert network_parts("9.0") == [
        another / "chest_xray_nine.py",
        Path(chest_xray_versions.__file__).parent / "chest_xray_original.py",
    ]
    network = build_network("9.0")
    assert len(network.labels) == len(network.bias) == 4


def test_a_module_of_two_classes_is_refused(another):
    text = (another / "chest_xray_v9.py").read_text()
    (another / "chest_xray_v9.py").write_text(text + "\n\nclass Another:\n    pass\n")
    with pytest.raises(ValueError, match="defines 2 classes"):
        build_network("9.0")


@pytest.mark.parametrize("version", ["9.9", "", "x", "../3.0", "3x.0", "-1"])
def test_unknown_versions_are_named(version):
    with pytest.raises(ValueError, match=r"no network for version .* expected one of 1\.x, 2\.x"):
        build_network(version)


def test_weights_of_another_version_are_refused():
    with pytest.raises(ValueError, match=r"3\.0\.pt holds no weights of version 1\.0"):
        load_network("1.0", weights_path("3.0"))
