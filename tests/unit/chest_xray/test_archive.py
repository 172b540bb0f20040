"""Archives as values: what opening one verifies, and what it then says."""

import shutil
import zipfile

import pytest

from chest_xray.archive import CHECKSUM, LABELS, MANIFEST, Archive
from chest_xray_versions import DEFAULT_VERSION
from support.archives import altered, entry


@pytest.fixture(scope="module")
def packed(store):
    return store / f"chest-xray-{DEFAULT_VERSION}.mar"


@pytest.fixture
def folder(packed, tmp_path):
    with zipfile.ZipFile(packed) as file:
        file.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def test_a_file_and_its_folder_say_the_same(packed, folder):
    one, other = Archive.open(packed), Archive.open(folder)
    assert (one.version, one.labels) == (DEFAULT_VERSION, ("normal", "pneumonia", "covid-19"))
    assert (other.version, other.labels) == (one.version, one.labels)
    assert one.read(one.network_file) == other.read(other.network_file)
    with one.unpacked() as made, other.unpacked() as given:
        assert given == folder
        assert (made / one.weights_file).read_bytes() == (given / one.weights_file).read_bytes()
    assert not made.exists()
    assert given.exists()


@pytest.mark.parametrize("change", ["cut off", "damaged", "no zip", "gone"])
def test_what_is_not_a_whole_file_is_refused(packed, tmp_path, change):
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 1
    broken = tmp_path / packed.name
    if change != "gone":
        content = {"cut off": data[:-1000], "damaged": data, "no zip": b"no zip"}[change]
        broken.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=r"chest-xray-4\.0\.mar"):
        Archive.open(broken)


@pytest.mark.parametrize("name", [MANIFEST, LABELS, CHECKSUM])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_entries_that_say_nothing_are_refused(packed, tmp_path, name, content):
    with pytest.raises(ValueError, match="not a usable model archive"):
        Archive.open(altered(packed, tmp_path / "other.mar", {name: content}))


def test_another_models_archive_is_refused(packed, tmp_path):
    manifest = entry(packed, MANIFEST).replace(b'"chest-xray"', b'"mnist"')
    with pytest.raises(ValueError, match="mnist"):
        Archive.open(altered(packed, tmp_path / "other.mar", {MANIFEST: manifest}))


def test_weights_other_than_the_packed_ones_are_refused(folder):
    weights = next(folder.glob("*.pt"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="SHA-256"):
        Archive.open(folder)
    weights.unlink()
    with pytest.raises(ValueError, match="not a usable model archive"):
        Archive.open(folder)
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError):
        Archive.open(folder)
