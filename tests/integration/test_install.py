"""The installer, below a folder of its own."""

import os
import shutil

import pytest

from support.installer import install
from support.paths import ROOT


def tree(folder):
    """Every file and link below a folder, with what tells whether it was touched."""
    return {
        path.relative_to(folder): (path.lstat().st_mtime_ns, path.lstat().st_ino)
        for path in folder.rglob("*")
        if ".venv" not in path.parts or path.name == ".venv"
    }


@pytest.fixture
def source(tmp_path):
    """A copy of what a release is made of, to be changed."""
    folder = tmp_path / "source"
    for part in ("config", "handler", "model", "scripts"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "NOTICE", "hatch_build.py", "pyproject.toml", "requirements.txt",
                 "requirements-gpu.txt"):  # fmt: skip
        shutil.copy(ROOT / name, folder)
    return folder


def test_install_again_upgrade_rollback_uninstall(source, tmp_path):
    root = tmp_path / "root"
    how = ("--root", root, "--environment", ROOT / ".venv")
    status, first, said = install(source, "install", *how, "--dry-run")
    assert (status, first["running"]) == (0, None)
    assert "would: " in said
    assert not root.exists()

    status, first, said = install(source, "install", *how)
    assert status == 0, said
    assert first["releases"] == [first["running"]]
    store = root / "opt/chest-xray/current/model-store"
    assert [path.name for path in store.iterdir()] == ["chest-xray-4.0.mar"]
    state = root / "var/lib/chest-xray/keys.json"
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    assert (root / "etc/systemd/system/chest-xray.service").exists()
    before = tree(root)
    assert install(source, "install", *how) == (0, first, "")
    assert tree(root) == before

    settings = root / "etc/chest-xray/environment"
    settings.write_text("CHEST_XRAY_AUDIT=true\n")
    with (source / "handler" / "chest_xray" / "errors.py").open("a") as file:
        file.write("# a new release\n")
    status, second, said = install(source, "install", *how)
    assert status == 0, said
    assert (second["before"], len(second["releases"])) == (first["running"], 2)
    assert settings.read_text() == "CHEST_XRAY_AUDIT=true\n"
    current = root / "opt/chest-xray/current"
    [errors] = current.glob(".venv/lib/python3*/site-packages/chest_xray/errors.py")
    assert "a new release" in errors.read_text()

    status, back, said = install(source, "rollback", "--root", root)
    assert (status, back["running"]) == (0, first["running"]), said
    assert "a new release" not in errors.read_text()

    assert install(source, "uninstall", "--root", root)[0] == 0
    assert settings.exists()
    assert state.exists()
    assert not current.exists()
    assert install(source, "uninstall", "--root", root, "--purge")[0] == 0
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_what_cannot_be_done(tmp_path):
    assert install(ROOT, "rollback", "--root", tmp_path)[0] == 1
    assert install(ROOT, "promote")[0] == 2
    if os.geteuid():
        assert install(ROOT, "install")[0] == 1
