"""Archive -> the network that it holds."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import torch

from chest_xray.archive import Archive
from chest_xray.network.stages import ServedNet


def load_network(archive: Archive) -> ServedNet:
    """The network of an archive with its weights, for inference, on the CPU.

    The modules that define it are the archive's own, so this runs code that came with it.

    Raises:
        ValueError: the weights are not the network's, or the labels of the archive and of the
            network differ.
    """
    with archive.unpacked() as folder:
        module = _import(folder, Path(archive.network_file).stem)
        network: ServedNet = network_class(module)()  # type: ignore[call-arg]  # knows its network
        load_weights(network, folder / archive.weights_file, archive.version)
    if network.labels != archive.labels:
        raise ValueError(
            f"{archive.path}: index_to_name.json says {archive.labels}, "
            f"{archive.network_file} says {network.labels}"
        )
    return network.eval()


def load_weights(network: ServedNet, path: Path, version: str) -> None:
    """Give a network the weights of a file.

    Args:
        version: whose network it is, for the message.

    Raises:
        ValueError: they are not this network's.
    """
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises almost anything for a damaged file
        raise ValueError(f"{path} holds no weights of version {version}: {error}") from None


def network_class(module: ModuleType) -> type[ServedNet]:
    """The one class that a version's module defines.

    Raises:
        ValueError: it defines none or several, which TorchServe would refuse, too.
    """
    found = [
        member
        for member in vars(module).values()
        if isinstance(member, type) and member.__module__ == module.__name__
    ]
    if len(found) != 1 or not issubclass(found[0], ServedNet):
        raise ValueError(f"{module.__file__} defines {len(found)} classes: expected one ServedNet")
    return found[0]


def _import(folder: Path, name: str) -> ModuleType:
    """Import a module and what it is built on from the folder alone.

    ``sys.modules`` is as before afterwards, since two archives may hold different modules under
    one name.
    """
    names = {path.stem for path in folder.glob("chest_xray_*.py")}
    aside = {each: sys.modules.pop(each) for each in names if each in sys.modules}
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for each in names:
            sys.modules.pop(each, None)
        sys.modules.update(aside)
