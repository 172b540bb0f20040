"""Puts the data into the wheel: ``config/`` and the weights of the default version."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Data(BuildHookInterface):  # type: ignore[type-arg]
    """Which version is the default one, only ``model/chest_xray_versions.py`` says."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # which finds all of it in the clone
            return
        root = Path(self.root)
        sys.path.insert(0, str(root / "model"))
        try:
            from chest_xray_versions import CHECKSUMS, DEFAULT_VERSION, weights_path
        finally:
            sys.path.pop(0)
        build_data["force_include"][str(root / "config")] = "chest_xray_ops/config"
        for path in (CHECKSUMS, weights_path(DEFAULT_VERSION)):
            build_data["force_include"][str(path)] = f"chest_xray_weights/{path.name}"
