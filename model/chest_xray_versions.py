"""Finds, builds and loads a version of the model by its module's name.

Version 3.1 is the one class in the module ``chest_xray_v3``: a :class:`ServedNet` with the
version's network, labels, title and recipe. The module may lie in any folder on ``sys.path``, and
so may the modules ``chest_xray_...`` that it is built on.
"""

import ast
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chest_xray.network.stages import ServedNet

DEFAULT_VERSION = "4.0"
"""The version that is served, built, trained and evaluated unless another one is named."""
_INSTALLED = Path(__file__).with_name("chest_xray_weights")
WEIGHTS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).with_name("weights")
"""The committed weights; an installed wheel has those of the default version, in a folder whose
name is the project's own."""
CHECKSUMS = WEIGHTS / "SHA256SUMS"
"""The checksums of the committed weights, as ``sha256sum`` writes and checks them."""
_PREFIX = "chest_xray_"


def weights_path(version: str) -> Path:
    """The committed weights of a version."""
    return WEIGHTS / f"{version}.pt"


def network_file(version: str) -> Path:
    """The file that defines a version's class; ``torch`` is not imported.

    Raises:
        ValueError: there is no module for this major number.
    """
    file = _file_of(_module_name(version))
    if file is None:
        raise ValueError(f"no network for version {version!r}: expected one of {_known()}")
    return file


def network_parts(version: str) -> list[Path]:
    """The files that a version's class is built on besides the package ``chest_xray``, as their
    import statements say, sorted by name. Raises as :func:`network_file`."""
    found: dict[str, Path] = {}
    waiting = [network_file(version)]
    while waiting:
        for name in _imported(waiting.pop()) - found.keys():
            file = _file_of(name)
            if file is not None:
                found[name] = file
                waiting.append(file)
    return [found[name] for name in sorted(found)]


def network_class(version: str) -> "type[ServedNet]":
    """The class of a version, which knows its labels, title and recipe.

    Raises:
        ValueError: there is no module for this major number, or it does not define exactly one
            class.
    """
    from chest_xray.network import loading  # here, since it imports torch

    network_file(version)  # for its message
    return loading.network_class(import_module(_module_name(version)))


def build_network(version: str) -> "ServedNet":
    """A version's network, untrained; raises as :func:`network_class`."""
    network: ServedNet = network_class(version)()  # type: ignore[call-arg]  # it knows its network
    return network


def load_network(version: str, weights: Path) -> "ServedNet":
    """A version's network with these weights, for inference on the CPU.

    Raises:
        ValueError: there is no such version, or the weights are not this network's.
    """
    from chest_xray.network import loading  # here, since it imports torch

    network = build_network(version)
    loading.load_weights(network, weights, version)
    return network.eval()


def _module_name(version: str) -> str:
    """The name of a version's module; one that nothing has if the version has no major number."""
    major = re.match(r"\d+(?=\.|$)", version)
    return f"{_PREFIX}v{major.group() if major else '?'}"


def _file_of(module: str) -> Path | None:
    """The source file of a module that can be imported, if there is one; it is not imported."""
    spec = find_spec(module)
    return Path(spec.origin) if spec and spec.origin else None


def _imported(file: Path) -> set[str]:
    """The modules ``chest_xray_...`` that a source file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name for name in names if name.startswith(_PREFIX)}


def _known() -> str:
    """The versions whose modules lie on ``sys.path``, as "1.x, 2.x"."""
    pattern = re.compile(_PREFIX + r"v(\d+)")
    files = (file for folder in sys.path for file in Path(folder or ".").glob(f"{_PREFIX}v*.py"))
    majors = {match.group(1) for file in files if (match := pattern.fullmatch(file.stem))}
    return ", ".join(f"{major}.x" for major in sorted(majors, key=int))
