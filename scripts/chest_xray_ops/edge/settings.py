"""Every setting of the edge, typed and checked once, before nginx is started."""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from chest_xray.typed_settings import SettingError, TypedSettings, read_yaml, setting
from chest_xray_ops.settings import MAX_BODY_BYTES, is_endpoint

# What goes into nginx's configuration as it is must not be able to say anything else there.
_NAME = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+")
_PATH = re.compile(r"[^\"'$\\\s{};]*")


def _is_listening_address(text: str) -> bool:
    """Whether this is an IP address with a port, as nginx writes them."""
    try:
        return is_endpoint(text) and bool(_ip(text))
    except ValueError:
        return False


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IP address in HOST:PORT."""
    return ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))


@dataclass(frozen=True)
class EdgeSettings(TypedSettings):
    """``config/edge.yaml``; each default is usable as it is.

    ``CHEST_XRAY_EDGE_<NAME>`` in the environment overrides a setting; lists are comma-separated
    there.

    Raises:
        SettingError: a value is of the wrong type or form, or settings contradict each other.
    """

    part: ClassVar[str] = "edge"
    prefix: ClassVar[str] = "CHEST_XRAY_EDGE_"
    owns_prefix: ClassVar[bool] = True

    listen: tuple[str, ...] = setting(
        ("127.0.0.1:8443",),
        "addresses with ports; 0.0.0.0:443 and [::]:443 need a certificate",
        check=_is_listening_address,
        expected="an IP address with a port, such as 127.0.0.1:8443 or [::]:443",
    )
    server_names: tuple[str, ...] = setting(
        (),
        "names that callers may address it by, such as *.example.org; by default all",
        check=_NAME.fullmatch,
        expected="a host name",
    )
    certificate: str = setting(
        "",
        "file with the certificate and its chain, PEM; without one, plain HTTP on loopback",
        check=_PATH.fullmatch,
        expected="a path without quotes, spaces and braces",
    )
    certificate_key: str = setting(
        "",
        "file with the certificate's private key",
        check=_PATH.fullmatch,
        expected="a path without quotes, spaces and braces",
    )
    plain_http: bool = setting(
        False, "allow plain HTTP beyond loopback, for where a proxy in front ends TLS"
    )
    cors_origins: tuple[str, ...] = setting(
        (),
        "origins whose pages may ask from a browser, such as https://viewer.example.org",
        check=_ORIGIN.fullmatch,
        expected="an origin such as https://viewer.example.org",
    )
    rate_per_s: int = setting(
        1000,
        "requests per second of one key, in the long run; meant for callers that do not wait for "
        "their answers, since connections_per_key bounds the others",
    )
    rate_burst: int = setting(1000, "requests of one key that may come at once beyond that")
    connections_per_key: int = setting(
        64, "requests of one key at a time; each may hold max_body_bytes of memory"
    )
    max_body_bytes: int = setting(
        MAX_BODY_BYTES, "size of a request's body; no more than the server's", unit="bytes"
    )
    client_timeout_s: int = setting(
        30, "how long a caller may be silent in the middle of a request or an answer",
        unit="seconds",
    )  # fmt: skip
    answer_timeout_s: int = setting(
        75,
        "until a request without an answer gets 503; longer than responseTimeout in "
        "model-config.yaml",
        unit="seconds",
    )
    keyless_original: bool = setting(
        False, "take requests at the original project's path without a key"
    )
    access_log: bool = setting(
        False, "write a line per request, without address and path, to the server's logs"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.listen:
            raise SettingError("edge setting listen: expected at least one address, got none")
        if bool(self.certificate) != bool(self.certificate_key):
            missing = "certificate_key" if self.certificate else "certificate"
            raise SettingError(
                f"edge setting {missing}: expected a file, as the other is set, got ''"
            )
        if self.certificate or self.plain_http:
            return
        for address in self.listen:
            if not _ip(address).is_loopback:
                raise SettingError(
                    "edge setting listen: expected loopback addresses without a certificate or "
                    f"plain_http: true, got {address!r}"
                )

    @classmethod
    def read(cls, file: Path, **chosen: Any) -> "EdgeSettings":
        """Settings from a YAML file, overridden from the environment, then by ``chosen``.

        Raises:
            FileNotFoundError: there is no such file.
            SettingError: a name is unknown or misspelt, or a value is wrong.
        """
        return cls.load(read_yaml(file.read_text("utf-8"), str(file)), os.environ, **chosen)
