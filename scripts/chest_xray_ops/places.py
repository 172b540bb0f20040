"""Where the project's files lie, in a clone and in an installed wheel.

A wheel carries ``config/`` inside this package. What a server leaves behind goes below the clone,
or, without one, below the user's state folder of the XDG Base Directory Specification.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_ABOVE = _PACKAGE.parent.parent

CLONE: Path | None = _ABOVE if (_ABOVE / "config").is_dir() else None
"""The clone that this package is part of; None in an installed wheel."""

ROOT = CLONE or Path()
"""Where commands write what is for people, such as reports: the clone, or the working directory."""

CONFIG = (CLONE or _PACKAGE) / "config"
"""The folder of configuration files."""

MODEL_CONFIG = CONFIG / "model-config.yaml"
"""What every archive is packed with."""


def _state() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "chest-xray"


RUNS = CLONE / ".run" if CLONE else _state() / "run"
"""Folders of running servers, unless CHEST_XRAY_RUN_DIR says otherwise."""

MODEL_STORE = CLONE / "build" / "model-store" if CLONE else _state() / "model-store"
"""Where archives are built and read from, unless TS_MODEL_STORE says otherwise."""
