"""Archives that are like real ones but for what a test changes in them."""

import zipfile
from collections.abc import Mapping
from pathlib import Path


def altered(source: Path, target: Path, entries: Mapping[str, bytes]) -> Path:
    """A copy with other contents of some entries."""
    changed = dict(entries)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = changed.pop(entry.filename, None)
            new.writestr(entry.filename, old.read(entry.filename) if data is None else data)
    assert not changed, f"no such entries: {changed}"
    return target


def store_with(source: Path, entries: Mapping[str, bytes], folder: Path) -> str:
    """A model store inside ``folder``, with such a copy under the same name."""
    store = folder / "store"
    store.mkdir()
    altered(source, store / source.name, entries)
    return str(store)


def entry(source: Path, name: str) -> bytes:
    """The content of one entry."""
    with zipfile.ZipFile(source) as archive:
        return archive.read(name)
