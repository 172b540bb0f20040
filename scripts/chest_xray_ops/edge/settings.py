"""Every knob of the edge, typed and checked once, before nginx is started."""

import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

ENVIRONMENT_PREFIX = "CHEST_XRAY_EDGE_"
_TEXTS = {
    # What goes into nginx's configuration as it is must not be able to say anything else there.
    "listen": r"(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-f:]+\]):\d{1,5}",
    "server_names": r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?",
    "cors_origins": r"https?://[A-Za-z0-9.:\[\]-]+",
    "certificate": r"[^\"'$\\\s{};]*",
    "certificate_key": r"[^\"'$\\\s{};]*",
}
_WORDS = {"true": True, "false": False}


@dataclass(frozen=True)
class EdgeSettings:
    """``config/edge.yaml``; each default is usable as it is.

    ``CHEST_XRAY_EDGE_<FIELD>`` in the environment overrides a field; lists are comma-separated
    there.

    Raises:
        ValueError: a value is of the wrong type or form, or settings contradict each other.
    """

    listen: tuple[str, ...] = ("127.0.0.1:8443",)
    """Addresses with ports: ``0.0.0.0:443``, ``[::]:443``."""

    server_names: tuple[str, ...] = ()
    """Names that callers may address it by; without any, all. ``*.example.org`` is one."""

    certificate: str = ""
    """File with the certificate and its chain, PEM; without one, plain HTTP."""

    certificate_key: str = ""
    """File with its private key."""

    plain_http: bool = False
    """Allow plain HTTP beyond loopback, for where something else ends TLS in front."""

    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may ask from a browser: ``https://viewer.example.org``."""

    rate_per_s: int = 1000
    """Requests per second of one key, in the long run; the default is for callers that do not wait
    for their answers, others are bounded by ``connections_per_key``."""

    rate_burst: int = 1000
    """Requests of one key that may come at once beyond that."""

    connections_per_key: int = 64
    """Requests of one key at a time; each may hold ``max_body_bytes`` of memory."""

    max_body_bytes: int = 33_554_432
    """The server's max_request_size: a 20 MB image as base64 in JSON fits."""

    client_timeout_s: int = 30
    """Seconds a caller may be silent in the middle of a request or an answer."""

    answer_timeout_s: int = 75
    """Seconds until a request without an answer gets 503; above the workers' responseTimeout."""

    keyless_original: bool = False
    """Take requests at the original project's path without a key, as its clients send them."""

    access_log: bool = False
    """A line per request, in the instance's logs; what was asked of the handler is in its own."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not _fits(value, field.type, _TEXTS.get(field.name, "")):
                raise ValueError(
                    f"edge setting {field.name}: expected {_EXPECTED[field.type]}, got {value!r}"
                )
        if not self.listen:
            raise ValueError("edge setting listen: expected at least one address")
        if bool(self.certificate) != bool(self.certificate_key):
            raise ValueError("edge settings certificate and certificate_key: one needs the other")
        if not self.certificate and not self.plain_http:
            for address in self.listen:
                host = address.rpartition(":")[0].strip("[]")
                if not ipaddress.ip_address(host).is_loopback:
                    raise ValueError(
                        f"edge setting listen: {address} needs a certificate, or plain_http: true"
                    )

    @classmethod
    def load(cls, file: Path, environment: Mapping[str, str], **chosen: Any) -> "EdgeSettings":
        """Settings from a YAML file, overridden from the environment, then by ``chosen``.

        Raises:
            ValueError: a key is unknown or misspelt, or a value is wrong; the message names it.
        """
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        kinds = {field.name: field.type for field in fields(cls)}
        if unknown := sorted(set(values) - set(kinds)):
            raise ValueError(
                f"unknown edge setting {', '.join(unknown)}: expected {', '.join(sorted(kinds))}"
            )
        result = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        for variable, text in environment.items():
            if not variable.startswith(ENVIRONMENT_PREFIX):
                continue
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            if name not in kinds:
                close = difflib.get_close_matches(name, kinds, 1)
                meant = f"; is {ENVIRONMENT_PREFIX}{close[0].upper()} meant?" if close else ""
                raise ValueError(f"{variable} is no setting{meant}")
            result[name] = _parse(variable, text.strip(), kinds[name])
        return cls(**result | chosen)


_EXPECTED: dict[Any, str] = {
    bool: "true or false",
    int: "a positive whole number",
    str: "a plain text",
    tuple[str, ...]: "a list of plain texts",
}


def _fits(value: Any, kind: Any, form: str) -> bool:
    if kind == tuple[str, ...]:
        return isinstance(value, tuple) and all(_fits(item, str, form) for item in value)
    if kind is str:
        return isinstance(value, str) and re.fullmatch(form, value) is not None
    if kind is bool:
        return isinstance(value, bool)
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _parse(variable: str, text: str, kind: Any) -> Any:
    """An environment variable's text as a value of ``kind``."""
    try:
        if kind == tuple[str, ...]:
            return tuple(item.strip() for item in text.split(",") if item.strip())
        return _WORDS[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError):
        raise ValueError(f"{variable}: expected {_EXPECTED[kind]}, got {text!r}") from None
