"""The SHA-256 that weights travel with, so that a worker never loads others."""

import hashlib
from pathlib import Path

CHECKSUM = "weights.sha256"
"""File in the archive that holds the SHA-256 of its weights, in hexadecimal."""


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def verify_weights(folder: Path, weights: str) -> None:
    """Check the weights of an unpacked archive.

    Raises:
        ValueError: they are not the ones that were packed.
    """
    expected = (folder / CHECKSUM).read_text(encoding="ascii").strip()
    if sha256(folder / weights) != expected:
        raise ValueError(f"{weights} is damaged: its SHA-256 is not {expected}")
