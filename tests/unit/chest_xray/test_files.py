import os
import zipfile

import pytest

from chest_xray.files import replacing, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(("data", "written"), [("é\n", b"\xc3\xa9\n"), (b"\0\1", b"\0\1")])
def test_writes_and_overwrites(tmp_path, data, written, durable):
    path = tmp_path / "new" / "file.json"
    for _ in range(2):
        write_atomically(path, data, durable=durable)
        assert path.read_bytes() == written
    assert names(path.parent) == ["file.json"]


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_mode_does_not_depend_on_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "public", "")
        write_atomically(tmp_path / "secret", "", 0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with replacing(path) as file:
            file.write(b"half")
            assert len(names(tmp_path)) == 2
            raise error

    with pytest.raises(error):
        write_half()
    assert names(tmp_path) == ["file"]
    assert path.read_text() == "old"


def test_a_reader_sees_the_old_file_until_the_end(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").mkdir()  # a folder is not replaced by a file
    with pytest.raises(OSError, match="file"):
        write_atomically(tmp_path / "file", "text")
    assert names(tmp_path) == ["file"]


def test_others_may_write_to_it(tmp_path):
    with replacing(tmp_path / "a.zip") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("name", "text")
    assert zipfile.ZipFile(tmp_path / "a.zip").read("name") == b"text"
