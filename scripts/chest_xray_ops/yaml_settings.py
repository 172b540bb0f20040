"""YAML files with settings, and the handler's settings inside of an archive."""

from collections.abc import Mapping
from typing import Any

import yaml

from chest_xray.archive import Archive
from chest_xray.settings import Settings
from chest_xray.typed_settings import SettingError


def handler_settings(archive: Archive, environment: Mapping[str, str]) -> Settings:
    """The settings that the workers of an archive will load.

    Args:
        archive: whose YAML says them.
        environment: of the server, which overrides them.

    Raises:
        SettingError: they would refuse to; the message says why.
    """
    text = archive.read(archive.config_file).decode("utf-8", errors="replace")
    values = read_yaml(text, f"{archive.path.name}/{archive.config_file}")
    return Settings.load(values.get("handler"), environment)


def read_yaml(text: str, name: str) -> dict[str, Any]:
    """A mapping; empty if there is nothing in the file.

    Args:
        name: of the file, for messages.

    Raises:
        SettingError: it is not YAML, or something else than a mapping.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise SettingError(f"{name}: invalid YAML: {problem}") from None
    if values is not None and not isinstance(values, dict):
        raise SettingError(f"{name}: expected names with values, got {values!r}")
    return values or {}
