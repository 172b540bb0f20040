"""Puts the weights of the default version into the wheel."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DefaultWeights(BuildHookInterface):  # type: ignore[type-arg]
    """Which version that is, only ``model/chest_xray_versions.py`` says."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, str(Path(self.root) / "model"))
        try:
            from chest_xray_versions import DEFAULT_VERSION, weights_path
        finally:
            sys.path.pop(0)
        weights = weights_path(DEFAULT_VERSION)
        build_data["force_include"][str(weights)] = f"chest_xray_weights/{weights.name}"
