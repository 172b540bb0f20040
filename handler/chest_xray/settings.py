"""Every knob of the service, typed and checked once, when a worker loads."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Settings:
    """The ``handler:`` section of ``model-config.yaml``; each default is usable as it is."""

    threads: int = 1
    """CPU threads of one worker; TorchServe starts a worker per core, so more would fight."""

    fetch_timeout_s: float = 10.0
    """Seconds from the start of a fetch until its last byte."""

    fetch_parallel: int = 16
    """Images of one batch that are fetched at the same time."""

    max_image_bytes: int = 20_000_000
    """Size of one encoded image, fetched or inline."""

    max_image_pixels: int = 50_000_000
    """Width times height, checked before decoding; a full-size digital film has 9 to 18 million."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kind = getattr(self, field.name), field.type
            # bool is an int to Python, not to a reader of the file.
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or (kind is int and not isinstance(value, int)) or not value > 0:
                raise ValueError(
                    f"handler setting {field.name}: expected a positive {kind.__name__}, "  # type: ignore[union-attr]
                    f"got {value!r}"
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "Settings":
        """Settings from parsed YAML.

        Raises:
            ValueError: a key is unknown or a value is of the wrong type or not positive.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(
                f"unknown handler setting {', '.join(unknown)}: expected {', '.join(sorted(known))}"
            )
        return cls(**values)
