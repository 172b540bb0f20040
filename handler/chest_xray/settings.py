"""Every knob of the service, typed and checked once, when a worker loads."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_args, get_origin

ENVIRONMENT_PREFIX = "CHEST_XRAY_"
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class Settings:
    """The ``handler:`` section of ``model-config.yaml``; each default is usable as it is.

    ``CHEST_XRAY_<FIELD>`` in the environment of the server overrides a field without a new
    archive; lists are comma-separated there.

    Raises:
        ValueError: a value is of the wrong type, or a number is not positive.
    """

    threads: int = 1
    """CPU threads of one worker; every core has its workers, so more would fight."""

    bfloat16: bool = True
    """Compute convolutions with 16-bit numbers where the processor has instructions for them:
    quicker, and probabilities move by up to 0.01."""

    fetch_timeout_s: float = 10.0
    """Seconds for fetching all images of a batch: name lookup, connections, headers and bodies."""

    fetch_parallel: int = 32
    """Images of one batch that are fetched at the same time."""

    https_only: bool = False
    """Refuse imageUrl with http, redirects included."""

    allowed_ports: tuple[int, ...] = ()
    """Ports of any public host, besides 80 and 443."""

    allowed_hosts: tuple[str, ...] = ()
    """Hosts trusted on purpose, so that their addresses may be private: ``pacs.local``,
    ``*.images.example.org``, ``10.1.2.3:8042``. With a port, that one; else the allowed ports."""

    allowed_hosts_only: bool = False
    """Refuse every host that is not in ``allowed_hosts``."""

    answer_out_of_distribution: bool = False
    """Give a label to images that are no frontal chest films, whether or not the caller asks."""

    audit: bool = False
    """Keep an audit trail: which key asked when, what was answered, and the image's SHA-256."""

    max_image_bytes: int = 20_000_000
    """Size of one encoded image, fetched or inline."""

    max_image_pixels: int = 50_000_000
    """Width times height, checked before decoding; a full-size digital film has 9 to 18 million."""

    dicom_timeout_s: float = 5.0
    """Seconds for decoding one DICOM file, in a process of its own."""

    dicom_memory_bytes: int = 3_000_000_000
    """Address space of that process, of which Python and the decoders map about 0.5 GB."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not _fits(value, field.type):
                raise ValueError(
                    f"handler setting {field.name}: expected {_expected(field.type)}, got {value!r}"
                )

    @classmethod
    def load(cls, values: Mapping[str, Any], environment: Mapping[str, str]) -> "Settings":
        """Settings from parsed YAML, overridden from the environment.

        Raises:
            ValueError: a key is unknown or misspelt, or a value is wrong; the message names it.
        """
        kinds = {field.name: field.type for field in fields(cls)}
        if unknown := sorted(set(values) - set(kinds)):
            raise ValueError(
                f"unknown handler setting {', '.join(unknown)}: expected {', '.join(sorted(kinds))}"
            )
        chosen: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        names = {ENVIRONMENT_PREFIX + name.upper(): name for name in kinds}
        for variable, text in environment.items():
            if variable in names:
                chosen[names[variable]] = _parse(variable, text, kinds[names[variable]])
            # Others may use the prefix too, as Kubernetes does for a service of this name.
            elif variable.startswith(ENVIRONMENT_PREFIX) and (
                close := difflib.get_close_matches(variable, names, 1, 0.9)
            ):
                raise ValueError(f"{variable} is no setting; is {close[0]} meant?")
        return cls(**chosen)


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(kind)[0]) for item in value)
    if kind is str or kind is bool:
        return isinstance(value, kind) and value != ""
    # bool is an int to Python, not to a reader of the file.
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and (kind is float or isinstance(value, int)) and 0 < value < float("inf")


def _expected(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return f"a list, each {_expected(get_args(kind)[0])}"
    return {bool: "true or false", str: "a text", int: "a positive whole number"}.get(
        kind, "a positive number"
    )


def _parse(variable: str, text: str, kind: Any) -> Any:
    """An environment variable's text as a value of ``kind``."""
    text = text.strip()
    try:
        if get_origin(kind) is tuple:
            items = (item.strip() for item in text.split(","))
            return tuple(_parse(variable, item, get_args(kind)[0]) for item in items if item)
        return _WORDS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise ValueError(f"{variable}: expected {_expected(kind)}, got {text!r}") from None
