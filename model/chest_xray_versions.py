"""Which network a version has; a version's major number tells."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chest_xray.network.stages import ServedNet

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "weights"
PROTOCOLS = WEIGHTS / "protocols"
"""Weights of the experiments on version 3.0's recipe, for its report alone."""
CHECKSUMS = WEIGHTS / "SHA256SUMS"
"""Of the committed weights, as ``sha256sum`` writes and checks them."""
_MAJORS = ("1", "2", "3")


def weights_path(version: str) -> Path:
    """The committed weights of a version."""
    return WEIGHTS / f"{version}.pt"


def network_file(version: str) -> Path:
    """The module that defines a version's network.

    Raises:
        ValueError: no network has this major number.
    """
    major = version.partition(".")[0]
    if major not in _MAJORS:
        known = ", ".join(f"{number}.x" for number in _MAJORS)
        raise ValueError(f"no network for version {version!r}: expected {known}")
    return FOLDER / f"chest_xray_v{major}.py"


def network_parts() -> list[Path]:
    """The modules that those are built on."""
    return [FOLDER / "chest_xray_original.py", FOLDER / "chest_xray_residual.py"]


def build_network(version: str) -> "ServedNet":
    """A version's network, untrained; raises as :func:`network_file`."""
    module = import_module(network_file(version).stem)
    network: ServedNet = getattr(module, f"ChestXrayV{version.partition('.')[0]}")()
    return network


def load_network(version: str, weights: Path) -> "ServedNet":
    """A version's network with these weights, for inference on the CPU."""
    import torch

    network = build_network(version)
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return network.eval()
